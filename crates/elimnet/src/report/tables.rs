//! The seed's tables: eliminated networks beside uncut ones, and beside networks from scratch.

use std::fmt::Write;

use serde::Serialize;

use super::run::{Origin, RunResult};
use crate::train::Scores;

/// Runs that are shown together, as a table of results and one of times.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What is compared with what.
    pub title: &'static str,
    /// The runs, in the order in which they were given.
    pub runs: Vec<RunResult>,
}

/// The seed's two comparisons, each without the tables that would have no row of their own.
///
/// Eliminated networks are in both, uncut pretrained ones in the first, networks from scratch in the second.
pub fn comparisons(records: &[RunResult]) -> Vec<Comparison> {
    let comparison = |title, other: Origin| {
        let shown =
            |record: &&RunResult| matches!(record.origin, Origin::Eliminated) || record.origin == other;
        let runs: Vec<RunResult> = records.iter().filter(shown).cloned().collect();
        Comparison { title, runs }
    };
    let has = |origin| records.iter().any(|record| record.origin == origin);
    let mut comparisons = Vec::new();
    if has(Origin::Pretrained) || !has(Origin::Scratch) {
        comparisons.push(comparison("ELimNet vs Pretrained Models", Origin::Pretrained));
    }
    if has(Origin::Scratch) {
        comparisons.push(comparison("ELimNet vs Empty Models", Origin::Scratch));
    }
    comparisons
}

impl Comparison {
    /// Both tables as Markdown.
    pub fn markdown(&self) -> String {
        format!(
            "### {title} (Train)\n\n{}\n### {title} (Inference)\n\n{}",
            self.train_table(),
            self.inference_table(),
            title = self.title
        )
    }

    /// Parameters, layers, loss, accuracy and F1.
    pub fn train_table(&self) -> String {
        let columns = ["", "# of Parameters", "# of Layers", "Epochs", "Train", "Validation", "Test F1"];
        let rows = self.runs.iter().map(|run| {
            vec![
                run.label(),
                parameters(run.parameters),
                run.layers.to_string(),
                run.epochs.to_string(),
                run.train.as_ref().map_or_else(absent, scores),
                scores(&run.validation),
                run.test.map_or_else(absent, |test| format!("{:.3}", test.macro_f1)),
            ]
        });
        markdown(&columns, rows)
    }

    /// Parameters, layers and times.
    pub fn inference_table(&self) -> String {
        let columns = [
            "",
            "# of Parameters",
            "# of Layers",
            "CPU times (sec)",
            "Device time (sec)",
            "Test Inference Time (sec)",
            "Images",
        ];
        let rows = self.runs.iter().map(|run| {
            let seconds = |value: Option<f64>| value.map_or_else(absent, |value| format!("{value:.3}"));
            let timing = run.timing.as_ref();
            vec![
                run.label(),
                parameters(run.parameters),
                run.layers.to_string(),
                seconds(timing.map(|timing| timing.cpu_seconds)),
                seconds(timing.map(|timing| timing.device_seconds)),
                seconds(timing.map(|timing| timing.total_seconds)),
                timing.map_or_else(absent, |timing| timing.images.to_string()),
            ]
        });
        markdown(&columns, rows)
    }
}

impl RunResult {
    /// The network as the seed's tables name it.
    pub fn label(&self) -> String {
        match self.origin {
            Origin::Pretrained => format!("Pretrained {}", self.model),
            Origin::Eliminated => self.model.clone(),
            Origin::Scratch => format!("Empty {}", self.model),
        }
    }
}

fn absent() -> String {
    "-".to_owned()
}

/// Millions with two digits, as the seed's: `0.68M`; as they are where that would say nothing.
fn parameters(count: usize) -> String {
    if count < 10_000 {
        return count.to_string();
    }
    format!("{:.2}M", count as f64 / 1e6)
}

fn scores(scores: &Scores) -> String {
    let Scores { loss, accuracy, macro_f1 } = scores;
    format!("Loss: {loss:.3}<br>Acc: {:.2}%<br>F1: {macro_f1:.3}", accuracy * 100.0)
}

fn markdown(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = format!("| {} |\n|---{}|\n", columns.join(" | "), "|---:".repeat(columns.len() - 1));
    for cells in rows {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        writeln!(table, "| {} |", cells.join(" | ")).expect("writing to a text does not fail");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Timing;

    fn record(model: &str, origin: Origin) -> RunResult {
        let scores = |loss| Scores { loss, accuracy: 0.78901, macro_f1: 0.7564 };
        RunResult {
            run: format!("run_{model}"),
            model: model.to_owned(),
            origin,
            parameters: 683_846,
            layers: 37,
            epochs: 20,
            train: Some(scores(0.4474)),
            validation: scores(0.712),
            test: Some(scores(0.9)),
            timing: None,
        }
    }

    fn labels(comparison: &Comparison) -> Vec<String> {
        comparison.runs.iter().map(RunResult::label).collect()
    }

    #[test]
    fn eliminated_networks_are_in_both_comparisons() {
        let records = [
            record("resnet18", Origin::Pretrained),
            record("resnet18@layer2.1", Origin::Eliminated),
            record("small", Origin::Scratch),
        ];
        let found = comparisons(&records);
        assert_eq!(labels(&found[0]), ["Pretrained resnet18", "resnet18@layer2.1"]);
        assert_eq!(labels(&found[1]), ["resnet18@layer2.1", "Empty small"]);
        assert_eq!(comparisons(&records[..2]).len(), 1, "nothing from scratch");
        assert_eq!(labels(&comparisons(&records[2..])[0]), ["Empty small"]);
        assert_eq!(labels(&comparisons(&records[1..2])[0]), ["resnet18@layer2.1"]);
    }

    #[test]
    fn tables_have_the_columns_of_the_seed() {
        let mut run = record("resnet18@layer2.1", Origin::Eliminated);
        run.timing = Some(Timing {
            device: "cpu".to_owned(),
            precision: None,
            threads: 2,
            batch_size: 32,
            image_size: 128,
            images: 431,
            cpu_seconds: 3.0,
            device_seconds: 1.6,
            seconds_per_image: 0.0037,
            total_seconds: 2.25,
        });
        let comparison = Comparison { title: "ELimNet vs Pretrained Models", runs: vec![run] };
        assert_eq!(
            comparison.markdown(),
            "### ELimNet vs Pretrained Models (Train)\n\n\
             |  | # of Parameters | # of Layers | Epochs | Train | Validation | Test F1 |\n\
             |---|---:|---:|---:|---:|---:|---:|\n\
             | resnet18@layer2.1 | 0.68M | 37 | 20 | Loss: 0.447<br>Acc: 78.90%<br>F1: 0.756 | \
             Loss: 0.712<br>Acc: 78.90%<br>F1: 0.756 | 0.756 |\n\n\
             ### ELimNet vs Pretrained Models (Inference)\n\n\
             |  | # of Parameters | # of Layers | CPU times (sec) | Device time (sec) | Test Inference Time (sec) | Images |\n\
             |---|---:|---:|---:|---:|---:|---:|\n\
             | resnet18@layer2.1 | 0.68M | 37 | 3.000 | 1.600 | 2.250 | 431 |\n"
        );
    }
}
