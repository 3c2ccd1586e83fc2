//! Points of cost against quality, and the frontier of those that nothing beats.

use super::plot::{Marker, Plot, class_of, line, place};
use crate::report::markup::{Element, element};

/// Something that has a cost and a quality.
#[derive(Clone, Debug)]
pub(in crate::report) struct Point {
    pub(in crate::report) series: usize,
    pub(in crate::report) marker: Marker,
    pub(in crate::report) x: f64,
    pub(in crate::report) y: f64,
    /// Ends of an interval of `y`.
    pub(in crate::report) interval: Option<(f64, f64)>,
    /// What to say about it.
    pub(in crate::report) name: String,
    /// Measured after fine-tuning, where the others are probed or predicted.
    pub(in crate::report) is_achieved: bool,
}

/// A chart of points.
#[derive(Clone, Debug)]
pub(in crate::report) struct PointChart {
    pub(in crate::report) plot: Plot,
    pub(in crate::report) points: Vec<Point>,
}

impl PointChart {
    pub(in crate::report) fn drawn(&self) -> Element {
        let places: Vec<(f64, f64)> = self.points.iter().map(|point| (point.x, point.y)).collect();
        let best = frontier(&places);
        let line = (best.len() > 1).then(|| self.steps(best.iter().map(|&index| places[index])));
        let points = self.points.iter().enumerate();
        let points = points.map(|(index, point)| point.drawn(&self.plot, best.contains(&index)));
        self.plot.drawn(line.into_iter().chain(points))
    }

    /// The frontier: from each point on, its quality is to be had.
    fn steps(&self, points: impl Iterator<Item = (f64, f64)>) -> Element {
        let mut path = String::new();
        for (x, y) in points {
            let (column, row) = (place(self.plot.column(x)), place(self.plot.row(y)));
            path += &if path.is_empty() { format!("M{column} {row}") } else { format!("H{column}V{row}") };
        }
        element("path").class("frontier").with("d", path)
    }
}

impl Point {
    fn drawn(&self, plot: &Plot, is_best: bool) -> Element {
        let (x, y) = (plot.column(self.x), plot.row(self.y));
        let whisker =
            self.interval.map(|(low, high)| line(x, plot.row(low), x, plot.row(high)).class("whisker"));
        let kind = match (self.is_achieved, is_best) {
            (true, _) => "point",
            (false, true) => "point open",
            (false, false) => "point open beaten",
        };
        let marker = self.marker.drawn(x, y).class(kind).child(element("title").text(&self.name));
        element("g")
            .class(class_of(self.series))
            .with("data-series", self.series)
            .children(whisker)
            .child(marker)
    }
}

/// Indices of the `(cost, quality)` that no other is at least as cheap and better than, or as good and cheaper; from
/// cheap to dear.
fn frontier(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len())
        .filter(|&index| points[index].0.is_finite() && points[index].1.is_finite())
        .collect();
    order.sort_by(|&a, &b| points[a].0.total_cmp(&points[b].0).then(points[b].1.total_cmp(&points[a].1)));
    let mut highest = f64::NEG_INFINITY;
    order.retain(|&index| {
        let is_better = points[index].1 > highest;
        highest = highest.max(points[index].1);
        is_better
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::{Scale, Size};

    #[test]
    fn the_frontier_is_what_nothing_beats() {
        for (points, expected) in [
            (&[(1.0, 0.5), (2.0, 0.4), (3.0, 0.6)][..], &[0, 2][..]),
            (&[(3.0, 0.6), (1.0, 0.5), (1.0, 0.55)], &[2, 0]),
            (&[(1.0, 0.5), (2.0, 0.5)], &[0]),
            (&[(1.0, f64::NAN), (2.0, 0.1)], &[1]),
            (&[], &[]),
        ] {
            assert_eq!(frontier(points), expected, "{points:?}");
        }
    }

    #[test]
    fn points_are_where_they_must_be() {
        let point = |x, y, interval| Point {
            series: 0,
            marker: Marker::Dot,
            x,
            y,
            interval,
            name: format!("F1 {y}"),
            is_achieved: true,
        };
        let plot = Plot {
            size: Size::Small,
            title: "F1 by parameters".to_owned(),
            description: String::new(),
            x: Scale::counting(0, 4),
            y: Scale::share([0.0, 1.0]).unwrap(),
            x_title: "parameters",
        };
        let points = vec![point(0.0, 0.0, None), point(2.0, 0.5, Some((0.25, 1.0))), point(4.0, 1.0, None)];
        let drawn = PointChart { plot, points }.drawn().to_string();
        // The frame of 360 x 250 leaves 46 to the left, 12 to the right, 10 above and 40 below.
        for place in ["cx=\"46\" cy=\"210\"", "cx=\"197\" cy=\"110\"", "cx=\"348\" cy=\"10\""] {
            assert!(drawn.contains(place), "{place} in {drawn}");
        }
        assert!(drawn.contains("d=\"M46 210H197V110H348V10\""), "{drawn}");
        assert!(drawn.contains("x1=\"197\" y1=\"160\" x2=\"197\" y2=\"10\""), "the interval: {drawn}");
    }
}
