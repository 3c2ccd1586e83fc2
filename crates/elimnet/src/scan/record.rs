//! What a scan found, in the form that other tools rely on: a line of `elimnet scan --format json`, and `scan.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bootstrap::Interval;

/// One backbone at one image size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanRecord {
    /// The backbone, as it was named.
    pub backbone: String,
    /// Side of the images.
    pub image_size: usize,
    /// Images that were looked at: training and validation.
    pub images: usize,
    /// Time for everything.
    pub seconds: f64,
    /// Time of that for the passes over the images, reading them included; 0 where the features were kept from before.
    pub forward_seconds: f64,
    /// Time of that for probes, neighbours and intervals.
    pub probe_seconds: f64,
    /// Whether the features were kept from an earlier scan.
    pub cached: bool,
    /// Images to train the probes on.
    pub train_images: usize,
    /// Images that the scores are about.
    pub validation_images: usize,
    /// Class names in the order of the labels.
    pub classes: Vec<String>,
    /// Name of the device.
    pub device: String,
    /// Type of the numbers that it stores activations as.
    #[serde(default)]
    pub precision: String,
    /// What the weights were.
    pub weights_from: String,
    /// Name of the cut behind which more computation brings the least (see [`knee`](super::knee)).
    pub knee: Option<String>,
    /// Every cut from the stem up; after them, where they were asked for, networks without a block and with a tail.
    pub cuts: Vec<CutRecord>,
    /// Short fine-tunes that the predictions rest on, from shallow to deep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<AnchorRecord>,
}

/// One network that can be made of the backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutRecord {
    /// Name of the last kept block.
    pub name: String,
    /// Index of that block in the uncut network.
    pub index: usize,
    /// Channels that leave it.
    pub out_channels: usize,
    /// Trained numbers of the cut network with one Linear.
    pub parameters: usize,
    /// Its multiply-adds for one image.
    pub multiply_adds: u64,
    /// Bytes of its model file.
    pub file_bytes: u64,
    /// Most bytes of f32 activations alive at once for one image.
    pub peak_activation_bytes: usize,
    /// Median time in milliseconds by number of images at once, measured.
    pub latency_ms: BTreeMap<usize, f64>,
    /// The linear probe on the validation images.
    pub probe: ProbeScores,
    /// Accuracy of the ten nearest neighbours' vote.
    pub knn_accuracy: f64,
    /// Accuracy of the nearest class mean.
    pub class_mean_accuracy: f64,
    /// Evidence of the training labels; nothing where the features are degenerate.
    pub logme: Option<f64>,
    /// What a fine-tune is expected to come to, where there were anchors.
    pub predicted_macro_f1: Option<Estimate>,
    /// Blocks that were dropped inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// The fresh convolution on top. The scores are those of the cut below it: what a convolution that has not been
    /// trained adds, only a fine-tune can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
}

/// How good a probe is on images that it was not fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeScores {
    /// Share classified right.
    pub accuracy: f64,
    /// Mean F1 of the classes.
    pub macro_f1: f64,
    /// 2.5th percentile of the bootstrapped macro-F1.
    pub low: f64,
    /// 97.5th percentile of it.
    pub high: f64,
}

/// A number with the 95 % interval around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    pub(crate) fn new(value: f64, interval: Interval) -> Self {
        Self { value, low: interval.low, high: interval.high }
    }
}

/// A short fine-tune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnchorRecord {
    /// Name of the last kept block.
    pub name: String,
    /// Index of that block.
    pub index: usize,
    /// Epochs that it was fine-tuned for.
    pub epochs: usize,
    /// Macro-F1 of its probe on the validation images.
    pub probe_macro_f1: f64,
    /// Macro-F1 after fine-tuning, on the same images.
    pub tuned_macro_f1: f64,
    /// Time of the fine-tune.
    pub seconds: f64,
}

impl ScanRecord {
    /// The cuts alone, from the stem up: without dropped blocks and tails.
    pub fn plain_cuts(&self) -> impl Iterator<Item = &CutRecord> {
        self.cuts.iter().filter(|cut| cut.is_plain())
    }
}

impl CutRecord {
    /// Whether it is the backbone up to a block and nothing else.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.dropped.is_empty() && self.tail.is_none()
    }

    /// What it is behind the `@` of its backbone: `layer3.1~layer2.1+conv:480x1`.
    #[must_use]
    pub fn address(&self) -> String {
        let dropped: String = self.dropped.iter().map(|block| format!("~{block}")).collect();
        let tail = self.tail.as_ref().map(|tail| format!("+{tail}")).unwrap_or_default();
        format!("{}{dropped}{tail}", self.name)
    }

    /// The macro-F1 to rank by: predicted where there is a prediction, else the probe's.
    #[must_use]
    pub fn expected_macro_f1(&self) -> f64 {
        self.predicted_macro_f1.map_or(self.probe.macro_f1, |predicted| predicted.value)
    }
}
