//! Which block learns how fast at which step.

use elimnet_arch::{EliminateError, Network};
use elimnet_engine::{Step, Training};

use super::config::TrainConfig;

/// Turns a configuration into the engine's settings for a training and for each of its steps.
///
/// Every block is a parameter group of its own, so that no schedule of the blocks needs another grouping.
#[derive(Clone, Debug)]
pub(crate) struct StepPlan {
    config: TrainConfig,
    /// Rate of each block over that of the head.
    factors: Vec<f64>,
    trunk_blocks: usize,
    frozen_blocks: usize,
    steps_per_epoch: usize,
}

impl StepPlan {
    /// # Errors
    /// If the network has no cut `freeze_until`.
    pub(crate) fn new(
        config: &TrainConfig,
        network: &Network,
        steps_per_epoch: usize,
    ) -> Result<Self, EliminateError> {
        let frozen_blocks = config.frozen_blocks(network)?;
        let trunk_blocks = network.blocks.len();
        let below_top = |block: usize| i32::try_from(trunk_blocks - 1 - block).unwrap_or(i32::MAX);
        let trunk =
            (0..trunk_blocks).map(|block| config.trunk_rate * config.layer_decay.powi(below_top(block)));
        let factors = trunk.chain(network.head.iter().map(|_| 1.0)).collect();
        Ok(Self { config: config.clone(), factors, trunk_blocks, frozen_blocks, steps_per_epoch })
    }

    /// Training batches an epoch.
    pub(crate) fn steps_per_epoch(&self) -> usize {
        self.steps_per_epoch
    }

    /// What the engine is told at the start.
    pub(crate) fn training(&self) -> Training {
        Training {
            optimizer: self.config.optimizer.into(),
            frozen_blocks: self.frozen_blocks,
            groups: (0..self.factors.len()).collect(),
            average_decay: self.config.average_decay,
        }
    }

    /// What the engine is told for batch `batch` of epoch `epoch`, both from 0.
    pub(crate) fn step(&self, epoch: usize, batch: usize) -> Step {
        let warmup = self.config.head_warmup_epochs;
        let (rates, trunk) = match epoch.checked_sub(warmup) {
            None => (self.warmup_rates(), 0.0),
            Some(epoch) => {
                let total = (self.config.epochs - warmup) * self.steps_per_epoch;
                let step = epoch * self.steps_per_epoch + batch;
                (self.scheduled(step, total), 1.0)
            }
        };
        let (learning_rate, momentum) = rates;
        let rate = |(block, factor): (usize, &f64)| {
            let trunk = if block < self.trunk_blocks { trunk } else { 1.0 };
            (learning_rate * factor * trunk) as f32
        };
        Step {
            learning_rates: self.factors.iter().enumerate().map(rate).collect(),
            momentum: momentum as f32,
            weight_decay: self.config.weight_decay as f32,
            clip_norm: self.config.clip_norm,
        }
    }

    fn warmup_rates(&self) -> (f64, f64) {
        (self.config.learning_rate, self.config.momentum)
    }

    fn scheduled(&self, step: usize, total: usize) -> (f64, f64) {
        let TrainConfig { schedule, learning_rate, momentum, .. } = self.config;
        let rates = schedule.at(step as u64, total.max(1) as u64, learning_rate, momentum);
        (rates.learning_rate, rates.momentum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Schedule;
    use elimnet_arch::zoo;

    fn config() -> TrainConfig {
        TrainConfig { epochs: 4, schedule: Schedule::Constant, learning_rate: 0.5, ..TrainConfig::default() }
    }

    fn plan(config: &TrainConfig) -> StepPlan {
        StepPlan::new(config, &zoo::resnet18(6), 10).unwrap()
    }

    #[test]
    fn trunk_and_depth_scale_the_rate() {
        let plan = plan(&TrainConfig { trunk_rate: 0.5, layer_decay: 0.5, ..config() });
        let rates = plan.step(0, 0).learning_rates;
        assert_eq!(rates.len(), 9 + 3, "nine trunk blocks, pool, flatten and classifier");
        assert_eq!(rates[9..], [0.5; 3]);
        assert_eq!(rates[7..9], [0.125, 0.25]);
        assert_eq!(rates[0], 0.25 / 256.0);
        assert_eq!(plan.training().groups, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn the_head_warms_up_alone_and_the_schedule_starts_after_it() {
        let schedule = Schedule::default();
        let plan = plan(&TrainConfig { head_warmup_epochs: 1, schedule, ..config() });
        let warm = plan.step(0, 9);
        assert_eq!((warm.learning_rates[0], warm.learning_rates[11], warm.momentum), (0.0, 0.5, 0.9));
        for (epoch, batch, step) in [(1, 0, 0), (2, 3, 13), (3, 9, 29)] {
            let expected = schedule.at(step, 30, 0.5, 0.9);
            let found = plan.step(epoch, batch);
            assert_eq!(found.learning_rates, [expected.learning_rate as f32; 12]);
            assert_eq!(found.momentum, expected.momentum as f32);
        }
    }

    #[test]
    fn freezing_counts_the_blocks_up_to_the_cut() {
        let until = |address: &str| TrainConfig { freeze_until: Some(address.to_owned()), ..config() };
        assert_eq!(plan(&until("layer2.1")).training().frozen_blocks, 5);
        assert_eq!(plan(&config()).training().frozen_blocks, 0);
        assert!(StepPlan::new(&until("layer9"), &zoo::resnet18(6), 10).is_err());
    }

    #[test]
    fn settings_of_a_step_are_passed_on() {
        let step = plan(&TrainConfig { weight_decay: 0.25, clip_norm: Some(2.0), ..config() }).step(0, 0);
        assert_eq!((step.weight_decay, step.clip_norm), (0.25, Some(2.0)));
    }
}
