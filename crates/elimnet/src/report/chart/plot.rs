//! The frame of a chart: size, axes, grid, titles; and the legend beside it.

use crate::report::chart::Scale;
use crate::report::markup::{Element, element};

/// How large a chart is drawn, in its own units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Size {
    /// Readable on a phone; several side by side on a desk.
    Small,
    /// As wide as the page.
    Wide,
}

impl Size {
    fn pixels(self) -> (f64, f64) {
        match self {
            Self::Small => (360.0, 250.0),
            Self::Wide => (760.0, 330.0),
        }
    }
}

/// A shape for those who can't tell the colours apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Marker {
    Dot,
    Square,
    Diamond,
    Triangle,
}

impl Marker {
    /// The shape of the series of that index.
    pub(in crate::report) fn of(series: usize) -> Self {
        [Self::Dot, Self::Square, Self::Triangle, Self::Diamond][series % 4]
    }

    /// Drawn around a place.
    pub(in crate::report) fn drawn(self, x: f64, y: f64) -> Element {
        let path = |path: String| element("path").with("d", path);
        match self {
            Self::Dot => element("circle").with("cx", place(x)).with("cy", place(y)).with("r", 4),
            Self::Square => path(format!("M{} {}h7v7h-7z", place(x - 3.5), place(y - 3.5))),
            Self::Diamond => path(format!("M{} {}l5 5l-5 5l-5 -5z", place(x), place(y - 5.0))),
            Self::Triangle => path(format!("M{} {}l5 8.5h-10z", place(x), place(y - 5.5))),
        }
    }
}

/// A chart before anything is drawn into it.
#[derive(Clone, Debug)]
pub(in crate::report) struct Plot {
    pub(in crate::report) size: Size,
    /// Names it for who can't see it.
    pub(in crate::report) title: String,
    /// What it shows, in a sentence.
    pub(in crate::report) description: String,
    pub(in crate::report) x: Scale,
    pub(in crate::report) y: Scale,
    pub(in crate::report) x_title: &'static str,
}

const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

impl Plot {
    /// Column of a value.
    pub(in crate::report) fn column(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (self.size.pixels().0 - LEFT - RIGHT)
    }

    /// Row of a value.
    pub(in crate::report) fn row(&self, value: f64) -> f64 {
        let height = self.size.pixels().1 - TOP - BOTTOM;
        TOP + (1.0 - self.y.place(value)) * height
    }

    /// The chart with `content` in its frame.
    pub(in crate::report) fn drawn(&self, content: impl IntoIterator<Item = Element>) -> Element {
        let (width, height) = self.size.pixels();
        let class = match self.size {
            Size::Small => "chart",
            Size::Wide => "chart wide",
        };
        element("svg")
            .class(class)
            .with("viewBox", format!("0 0 {width} {height}"))
            .with("role", "group") // an image would hide its points from screen readers
            .with("aria-label", &self.title)
            .child(element("title").text(&self.title))
            .child(element("desc").text(&self.description))
            .child(self.axes())
            .children(content)
    }

    fn axes(&self) -> Element {
        let (width, height) = self.size.pixels();
        let (right, bottom) = (width - RIGHT, height - BOTTOM);
        let rows = self.y.ticks().iter().flat_map(|tick| {
            let y = self.row(tick.value);
            let label = text(LEFT - 7.0, y + 3.8, &tick.label).with("text-anchor", "end");
            [line(LEFT, y, right, y), label]
        });
        let columns = self.x.ticks().iter().flat_map(|tick| {
            let x = self.column(tick.value);
            let label = text(x, bottom + 17.0, &tick.label).with("text-anchor", "middle");
            [line(x, bottom, x, bottom + 4.0).class("tick"), label]
        });
        let title = text((LEFT + right) / 2.0, height - 5.0, self.x_title).with("text-anchor", "middle");
        element("g")
            .class("axes")
            .with("aria-hidden", "true")
            .children(rows)
            .children(columns)
            .child(line(LEFT, bottom, right, bottom).class("base"))
            .child(title.class("axis-title"))
    }
}

/// A tenth of a unit is finer than any screen.
pub(super) fn place(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

pub(super) fn line(x1: f64, y1: f64, x2: f64, y2: f64) -> Element {
    let line = element("line").with("x1", place(x1)).with("y1", place(y1));
    line.with("x2", place(x2)).with("y2", place(y2))
}

fn text(x: f64, y: f64, text: &str) -> Element {
    element("text").with("x", place(x)).with("y", place(y)).text(text)
}

/// An entry of a legend.
#[derive(Clone, Debug)]
pub(in crate::report) struct Legend {
    pub(in crate::report) series: usize,
    pub(in crate::report) name: String,
    pub(in crate::report) marker: Marker,
}

/// Buttons that show and hide a series in all charts of the figure.
pub(in crate::report) fn legend(entries: impl IntoIterator<Item = Legend>) -> Element {
    let button = |entry: Legend| {
        let key =
            element("svg").class(format!("key {}", class_of(entry.series))).with("viewBox", "0 0 14 14");
        element("button")
            .with("type", "button")
            .with("aria-pressed", "true")
            .with("data-toggles", entry.series)
            .child(key.with("aria-hidden", "true").child(entry.marker.drawn(7.0, 7.0)))
            .text(entry.name)
    };
    element("div").class("legend").children(entries.into_iter().map(button))
}

/// Colours are the style sheet's; more series than colours start over, with other shapes.
pub(super) fn class_of(series: usize) -> String {
    format!("series s{}", series % 6 + 1)
}
