//! The pieces that torchvision's networks share: `Conv2dNormActivation`, `SqueezeExcitation`, and rounding of channels.

use crate::block::{BlockBuilder, Value};
use crate::layer::{Activation, BatchNorm, Conv2d, Op, Padding};

/// Batch normalisation settings of a family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    pub(crate) eps: f32,
    pub(crate) momentum: f32,
}

impl Norm {
    /// torch's defaults.
    pub(crate) const TORCH: Self = Self { eps: 1e-5, momentum: 0.1 };

    pub(crate) fn over(self, channels: usize) -> BatchNorm {
        BatchNorm { channels, eps: self.eps, momentum: self.momentum }
    }
}

/// torchvision's `Conv2dNormActivation`: `PATH.0`, `PATH.1` and, where there is an activation, `PATH.2`.
pub(crate) fn conv_norm_activation(
    block: &mut BlockBuilder,
    path: &str,
    conv: Conv2d,
    norm: Norm,
    activation: Option<Activation>,
    input: Value,
) -> Value {
    let norm = norm.over(conv.out_channels);
    let x = block.conv(format!("{path}.0"), conv, input);
    let x = block.batch_norm(format!("{path}.1"), norm, x);
    match activation {
        Some(activation) => block.activation(format!("{path}.2"), activation, x),
        None => x,
    }
}

/// torchvision's `SqueezeExcitation` over `channels` channels with `squeezed` in its middle.
pub(crate) struct SqueezeExcitation {
    pub(crate) channels: usize,
    pub(crate) squeezed: usize,
    /// Between the two convolutions.
    pub(crate) activation: Activation,
    /// What makes the scale.
    pub(crate) scale: Activation,
}

impl SqueezeExcitation {
    /// Adds `PATH.avgpool`, `PATH.fc1`, `PATH.activation`, `PATH.fc2`, `PATH.scale_activation` and the product.
    pub(crate) fn add(&self, block: &mut BlockBuilder, path: &str, input: Value) -> Value {
        let x = block.module(format!("{path}.avgpool"), Op::GlobalAvgPool, input);
        let x = block.conv(format!("{path}.fc1"), pointwise(self.channels, self.squeezed).with_bias(), x);
        let x = block.activation(format!("{path}.activation"), self.activation, x);
        let x = block.conv(format!("{path}.fc2"), pointwise(self.squeezed, self.channels).with_bias(), x);
        let scale = block.activation(format!("{path}.scale_activation"), self.scale, x);
        block.scale(input, scale)
    }
}

/// A 1x1 convolution.
pub(crate) fn pointwise(in_channels: usize, out_channels: usize) -> Conv2d {
    Conv2d::square(in_channels, out_channels, 1, 1).with_padding(Padding::same(0))
}

/// A convolution of each channel by itself.
pub(crate) fn depthwise(channels: usize, kernel: usize, stride: usize) -> Conv2d {
    Conv2d::square(channels, channels, kernel, stride).with_groups(channels)
}

/// `channels` rounded to a multiple of 8, never down by more than 10 %.
///
/// # Source
/// `_make_divisible` of torchvision, from TensorFlow's MobileNet code.
pub(crate) fn make_divisible(channels: f64) -> usize {
    let rounded = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * channels { rounded + 8 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::make_divisible;

    #[test]
    fn channels_are_rounded_to_eights_and_not_far_down() {
        for (channels, expected) in
            [(1.0, 8), (8.0, 8), (11.0, 16), (12.0, 16), (18.0, 24), (83.0, 80), (84.0, 88), (168.0, 168)]
        {
            assert_eq!(make_divisible(channels), expected, "{channels}");
        }
    }
}
