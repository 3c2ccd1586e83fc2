//! The operations that the networks of the zoo and of the YAML language are made of.

use serde::{Deserialize, Serialize};

/// One operation of a block, its inputs, and the torch module that it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Path of the torch module that owns the layer, for example `layer1.0.conv1`; its tensors are named after it.
    /// `None` for what torch does without a module (a residual `+`, `torch.flatten`).
    pub path: Option<String>,
    /// What is computed.
    pub op: Op,
    /// Values of the block that are read: 0 is the block's input, `i + 1` the output of its layer `i`.
    pub inputs: Vec<usize>,
}

/// What a layer computes. Activations are `[n, channels, height, width]` in torch's terms, whatever the engine's layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Convolution.
    Conv2d(Conv2d),
    /// Batch normalisation over `n`, `height` and `width`.
    BatchNorm(BatchNorm),
    /// An elementwise nonlinearity (softmax: over the channels).
    Activation(Activation),
    /// Maximum over windows; padding counts as minus infinity.
    MaxPool(Pool2d),
    /// Mean over windows; padding counts as zeros (torch's `count_include_pad=True`).
    AvgPool(Pool2d),
    /// Mean over all pixels: `[n, c, h, w]` to `[n, c, 1, 1]`.
    GlobalAvgPool,
    /// Mean over the bins of a fixed grid (torch's `AdaptiveAvgPool2d`).
    AdaptiveAvgPool {
        /// Rows of the grid.
        height: usize,
        /// Columns of the grid.
        width: usize,
    },
    /// `[n, c, h, w]` to `[n, c·h·w, 1, 1]`, channels slowest as in torch.
    Flatten,
    /// Fully connected layer on `[n, features, 1, 1]`.
    Linear(Linear),
    /// Sum of two values of the same shape.
    Add,
    /// The first value times the second, `[n, c, 1, 1]`, spread over the pixels (squeeze-and-excitation).
    Scale,
    /// Zeroes single activations in training, scaling the others by `1 / (1 - probability)`.
    Dropout {
        /// Probability of being zeroed, in 0..1.
        probability: f32,
    },
    /// Zeroes whole samples of a residual branch in training (torchvision's `StochasticDepth`, mode `row`).
    StochasticDepth {
        /// Probability of being zeroed, in 0..1.
        probability: f32,
    },
}

/// A convolution as torch's `Conv2d` has it (cross-correlation, dilation 1).
///
/// # Shapes
/// Weight `[out_channels, in_channels / groups, kernel[0], kernel[1]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// Groups of channels that do not see each other; `in_channels` for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv2d {
    /// A square convolution without bias, its padding half of the kernel.
    pub fn square(in_channels: usize, out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding::same(kernel / 2),
            groups: 1,
            bias: false,
        }
    }

    /// The same with `groups` groups.
    pub fn with_groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// The same with `padding`.
    pub fn with_padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// The same with a bias.
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

/// Rows and columns added around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// `padding` on all four sides.
    pub fn same(padding: usize) -> Self {
        Self { top: padding, left: padding, bottom: padding, right: padding }
    }
}

/// Batch normalisation, `torch.nn.BatchNorm2d`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// Channels.
    pub channels: usize,
    /// Added to the variance before the square root.
    pub eps: f32,
    /// Weight of the batch's statistics in the running ones.
    pub momentum: f32,
}

/// A window that slides over each channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool2d {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
    /// Padding around the input.
    pub padding: Padding,
}

/// A fully connected layer, `torch.nn.Linear`.
///
/// # Shapes
/// Weight `[out_features, in_features]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Length of the input.
    pub in_features: usize,
    /// Length of the output.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// Nonlinearities, named as torch's modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x · relu6(x + 3) / 6`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `x · Φ(x)`, with the exact error function.
    Gelu,
    /// `exp(x) / Σ exp(x)` over the channels.
    Softmax,
}

impl Activation {
    /// The name of torch's module.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "Identity",
            Self::Relu => "ReLU",
            Self::Relu6 => "ReLU6",
            Self::Silu => "SiLU",
            Self::Sigmoid => "Sigmoid",
            Self::HardSwish => "Hardswish",
            Self::HardSigmoid => "Hardsigmoid",
            Self::Gelu => "GELU",
            Self::Softmax => "Softmax",
        }
    }

    /// The activation that a model file calls `name`: torch's name in any case, or `Swish`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "identity" => Self::Identity,
            "relu" => Self::Relu,
            "relu6" => Self::Relu6,
            "silu" | "swish" => Self::Silu,
            "sigmoid" => Self::Sigmoid,
            "hardswish" => Self::HardSwish,
            "hardsigmoid" => Self::HardSigmoid,
            "gelu" => Self::Gelu,
            "softmax" => Self::Softmax,
            _ => return None,
        })
    }
}
