//! What can run and train a network: the small interface between the library and a device.
//!
//! The networks are static graphs of a dozen operations and the loss lives outside, on logits, so an engine needs no
//! automatic differentiation: it runs a [`Network`] forwards and backwards and updates its parameters.
//! Nothing here knows a device; an engine for a GPU implements the same two traits.

mod precision;
mod tensor;
mod training;

use std::time::Duration;

use elimnet_arch::{Network, ShapeError};

pub use precision::{Precision, UnknownPrecision};
pub use tensor::{Images, Matrix, NamedTensor};
pub use training::{Optimizer, OptimizerState, Step, Training, Weights};

/// What an engine can't do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The images do not fit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The images have another number of channels than the network takes.
    #[error("the network takes images of {expected} channels and got {found}")]
    Channels {
        /// What the network takes.
        expected: usize,
        /// What it got.
        found: usize,
    },
    /// A tensor to be loaded is absent.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor to be loaded has another shape.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// Name of the tensor.
        name: String,
        /// Shape in the network.
        expected: Vec<usize>,
        /// Shape of what was given.
        found: Vec<usize>,
    },
    /// A tensor that the network does not have.
    #[error("tensor `{name}` is not part of the network")]
    UnexpectedTensor {
        /// Name of the tensor.
        name: String,
    },
    /// Batch norm in training mode has one value a channel: no variance.
    #[error("batch norm `{tensor}` gets one value a channel; training needs a larger batch or larger images")]
    SingleValue {
        /// Its weight's name.
        tensor: String,
    },
    /// A call out of order: [`Engine::backward`] without [`Engine::forward`], a step without a gradient.
    #[error("{0}")]
    OutOfOrder(&'static str),
    /// The network or the request has something that this engine does not do.
    #[error("{engine} can't do this: {what}")]
    Unsupported {
        /// Name of the engine.
        engine: &'static str,
        /// What was asked for.
        what: String,
    },
}

/// What a block took of a training step; see [`Engine::training_times`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassTimes {
    /// Of the forward pass.
    pub forward: Duration,
    /// Of the backward pass.
    pub backward: Duration,
}

/// A place where networks run.
pub trait Device {
    /// Name for people and records: `cpu`.
    fn name(&self) -> &str;

    /// What activations are stored as here.
    fn precision(&self) -> Precision;

    /// Prepares `network` to run here, all its tensors zero (batch norm variances and scales one).
    ///
    /// # Errors
    /// If the network has something that the device can't do.
    fn load(&self, network: &Network) -> Result<Box<dyn Engine>, EngineError>;
}

/// A network on a device.
///
/// Results depend on the inputs alone, not on the number of threads, and repeat bit for bit on the same machine.
pub trait Engine: Send {
    /// The network that runs.
    fn network(&self) -> &Network;

    /// Logits in inference mode: running statistics, no dropout.
    ///
    /// # Errors
    /// If the images do not fit the network.
    fn infer(&mut self, images: &Images) -> Result<Matrix, EngineError>;

    /// As [`Engine::infer`], for the sake of the largest logit: images whose two largest are so close that the device's
    /// precision can't tell which is larger are run in f32.
    ///
    /// # Shapes
    /// `[n, classes]`, as [`Engine::infer`].
    /// # Errors
    /// If the images do not fit the network.
    fn classify(&mut self, images: &Images) -> Result<Matrix, EngineError>;

    /// Global averages of what leaves the trunk blocks `cuts` (ascending indices), in inference mode, from one pass.
    ///
    /// # Shapes
    /// One `[n, out_channels]` matrix a cut.
    /// # Errors
    /// If the images do not fit the network.
    fn features(&mut self, images: &Images, cuts: &[usize]) -> Result<Vec<Matrix>, EngineError>;

    /// Time that each block of [`Network::all_blocks`] takes in one [`Engine::infer`] of these images; together about what
    /// the call takes. Where several images are on their way at once, a block's time is its share of that.
    ///
    /// # Errors
    /// If the images do not fit the network.
    fn profile(&mut self, images: &Images) -> Result<Vec<Duration>, EngineError>;

    /// Sets up training; forgets optimizer state and averages of an earlier one.
    ///
    /// # Errors
    /// If the engine can't train as asked.
    fn start_training(&mut self, training: &Training) -> Result<(), EngineError>;

    /// Logits in training mode: batch statistics (running ones are updated), dropout drawn from `randomness` alone.
    /// Frozen blocks run as in inference.
    ///
    /// # Errors
    /// If the images do not fit the network or [`Engine::start_training`] was not called.
    fn forward(&mut self, images: &Images, randomness: u64) -> Result<Matrix, EngineError>;

    /// Gradients of all parameters above the frozen blocks, from the gradient of the loss to the logits of the last
    /// [`Engine::forward`]. They replace the gradients of the call before.
    ///
    /// # Errors
    /// If there was no forward pass.
    fn backward(&mut self, logit_gradient: &Matrix) -> Result<(), EngineError>;

    /// Time that each block of [`Network::all_blocks`] took in the last [`Engine::forward`] and the [`Engine::backward`] after
    /// it; none for frozen blocks. Work that is no block's (reading the batch, packing weights, the update) is not in it.
    fn training_times(&self) -> Vec<PassTimes>;

    /// Updates the parameters and their running average from the gradients; gives the gradients' norm before clipping.
    ///
    /// # Errors
    /// If there are no gradients.
    fn step(&mut self, step: &Step) -> Result<f32, EngineError>;

    /// Which weights [`Engine::infer`] and [`Engine::tensors`] use from now on. [`Weights::Averaged`] needs
    /// [`Training::average_decay`]; training always goes on with the current ones.
    ///
    /// # Errors
    /// If there is no running average.
    fn select_weights(&mut self, weights: Weights) -> Result<(), EngineError>;

    /// All tensors, named, ordered and shaped as [`Network::tensors`] has them.
    fn tensors(&self) -> Vec<NamedTensor>;

    /// Sets all tensors; each must be there and have its shape.
    ///
    /// # Errors
    /// If one is missing, unexpected or of another shape; then nothing has changed.
    fn set_tensors(&mut self, tensors: &[NamedTensor]) -> Result<(), EngineError>;

    /// Gradients of the last [`Engine::backward`], for parameters above the frozen blocks.
    fn gradients(&self) -> Vec<NamedTensor>;

    /// What the optimizer and the running average remember between steps.
    fn optimizer_state(&self) -> OptimizerState;

    /// Puts back what [`Engine::optimizer_state`] gave, after [`Engine::start_training`] with the same settings.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected or of another shape.
    fn set_optimizer_state(&mut self, state: &OptimizerState) -> Result<(), EngineError>;

    /// Bytes that the engine holds now: tensors, gradients, activations, and workspaces, some of which it may share with others of its
    /// device.
    fn memory_bytes(&self) -> usize;
}
