//! The engine: plans, tensors and buffers behind the interface.

use std::time::Duration;

use elimnet_arch::{Network, Shape};
use elimnet_engine::{
    Engine, EngineError, Images, Matrix, NamedTensor, OptimizerState, Step, Training, Weights,
};

use crate::CpuDevice;
use crate::backward::Backward;
use crate::buffers::Buffers;
use crate::forward::{Context, Pass};
use crate::inference::{self, Folded};
use crate::optimizer::{self, OptimizerBuffers};
use crate::parameters::Parameters;
use crate::plan::{Mode, Plan};

/// A network on the CPU; see [`Engine`].
#[derive(Debug)]
pub struct CpuEngine {
    device: CpuDevice,
    network: Network,
    parameters: Parameters,
    average: Option<Parameters>,
    selected: Weights,
    buffers: Buffers,
    inference: Option<Inference>,
    trainer: Option<Trainer>,
}

/// An inference plan with its weights.
#[derive(Debug)]
struct Inference {
    input: Shape,
    plan: Plan,
    /// `None` once the tensors have changed.
    folded: Option<Folded>,
}

/// What training adds.
#[derive(Debug)]
struct Trainer {
    settings: Training,
    gradients: Vec<Vec<f32>>,
    has_gradients: bool,
    optimizer: OptimizerBuffers,
    plans: Option<TrainingPlans>,
    pass: Option<Pass>,
}

/// Plans of the frozen blocks, run as in inference, and of the others.
#[derive(Debug)]
struct TrainingPlans {
    input: Shape,
    frozen: Option<(Plan, Folded)>,
    trained: Plan,
}

impl CpuEngine {
    pub(crate) fn new(device: CpuDevice, network: Network) -> Self {
        Self {
            device,
            parameters: Parameters::new(&network),
            network,
            average: None,
            selected: Weights::Current,
            buffers: Buffers::default(),
            inference: None,
            trainer: None,
        }
    }

    fn input_shape(&self, images: &Images) -> Result<Shape, EngineError> {
        if images.channels != self.network.input_channels {
            let expected = self.network.input_channels;
            return Err(EngineError::Channels { expected, found: images.channels });
        }
        Ok(Shape { channels: images.channels, height: images.height, width: images.width })
    }

    fn selected_parameters(&self) -> &Parameters {
        match (self.selected, &self.average) {
            (Weights::Averaged, Some(average)) => average,
            _ => &self.parameters,
        }
    }

    /// Makes sure that the inference plan is for images of shape `input` and for the tensors as they are.
    fn prepare_inference(&mut self, input: Shape) -> Result<Inference, EngineError> {
        let mut inference = match self.inference.take().filter(|inference| inference.input == input) {
            Some(inference) => inference,
            None => {
                self.buffers.clear();
                let blocks = 0..self.network.all_blocks().count();
                let plan = Plan::new(&self.network, blocks, input, Mode::Inference)?;
                Inference { input, plan, folded: None }
            }
        };
        if inference.folded.is_none() {
            inference.folded = Some(Folded::new(&inference.plan, self.selected_parameters()));
        }
        Ok(inference)
    }

    fn run_inference(
        &mut self,
        images: &Images,
        cuts: &[usize],
        times: Option<&mut [Duration]>,
    ) -> Result<(Matrix, Vec<Matrix>), EngineError> {
        let input = self.input_shape(images)?;
        let inference = self.prepare_inference(input)?;
        let mut buffers = std::mem::take(&mut self.buffers);
        let plan = &inference.plan;
        let captured: Vec<usize> = cuts.iter().map(|&cut| plan.block_outputs[cut]).collect();
        let context = Context { isa: self.device.isa(), plan, count: images.count, randomness: 0 };
        let parameters = self.selected_parameters();
        let pixels = copied(images, &mut buffers);
        let (output, features) = match &inference.folded {
            Some(folded) => self
                .device
                .run(|| inference::run(context, folded, parameters, &mut buffers, pixels, &captured, times)),
            None => unreachable!("folded by `prepare_inference`"),
        };
        let logits = context.matrix(plan.output(), &output);
        buffers.give(output);
        let ordered = captured.iter().map(|value| {
            let found = features.iter().find(|(captured, _)| captured == value);
            found.map(|(_, matrix)| matrix.clone()).expect("every block of the trunk ends in a step")
        });
        let ordered = ordered.collect();
        self.buffers = buffers;
        self.inference = Some(inference);
        Ok((logits, ordered))
    }

    fn training_plans(&self, input: Shape, frozen_blocks: usize) -> Result<TrainingPlans, EngineError> {
        let blocks = self.network.all_blocks().count();
        let frozen = (frozen_blocks > 0)
            .then(|| Plan::new(&self.network, 0..frozen_blocks, input, Mode::Inference))
            .transpose()?
            .map(|plan| {
                let folded = Folded::new(&plan, &self.parameters);
                (plan, folded)
            });
        let trained = Plan::new(&self.network, frozen_blocks..blocks, input, Mode::Training)?;
        Ok(TrainingPlans { input, frozen, trained })
    }

    fn train_forward(
        &mut self,
        trainer: &mut Trainer,
        images: &Images,
        randomness: u64,
    ) -> Result<Matrix, EngineError> {
        let input = self.input_shape(images)?;
        if let Some(pass) = trainer.pass.take() {
            pass.release(&mut self.buffers);
        }
        if trainer.plans.as_ref().is_none_or(|plans| plans.input != input) {
            self.buffers.clear();
            trainer.plans = Some(self.training_plans(input, trainer.settings.frozen_blocks)?);
        }
        let Some(plans) = &trainer.plans else { unreachable!("planned above") };
        let (isa, count) = (self.device.isa(), images.count);
        let (buffers, parameters) = (&mut self.buffers, &mut self.parameters);
        let mut pixels = copied(images, buffers);
        let pass = self.device.run(|| {
            if let Some((plan, folded)) = &plans.frozen {
                let context = Context { isa, plan, count, randomness };
                pixels = inference::run(
                    context,
                    folded,
                    parameters,
                    buffers,
                    std::mem::take(&mut pixels),
                    &[],
                    None,
                )
                .0;
            }
            let context = Context { isa, plan: &plans.trained, count, randomness };
            Pass::run(context, parameters, buffers, pixels)
        })?;
        let context = Context { isa, plan: &plans.trained, count, randomness };
        let logits = context.matrix(plans.trained.output(), &pass.values[plans.trained.output()]);
        trainer.pass = Some(pass);
        self.tensors_changed();
        Ok(logits)
    }

    fn tensors_changed(&mut self) {
        if let Some(inference) = &mut self.inference {
            inference.folded = None;
        }
    }
}

fn copied(images: &Images, buffers: &mut Buffers) -> Vec<f32> {
    let mut pixels = buffers.take(images.pixels.len());
    pixels.copy_from_slice(&images.pixels);
    pixels
}

const NOT_TRAINING: EngineError = EngineError::OutOfOrder("training was not started");

impl Engine for CpuEngine {
    fn network(&self) -> &Network {
        &self.network
    }

    fn infer(&mut self, images: &Images) -> Result<Matrix, EngineError> {
        Ok(self.run_inference(images, &[], None)?.0)
    }

    fn features(&mut self, images: &Images, cuts: &[usize]) -> Result<Vec<Matrix>, EngineError> {
        Ok(self.run_inference(images, cuts, None)?.1)
    }

    fn profile(&mut self, images: &Images) -> Result<Vec<Duration>, EngineError> {
        let mut times = vec![Duration::ZERO; self.network.all_blocks().count()];
        self.run_inference(images, &[], Some(&mut times))?;
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
            plans: None,
            pass: None,
        });
        Ok(())
    }

    fn forward(&mut self, images: &Images, randomness: u64) -> Result<Matrix, EngineError> {
        let mut trainer = self.trainer.take().ok_or(NOT_TRAINING)?;
        let logits = self.train_forward(&mut trainer, images, randomness);
        self.trainer = Some(trainer);
        logits
    }

    fn backward(&mut self, logit_gradient: &Matrix) -> Result<(), EngineError> {
        let trainer = self.trainer.as_mut().ok_or(NOT_TRAINING)?;
        let (Some(pass), Some(plans)) = (trainer.pass.take(), &trainer.plans) else {
            return Err(EngineError::OutOfOrder("backward without a forward pass before it"));
        };
        let (isa, plan) = (self.device.isa(), &plans.trained);
        let (parameters, buffers, gradients) = (&self.parameters, &mut self.buffers, &mut trainer.gradients);
        let mut output_gradient = buffers.take(logit_gradient.values.len());
        output_gradient.copy_from_slice(&logit_gradient.values);
        self.device.run(|| {
            let backward = Backward {
                context: Context { isa, plan, count: pass.count, randomness: pass.randomness },
                pass: &pass,
                parameters,
                buffers,
                gradients,
                values: vec![None; plan.shapes.len()],
            };
            backward.run(output_gradient);
        });
        pass.release(&mut self.buffers);
        trainer.has_gradients = true;
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<f32, EngineError> {
        let trainer = self.trainer.as_mut().ok_or(NOT_TRAINING)?;
        if !trainer.has_gradients {
            return Err(EngineError::OutOfOrder("a step without gradients"));
        }
        let (isa, parameters) = (self.device.isa(), &mut self.parameters);
        let Trainer { settings, gradients, optimizer, .. } = trainer;
        let average = &mut self.average;
        let norm = self.device.run(|| {
            let norm = optimizer.step(isa, settings, step, parameters, gradients);
            if let (Some(average), Some(decay)) = (average, settings.average_decay) {
                optimizer::follow(average, parameters, decay);
            }
            norm
        });
        self.tensors_changed();
        Ok(norm)
    }

    fn select_weights(&mut self, weights: Weights) -> Result<(), EngineError> {
        if weights == Weights::Averaged && self.average.is_none() {
            return Err(EngineError::OutOfOrder("no running average is kept"));
        }
        if self.selected != weights {
            self.selected = weights;
            self.tensors_changed();
        }
        Ok(())
    }

    fn tensors(&self) -> Vec<NamedTensor> {
        self.selected_parameters().to_named()
    }

    fn set_tensors(&mut self, tensors: &[NamedTensor]) -> Result<(), EngineError> {
        self.parameters.set(tensors)?;
        if let Some(trainer) = &mut self.trainer {
            trainer.plans = None;
        }
        self.tensors_changed();
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
        self.tensors_changed();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let values =
            |values: &[Vec<f32>]| values.iter().map(|values| values.len() * size_of::<f32>()).sum::<usize>();
        let parameters = values(&self.parameters.values);
        let average = self.average.as_ref().map_or(0, |average| values(&average.values));
        let folded = self.inference.as_ref().and_then(|inference| inference.folded.as_ref());
        let trainer = self.trainer.as_ref().map_or(0, |trainer| {
            values(&trainer.gradients)
                + trainer.optimizer.bytes()
                + trainer.pass.as_ref().map_or(0, Pass::bytes)
        });
        parameters + average + folded.map_or(0, Folded::bytes) + trainer + self.buffers.bytes()
    }
}
