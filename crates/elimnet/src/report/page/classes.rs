//! How well each class is told from the others, and which is taken for which.

use super::table::{Cell, Column, sortable};
use super::{scrolling, section};
use crate::evaluate::{ClassMetrics, Confusion};
use crate::report::detail::RunDetail;
use crate::report::markup::{Element, element};
use crate::report::number::{percent, score};
use crate::train::TestScores;

/// Beyond so many classes the matrix is no picture any more.
const LARGEST_MATRIX: usize = 40;

/// Pairs of classes to name.
const PAIRS: usize = 12;

/// Both tables; nothing where there are no test images.
pub(super) fn section_about(run: &RunDetail) -> Option<Element> {
    let test = run.summary.test.as_ref()?;
    let classes = &run.summary.classes;
    let introduction = "Precision is the share of the predictions of a class that are right, recall the share of its \
                        images that are found, F1 their harmonic mean. All on test images.";
    let part = section("classes", "Class by class", introduction).child(table(test));
    let heading = element("h3").text("Which class is taken for which");
    let part = part.child(heading);
    Some(if classes.len() <= LARGEST_MATRIX {
        let legend = "Each row is a class as it is, each column what the network said. A cell has the number of \
                      images; its shade is their share of the row, blue where they are right, orange where not.";
        part.child(element("p").text(legend)).child(matrix(classes, &test.confusion))
    } else {
        part.child(pairs(classes, &test.confusion))
    })
}

fn table(test: &TestScores) -> Element {
    use Column::{Numbers, Words};
    let columns = [Words("Class"), Numbers("Precision"), Numbers("Recall"), Numbers("F1"), Numbers("Images")];
    let row = |(class, metrics): (&String, &ClassMetrics)| {
        let ClassMetrics { precision, recall, f1, support } = *metrics;
        let cells = vec![
            Cell::score(Some(precision)),
            Cell::score(Some(recall)),
            Cell::score(Some(f1)).with_bar(f1),
            Cell::number(support as f64, support.to_string()),
        ];
        (class.clone(), cells)
    };
    sortable("Precision, recall and F1 of each class", &columns, test.per_class.iter().map(row))
}

fn matrix(classes: &[String], confusion: &Confusion) -> Element {
    let column = |class: &String| element("th").with("scope", "col").text(class);
    let corner = element("th").with("scope", "col").text("is ↓  taken for →");
    let head = element("thead").child(element("tr").child(corner).children(classes.iter().map(column)));
    let rows = classes.iter().zip(confusion.rows()).enumerate().map(|(truth, (class, counts))| {
        let total: u64 = counts.iter().sum();
        let cell = |(predicted, &count): (usize, &u64)| cell(truth == predicted, count, total);
        let name = element("th").with("scope", "row").text(class);
        element("tr").child(name).children(counts.iter().enumerate().map(cell))
    });
    let caption = "Confusion matrix";
    // Names that are long or many stand upright.
    let is_dense = classes.len() > 10 || classes.iter().any(|class| class.chars().count() > 12);
    let class = if is_dense { "confusion dense" } else { "confusion" };
    let table = element("table").class(class).child(element("caption").text(caption)).child(head);
    scrolling(caption, table.child(element("tbody").children(rows)))
}

fn cell(is_right: bool, count: u64, total: u64) -> Element {
    if count == 0 {
        return element("td").class("zero").text("·");
    }
    let share = count as f64 / total as f64;
    // What is there at all has a shade.
    let shade = (share * 8.0).round().clamp(1.0, 8.0);
    let class = format!("{}{shade}", if is_right { "d" } else { "w" });
    element("td").class(class).with("title", format!("{} of the row", percent(share))).text(count)
}

fn pairs(classes: &[String], confusion: &Confusion) -> Element {
    let columns = [
        Column::Words("Class"),
        Column::Words("Taken for"),
        Column::Numbers("Images"),
        Column::Numbers("Share"),
    ];
    let row = |(truth, predicted, count): (usize, usize, u64)| {
        let share = count as f64 / confusion.rows()[truth].iter().sum::<u64>().max(1) as f64;
        let cells = vec![
            Cell::words(&classes[predicted]),
            Cell::number(count as f64, count.to_string()),
            Cell::number(share, percent(share)),
        ];
        (classes[truth].clone(), cells)
    };
    let caption = format!("The most frequent confusions of {} classes", classes.len());
    sortable(&caption, &columns, worst(confusion).into_iter().take(PAIRS).map(row))
}

/// `(truth, predicted, images)` of what is wrong, the most frequent first.
pub(super) fn worst(confusion: &Confusion) -> Vec<(usize, usize, u64)> {
    let rows = confusion.rows().iter().enumerate();
    let cells =
        rows.flat_map(|(truth, row)| row.iter().enumerate().map(move |(p, &count)| (truth, p, count)));
    let mut wrong: Vec<_> = cells.filter(|&(truth, p, count)| truth != p && count > 0).collect();
    wrong.sort_by_key(|&(_, _, count)| std::cmp::Reverse(count));
    wrong
}

/// F1 of a class in a run.
pub(super) fn f1_of(run: &RunDetail, class: &str) -> Option<f64> {
    run.summary.test.as_ref()?.per_class.get(class).map(|metrics| metrics.f1)
}

/// For a cell that has one.
pub(super) fn f1_cell(value: Option<f64>) -> Cell {
    Cell::known(value, score)
}
