//! What the command line's settings mean: they win over the data YAML, and that over the library's defaults.

use elimnet::data::{DataConfig, Policy};
use elimnet::train::{CheckpointEvery, OneCycle, OptimizerConfig, Schedule, Select, TrainConfig};

use crate::args::{OptimizerName, RecipeArgs, ScheduleName, SelectName};
use crate::failure::hinted;

/// The data configuration with what was asked for.
pub(crate) fn data(config: DataConfig, args: &RecipeArgs) -> anyhow::Result<DataConfig> {
    let augment = args.augment.as_deref().map(Policy::by_name).transpose()?;
    Ok(DataConfig {
        image_size: args.image_size.map_or(config.image_size, |size| size as usize),
        batch_size: args.batch_size.unwrap_or(config.batch_size),
        epochs: args.epochs.unwrap_or(config.epochs),
        validation_ratio: args.validation_ratio.or(config.validation_ratio),
        learning_rate: args.learning_rate.map_or(config.learning_rate, |rate| rate as f32),
        augment_train: augment.unwrap_or(config.augment_train),
        ..config
    })
}

/// The settings of the training.
pub(crate) fn training(data: &DataConfig, args: &RecipeArgs) -> anyhow::Result<TrainConfig> {
    let default = TrainConfig::default();
    let config = TrainConfig {
        epochs: data.epochs,
        batch_size: data.batch_size,
        learning_rate: args.learning_rate.unwrap_or_else(|| shortest(data.learning_rate)),
        schedule: schedule(args),
        optimizer: optimizer(args)?,
        momentum: args.momentum.unwrap_or(default.momentum),
        weight_decay: args.weight_decay.unwrap_or(default.weight_decay),
        label_smoothing: args.label_smoothing.unwrap_or(default.label_smoothing),
        logit_adjustment: args.logit_adjustment,
        average_decay: args.ema,
        freeze_until: args.freeze_until.clone(),
        head_warmup_epochs: args.head_warmup.unwrap_or(default.head_warmup_epochs),
        trunk_rate: args.trunk_rate.unwrap_or(default.trunk_rate),
        layer_decay: args.layer_decay.unwrap_or(default.layer_decay),
        patience: args.patience,
        clip_norm: args.clip_norm,
        select: match args.select {
            Some(SelectName::Loss) | None => Select::ValidationLoss,
            Some(SelectName::MacroF1) => Select::MacroF1,
        },
        seed: args.seed.unwrap_or(default.seed),
        workers: args.workers,
        cache_bytes: args.cache.map_or(default.cache_bytes, |mebibytes| mebibytes.saturating_mul(1 << 20)),
        checkpoint_every: match &args.checkpoint_every {
            Some(text) => checkpoint_every(text)?,
            None => default.checkpoint_every,
        },
        distillation: None,
    };
    config.validate()?;
    Ok(config)
}

/// The number that an f32 was written as: 0.1, not 0.10000000149.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

fn schedule(args: &RecipeArgs) -> Schedule {
    let cycle = OneCycle::default();
    let warmup = args.warmup.unwrap_or(cycle.warmup);
    match args.schedule {
        Some(ScheduleName::OneCycle) | None => Schedule::OneCycle(OneCycle { warmup, ..cycle }),
        Some(ScheduleName::Cosine) => Schedule::Cosine { warmup },
        Some(ScheduleName::Constant) => Schedule::Constant,
    }
}

fn optimizer(args: &RecipeArgs) -> anyhow::Result<OptimizerConfig> {
    match (args.optimizer, args.nesterov) {
        (Some(OptimizerName::Adamw), true) => {
            Err(hinted("--nesterov is a form of SGD's momentum", "leave it out with --optimizer adamw"))
        }
        (Some(OptimizerName::Adamw), false) => Ok(OptimizerConfig::adamw()),
        (Some(OptimizerName::Sgd) | None, nesterov) => Ok(OptimizerConfig::Sgd { nesterov }),
    }
}

/// `10` minutes or `50s` steps.
fn checkpoint_every(text: &str) -> anyhow::Result<CheckpointEvery> {
    let steps = text.strip_suffix('s').map(|steps| steps.parse().ok().map(CheckpointEvery::Steps));
    let parsed = steps.unwrap_or_else(|| text.parse().ok().map(CheckpointEvery::Minutes));
    parsed.ok_or_else(|| {
        hinted(
            format!("--checkpoint-every is `{text}`, expected minutes or steps"),
            "10 means every ten minutes, 50s every fifty steps",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: RecipeArgs) -> anyhow::Result<TrainConfig> {
        let data = data(DataConfig::new("photos".into()), &args)?;
        training(&data, &args)
    }

    #[test]
    fn the_command_line_wins_over_the_data_configuration() {
        let defaults = config(RecipeArgs::default()).expect("valid");
        assert_eq!((defaults.epochs, defaults.batch_size, defaults.learning_rate), (20, 64, 0.01));
        let args = RecipeArgs { epochs: Some(3), learning_rate: Some(0.02), ..RecipeArgs::default() };
        let config = config(args).expect("valid");
        assert_eq!((config.epochs, config.batch_size, config.learning_rate), (3, 64, 0.02));
    }

    #[test]
    fn checkpoints_are_by_minutes_or_steps() {
        let every = |text| checkpoint_every(text).ok();
        assert_eq!(every("2.5"), Some(CheckpointEvery::Minutes(2.5)));
        assert_eq!(every("50s"), Some(CheckpointEvery::Steps(50)));
        assert_eq!([every("s"), every("often"), every("1.5s")], [None, None, None]);
    }

    #[test]
    fn contradictions_and_values_out_of_range_are_refused() {
        let adamw = Some(OptimizerName::Adamw);
        assert!(config(RecipeArgs { optimizer: adamw, nesterov: true, ..RecipeArgs::default() }).is_err());
        assert!(config(RecipeArgs { learning_rate: Some(-1.0), ..RecipeArgs::default() }).is_err());
        assert!(config(RecipeArgs { augment: Some("mirror".to_owned()), ..RecipeArgs::default() }).is_err());
    }
}
