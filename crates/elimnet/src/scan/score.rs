//! All scores of one cut from its features.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Interval, macro_f1_of};
use super::features::CutFeatures;
use super::logme::logme;
use super::moments::Moments;
use super::neighbours::without_training;
use super::probe::{LinearHead, Probe, Trainer};
use super::record::ProbeScores;

/// Classes of the images.
#[derive(Clone, Debug)]
pub(crate) struct Labels {
    pub(crate) train: Vec<usize>,
    pub(crate) validation: Vec<usize>,
    pub(crate) classes: usize,
}

/// What the features after one block are worth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Scored {
    pub(crate) probe: ProbeScores,
    pub(crate) knn_accuracy: f64,
    pub(crate) class_mean_accuracy: f64,
    pub(crate) logme: Option<f64>,
    pub(crate) head: LinearHead,
    /// What the probe says about each validation image.
    pub(crate) predicted: Vec<usize>,
    /// What probes that never saw it say about each training image.
    pub(crate) left_out: Vec<usize>,
}

impl Scored {
    fn of(features: &CutFeatures, labels: &Labels, seed: u64) -> Self {
        let CutFeatures { train, validation } = features;
        let classes = labels.classes;
        let moments = Moments::of(train);
        let Probe { head, left_out, .. } =
            Trainer::new(train, &labels.train, classes, &moments, seed).probe();
        let predicted = head.predict(validation);
        let [neighbours, means] = without_training(train, &labels.train, classes, validation, &moments, seed);
        let logme = logme(train, &labels.train, classes, &moments);
        Self {
            probe: probe_scores(&labels.validation, &predicted, classes, seed),
            knn_accuracy: accuracy(&labels.validation, &neighbours),
            class_mean_accuracy: accuracy(&labels.validation, &means),
            logme: logme.is_finite().then_some(logme),
            head,
            predicted,
            left_out,
        }
    }
}

/// Accuracy and macro-F1 with its interval.
fn probe_scores(labels: &[usize], predicted: &[usize], classes: usize, seed: u64) -> ProbeScores {
    let all: Vec<usize> = (0..labels.len()).collect();
    let macro_f1 = |images: &[usize]| macro_f1_of(images, labels, predicted, classes);
    let Interval { low, high } = Interval::of(Bootstrap::new(labels, seed).scores(macro_f1));
    ProbeScores { accuracy: accuracy(labels, predicted), macro_f1: macro_f1(&all), low, high }
}

pub(crate) fn accuracy(labels: &[usize], predicted: &[usize]) -> f64 {
    let right = labels.iter().zip(predicted).filter(|(label, predicted)| label == predicted).count();
    right as f64 / labels.len().max(1) as f64
}

/// Scores every cut, widest features first, on several threads, which change nothing.
pub(crate) fn score_all(features: &[CutFeatures], labels: &Labels, seed: u64, workers: usize) -> Vec<Scored> {
    let mut order: Vec<usize> = (0..features.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(features[index].train.columns));
    let next = AtomicUsize::new(0);
    let claim = || order.get(next.fetch_add(1, Ordering::Relaxed)).copied();
    let work = || -> Vec<(usize, Scored)> {
        std::iter::from_fn(claim).map(|index| (index, Scored::of(&features[index], labels, seed))).collect()
    };
    let threads = crate::data::worker_count(workers).min(features.len().max(1));
    let mut scored = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().expect("scoring finite features does not panic"))
            .collect::<Vec<_>>()
    });
    scored.sort_by_key(|(index, _)| *index);
    scored.into_iter().map(|(_, scored)| scored).collect()
}
