//! How to get the result again: command, machine, recipe.

use serde_json::Value;

use super::section;
use crate::report::detail::RunDetail;
use crate::report::environment::Environment;
use crate::report::markup::{Element, element};
use crate::report::number::whole;

/// Of one run.
pub(super) fn section_about(run: &RunDetail) -> Element {
    let introduction =
        "The same command on the same images gives the same weights, whatever the number of threads.";
    let part = section("origin", "How to get it again", introduction);
    part.children(commands(run)).child(facts(machine(run))).child(recipe(run))
}

/// Of several.
pub(super) fn of_runs(runs: &[&RunDetail]) -> Element {
    let part = section("origin", "How to get them again", "");
    part.children(runs.iter().flat_map(|run| {
        let heading = element("h3").text(&run.result.run);
        std::iter::once(heading).chain(commands(run)).chain([facts(machine(run)), recipe(run)])
    }))
}

fn commands(run: &RunDetail) -> Vec<Element> {
    let Some(environment) = &run.environment else { return Vec::new() };
    vec![element("pre").child(element("code").text(environment.command_line()))]
}

fn machine(run: &RunDetail) -> Vec<(&'static str, String)> {
    let record = &run.record;
    let mut facts = Vec::new();
    if let Some(environment) = &run.environment {
        let Environment { directory, processor, cores, instruction_set, threads, precision, .. } =
            environment;
        facts.extend([
            ("Called in", directory.display().to_string()),
            ("Processor", format!("{processor}, {cores} cores")),
            ("Kernels", format!("{instruction_set}, {precision}, {threads} threads")),
        ]);
    }
    facts.extend([
        ("Device", record.device.clone()),
        ("Version", format!("elimnet {}", record.tool_version)),
        ("Weights from", record.setup.weights_from.to_string()),
        ("Images", format!("{} × {0}, splits {}", run.summary.image_size, record.data_fingerprint)),
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
