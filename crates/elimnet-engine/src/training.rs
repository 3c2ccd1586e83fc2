//! How an engine is told to train.

use crate::tensor::NamedTensor;

/// The rule that turns gradients into updates; semantics of `torch.optim`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum; the momentum itself comes with each [`Step`].
    Sgd {
        /// Nesterov's form.
        nesterov: bool,
    },
    /// Adam with decoupled weight decay; beta1 is each [`Step`]'s momentum.
    AdamW {
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        eps: f32,
    },
}

/// Settings of a training, fixed from its start to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The update rule.
    pub optimizer: Optimizer,
    /// Number of lowest blocks that stay as they are: they run in inference mode and nothing is differentiated in them.
    pub frozen_blocks: usize,
    /// Parameter group of each block of [`elimnet_arch::Network::all_blocks`]; [`Step::learning_rates`] has one rate a group.
    pub groups: Vec<usize>,
    /// Decay of the running average of all tensors a step (0.999, say); none is kept where it is `None`.
    pub average_decay: Option<f32>,
}

impl Training {
    /// Plain SGD of a network of so many blocks, all in one group, nothing frozen.
    #[must_use]
    pub fn plain(blocks: usize) -> Self {
        Self {
            optimizer: Optimizer::Sgd { nesterov: false },
            frozen_blocks: 0,
            groups: vec![0; blocks],
            average_decay: None,
        }
    }
}

/// Settings of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Learning rate of each parameter group.
    pub learning_rates: Vec<f32>,
    /// Momentum of SGD, beta1 of AdamW.
    pub momentum: f32,
    /// L2 penalty of SGD, decoupled decay of AdamW.
    pub weight_decay: f32,
    /// Largest norm of all gradients together; longer ones are scaled down to it.
    pub clip_norm: Option<f32>,
}

/// A choice between the trained weights and their running average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// As the last step left them.
    #[default]
    Current,
    /// Their exponential moving average.
    Averaged,
}

/// What must survive a restart beside the tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// Steps taken.
    pub steps: u64,
    /// Momentum buffers and running averages, named `momentum.TENSOR`, `variance.TENSOR`, `average.TENSOR`.
    pub tensors: Vec<NamedTensor>,
}
