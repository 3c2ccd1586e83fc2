//! Tables that can be sorted by a click on a heading, or by the keyboard: the headings are buttons.

use super::scrolling;
use crate::report::markup::{Element, element};
use crate::report::number;

/// Names of more letters may take several lines.
const LONG: usize = 44;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Words(&'static str),
    Numbers(&'static str),
}

/// One value of a row.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    /// What to sort by where it is a number; an unknown one goes last.
    value: Option<f64>,
    bar: Option<f64>,
}

impl Cell {
    pub(super) fn words(text: impl Into<String>) -> Self {
        Self { text: text.into(), value: None, bar: None }
    }

    pub(super) fn number(value: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), value: Some(value), bar: None }
    }

    /// A score, or a dash.
    pub(super) fn score(value: Option<f64>) -> Self {
        Self::known(value, number::score)
    }

    pub(super) fn known(value: Option<f64>, text: impl Fn(f64) -> String) -> Self {
        value.map_or(Self::number(f64::NAN, "–"), |value| Self::number(value, text(value)))
    }

    /// With a bar as long as the share.
    pub(super) fn with_bar(self, share: f64) -> Self {
        Self { bar: Some(share), ..self }
    }

    fn drawn(self) -> Element {
        let cell = match self.value {
            None => element("td").class("words"),
            Some(value) if value.is_finite() => element("td").with("data-value", value),
            Some(_) => element("td").with("data-value", ""),
        };
        cell.text(self.text).children(self.bar.map(bar))
    }
}

fn bar(share: f64) -> Element {
    let rect = |width: f64| element("rect").with("width", format!("{width:.1}")).with("height", 8);
    element("svg")
        .class("bar")
        .with("viewBox", "0 0 80 8")
        .with("preserveAspectRatio", "none")
        .with("aria-hidden", "true")
        .child(rect(80.0))
        .child(rect(80.0 * share.clamp(0.0, 1.0)).class("part"))
}

/// A table whose first column names the rows.
pub(super) fn sortable(
    caption: &str,
    columns: &[Column],
    rows: impl IntoIterator<Item = (String, Vec<Cell>)>,
) -> Element {
    let heading = |column: &Column| {
        let (name, class) = match column {
            Column::Words(name) => (name, "words"),
            Column::Numbers(name) => (name, "number"),
        };
        let button = element("button").with("type", "button").text(name);
        element("th").with("scope", "col").with("aria-sort", "none").class(class).child(button)
    };
    let row = |(name, cells): (String, Vec<Cell>)| {
        let class = if name.chars().count() > LONG { "long" } else { "name" };
        let name = element("th").with("scope", "row").class(class).text(name);
        element("tr").child(name).children(cells.into_iter().map(Cell::drawn))
    };
    let head = element("thead").child(element("tr").children(columns.iter().map(heading)));
    let body = element("tbody").children(rows.into_iter().map(row));
    let table = element("table").child(element("caption").text(caption)).child(head).child(body);
    scrolling(caption, table)
}
