//! The page: one file that needs nothing else and may load nothing else.
//!
//! Its policy lets in this style sheet and this script, by their hashes, and pictures that it holds itself. So a name
//! that got past the escaping still could not run or fetch anything.

mod classes;
mod comparison;
mod cuts;
mod elimination;
mod headline;
mod learning;
mod mistakes;
mod origin;
mod pareto;
mod table;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::detail::RunDetail;
use super::findings::Findings;
use super::markup::{Element, element};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page about one directory.
pub(super) fn of_one(findings: &Findings) -> String {
    let Findings { run, scans, elimination, .. } = findings;
    let mut sections = Vec::new();
    sections.extend(elimination.as_ref().map(elimination::section_about));
    if !scans.is_empty() {
        sections.extend(cuts::pareto(scans, elimination.as_ref()));
        sections.extend(cuts::depth(scans, elimination.as_ref()));
        sections.push(cuts::table(scans));
    }
    match run {
        Some(run) => {
            sections.extend(learning::section_about(&[run]));
            sections.extend(classes::section_about(run));
            sections.extend(mistakes::section_about(run));
            sections.push(origin::section_about(run));
        }
        None => sections.extend(origin::of_scan(findings)),
    }
    let (title, header) = headline::of_one(findings);
    document(&title, header, sections.into_iter())
}

/// The page about several.
pub(super) fn of_several(all: &[Findings]) -> String {
    let runs: Vec<&RunDetail> = all.iter().filter_map(|findings| findings.run.as_ref()).collect();
    let scans: Vec<_> = all.iter().flat_map(|findings| findings.scans.iter().cloned()).collect();
    let mut sections = Vec::new();
    if !runs.is_empty() {
        sections.push(comparison::section_about(&runs));
        sections.extend(pareto::of_runs(&runs));
        sections.extend(learning::section_about(&runs));
        sections.extend(comparison::classes(&runs));
    }
    if !scans.is_empty() {
        sections.extend(cuts::pareto(&scans, None));
        sections.extend(cuts::depth(&scans, None));
        sections.push(cuts::table(&scans));
    }
    if !runs.is_empty() {
        sections.push(origin::of_runs(&runs));
    }
    document("Runs compared", headline::of_several(all.len(), &runs), sections.into_iter())
}

fn document(title: &str, header: Element, sections: impl Iterator<Item = Element>) -> String {
    let head = element("head")
        .child(element("meta").with("charset", "utf-8"))
        .child(element("meta").with("http-equiv", "Content-Security-Policy").with("content", policy()))
        .child(named("viewport", "width=device-width, initial-scale=1"))
        .child(named("color-scheme", "light dark"))
        .child(named("generator", concat!("elimnet ", env!("CARGO_PKG_VERSION"))))
        .child(element("title").text(title))
        .child(element("style").verbatim(STYLE));
    let footer = element("footer").text(concat!(
        "Written by elimnet ",
        env!("CARGO_PKG_VERSION"),
        ". This page is one file and loads nothing. Point at the charts, or step through their points with the arrow \
         keys; click the headings of tables to sort them."
    ));
    let body = element("body")
        .child(header)
        .child(element("main").children(sections))
        .child(footer)
        .child(element("div").with("id", "tip").with("role", "status"))
        .child(element("script").verbatim(SCRIPT));
    let html = element("html").with("lang", "en").child(head).child(body);
    format!("<!DOCTYPE html>\n{html}")
}

fn named(name: &str, content: &str) -> Element {
    element("meta").with("name", name).with("content", content)
}

fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// A part of the page under its heading.
fn section(id: &'static str, heading: &'static str, introduction: &str) -> Element {
    let heading_id = format!("{id}-heading");
    let section = element("section").with("id", id).with("aria-labelledby", &heading_id);
    let section = section.child(element("h2").with("id", heading_id).text(heading));
    if introduction.is_empty() { section } else { section.child(element("p").text(introduction)) }
}

/// Something that may be wider than a phone, in a box of its own.
fn scrolling(label: &str, content: Element) -> Element {
    let scroll = element("div").class("scroll").with("role", "region").with("tabindex", 0);
    scroll.with("aria-label", label).child(content)
}

/// A chart under its name.
fn panel(name: &'static str, chart: Element) -> Element {
    element("div").class("panel").child(element("h3").text(name)).child(chart)
}

#[cfg(test)]
mod contrast;
