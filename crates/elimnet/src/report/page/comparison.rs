//! Several runs in one table: what `elimnet compare` prints, to be sorted.

use super::classes::{f1_cell, f1_of};
use super::section;
use super::table::{Cell, Column, sortable};
use crate::report::detail::RunDetail;
use crate::report::markup::Element;
use crate::report::number::{duration, percent, short, three_digits};

/// Size, scores and times of each run.
pub(super) fn section_about(runs: &[&RunDetail]) -> Element {
    use Column::{Numbers, Words};
    let columns = [
        Words("Run"),
        Words("Network"),
        Numbers("Parameters"),
        Numbers("Layers"),
        Numbers("Multiply-adds"),
        Numbers("Test F1"),
        Numbers("Test accuracy"),
        Numbers("Validation F1"),
        Numbers("Train F1"),
        Numbers("ms an image"),
        Numbers("Epochs"),
        Numbers("Training time"),
    ];
    let introduction = "Empty means trained from scratch. Times an image are those that elimnet inference recorded; a \
                        dash where it has not been run.";
    let caption = "Runs by size, quality and time";
    section("comparison", "Size against quality", introduction).child(sortable(
        caption,
        &columns,
        runs.iter().map(|run| row(run)),
    ))
}

fn row(run: &RunDetail) -> (String, Vec<Cell>) {
    let summary = &run.summary;
    let test = summary.test.as_ref();
    let count = |count: f64| Cell::number(count, short(count));
    let cells = vec![
        Cell::words(run.result.label()),
        count(summary.parameters as f64),
        Cell::number(summary.layers as f64, summary.layers.to_string()),
        count(summary.multiply_adds as f64),
        Cell::score(test.map(|test| test.macro_f1)),
        Cell::known(test.map(|test| test.accuracy), percent),
        Cell::score(Some(summary.validation.macro_f1)),
        Cell::score(summary.train.map(|train| train.macro_f1)),
        Cell::known(run.latency_ms(), three_digits),
        Cell::number(summary.epochs as f64, summary.epochs.to_string()),
        Cell::number(summary.seconds, duration(summary.seconds)),
    ];
    (run.result.run.clone(), cells)
}

/// F1 of each class in each run, where all have the same classes.
pub(super) fn classes(runs: &[&RunDetail]) -> Option<Element> {
    let classes = &runs.first()?.summary.classes;
    let is_comparable = runs.iter().all(|run| run.summary.classes == *classes && run.summary.test.is_some());
    if !is_comparable {
        return None;
    }
    // Names of columns are ours; those of runs are numbers into the table above.
    const RUNS: [&str; 12] = [
        "Run 1", "Run 2", "Run 3", "Run 4", "Run 5", "Run 6", "Run 7", "Run 8", "Run 9", "Run 10", "Run 11",
        "Run 12",
    ];
    let shown = runs.iter().take(RUNS.len());
    let columns: Vec<Column> = std::iter::once(Column::Words("Class"))
        .chain(RUNS.iter().take(shown.len()).map(|name| Column::Numbers(name)))
        .collect();
    let row = |class: &String| (class.clone(), shown.clone().map(|run| f1_cell(f1_of(run, class))).collect());
    let introduction = "F1 of each class on the test images, the runs in the order in which they were given.";
    let rows: Vec<(String, Vec<Cell>)> = classes.iter().map(row).collect();
    Some(section("classes", "Class by class", introduction).child(sortable(
        "F1 of each class",
        &columns,
        rows,
    )))
}
