//! What an elimination came to, for people.

use std::collections::BTreeMap;

use elimnet::eliminate::{Comparison, Considered, EliminationRecord, NetworkRecord, Verdict};
use elimnet::scan::Estimate;

use crate::commands::scan::{bytes, latency};
use crate::output::{Align, Table, thousands};

/// The candidates, the three networks side by side, and what can be said about them.
pub(super) fn text(record: &EliminationRecord) -> String {
    let winner = &record.winner;
    let run = winner.run.as_ref().map(|run| run.display().to_string()).unwrap_or_default();
    let mut text = format!("{}\n{}\n", considered(&record.considered), networks(record));
    text += &format!("run        {run}\n");
    text += &achieved(record);
    if let Some(comparison) = &record.against_uncut {
        text += &compared("uncut", comparison);
    }
    match (&record.against_baseline, &record.regret) {
        (Some(comparison), Some(regret)) => {
            text += &compared("baseline", comparison);
            text += &format!("regret     {} of macro-F1 against the static baseline\n", signed(regret));
        }
        (None, Some(_)) => text += "regret     0: the winner is the static baseline\n",
        _ => {}
    }
    text + &format!(
        "time       {:.1} s to the winner, {:.1} s with the proof\n",
        record.search_seconds, record.seconds
    )
}

fn considered(networks: &[Considered]) -> Table {
    let columns = [
        ("considered", Align::Left),
        ("image", Align::Right),
        ("params", Align::Right),
        ("ms, 1", Align::Right),
        ("probe", Align::Right),
        ("predicted macro-F1", Align::Left),
        ("after epochs: macro-F1", Align::Left),
    ];
    let mut table = Table::new(columns);
    for network in networks {
        let rungs: Vec<String> =
            network.rungs.iter().map(|rung| format!("{}: {:.3}", rung.epochs, rung.macro_f1)).collect();
        table.row([
            format!("{}@{}", network.backbone, network.cut),
            network.image_size.to_string(),
            thousands(network.parameters as u64),
            one(&network.latency_ms),
            format!("{:.3}", network.probe_macro_f1),
            network.predicted_macro_f1.as_ref().map_or_else(absent, estimate),
            rungs.join(", "),
        ]);
    }
    table
}

fn networks(record: &EliminationRecord) -> Table {
    let columns = [
        ("", Align::Left),
        ("network", Align::Left),
        ("image", Align::Right),
        ("params", Align::Right),
        ("file", Align::Right),
        ("ms, 1", Align::Right),
        ("ms, many", Align::Right),
        ("predicted macro-F1", Align::Left),
        ("macro-F1", Align::Left),
    ];
    let mut table = Table::new(columns);
    let rows = [("winner", &record.winner), ("uncut", &record.uncut), ("baseline", &record.baseline)];
    for (title, network) in rows {
        table.row([
            title.to_owned(),
            name(network),
            network.image_size.to_string(),
            thousands(network.parameters as u64),
            bytes(network.file_bytes),
            one(&network.latency_ms),
            network.latency_ms.values().next_back().map_or_else(absent, |&time| latency(time)),
            network.predicted_macro_f1.as_ref().map_or_else(absent, estimate),
            macro_f1(network).as_ref().map_or_else(absent, estimate),
        ]);
    }
    table
}

fn name(network: &NetworkRecord) -> String {
    match &network.cut {
        Some(cut) => format!("{}@{cut}", network.backbone),
        None => network.backbone.clone(),
    }
}

fn macro_f1(network: &NetworkRecord) -> Option<Estimate> {
    Some(Estimate { value: network.macro_f1?, low: network.low?, high: network.high? })
}

fn one(latency_ms: &BTreeMap<usize, f64>) -> String {
    latency_ms.values().next().map_or_else(absent, |&time| latency(time))
}

fn absent() -> String {
    "-".to_owned()
}

fn estimate(estimate: &Estimate) -> String {
    format!("{:.3} [{:.3}, {:.3}]", estimate.value, estimate.low, estimate.high)
}

fn signed(estimate: &Estimate) -> String {
    format!("{:+.3} [{:+.3}, {:+.3}]", estimate.value, estimate.low, estimate.high)
}

/// Predicted beside achieved.
fn achieved(record: &EliminationRecord) -> String {
    let Some(found) = macro_f1(&record.winner) else { return String::new() };
    let seeds = record.winner.seeds.len();
    let on = format!(
        "on {} {} images, {seeds} seed{}",
        record.images,
        record.split,
        if seeds == 1 { "" } else { "s" }
    );
    let predicted = record.winner.predicted_macro_f1.as_ref();
    let predicted = predicted.map(|predicted| format!("predicted  {}\n", estimate(predicted)));
    format!("{}achieved   {} {on}\n", predicted.unwrap_or_default(), estimate(&found))
}

fn compared(title: &str, comparison: &Comparison) -> String {
    let macro_f1 = match comparison.macro_f1 {
        Verdict::Higher => "better",
        Verdict::Lower => "worse",
        Verdict::WithinNoise => "within the noise",
    };
    let speed = match comparison.latency {
        Verdict::Higher => "slower",
        Verdict::Lower => "faster",
        Verdict::WithinNoise => "within the noise",
    };
    let ratio = comparison.latency_ratio.values().next();
    let ratio = ratio
        .map_or_else(absent, |ratio| format!("x{:.2} [{:.2}, {:.2}]", ratio.value, ratio.low, ratio.high));
    format!(
        "{:<10} macro-F1 {} ({macro_f1}), time {ratio} ({speed}), parameters x{:.3}, file x{:.3}\n",
        format!("to {title}"),
        signed(&comparison.macro_f1_difference),
        comparison.parameters_ratio,
        comparison.file_bytes_ratio
    )
}
