//! What an elimination came to: the winner beside the uncut network and the static baseline.

use super::cuts::{address, networks};
use super::section;
use super::table::{Cell, Column, sortable};
use crate::eliminate::{Comparison, Considered, EliminationRecord, NetworkRecord, Verdict};
use crate::report::markup::{Element, element};
use crate::report::number::{duration, score, short, three_digits};
use crate::scan::Estimate;

/// What won, what was promised, and what may be claimed.
pub(super) fn lede(record: &EliminationRecord) -> String {
    let winner = &record.winner;
    let mut sentences = vec![format!("{} won{}.", address(winner), judged(record))];
    if let (Some(predicted), Some(achieved)) = (&winner.predicted_macro_f1, winner.macro_f1) {
        sentences.push(format!(
            "Before it was fine-tuned in full, {} was predicted ({} to {}); it came to {}.",
            score(predicted.value),
            score(predicted.low),
            score(predicted.high),
            score(achieved)
        ));
    }
    sentences
        .extend(record.against_uncut.as_ref().map(|comparison| compared(comparison, "the uncut network")));
    sentences.extend(
        record.against_baseline.as_ref().map(|comparison| compared(comparison, "the deepest cut that fits")),
    );
    sentences.join(" ")
}

fn judged(record: &EliminationRecord) -> String {
    let NetworkRecord { macro_f1, low, high, .. } = record.winner;
    let (Some(value), Some(low), Some(high)) = (macro_f1, low, high) else { return String::new() };
    let EliminationRecord { images, split, .. } = record;
    let interval = format!("95\u{202F}% interval {} to {}", score(low), score(high));
    format!(" with a macro-F1 of {} on {images} {split} images ({interval})", score(value))
}

fn compared(comparison: &Comparison, other: &str) -> String {
    let Estimate { value, low, high } = comparison.macro_f1_difference;
    let difference = format!("{value:+.3} ({low:+.3} to {high:+.3})");
    let claim = match comparison.macro_f1 {
        Verdict::Higher => "is better",
        Verdict::Lower => "is worse",
        Verdict::WithinNoise => "is within the noise",
    };
    let parameters = three_digits(comparison.parameters_ratio * 100.0);
    let time = comparison.latency_ratio.get(&1).map(|ratio| {
        let noise = if comparison.latency == Verdict::WithinNoise { ", within the noise" } else { "" };
        format!(" and {}\u{202F}% of its time for one image{noise}", three_digits(ratio.value * 100.0))
    });
    format!(
        "Against {other} its macro-F1 {claim}: {difference}, with {parameters}\u{202F}% of its parameters{}.",
        time.unwrap_or_default()
    )
}

/// The networks that were fine-tuned in full, and those that were on the way.
pub(super) fn section_about(record: &EliminationRecord) -> Element {
    let introduction = format!(
        "The winner, the uncut network and the static baseline, all trained alike for {} epochs and judged on the same \
         {} {} images. It all took {}, {} of it until the winner was trained.",
        record.epochs,
        record.images,
        record.split,
        duration(record.seconds),
        duration(record.search_seconds)
    );
    let part = section("elimination", "Predicted and achieved", &introduction).child(fine_tuned(record));
    if record.considered.is_empty() {
        return part;
    }
    part.child(element("h3").text("On the way")).child(considered(&record.considered))
}

fn fine_tuned(record: &EliminationRecord) -> Element {
    use Column::{Numbers, Words};
    let columns = [
        Words("Network"),
        Words("Role"),
        Numbers("Parameters"),
        Numbers("Multiply-adds"),
        Numbers("File, MB"),
        Numbers("One image, ms"),
        Numbers("Predicted F1"),
        Numbers("Macro-F1"),
        Numbers("from"),
        Numbers("to"),
        Numbers("Seeds"),
    ];
    let row = |(role, network): (&str, &NetworkRecord)| {
        let count = |count: f64| Cell::number(count, short(count));
        let bytes = network.file_bytes as f64;
        let cells = vec![
            Cell::words(role),
            count(network.parameters as f64),
            count(network.multiply_adds as f64),
            Cell::number(bytes, three_digits(bytes / 1e6)),
            Cell::known(network.latency_ms.get(&1).copied(), three_digits),
            Cell::score(network.predicted_macro_f1.map(|predicted| predicted.value)),
            Cell::score(network.macro_f1),
            Cell::score(network.low),
            Cell::score(network.high),
            Cell::number(network.seeds.len() as f64, network.seeds.len().to_string()),
        ];
        (address(network), cells)
    };
    sortable("Networks fine-tuned in full", &columns, networks(record).into_iter().map(row))
}

fn considered(considered: &[Considered]) -> Element {
    use Column::{Numbers, Words};
    let columns = [
        Words("Network"),
        Numbers("Pixels"),
        Numbers("Parameters"),
        Numbers("One image, ms"),
        Numbers("Probe F1"),
        Numbers("Predicted F1"),
        Numbers("Rungs"),
        Numbers("Epochs of the last"),
        Numbers("F1 of the last"),
    ];
    let row = |network: &Considered| {
        let last = network.rungs.last();
        let whole = |count: usize| Cell::number(count as f64, count.to_string());
        let cells = vec![
            whole(network.image_size),
            Cell::number(network.parameters as f64, short(network.parameters as f64)),
            Cell::known(network.latency_ms.get(&1).copied(), three_digits),
            Cell::score(Some(network.probe_macro_f1)),
            Cell::score(network.predicted_macro_f1.map(|predicted| predicted.value)),
            whole(network.rungs.len()),
            Cell::known(last.map(|rung| rung.epochs as f64), three_digits),
            Cell::score(last.map(|rung| rung.macro_f1)),
        ];
        (format!("{}@{}", network.backbone, network.cut), cells)
    };
    sortable("Candidates of successive halving, on validation images", &columns, considered.iter().map(row))
}
