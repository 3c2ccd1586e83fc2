//! Quality against cost: parameters, multiply-adds, time, each with the frontier of what nothing beats.

use super::{panel, section};
use crate::report::chart::{Legend, Marker, Plot, Point, PointChart, Scale, Size, legend};
use crate::report::detail::RunDetail;
use crate::report::markup::{Element, element};
use crate::report::number::{score, short, three_digits};

/// A network with what it costs and how good it is.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) series: usize,
    pub(super) name: String,
    pub(super) macro_f1: f64,
    pub(super) interval: Option<(f64, f64)>,
    pub(super) parameters: f64,
    pub(super) multiply_adds: f64,
    pub(super) latency_ms: Option<f64>,
    /// Measured after fine-tuning, where others are predicted.
    pub(super) is_achieved: bool,
}

/// A cost that an axis shows.
struct Cost {
    name: &'static str,
    of: fn(&Candidate) -> Option<f64>,
}

const COSTS: [Cost; 3] = [
    Cost { name: "Parameters", of: |candidate| Some(candidate.parameters) },
    Cost { name: "Time for one image, ms", of: |candidate| candidate.latency_ms },
    Cost { name: "Multiply-adds", of: |candidate| Some(candidate.multiply_adds) },
];

/// Test F1 of runs against what they cost; nothing for one alone.
pub(super) fn of_runs(runs: &[&RunDetail]) -> Option<Element> {
    let candidate = |(series, run): (usize, &&RunDetail)| Candidate {
        series,
        name: run.result.run.clone(),
        macro_f1: run.macro_f1(),
        interval: None,
        parameters: run.summary.parameters as f64,
        multiply_adds: run.summary.multiply_adds as f64,
        latency_ms: run.latency_ms(),
        is_achieved: true,
    };
    let candidates: Vec<Candidate> = runs.iter().enumerate().map(candidate).collect();
    let names: Vec<String> = runs.iter().map(|run| run.result.run.clone()).collect();
    let introduction = "Macro-F1 against what it costs. The dotted line joins the runs that no other beats at their \
                        price.";
    let figure = figure(&candidates, &names)?;
    Some(section("pareto", "What a smaller network gives up", introduction).child(figure))
}

/// A chart for each cost that two or more have; `names` are those of the series.
pub(super) fn figure(candidates: &[Candidate], names: &[String]) -> Option<Element> {
    let charts: Vec<Element> = COSTS.iter().filter_map(|cost| chart(cost, candidates)).collect();
    if charts.is_empty() {
        return None;
    }
    let entry =
        |(series, name): (usize, &String)| Legend { series, name: name.clone(), marker: Marker::of(series) };
    let legend = (names.len() > 1).then(|| legend(names.iter().enumerate().map(entry)));
    Some(element("figure").children(legend).child(element("div").class("charts").children(charts)))
}

fn chart(cost: &Cost, candidates: &[Candidate]) -> Option<Element> {
    let points: Vec<Point> = candidates.iter().filter_map(|candidate| point(cost, candidate)).collect();
    if points.len() < 2 {
        return None;
    }
    let ends = points.iter().flat_map(|point| point.interval.into_iter().flat_map(|(low, high)| [low, high]));
    let plot = Plot {
        size: Size::Small,
        title: format!("Macro-F1 against {}", cost.name.to_lowercase()),
        description: format!("{} networks; further up is better, further left is cheaper", points.len()),
        x: Scale::logarithmic(points.iter().map(|point| point.x))?,
        y: Scale::share(points.iter().map(|point| point.y).chain(ends))?,
        x_title: cost.name,
    };
    Some(panel(cost.name, PointChart { plot, points }.drawn()))
}

fn point(cost: &Cost, candidate: &Candidate) -> Option<Point> {
    let x = (cost.of)(candidate).filter(|cost| *cost > 0.0 && cost.is_finite())?;
    Some(Point {
        series: candidate.series,
        marker: Marker::of(candidate.series),
        x,
        y: candidate.macro_f1,
        interval: candidate.interval,
        name: candidate.description(),
        is_achieved: candidate.is_achieved,
    })
    .filter(|point| point.y.is_finite())
}

impl Candidate {
    fn description(&self) -> String {
        let interval = self.interval.map(|(low, high)| format!(" ({} to {})", score(low), score(high)));
        let latency = self.latency_ms.map(|ms| format!(", {} ms", three_digits(ms)));
        format!(
            "{}: F1 {}{}, {} parameters, {} multiply-adds{}",
            self.name,
            score(self.macro_f1),
            interval.unwrap_or_default(),
            short(self.parameters),
            short(self.multiply_adds),
            latency.unwrap_or_default()
        )
    }
}
