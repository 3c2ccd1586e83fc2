//! `metrics.json`: classification metrics of scikit-learn; losses, schedules and optimizers of torch.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json;

/// Small inputs with what scikit-learn and torch make of them in f64.
#[derive(Clone, Debug, Deserialize)]
pub struct MetricGoldens {
    /// Accuracy, F1, confusion.
    pub classification: Vec<Classification>,
    /// Cross-entropy with label smoothing and logit adjustment.
    pub losses: Vec<Loss>,
    /// `OneCycleLR`, cosine.
    pub one_cycle: Vec<OneCycle>,
    /// SGD and AdamW on `0.5 * sum(curvature * x^2)`.
    pub optimizers: Vec<Descent>,
}

impl MetricGoldens {
    /// Reads the golden file.
    ///
    /// # Panics
    /// If it is missing or malformed.
    #[must_use]
    pub fn read() -> Self {
        json("metrics.json")
    }
}

/// Labels, predictions and their metrics, with 0 for what would be divided by 0.
#[derive(Clone, Debug, Deserialize)]
pub struct Classification {
    /// What the case is about.
    pub name: String,
    /// Number of classes; some have no image.
    pub classes: usize,
    /// True class of each image.
    pub truth: Vec<usize>,
    /// Predicted class of each image.
    pub predicted: Vec<usize>,
    /// Share that is right.
    pub accuracy: f64,
    /// Unweighted mean of `f1` over all `classes`, those without an image too.
    pub macro_f1: f64,
    /// Per class.
    pub precision: Vec<f64>,
    /// Per class.
    pub recall: Vec<f64>,
    /// Per class.
    pub f1: Vec<f64>,
    /// Images of each true class.
    pub support: Vec<u64>,
    /// `[true class][predicted class]`.
    pub confusion: Vec<Vec<u64>>,
}

/// Mean cross-entropy of `logits + tau * ln(prior)`, the prior being each class's share of `class_counts`.
#[derive(Clone, Debug, Deserialize)]
pub struct Loss {
    /// What the case is about.
    pub name: String,
    /// Number of classes.
    pub classes: usize,
    /// Label of each row.
    pub labels: Vec<usize>,
    /// `[labels.len(), classes]`; the loss and its gradient are of exactly these, in f64.
    pub logits: Vec<f32>,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// Training images of each class; `None` is no adjustment.
    pub class_counts: Option<Vec<u64>>,
    /// Strength of the adjustment.
    pub tau: f64,
    /// Mean over the rows.
    pub loss: f64,
    /// Of `loss` by `logits`.
    pub gradient: Vec<f64>,
}

/// A OneCycle schedule.
#[derive(Clone, Debug, Deserialize)]
pub struct OneCycle {
    /// Optimizer steps.
    pub total_steps: usize,
    /// The peak.
    pub max_lr: f64,
    /// Share of the steps in which the rate rises.
    pub pct_start: f64,
    /// Whether the momentum moves, from 0.95 to 0.85 and back; else it is 0.9.
    pub cycle_momentum: bool,
    /// The first rate is `max_lr / div_factor`; torch's default where `None`.
    pub div_factor: Option<f64>,
    /// The last rate is the first over `final_div_factor`; torch's default where `None`.
    pub final_div_factor: Option<f64>,
    /// The rate that each step uses.
    pub rates: Vec<f64>,
    /// The momentum that each step uses.
    pub momenta: Vec<f64>,
}

/// An optimizer at work on four independent parabolas.
#[derive(Clone, Debug, Deserialize)]
pub struct Descent {
    /// `SGD` or `AdamW`.
    pub optimizer: String,
    /// torch's arguments: `lr`, `momentum`, `weight_decay`, `nesterov`, `betas`, `eps`.
    pub options: BTreeMap<String, serde_json::Value>,
    /// The gradient is `curvature * x`.
    pub curvature: Vec<f64>,
    /// The first `x`.
    pub start: Vec<f64>,
    /// `x` after each step.
    pub path: Vec<Vec<f64>>,
}

impl Descent {
    /// A numeric option; 0 where torch's default is 0 and it is not given.
    #[must_use]
    pub fn option(&self, name: &str) -> f64 {
        self.options.get(name).and_then(serde_json::Value::as_f64).unwrap_or(0.0)
    }

    /// The two betas of AdamW.
    ///
    /// # Panics
    /// If the optimizer has none.
    #[must_use]
    pub fn betas(&self) -> [f64; 2] {
        let values = self.options["betas"].as_array().expect("`betas` is a list");
        [0, 1].map(|index| values[index].as_f64().expect("a beta is a number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula;

    #[test]
    fn confusion_adds_up_to_the_images() {
        for case in MetricGoldens::read().classification {
            let rows: Vec<u64> = case.confusion.iter().map(|row| row.iter().sum()).collect();
            assert_eq!(rows, case.support, "{}", case.name);
            assert_eq!(rows.iter().sum::<u64>(), case.truth.len() as u64, "{}", case.name);
        }
    }

    #[test]
    fn gradients_of_a_softmax_add_up_to_nothing() {
        for case in MetricGoldens::read().losses {
            assert_eq!(case.gradient.len(), case.labels.len() * case.classes, "{}", case.name);
            assert_eq!(case.logits.len(), case.gradient.len(), "{}", case.name);
            for row in case.gradient.chunks(case.classes) {
                assert!(row.iter().sum::<f64>().abs() < 1e-12, "{}", case.name);
            }
        }
    }

    /// `serde_json` without its `float_roundtrip` feature may read an f64 one unit in the last place off; an f32 in
    /// its shortest decimals it reads exactly.
    #[test]
    fn logits_are_read_to_the_bit() {
        for case in MetricGoldens::read().losses.iter().filter(|case| case.name != "large logits") {
            let logits: Vec<f32> = formula::tensor("logits", &[20]).into_iter().map(|v| 2.0 * v).collect();
            assert_eq!(case.logits, logits, "{}", case.name);
        }
    }

    #[test]
    fn schedules_peak_at_the_maximum() {
        for case in MetricGoldens::read().one_cycle {
            assert_eq!((case.rates.len(), case.momenta.len()), (case.total_steps, case.total_steps));
            assert!(case.rates.iter().all(|rate| *rate <= case.max_lr * (1.0 + 1e-12)));
        }
    }

    #[test]
    fn the_first_step_of_plain_descent_is_the_gradient_times_the_rate() {
        let cases = MetricGoldens::read().optimizers;
        let plain =
            cases.iter().find(|case| case.option("momentum") == 0.0).expect("a case without momentum");
        for (index, start) in plain.start.iter().enumerate() {
            let expected = start - plain.option("lr") * plain.curvature[index] * start;
            assert!((plain.path[0][index] - expected).abs() < 1e-15);
        }
        let adamw = cases.iter().find(|case| case.optimizer == "AdamW").expect("a case of AdamW");
        assert_eq!(adamw.betas(), [0.9, 0.999]);
    }
}
