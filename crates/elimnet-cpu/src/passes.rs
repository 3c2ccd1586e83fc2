//! What depends on the type of activations: inference and training passes of one network, behind a trait so that the engine
//! does not.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use elimnet_arch::{Network, Shape};
use elimnet_engine::{EngineError, Images, Matrix, PassTimes};
use elimnet_kernels::Kernels;

use crate::CpuDevice;
use crate::parameters::Parameters;
use crate::stages::{Extras, Staged, Target, Workspace};
use crate::training::TrainingPass;

/// Runs a network's passes; see [`elimnet_engine::Engine`] for what they are.
pub(crate) trait Passes: Debug + Send {
    /// Logits, and the averages of [`Extras::cuts`].
    fn infer(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        images: &Images,
        extras: Extras<'_>,
    ) -> Result<(Matrix, Vec<Matrix>), EngineError>;

    /// A training pass over the blocks above `frozen_blocks`.
    fn forward(
        &mut self,
        network: &Network,
        frozen_blocks: usize,
        parameters: &mut Parameters,
        images: &Images,
        randomness: u64,
    ) -> Result<Matrix, EngineError>;

    /// The gradients of the last [`Passes::forward`], which can be taken once.
    fn backward(
        &mut self,
        logit_gradient: &Matrix,
        parameters: &Parameters,
        gradients: &mut [Vec<f32>],
    ) -> Result<(), EngineError>;

    /// Times of the last training pass, of each block up to the last; empty before the first.
    fn training_times(&self) -> &[PassTimes];

    /// Says that parameters have changed, all of them or those that are trained.
    fn tensors_changed(&mut self, change: Change);

    /// Bytes held beside parameters and gradients.
    fn bytes(&self) -> usize;
}

/// Which tensors have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Those above the frozen blocks.
    Trained,
    /// Perhaps all.
    Any,
    /// Only which ones inference uses.
    Selection,
}

/// [`Passes`] with activations of type `E`.
#[derive(Debug)]
pub(crate) struct PassesOf<E> {
    device: CpuDevice,
    inference: Option<Staged<E>>,
    workspaces: Vec<Mutex<Workspace<E>>>,
    /// Shape of the images that they are for.
    workspaces_input: Option<Shape>,
    frozen: Option<Staged<E>>,
    training: Option<TrainingPass<E>>,
    /// Whether a backward pass may follow.
    is_forward: bool,
}

impl<E: Kernels> PassesOf<E> {
    pub(crate) fn new(device: CpuDevice) -> Self {
        Self {
            device,
            inference: None,
            workspaces: Vec::new(),
            workspaces_input: None,
            frozen: None,
            training: None,
            is_forward: false,
        }
    }

    /// Makes sure that the training passes are for images of shape `input`.
    fn prepare_training(
        &mut self,
        network: &Network,
        frozen_blocks: usize,
        input: Shape,
        parameters: &Parameters,
    ) -> Result<(), EngineError> {
        let entry = self.frozen.as_ref().map(|frozen| frozen.input);
        let is_ready = match (&self.training, frozen_blocks) {
            (None, _) => false,
            (Some(training), 0) => training.input == input,
            (Some(_), _) => entry == Some(input),
        };
        if is_ready {
            return Ok(());
        }
        self.training = None;
        (self.workspaces_input, self.workspaces) = (None, Vec::new());
        self.frozen = (frozen_blocks > 0)
            .then(|| Staged::new(&self.device, network, 0..frozen_blocks, input, parameters))
            .transpose()?;
        let isa = self.device.isa();
        let pass = || TrainingPass::new(isa, network, frozen_blocks, input, parameters);
        self.training = Some(self.device.run(pass)?);
        Ok(())
    }
}

fn shape(images: &Images) -> Shape {
    Shape { channels: images.channels, height: images.height, width: images.width }
}

impl<E: Kernels> Passes for PassesOf<E> {
    fn infer(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        images: &Images,
        extras: Extras<'_>,
    ) -> Result<(Matrix, Vec<Matrix>), EngineError> {
        let input = shape(images);
        if self.inference.as_ref().is_none_or(|staged| staged.input != input) {
            if self.workspaces_input.replace(input) != Some(input) {
                self.workspaces.clear();
            }
            let blocks = 0..network.all_blocks().count();
            self.inference = Some(Staged::new(&self.device, network, blocks, input, parameters)?);
        }
        let Some(staged) = &self.inference else { unreachable!("prepared above") };
        let columns = staged.output().len();
        let mut logits = vec![0.0; images.count * columns];
        let target = Target::Floats(&mut logits);
        let features = staged.run(&self.device, &mut self.workspaces, &images.pixels, target, extras);
        Ok((Matrix::new(images.count, columns, logits), features))
    }

    fn forward(
        &mut self,
        network: &Network,
        frozen_blocks: usize,
        parameters: &mut Parameters,
        images: &Images,
        randomness: u64,
    ) -> Result<Matrix, EngineError> {
        self.is_forward = false;
        self.prepare_training(network, frozen_blocks, shape(images), parameters)?;
        let Self { device, workspaces, frozen, training: Some(pass), .. } = self else {
            unreachable!("prepared above")
        };
        pass.check(images.count, parameters)?;
        let isa = device.isa();
        match frozen {
            Some(frozen) => {
                let target = Target::Elements(pass.input(images.count));
                frozen.run(device, workspaces, &images.pixels, target, Extras::default());
            }
            None => {
                let input = pass.input(images.count);
                device.run(|| E::narrow(isa, &images.pixels, input));
            }
        }
        device.run(|| pass.forward(images.count, randomness, parameters));
        let columns = pass.plan.shapes[pass.plan.output()].len();
        let mut logits = vec![0.0; images.count * columns];
        pass.logits(&mut logits);
        self.is_forward = true;
        Ok(Matrix::new(images.count, columns, logits))
    }

    fn backward(
        &mut self,
        logit_gradient: &Matrix,
        parameters: &Parameters,
        gradients: &mut [Vec<f32>],
    ) -> Result<(), EngineError> {
        let (true, Some(pass)) = (std::mem::take(&mut self.is_forward), &mut self.training) else {
            return Err(EngineError::OutOfOrder("backward without a forward pass before it"));
        };
        self.device.run(|| pass.backward(&logit_gradient.values, parameters, gradients));
        Ok(())
    }

    fn training_times(&self) -> &[PassTimes] {
        self.training.as_ref().map_or(&[], |pass| &pass.times)
    }

    fn tensors_changed(&mut self, change: Change) {
        self.inference = None;
        if change == Change::Selection {
            return;
        }
        if let Some(training) = &mut self.training {
            training.forget_filters();
        }
        if change == Change::Any {
            (self.frozen, self.training, self.is_forward) = (None, None, false);
        }
    }

    fn bytes(&self) -> usize {
        let staged = [&self.inference, &self.frozen].into_iter().flatten().map(Staged::bytes);
        let lock = |workspace: &Mutex<Workspace<E>>| {
            workspace.lock().unwrap_or_else(PoisonError::into_inner).bytes()
        };
        let workspaces = self.workspaces.iter().map(lock);
        let training = self.training.as_ref().map_or(0, TrainingPass::bytes);
        staged.sum::<usize>() + workspaces.sum::<usize>() + training
    }
}
