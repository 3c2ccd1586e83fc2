//! Curves over a common axis, with a band around them where there is an interval.

use super::plot::{Marker, Plot, class_of, line, place};
use crate::report::markup::{Element, element};

/// Markers on a line, about.
const MARKERS: usize = 10;

/// A line through points.
#[derive(Clone, Debug)]
pub(in crate::report) struct Curve {
    pub(in crate::report) series: usize,
    pub(in crate::report) marker: Marker,
    /// `x`, `y` and what to say about it.
    pub(in crate::report) points: Vec<(f64, f64, String)>,
    /// `x`, low and high ends of an interval.
    pub(in crate::report) band: Vec<(f64, f64, f64)>,
    /// Index of the point to ring.
    pub(in crate::report) marked: Option<usize>,
    /// Drawn dashed, with hollow markers.
    pub(in crate::report) is_secondary: bool,
    /// With a line through its points.
    pub(in crate::report) is_joined: bool,
}

/// A chart of curves.
#[derive(Clone, Debug)]
pub(in crate::report) struct LineChart {
    pub(in crate::report) plot: Plot,
    pub(in crate::report) curves: Vec<Curve>,
}

impl LineChart {
    pub(in crate::report) fn drawn(&self) -> Element {
        self.plot.drawn(self.curves.iter().map(|curve| curve.drawn(&self.plot)))
    }
}

impl Curve {
    fn drawn(&self, plot: &Plot) -> Element {
        let class = if self.is_secondary { " secondary" } else { "" };
        let group = element("g")
            .class(format!("{}{class}", class_of(self.series)))
            .with("data-series", self.series)
            .children(self.band(plot))
            .children(self.is_joined.then(|| self.path(plot)));
        group.children(self.points.iter().enumerate().map(|(index, (x, y, name))| {
            let marker = self.marker.drawn(plot.column(*x), plot.row(*y)).child(element("title").text(name));
            // Of many points a few are drawn, to tell the shape; each is still there to be pointed at.
            let is_drawn = index.is_multiple_of(self.points.len().div_ceil(MARKERS));
            let mut class = if is_drawn { "point" } else { "point fine" }.to_owned();
            if self.marked == Some(index) {
                class += " marked";
            }
            marker.class(class)
        }))
    }

    fn path(&self, plot: &Plot) -> Element {
        let mut path = String::new();
        for (index, (x, y, _)) in self.points.iter().enumerate() {
            let letter = if index == 0 { "M" } else { "L" };
            path += &format!("{letter}{} {}", place(plot.column(*x)), place(plot.row(*y)));
        }
        element("path").class("line").with("d", path)
    }

    fn band(&self, plot: &Plot) -> Option<Element> {
        if self.band.len() < 2 {
            return self.band.first().map(|&(x, low, high)| {
                let x = plot.column(x);
                line(x, plot.row(low), x, plot.row(high)).class("whisker")
            });
        }
        let there = self.band.iter().map(|&(x, _, high)| (x, high));
        let back = self.band.iter().rev().map(|&(x, low, _)| (x, low));
        let corner = |(x, y): (f64, f64)| format!("{},{}", place(plot.column(x)), place(plot.row(y)));
        let corners: Vec<String> = there.chain(back).map(corner).collect();
        Some(element("polygon").class("band").with("points", corners.join(" ")))
    }
}
