//! A scan as a table.

use elimnet::scan::{CutRecord, Estimate, ScanRecord};

use crate::output::{Align, Table, thousands};

/// What was done, and a row for each cut.
pub(super) fn text(record: &ScanRecord) -> String {
    let ScanRecord { backbone, image_size, train_images, validation_images, .. } = record;
    let heading = format!(
        "{backbone} at {image_size}x{image_size}: probes on {train_images} images, judged on {validation_images}\n{}\n",
        times(record)
    );
    format!("{heading}{}\n{}", table(record), notes(record))
}

fn times(record: &ScanRecord) -> String {
    let pass = match record.cached {
        true => "features kept from an earlier scan".to_owned(),
        false => format!("forward {:.1} s", record.forward_seconds),
    };
    format!("{pass}, probes {:.1} s, all {:.1} s", record.probe_seconds, record.seconds)
}

fn table(record: &ScanRecord) -> Table {
    let batches: Vec<usize> =
        record.cuts.first().map(|cut| cut.latency_ms.keys().copied().collect()).unwrap_or_default();
    let predicted = record.cuts.iter().any(|cut| cut.predicted_macro_f1.is_some());
    let heading = |batch: &usize| match batch {
        1 => ("ms, 1", Align::Right),
        32 => ("ms, 32", Align::Right),
        _ => ("ms", Align::Right),
    };
    let columns = [("cut", Align::Left)]
        .into_iter()
        .chain(
            ["channels", "params", "multiply-adds", "file", "activations"].map(|name| (name, Align::Right)),
        )
        .chain(batches.iter().map(heading))
        .chain([("macro-F1 of the probe", Align::Left)])
        .chain(["accuracy", "kNN", "means", "LogME"].map(|name| (name, Align::Right)))
        .chain(predicted.then_some(("predicted macro-F1", Align::Left)));
    let mut table = Table::new(columns);
    for cut in &record.cuts {
        let percent = |share: f64| format!("{:.1}%", share * 100.0);
        let probe = Estimate { value: cut.probe.macro_f1, low: cut.probe.low, high: cut.probe.high };
        let mut row = vec![name(cut, record)];
        row.extend([
            cut.out_channels.to_string(),
            thousands(cut.parameters as u64),
            thousands(cut.multiply_adds),
            bytes(cut.file_bytes),
            bytes(cut.peak_activation_bytes as u64),
        ]);
        row.extend(cut.latency_ms.values().map(|&time| latency(time)));
        row.push(estimate(&probe));
        row.extend([cut.probe.accuracy, cut.knn_accuracy, cut.class_mean_accuracy].map(percent));
        row.push(cut.logme.map_or_else(|| "-".to_owned(), |logme| format!("{logme:.3}")));
        if predicted {
            row.push(cut.predicted_macro_f1.as_ref().map_or_else(|| "-".to_owned(), estimate));
        }
        table.row(row);
    }
    table
}

fn name(cut: &CutRecord, record: &ScanRecord) -> String {
    let knee = cut.is_plain() && record.knee.as_ref() == Some(&cut.name);
    format!("@{}{}", cut.address(), if knee { " (knee)" } else { "" })
}

fn estimate(estimate: &Estimate) -> String {
    format!("{:.3} [{:.3}, {:.3}]", estimate.value, estimate.low, estimate.high)
}

fn notes(record: &ScanRecord) -> String {
    let mut notes = String::new();
    for anchor in &record.anchors {
        notes += &format!(
            "anchor @{}: probe {:.3}, after {} epochs of fine-tuning {:.3} ({:.1} s)\n",
            anchor.name, anchor.probe_macro_f1, anchor.epochs, anchor.tuned_macro_f1, anchor.seconds
        );
    }
    if record.anchors.is_empty() {
        notes +=
            "Probes favour depth: fine-tuning lifts shallow cuts more. --anchors 3 measures by how much.\n";
    }
    notes
}

/// `1.2 MB`.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..100_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.2} MB", count as f64 / 1e6),
    }
}

/// Milliseconds with three digits that count.
pub(crate) fn latency(milliseconds: f64) -> String {
    match milliseconds {
        time if time < 10.0 => format!("{time:.2}"),
        time if time < 100.0 => format!("{time:.1}"),
        time => format!("{time:.0}"),
    }
}
