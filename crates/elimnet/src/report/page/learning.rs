//! Learning curves: of one run on training and validation images, of several on validation images.

use std::ops::RangeInclusive;

use super::{panel, section};
use crate::report::chart::{Curve, Legend, LineChart, Marker, Plot, Scale, Size, legend};
use crate::report::detail::RunDetail;
use crate::report::markup::{Element, element};
use crate::report::number::{score, three_digits};
use crate::train::{EpochRecord, Scores};

/// What is drawn over the epochs.
struct Measure {
    name: &'static str,
    of: fn(&Scores) -> f64,
    is_share: bool,
}

const MEASURES: [Measure; 3] = [
    Measure { name: "Loss", of: |scores| scores.loss, is_share: false },
    Measure { name: "Accuracy", of: |scores| scores.accuracy, is_share: true },
    Measure { name: "Macro-F1", of: |scores| scores.macro_f1, is_share: true },
];

/// Curves of every measure and of the learning rate; nothing where no run has an epoch.
pub(super) fn section_about(runs: &[&RunDetail]) -> Option<Element> {
    let epochs = || runs.iter().flat_map(|run| run.history.iter().map(|record| record.epoch));
    let epochs = epochs().min()?..=epochs().max()?;
    let charts = MEASURES.iter().filter_map(|measure| scores(measure, runs, &epochs));
    let charts: Vec<Element> = charts.chain(learning_rate(runs, &epochs)).collect();
    let figure = element("figure").child(legend(entries(runs)));
    let figure = figure.child(element("div").class("charts pairs").children(charts));
    let introduction = match runs {
        [_] => {
            "Training scores are those of the network while it learned, on augmented images; validation scores are \
                from after the epoch. The ringed epoch is the one that was kept."
        }
        _ => "Scores on the validation images after each epoch. The ringed epoch is the one that was kept.",
    };
    let start = if *epochs.start() == 0 { " Epoch 0 is the start, before the first step." } else { "" };
    Some(section("learning", "Learning curves", &format!("{introduction}{start}")).child(figure))
}

fn entries(runs: &[&RunDetail]) -> Vec<Legend> {
    let entry = |(series, name): (usize, String)| Legend { series, name, marker: Marker::of(series) };
    let names: Vec<String> = match runs {
        [_] => vec!["validation".to_owned(), "training".to_owned()],
        _ => runs.iter().map(|run| run.result.run.clone()).collect(),
    };
    names.into_iter().enumerate().map(entry).collect()
}

fn scores(measure: &Measure, runs: &[&RunDetail], epochs: &RangeInclusive<usize>) -> Option<Element> {
    let curve = |series: usize, run: &RunDetail, split: &str, of: fn(&EpochRecord) -> Option<Scores>| {
        let named = |record: &EpochRecord| {
            let value = (measure.of)(&of(record)?);
            let name = format!("epoch {}, {split}: {}", record.epoch, score(value));
            value.is_finite().then_some((record.epoch as f64, value, name))
        };
        Curve {
            series,
            marker: Marker::of(series),
            points: run.history.iter().filter_map(named).collect(),
            band: Vec::new(),
            marked: run.history.iter().rposition(|record| record.best).filter(|_| split != "training"),
            is_secondary: split == "training",
            is_joined: true,
        }
    };
    let curves: Vec<Curve> = match runs {
        [run] => vec![
            curve(1, run, "training", |record| record.train),
            curve(0, run, "validation", |record| Some(record.validation)),
        ],
        _ => {
            let runs = runs.iter().enumerate();
            runs.map(|(series, run)| curve(series, run, &run.result.run, |record| Some(record.validation)))
                .collect()
        }
    };
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value, _)| *value));
    let y = if measure.is_share { Scale::share(values) } else { Scale::linear(values) }?;
    Some(panel(measure.name, chart(measure.name, y, curves, epochs)))
}

fn learning_rate(runs: &[&RunDetail], epochs: &RangeInclusive<usize>) -> Option<Element> {
    let curve = |(series, run): (usize, &&RunDetail)| Curve {
        series,
        marker: Marker::of(series),
        points: run
            .history
            .iter()
            .filter(|record| record.epoch > 0)
            .map(|record| {
                let rate = record.learning_rate;
                (record.epoch as f64, rate, format!("epoch {}: {}", record.epoch, three_digits(rate)))
            })
            .collect(),
        band: Vec::new(),
        marked: None,
        is_secondary: false,
        is_joined: true,
    };
    let curves: Vec<Curve> = runs.iter().enumerate().map(curve).collect();
    let rates = curves.iter().flat_map(|curve| curve.points.iter().map(|(_, rate, _)| *rate));
    let y = Scale::linear(rates.chain([0.0]))?;
    const NAME: &str = "Learning rate of the head";
    Some(panel(NAME, chart(NAME, y, curves, epochs)))
}

fn chart(name: &str, y: Scale, curves: Vec<Curve>, epochs: &RangeInclusive<usize>) -> Element {
    let plot = Plot {
        size: Size::Small,
        title: format!("{name} by epoch"),
        description: format!("{} curves over {} epochs", curves.len(), epochs.end()),
        x: Scale::counting(*epochs.start(), *epochs.end()),
        y,
        x_title: "epoch",
    };
    LineChart { plot, curves }.drawn()
}
