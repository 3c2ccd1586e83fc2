//! Settings of a training. The defaults are the seed's recipe.

use std::path::PathBuf;

use elimnet_arch::{EliminateError, Network};
use elimnet_engine::Optimizer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schedule::Schedule;

/// Everything that decides what a training does to the weights, beside network, data and starting weights.
///
/// ```
/// use elimnet::train::TrainConfig;
///
/// let config = TrainConfig { epochs: 20, label_smoothing: 0.1, ..TrainConfig::default() };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Highest learning rate (the seed's `INIT_LR`).
    pub learning_rate: f64,
    /// How the rate moves.
    pub schedule: Schedule,
    /// The update rule.
    pub optimizer: OptimizerConfig,
    /// Momentum of SGD and beta1 of AdamW, for schedules that leave it alone; one cycle has its own.
    pub momentum: f64,
    /// L2 penalty of SGD, decoupled decay of AdamW.
    pub weight_decay: f64,
    /// Share of every target that is spread over all classes, 0..1.
    pub label_smoothing: f32,
    /// Strength `tau` of logit adjustment for rare classes; none where it is `None`.
    pub logit_adjustment: Option<f32>,
    /// Decay a step of the running average of the weights, which is then what is validated and saved.
    pub average_decay: Option<f32>,
    /// Cut (as [`elimnet_arch::Network::find_cut`] takes it) up to and with which nothing is trained.
    pub freeze_until: Option<String>,
    /// Epochs at the start in which the head alone has a rate: the highest one, constant. The schedule spans the rest.
    pub head_warmup_epochs: usize,
    /// Rate of the trunk's last block over that of the head.
    pub trunk_rate: f64,
    /// Rate of each trunk block over that of the block above it.
    pub layer_decay: f64,
    /// Epochs without a better one after which the training ends.
    pub patience: Option<usize>,
    /// Largest norm of all gradients together.
    pub clip_norm: Option<f32>,
    /// What is best.
    pub select: Select,
    /// Seed of everything that is drawn: order of the images, augmentation, dropout, initial weights.
    pub seed: u64,
    /// Threads that decode images; as many as there are cores where it is `None`. Does not change the result.
    pub workers: Option<usize>,
    /// Bytes of prepared images to keep in memory. Does not change the result.
    pub cache_bytes: usize,
    /// When to write a checkpoint in the middle of an epoch. Does not change the result.
    pub checkpoint_every: CheckpointEvery,
    /// A trained network to imitate beside the labels; none where it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
}

/// Imitation of a trained network of the same classes (Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// The model file of the network that is imitated; it sees the same augmented images.
    pub teacher: PathBuf,
    /// Divides both networks' logits: above 1 the teacher's small probabilities count more.
    pub temperature: f64,
    /// Share of the imitation in the loss, 0..1; the labels have the rest.
    pub weight: f64,
}

impl Distillation {
    /// Temperature 4 and half of the loss.
    #[must_use]
    pub fn of(teacher: PathBuf) -> Self {
        Self { teacher, temperature: 4.0, weight: 0.5 }
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_size: 64,
            learning_rate: 0.01,
            schedule: Schedule::default(),
            optimizer: OptimizerConfig::default(),
            momentum: 0.9,
            weight_decay: 0.0,
            label_smoothing: 0.0,
            logit_adjustment: None,
            average_decay: None,
            freeze_until: None,
            head_warmup_epochs: 0,
            trunk_rate: 1.0,
            layer_decay: 1.0,
            patience: None,
            clip_norm: None,
            select: Select::default(),
            seed: 0,
            workers: None,
            cache_bytes: 1 << 30,
            checkpoint_every: CheckpointEvery::default(),
            distillation: None,
        }
    }
}

/// Which update rule, with torch's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// `torch.optim.SGD`.
    Sgd {
        /// Nesterov's form of the momentum.
        nesterov: bool,
    },
    /// `torch.optim.AdamW`.
    AdamW {
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        eps: f32,
    },
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Sgd { nesterov: false }
    }
}

impl OptimizerConfig {
    /// AdamW with torch's constants.
    #[must_use]
    pub fn adamw() -> Self {
        Self::AdamW { beta2: 0.999, eps: 1e-8 }
    }
}

impl From<OptimizerConfig> for Optimizer {
    fn from(config: OptimizerConfig) -> Self {
        match config {
            OptimizerConfig::Sgd { nesterov } => Self::Sgd { nesterov },
            OptimizerConfig::AdamW { beta2, eps } => Self::AdamW { beta2, eps },
        }
    }
}

/// The measure by which one epoch is better than another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The lowest loss on the validation images (the seed's).
    #[default]
    ValidationLoss,
    /// The highest macro-F1 on the validation images.
    MacroF1,
}

/// When a checkpoint is written beside the one at the end of every epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointEvery {
    /// Not at all.
    Epoch,
    /// After so many minutes since the last one.
    Minutes(f64),
    /// After so many steps of an epoch.
    Steps(usize),
}

impl Default for CheckpointEvery {
    fn default() -> Self {
        Self::Minutes(10.0)
    }
}

/// A setting out of its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{setting} is {found}, expected {expected}")]
pub struct ConfigError {
    /// Name of the field.
    pub setting: &'static str,
    /// What would do.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

/// A setting that two trainings do not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field.
    pub setting: String,
    /// What it was.
    pub before: String,
    /// What it is now.
    pub now: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} was {} and is now {}", self.setting, self.before, self.now)
    }
}

/// Settings that may change between a run and its continuation.
const WITHOUT_EFFECT: [&str; 3] = ["workers", "cache_bytes", "checkpoint_every"];

impl TrainConfig {
    /// Checks every setting that has a range.
    ///
    /// # Errors
    /// The first setting that is out of it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = |setting, value: f64| check(setting, "more than 0", value, |v| v > 0.0);
        let fraction = |setting, value: f64| check(setting, "0 to 1", value, |v| (0.0..=1.0).contains(&v));
        let decay = |setting, value: f64| check(setting, "0 or more and less than 1", value, is_decay);
        positive("epochs", self.epochs as f64)?;
        positive("batch_size", self.batch_size as f64)?;
        positive("learning_rate", self.learning_rate)?;
        decay("momentum", self.momentum)?;
        check("weight_decay", "0 or more", self.weight_decay, |v| v >= 0.0)?;
        fraction("label_smoothing", self.label_smoothing.into())?;
        check("trunk_rate", "0 or more", self.trunk_rate, |v| v >= 0.0)?;
        fraction("layer_decay", self.layer_decay)?;
        check("logit_adjustment", "0 or more", self.logit_adjustment.map_or(0.0, f64::from), |v| v >= 0.0)?;
        decay("average_decay", self.average_decay.map_or(0.0, f64::from))?;
        positive("clip_norm", self.clip_norm.map_or(1.0, f64::from))?;
        positive("patience", self.patience.map_or(1.0, |patience| patience as f64))?;
        positive("workers", self.workers.map_or(1.0, |workers| workers as f64))?;
        let most = self.epochs - 1;
        check("head_warmup_epochs", "fewer than all epochs", self.head_warmup_epochs as f64, |v| {
            v <= most as f64
        })?;
        self.validate_schedule()?;
        if let Some(distillation) = &self.distillation {
            positive("temperature", distillation.temperature)?;
            fraction("weight", distillation.weight)?;
        }
        match self.checkpoint_every {
            CheckpointEvery::Epoch => Ok(()),
            CheckpointEvery::Minutes(minutes) => positive("checkpoint_every", minutes),
            CheckpointEvery::Steps(steps) => positive("checkpoint_every", steps as f64),
        }
    }

    fn validate_schedule(&self) -> Result<(), ConfigError> {
        let warmup = match self.schedule {
            Schedule::Constant => return Ok(()),
            Schedule::Cosine { warmup } => warmup,
            Schedule::OneCycle(cycle) => {
                check("first_divisor", "more than 0", cycle.first_divisor, |v| v > 0.0)?;
                check("final_divisor", "more than 0", cycle.final_divisor, |v| v > 0.0)?;
                check("base_momentum", "0 or more and less than 1", cycle.base_momentum, is_decay)?;
                check("max_momentum", "0 or more and less than 1", cycle.max_momentum, is_decay)?;
                cycle.warmup
            }
        };
        check("warmup", "0 or more and less than 1", warmup, is_decay)
    }

    /// Number of the lowest blocks of `network` that are not trained.
    ///
    /// # Errors
    /// If it has no cut `freeze_until`.
    pub(crate) fn frozen_blocks(&self, network: &Network) -> Result<usize, EliminateError> {
        self.freeze_until.as_deref().map_or(Ok(0), |address| Ok(network.find_cut(address)? + 1))
    }

    /// Settings in which `self` is not `before`, but for those without an effect on the result.
    #[must_use]
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        let (before, now) = (fields(before), fields(self));
        let differs = |(name, value): &(String, Value)| {
            let before =
                before.iter().find(|(other, _)| other == name).map_or(&Value::Null, |(_, value)| value);
            let counts = before != value && !WITHOUT_EFFECT.contains(&name.as_str());
            counts.then(|| Difference {
                setting: name.clone(),
                before: before.to_string(),
                now: value.to_string(),
            })
        };
        now.iter().filter_map(differs).collect()
    }
}

fn is_decay(value: f64) -> bool {
    (0.0..1.0).contains(&value)
}

fn check(
    setting: &'static str,
    expected: &'static str,
    value: f64,
    fits: impl Fn(f64) -> bool,
) -> Result<(), ConfigError> {
    if value.is_finite() && fits(value) {
        return Ok(());
    }
    Err(ConfigError { setting, expected, found: value.to_string() })
}

fn fields(config: &TrainConfig) -> Vec<(String, Value)> {
    match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields.into_iter().collect(),
        other => unreachable!("a configuration is an object of plain values, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::OneCycle;

    #[test]
    fn the_default_is_the_recipe_of_the_seed() {
        let config = TrainConfig::default();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!((config.learning_rate, config.momentum, config.batch_size), (0.01, 0.9, 64));
        assert_eq!(config.schedule, Schedule::OneCycle(OneCycle { warmup: 0.05, ..OneCycle::default() }));
        assert_eq!(config.optimizer, OptimizerConfig::Sgd { nesterov: false });
        assert_eq!(config.select, Select::ValidationLoss);
    }

    #[test]
    fn a_file_changes_what_it_names() {
        let text =
            r#"{"epochs": 3, "optimizer": {"adamw": {"beta2": 0.99, "eps": 1e-7}}, "select": "macro_f1"}"#;
        let config: TrainConfig = serde_json::from_str(text).unwrap();
        let optimizer = OptimizerConfig::AdamW { beta2: 0.99, eps: 1e-7 };
        let expected =
            TrainConfig { epochs: 3, optimizer, select: Select::MacroF1, ..TrainConfig::default() };
        assert_eq!(config, expected);
        let again: TrainConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn a_misspelt_setting_is_an_error() {
        let error = serde_json::from_str::<TrainConfig>(r#"{"epoch": 3}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `epoch`"), "{error}");
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let base = TrainConfig::default;
        let distilled = |temperature, weight| TrainConfig {
            distillation: Some(Distillation { teacher: "best.safetensors".into(), temperature, weight }),
            ..base()
        };
        let cycle = |cycle| TrainConfig { schedule: Schedule::OneCycle(cycle), ..base() };
        for (config, setting) in [
            (TrainConfig { epochs: 0, ..base() }, "epochs"),
            (TrainConfig { batch_size: 0, ..base() }, "batch_size"),
            (TrainConfig { learning_rate: 0.0, ..base() }, "learning_rate"),
            (TrainConfig { learning_rate: f64::NAN, ..base() }, "learning_rate"),
            (TrainConfig { momentum: 1.0, ..base() }, "momentum"),
            (TrainConfig { weight_decay: -0.1, ..base() }, "weight_decay"),
            (TrainConfig { label_smoothing: 1.5, ..base() }, "label_smoothing"),
            (TrainConfig { logit_adjustment: Some(-1.0), ..base() }, "logit_adjustment"),
            (TrainConfig { average_decay: Some(1.0), ..base() }, "average_decay"),
            (TrainConfig { trunk_rate: f64::INFINITY, ..base() }, "trunk_rate"),
            (TrainConfig { layer_decay: 1.1, ..base() }, "layer_decay"),
            (TrainConfig { clip_norm: Some(0.0), ..base() }, "clip_norm"),
            (TrainConfig { patience: Some(0), ..base() }, "patience"),
            (TrainConfig { workers: Some(0), ..base() }, "workers"),
            (TrainConfig { epochs: 2, head_warmup_epochs: 2, ..base() }, "head_warmup_epochs"),
            (TrainConfig { checkpoint_every: CheckpointEvery::Steps(0), ..base() }, "checkpoint_every"),
            (TrainConfig { schedule: Schedule::Cosine { warmup: 1.0 }, ..base() }, "warmup"),
            (distilled(0.0, 0.5), "temperature"),
            (distilled(2.0, 1.5), "weight"),
            (cycle(OneCycle { first_divisor: 0.0, ..OneCycle::default() }), "first_divisor"),
            (cycle(OneCycle { max_momentum: 1.0, ..OneCycle::default() }), "max_momentum"),
        ] {
            assert_eq!(config.validate().map_err(|error| error.setting), Err(setting));
        }
    }

    #[test]
    fn differences_name_the_setting_and_both_values() {
        let before = TrainConfig::default();
        let now = TrainConfig {
            learning_rate: 0.1,
            clip_norm: Some(1.0),
            workers: Some(7),
            checkpoint_every: CheckpointEvery::Epoch,
            ..before.clone()
        };
        let found: Vec<String> = now.differences(&before).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["learning_rate was 0.01 and is now 0.1", "clip_norm was null and is now 1.0"]);
        assert!(before.differences(&before).is_empty());
    }
}
