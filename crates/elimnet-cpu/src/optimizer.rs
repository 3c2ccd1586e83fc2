//! The update of the parameters and of their running average.

use elimnet_arch::TensorSpec;
use elimnet_engine::{EngineError, NamedTensor, Optimizer, OptimizerState, Step, Training};
use elimnet_kernels as kernels;

use crate::parameters::{Parameters, from_named, to_named};

/// What the optimizer remembers, by tensor; empty for tensors that it does not train.
#[derive(Debug)]
pub(crate) struct OptimizerBuffers {
    pub(crate) steps: u64,
    momentum: Vec<Vec<f32>>,
    variance: Vec<Vec<f32>>,
    trained: Vec<bool>,
}

impl OptimizerBuffers {
    pub(crate) fn new(training: &Training, specs: &[TensorSpec]) -> Self {
        let is_trained = |spec: &TensorSpec| spec.kind.is_parameter() && spec.block >= training.frozen_blocks;
        let trained: Vec<bool> = specs.iter().map(is_trained).collect();
        let zeros = |wanted: bool| {
            let len = |(spec, &trained): (&TensorSpec, &bool)| if trained && wanted { spec.len() } else { 0 };
            specs.iter().zip(&trained).map(|pair| vec![0.0; len(pair)]).collect()
        };
        let adam = matches!(training.optimizer, Optimizer::AdamW { .. });
        Self { steps: 0, momentum: zeros(true), variance: zeros(adam), trained }
    }

    /// Whether tensor `index` is trained.
    pub(crate) fn is_trained(&self, index: usize) -> bool {
        self.trained[index]
    }

    /// Bytes of what is remembered.
    pub(crate) fn bytes(&self) -> usize {
        self.momentum.iter().chain(&self.variance).map(|buffer| buffer.len() * size_of::<f32>()).sum()
    }

    /// Updates all trained tensors, and the running average of all; gives the norm of the gradients.
    pub(crate) fn step(
        &mut self,
        isa: kernels::Isa,
        training: &Training,
        step: &Step,
        parameters: &mut Parameters,
        gradients: &[Vec<f32>],
        mut average: Option<(&mut Parameters, f32)>,
    ) -> f32 {
        let norm = self.gradient_norm(isa, gradients);
        let scale = step.clip_norm.filter(|&limit| norm > limit).map_or(1.0, |limit| limit / norm);
        let steps = self.steps;
        self.steps += 1;
        let averages: Vec<Option<(&mut [f32], f32)>> = match &mut average {
            Some((average, decay)) => average.values.iter_mut().map(|v| Some((&mut v[..], *decay))).collect(),
            None => parameters.values.iter().map(|_| None).collect(),
        };
        let tensors = parameters.values.iter_mut().zip(&parameters.specs).zip(gradients).zip(averages);
        let buffers = self.momentum.iter_mut().zip(&mut self.variance).zip(&self.trained);
        let mut updates = Vec::new();
        for ((((values, spec), gradients), average), ((momentum, variance), trained)) in tensors.zip(buffers)
        {
            if !trained {
                average.into_iter().for_each(|(average, decay)| follow(average, values, decay));
                continue;
            }
            let learning_rate = step.learning_rates[training.groups[spec.block]];
            let rule = match training.optimizer {
                Optimizer::Sgd { nesterov } => kernels::Rule::Sgd {
                    settings: kernels::Sgd {
                        learning_rate,
                        momentum: step.momentum,
                        weight_decay: step.weight_decay,
                        nesterov,
                        first_step: steps == 0,
                    },
                    velocity: momentum,
                },
                Optimizer::AdamW { beta2, eps } => kernels::Rule::AdamW {
                    settings: kernels::AdamW {
                        learning_rate,
                        betas: [step.momentum, beta2],
                        epsilon: eps,
                        weight_decay: step.weight_decay,
                        step: steps + 1,
                    },
                    mean: momentum,
                    mean_square: variance,
                },
            };
            updates.push(kernels::Update { parameters: values, gradients, rule, average });
        }
        kernels::update(isa, updates, scale);
        norm
    }

    /// Norm of all trained tensors' gradients, summed in their order.
    fn gradient_norm(&self, isa: kernels::Isa, gradients: &[Vec<f32>]) -> f32 {
        let trained = gradients.iter().zip(&self.trained).filter(|(_, trained)| **trained);
        trained.map(|(gradient, _)| kernels::squared_norm(isa, gradient)).sum::<f64>().sqrt() as f32
    }

    pub(crate) fn state(&self, specs: &[TensorSpec], average: Option<&Parameters>) -> OptimizerState {
        let mut tensors = self.named(specs, "momentum.", &self.momentum);
        tensors.extend(self.named(specs, "variance.", &self.variance));
        if let Some(average) = average {
            let named = average.specs.iter().zip(&average.values);
            tensors.extend(named.map(|(spec, values)| to_named(spec, "average.", values)));
        }
        OptimizerState { steps: self.steps, tensors }
    }

    fn named(&self, specs: &[TensorSpec], prefix: &str, buffers: &[Vec<f32>]) -> Vec<NamedTensor> {
        let kept = specs.iter().zip(buffers).filter(|(_, buffer)| !buffer.is_empty());
        kept.map(|(spec, buffer)| to_named(spec, prefix, buffer)).collect()
    }

    /// Puts back what [`OptimizerBuffers::state`] gave.
    pub(crate) fn set_state(
        &mut self,
        specs: &[TensorSpec],
        state: &OptimizerState,
        average: Option<&mut Parameters>,
    ) -> Result<(), EngineError> {
        let momentum = restored(specs, "momentum.", &self.momentum, state)?;
        let variance = restored(specs, "variance.", &self.variance, state)?;
        if let Some(average) = average {
            let tensors = with_prefix(state, "average.");
            average.values = from_named(specs, "average.", &tensors)?;
        }
        self.steps = state.steps;
        self.momentum = momentum;
        self.variance = variance;
        Ok(())
    }
}

fn with_prefix(state: &OptimizerState, prefix: &str) -> Vec<NamedTensor> {
    state.tensors.iter().filter(|tensor| tensor.name.starts_with(prefix)).cloned().collect()
}

fn restored(
    specs: &[TensorSpec],
    prefix: &str,
    buffers: &[Vec<f32>],
    state: &OptimizerState,
) -> Result<Vec<Vec<f32>>, EngineError> {
    let kept: Vec<usize> = (0..buffers.len()).filter(|&index| !buffers[index].is_empty()).collect();
    let wanted = kept.iter().map(|&index| &specs[index]);
    let found = from_named(wanted, prefix, &with_prefix(state, prefix))?;
    let mut all = vec![Vec::new(); buffers.len()];
    kept.into_iter().zip(found).for_each(|(index, values)| all[index] = values);
    Ok(all)
}

/// `average = decay · average + (1 - decay) · current`
fn follow(average: &mut [f32], current: &[f32], decay: f32) {
    for (average, current) in average.iter_mut().zip(current) {
        *average = decay * *average + (1.0 - decay) * current;
    }
}
