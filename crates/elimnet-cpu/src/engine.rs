//! The engine: parameters, optimizer and passes behind the interface.

use std::time::Duration;

use elimnet_arch::Network;
use elimnet_engine::{
    Engine, EngineError, Images, Matrix, NamedTensor, OptimizerState, PassTimes, Precision, Step, Training,
    Weights,
};
use elimnet_kernels::Bf16;

use crate::CpuDevice;
use crate::margin::undecided;
use crate::optimizer::OptimizerBuffers;
use crate::parameters::Parameters;
use crate::passes::{Change, Passes, PassesOf};
use crate::stages::Extras;

/// A network on the CPU; see [`Engine`].
#[derive(Debug)]
pub struct CpuEngine {
    device: CpuDevice,
    network: Network,
    parameters: Parameters,
    average: Option<Parameters>,
    selected: Weights,
    passes: Box<dyn Passes>,
    /// Inference in f32 for what bf16 leaves undecided; prepared when it is needed.
    exact: Option<PassesOf<f32>>,
    trainer: Option<Trainer>,
}

/// What training adds.
#[derive(Debug)]
struct Trainer {
    settings: Training,
    gradients: Vec<Vec<f32>>,
    has_gradients: bool,
    optimizer: OptimizerBuffers,
}

impl CpuEngine {
    pub(crate) fn new(device: CpuDevice, network: Network) -> Self {
        let passes: Box<dyn Passes> = match device.precision {
            Precision::F32 => Box::new(PassesOf::<f32>::new(device.clone())),
            Precision::Bf16 => Box::new(PassesOf::<Bf16>::new(device.clone())),
        };
        Self {
            device,
            parameters: Parameters::new(&network),
            network,
            average: None,
            selected: Weights::Current,
            passes,
            exact: None,
            trainer: None,
        }
    }

    fn check_channels(&self, images: &Images) -> Result<(), EngineError> {
        let (expected, found) = (self.network.input_channels, images.channels);
        if expected == found { Ok(()) } else { Err(EngineError::Channels { expected, found }) }
    }

    fn selected_parameters(&self) -> &Parameters {
        selected(self.selected, &self.parameters, self.average.as_ref())
    }

    fn run_inference(
        &mut self,
        images: &Images,
        extras: Extras<'_>,
    ) -> Result<(Matrix, Vec<Matrix>), EngineError> {
        self.check_channels(images)?;
        let parameters = selected(self.selected, &self.parameters, self.average.as_ref());
        self.passes.infer(&self.network, parameters, images, extras)
    }

    /// [`Engine::infer`] in f32, whatever the device's precision.
    fn infer_exactly(&mut self, images: &Images) -> Result<Matrix, EngineError> {
        let parameters = selected(self.selected, &self.parameters, self.average.as_ref());
        let exact = self.exact.get_or_insert_with(|| PassesOf::new(self.device.clone()));
        Ok(exact.infer(&self.network, parameters, images, Extras::default())?.0)
    }

    fn tensors_changed(&mut self, change: Change) {
        self.passes.tensors_changed(change);
        self.exact = None;
    }
}

/// What inference uses.
fn selected<'a>(
    weights: Weights,
    current: &'a Parameters,
    average: Option<&'a Parameters>,
) -> &'a Parameters {
    match weights {
        Weights::Averaged => average.unwrap_or(current),
        Weights::Current => current,
    }
}

const NOT_TRAINING: EngineError = EngineError::OutOfOrder("training was not started");

impl Engine for CpuEngine {
    fn network(&self) -> &Network {
        &self.network
    }

    fn infer(&mut self, images: &Images) -> Result<Matrix, EngineError> {
        Ok(self.run_inference(images, Extras::default())?.0)
    }

    fn classify(&mut self, images: &Images) -> Result<Matrix, EngineError> {
        let mut logits = self.infer(images)?;
        if self.device.precision == Precision::F32 {
            return Ok(logits);
        }
        let undecided = undecided(&logits);
        if undecided.is_empty() {
            return Ok(logits);
        }
        let exact = self.infer_exactly(&images.select(&undecided))?;
        for (&image, row) in undecided.iter().zip(exact.iter_rows()) {
            logits.row_mut(image).copy_from_slice(row);
        }
        Ok(logits)
    }

    fn features(&mut self, images: &Images, cuts: &[usize]) -> Result<Vec<Matrix>, EngineError> {
        Ok(self.run_inference(images, Extras { cuts, times: None })?.1)
    }

    fn profile(&mut self, images: &Images) -> Result<Vec<Duration>, EngineError> {
        let mut times = vec![Duration::ZERO; self.network.all_blocks().count()];
        self.run_inference(images, Extras { cuts: &[], times: Some(&mut times) })?;
        Ok(times)
    }

    fn start_training(&mut self, training: &Training) -> Result<(), EngineError> {
        let blocks = self.network.all_blocks().count();
        if training.groups.len() != blocks || training.frozen_blocks > self.network.blocks.len() {
            let what = format!(
                "{} parameter groups and {} frozen blocks for a network of {blocks} blocks",
                training.groups.len(),
                training.frozen_blocks
            );
            return Err(EngineError::Unsupported { engine: "cpu", what });
        }
        self.average = training.average_decay.map(|_| self.parameters.clone());
        self.selected = Weights::Current;
        self.trainer = Some(Trainer {
            settings: training.clone(),
            gradients: self.parameters.values.iter().map(|values| vec![0.0; values.len()]).collect(),
            has_gradients: false,
            optimizer: OptimizerBuffers::new(training, &self.parameters.specs),
        });
        self.tensors_changed(Change::Any);
        Ok(())
    }

    fn forward(&mut self, images: &Images, randomness: u64) -> Result<Matrix, EngineError> {
        let trainer = self.trainer.as_mut().ok_or(NOT_TRAINING)?;
        let frozen = trainer.settings.frozen_blocks;
        self.check_channels(images)?;
        let logits = self.passes.forward(&self.network, frozen, &mut self.parameters, images, randomness)?;
        self.tensors_changed(Change::Selection);
        Ok(logits)
    }

    fn backward(&mut self, logit_gradient: &Matrix) -> Result<(), EngineError> {
        let trainer = self.trainer.as_mut().ok_or(NOT_TRAINING)?;
        self.passes.backward(logit_gradient, &self.parameters, &mut trainer.gradients)?;
        trainer.has_gradients = true;
        Ok(())
    }

    fn training_times(&self) -> Vec<PassTimes> {
        let mut times = self.passes.training_times().to_vec();
        times.resize(self.network.all_blocks().count(), PassTimes::default());
        times
    }

    fn step(&mut self, step: &Step) -> Result<f32, EngineError> {
        let trainer = self.trainer.as_mut().ok_or(NOT_TRAINING)?;
        if !trainer.has_gradients {
            return Err(EngineError::OutOfOrder("a step without gradients"));
        }
        let (isa, parameters) = (self.device.isa(), &mut self.parameters);
        let Trainer { settings, gradients, optimizer, .. } = trainer;
        let average = &mut self.average;
        let average = average.as_mut().zip(settings.average_decay);
        let norm = self.device.run(|| optimizer.step(isa, settings, step, parameters, gradients, average));
        self.tensors_changed(Change::Trained);
        Ok(norm)
    }

    fn select_weights(&mut self, weights: Weights) -> Result<(), EngineError> {
        if weights == Weights::Averaged && self.average.is_none() {
            return Err(EngineError::OutOfOrder("no running average is kept"));
        }
        if self.selected != weights {
            self.selected = weights;
            self.tensors_changed(Change::Selection);
        }
        Ok(())
    }

    fn tensors(&self) -> Vec<NamedTensor> {
        self.selected_parameters().to_named()
    }

    fn set_tensors(&mut self, tensors: &[NamedTensor]) -> Result<(), EngineError> {
        self.parameters.set(tensors)?;
        self.tensors_changed(Change::Any);
        Ok(())
    }

    fn gradients(&self) -> Vec<NamedTensor> {
        let Some(trainer) = self.trainer.as_ref().filter(|trainer| trainer.has_gradients) else {
            return Vec::new();
        };
        let specs = self.parameters.specs.iter().zip(&trainer.gradients).enumerate();
        specs
            .filter(|(index, _)| trainer.optimizer.is_trained(*index))
            .map(|(_, (spec, gradient))| crate::parameters::to_named(spec, "", gradient))
            .collect()
    }

    fn optimizer_state(&self) -> OptimizerState {
        match &self.trainer {
            Some(trainer) => trainer.optimizer.state(&self.parameters.specs, self.average.as_ref()),
            None => OptimizerState::default(),
        }
    }

    fn set_optimizer_state(&mut self, state: &OptimizerState) -> Result<(), EngineError> {
        let trainer = self.trainer.as_mut().ok_or(NOT_TRAINING)?;
        trainer.optimizer.set_state(&self.parameters.specs, state, self.average.as_mut())?;
        self.tensors_changed(Change::Selection);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let values =
            |values: &[Vec<f32>]| values.iter().map(|values| values.len() * size_of::<f32>()).sum::<usize>();
        let parameters = values(&self.parameters.values);
        let average = self.average.as_ref().map_or(0, |average| values(&average.values));
        let trainer =
            self.trainer.as_ref().map_or(0, |trainer| values(&trainer.gradients) + trainer.optimizer.bytes());
        let exact = self.exact.as_ref().map_or(0, Passes::bytes);
        parameters + average + trainer + self.passes.bytes() + exact + self.device.kept_bytes()
    }
}
