//! The page: one file that needs nothing else and may load nothing else.
//!
//! Its policy lets in this style sheet and this script, by their hashes, and pictures that it holds itself. So a name
//! that got past the escaping still could not run or fetch anything.

mod classes;
mod comparison;
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
use super::markup::{Element, element};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page about one run.
pub(super) fn of_run(run: &RunDetail) -> String {
    let sections = [
        learning::section_about(&[run]),
        classes::section_about(run),
        mistakes::section_about(run),
        Some(origin::section_about(run)),
    ];
    let title = format!("{}: report", run.summary.model);
    document(&title, headline::of_run(run), sections.into_iter().flatten())
}

/// The page about several runs.
pub(super) fn of_runs(runs: &[&RunDetail]) -> String {
    let sections = [
        Some(comparison::section_about(runs)),
        pareto::of_runs(runs),
        learning::section_about(runs),
        comparison::classes(runs),
        Some(origin::of_runs(runs)),
    ];
    document("Runs compared", headline::of_runs(runs), sections.into_iter().flatten())
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
