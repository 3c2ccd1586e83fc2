//! How to get the result again: command, machine, recipe.

use serde_json::Value;

use super::section;
use crate::report::detail::RunDetail;
use crate::report::environment::Environment;
use crate::report::findings::Findings;
use crate::report::markup::{Element, element};
use crate::report::number::{duration, whole};

/// Of one run.
pub(super) fn section_about(run: &RunDetail) -> Element {
    let introduction = "The same command on the same images and instruction set gives the same weights, whatever the number of threads.";
    let part = section("origin", "How to get it again", introduction);
    part.children(commands(run)).child(facts(machine(run))).child(recipe(run))
}

/// Of a scan; nothing where it did not keep where it was made.
pub(super) fn of_scan(findings: &Findings) -> Option<Element> {
    let environment = findings.environment.as_ref()?;
    let introduction =
        "The same command on the same images gives the same scores; times are those of this machine.";
    let part = section("origin", "How to get it again", introduction).child(command(environment));
    let scans = findings.scans.iter().map(|scan| {
        let spent = duration(scan.seconds);
        ("Scan", format!("{} at {} px: {} images in {spent}", scan.backbone, scan.image_size, scan.images))
    });
    let mut shown = machine_of(environment);
    shown.push(("Version", format!("elimnet {}", environment.tool_version)));
    shown.extend(scans);
    Some(part.child(facts(shown)))
}

/// Of several.
pub(super) fn of_runs(runs: &[&RunDetail]) -> Element {
    let part = section("origin", "How to get them again", "");
    part.children(runs.iter().flat_map(|run| {
        let heading = element("h3").text(&run.result.run);
        std::iter::once(heading).chain(commands(run)).chain([facts(machine(run)), recipe(run)])
    }))
}

fn commands(run: &RunDetail) -> Option<Element> {
    run.environment.as_ref().map(command)
}

fn command(environment: &Environment) -> Element {
    element("pre").child(element("code").text(environment.command_line()))
}

fn machine_of(environment: &Environment) -> Vec<(&'static str, String)> {
    let Environment { directory, processor, cores, instruction_set, threads, precision, .. } = environment;
    vec![
        ("Called in", directory.display().to_string()),
        ("Processor", format!("{processor}, {cores} cores")),
        ("Kernels", format!("{instruction_set}, {precision}, {threads} threads")),
    ]
}

fn machine(run: &RunDetail) -> Vec<(&'static str, String)> {
    let record = &run.record;
    let mut facts = run.environment.as_ref().map(machine_of).unwrap_or_default();
    facts.extend([
        ("Device", record.device.clone()),
        ("Version", format!("elimnet {}", record.tool_version)),
        ("Weights from", record.setup.weights_from.to_string()),
        ("Images", format!("{0} × {0}, splits {1}", run.summary.image_size, record.data_fingerprint)),
        ("Parameters", format!("{} in {} modules", whole(run.summary.parameters as u64), run.summary.layers)),
    ]);
    facts
}

fn facts(facts: Vec<(&'static str, String)>) -> Element {
    let fact = |(name, value): (&'static str, String)| [element("dt").text(name), element("dd").text(value)];
    element("dl").class("facts").children(facts.into_iter().flat_map(fact))
}

/// Every setting, as `run.json` has it.
fn recipe(run: &RunDetail) -> Element {
    let config = serde_json::to_value(&run.record.setup.config).unwrap_or_default();
    let settings = config.as_object().into_iter().flatten();
    let shown = settings.filter(|(_, value)| !value.is_null()).flat_map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        [element("dt").text(name.replace('_', " ")), element("dd").text(text)]
    });
    let list = element("dl").class("facts").children(shown);
    element("details").child(element("summary").text("All settings of the training")).child(list)
}
