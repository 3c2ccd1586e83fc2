//! A scan as bars in the terminal: macro-F1 by depth, its interval shaded, the knee marked.

use anstyle::{AnsiColor, Style};
use elimnet::scan::{CutRecord, ScanRecord};

/// Columns where neither the terminal nor COLUMNS says how many there are.
const WIDTH: usize = 100;

/// Columns of the terminal.
pub(super) fn width() -> usize {
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    asked.or_else(terminal).unwrap_or(WIDTH).clamp(40, 200)
}

/// Bars of the plain cuts, no line wider than `width`.
pub(super) fn draw(record: &ScanRecord, width: usize) -> String {
    let cuts: Vec<&CutRecord> = record.plain_cuts().collect();
    let names = cuts.iter().map(|cut| cut.name.chars().count()).max().unwrap_or(0).min(width / 3);
    // Name, space, bar, space, `0.123`, ` < knee`.
    let columns = width.saturating_sub(names + 1 + 1 + 5 + 7).max(10);
    let highest = cuts.iter().map(|cut| cut.probe.high.max(cut.expected_macro_f1())).fold(0.0, f64::max);
    let scale = if highest > 0.5 { 1.0 } else { 0.5 };
    let mut text = format!(
        "macro-F1 by depth, 0 to {scale}: the probe and its 95 % interval{}\n",
        if record.anchors.is_empty() { "" } else { ", ◆ predicted after fine-tuning" }
    );
    for cut in cuts {
        let knee = record.knee.as_ref() == Some(&cut.name);
        let colour = if knee { AnsiColor::Green } else { AnsiColor::Cyan };
        let style = Style::new().fg_color(Some(colour.into()));
        let name: String = cut.name.chars().take(names).collect();
        let bar = bar(cut, columns, scale);
        let mark = if knee { " < knee" } else { "" };
        text += &format!("{name:<names$} {style}{bar}{style:#} {:.3}{mark}\n", cut.probe.macro_f1);
    }
    text
}

/// Full up to the low end of the interval, then ever lighter up to its high end.
fn bar(cut: &CutRecord, columns: usize, scale: f64) -> String {
    let place = |value: f64| (value / scale * columns as f64).round() as usize;
    let [low, value, high] = [cut.probe.low, cut.probe.macro_f1, cut.probe.high].map(place);
    let predicted = cut.predicted_macro_f1.map(|predicted| place(predicted.value).max(1) - 1);
    let cell = |column: usize| match column {
        _ if predicted == Some(column) => '◆',
        _ if column < low => '█',
        _ if column < value => '▓',
        _ if column < high => '░',
        _ => ' ',
    };
    (0..columns).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use elimnet::scan::{Estimate, ProbeScores};

    fn cut(name: &str, macro_f1: f64, predicted: Option<f64>) -> CutRecord {
        CutRecord {
            name: name.to_owned(),
            index: 0,
            out_channels: 8,
            parameters: 1,
            multiply_adds: 1,
            file_bytes: 1,
            peak_activation_bytes: 1,
            latency_ms: [(1, 0.5)].into(),
            probe: ProbeScores { accuracy: 0.5, macro_f1, low: macro_f1 - 0.1, high: macro_f1 + 0.1 },
            knn_accuracy: 0.5,
            class_mean_accuracy: 0.5,
            logme: None,
            predicted_macro_f1: predicted.map(|value| Estimate { value, low: value, high: value }),
            dropped: Vec::new(),
            tail: None,
        }
    }

    #[test]
    fn bars_end_where_the_interval_does() {
        assert_eq!(bar(&cut("a", 0.5, None), 10, 1.0), "████▓░    ");
        assert_eq!(bar(&cut("a", 0.5, Some(0.9)), 10, 1.0), "████▓░  ◆ ");
        assert_eq!(bar(&cut("a", 0.2, None), 10, 0.5), "██▓▓░░    ");
    }

    #[test]
    fn no_line_is_wider_than_asked_for() {
        let cuts = vec![cut("features.1.0", 0.2, None), cut(&"long".repeat(20), 0.85, Some(0.99))];
        let record = serde_json::json!({
            "backbone": "net", "image_size": 32, "images": 9, "seconds": 1.0, "forward_seconds": 1.0,
            "probe_seconds": 1.0, "cached": false, "train_images": 6, "validation_images": 3, "classes": [],
            "device": "cpu", "weights_from": "scratch", "knee": "features.1.0", "cuts": cuts,
        });
        let record: ScanRecord = serde_json::from_value(record).expect("a record");
        for width in [40, 80, 120] {
            let text = anstream::adapter::strip_str(&draw(&record, width)).to_string();
            let lines = text.lines().skip(1);
            assert!(lines.clone().all(|line| line.chars().count() <= width), "{width}\n{text}");
            assert_eq!(lines.filter(|line| line.ends_with("< knee")).count(), 1, "{text}");
        }
    }
}
