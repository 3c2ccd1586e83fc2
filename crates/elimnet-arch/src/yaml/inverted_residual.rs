//! InvertedResidualv2, InvertedResidualv3 and MBConv: of repeats, the first one strides.

use super::arguments::Arguments;
use super::error::YamlError;
use super::scope::Scope;
use crate::block::{BlockBuilder, Value};
use crate::layer::{Activation, Conv2d, Padding};
use crate::zoo::ops::{Norm, SqueezeExcitation, conv_norm_activation, depthwise, make_divisible, pointwise};

/// What a repeat of a row makes.
struct Repeat {
    in_channels: usize,
    out_channels: usize,
    stride: usize,
}

/// Builds every repeat with `residual`, which gives the value that is added to the input where the shape is kept.
fn build(
    module: &str,
    arguments: &Arguments<'_>,
    scope: &mut Scope<'_>,
    residual: impl Fn(&mut BlockBuilder, &str, Repeat) -> Result<Value, YamlError>,
) -> Result<(), YamlError> {
    let out_channels = scope.scaled(arguments.size("c")?);
    let stride = arguments.size("s")?;
    for index in 0..scope.repeats {
        let stride = if index == 0 { stride } else { 1 };
        let in_channels = scope.channels;
        let mut block = scope.block(index, module, arguments);
        let path = format!("{}.conv", scope.path(index));
        let x = residual(&mut block, &path, Repeat { in_channels, out_channels, stride })?;
        if stride == 1 && in_channels == out_channels {
            block.add(x, Value::INPUT);
        }
        scope.blocks.push(block.build());
        scope.channels = out_channels;
    }
    Ok(())
}

/// `InvertedResidualv2(c, t, s)`: MobileNetV2's, with `round(in · t)` hidden channels and ReLU6.
pub(super) fn v2(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let expansion = arguments.factor("t")?;
    build("InvertedResidualv2", arguments, scope, |block, path, repeat| {
        let hidden = (repeat.in_channels as f64 * expansion).round_ties_even() as usize;
        if hidden == 0 {
            return Err(arguments.unfit("t", format!("enough for a channel out of {}", repeat.in_channels)));
        }
        let relu6 = Some(Activation::Relu6);
        let mut paths = (0..).map(|index| format!("{path}.{index}"));
        let mut next = || paths.next().unwrap_or_default();
        let mut x = Value::INPUT;
        if expansion != 1.0 {
            let conv = pointwise(repeat.in_channels, hidden);
            x = conv_norm_activation(block, &next(), conv, Norm::TORCH, relu6, x);
        }
        let conv = depthwise(hidden, 3, repeat.stride);
        let x = conv_norm_activation(block, &next(), conv, Norm::TORCH, relu6, x);
        let x = block.conv(next(), pointwise(hidden, repeat.out_channels), x);
        Ok(block.batch_norm(next(), Norm::TORCH.over(repeat.out_channels), x))
    })
}

/// `InvertedResidualv3(k, t, c, SE, HS, s)`: MobileNetV3's, with `make_divisible(in · t)` hidden channels.
///
/// With expansion: pointwise, norm, activation, depthwise, norm, SE, activation, pointwise, norm. Where the hidden channels
/// are the input's: depthwise, norm, activation, SE, pointwise, norm. So SE stands on the other side of the activation,
/// as in the seed and unlike torchvision.
pub(super) fn v3(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let kernel = arguments.size("k")?;
    let expansion = arguments.factor("t")?;
    let squeeze = arguments.flag("SE")?;
    let activation = if arguments.flag("HS")? { Activation::HardSwish } else { Activation::Relu };
    build("InvertedResidualv3", arguments, scope, |block, path, repeat| {
        let hidden = make_divisible(repeat.in_channels as f64 * expansion);
        let mut layers = Flat { block, path, next: 0, value: Value::INPUT };
        let depthwise = Conv2d::square(hidden, hidden, kernel, repeat.stride)
            .with_padding(Padding::same((kernel - 1) / 2))
            .with_groups(hidden);
        if hidden == repeat.in_channels {
            layers.conv_norm(depthwise);
            layers.activation(activation);
            layers.squeeze(squeeze, hidden);
        } else {
            layers.conv_norm(pointwise(repeat.in_channels, hidden));
            layers.activation(activation);
            layers.conv_norm(depthwise);
            layers.squeeze(squeeze, hidden);
            layers.activation(activation);
        }
        layers.conv_norm(pointwise(hidden, repeat.out_channels));
        Ok(layers.value)
    })
}

/// A `Sequential` of single layers.
struct Flat<'a> {
    block: &'a mut BlockBuilder,
    path: &'a str,
    next: usize,
    value: Value,
}

impl Flat<'_> {
    fn child(&mut self) -> String {
        self.next += 1;
        format!("{}.{}", self.path, self.next - 1)
    }

    fn conv_norm(&mut self, conv: Conv2d) {
        let norm = Norm::TORCH.over(conv.out_channels);
        let path = self.child();
        self.value = self.block.conv(path, conv, self.value);
        let path = self.child();
        self.value = self.block.batch_norm(path, norm, self.value);
    }

    fn activation(&mut self, activation: Activation) {
        let path = self.child();
        self.value = self.block.activation(path, activation, self.value);
    }

    /// Squeeze-and-excitation, or an `Identity` in its place.
    fn squeeze(&mut self, present: bool, channels: usize) {
        let path = self.child();
        if !present {
            self.block.idle(path);
            return;
        }
        let squeezed = make_divisible((channels / 4) as f64);
        let scale = Activation::HardSigmoid;
        let squeeze = SqueezeExcitation { channels, squeezed, activation: Activation::Relu, scale };
        self.value = squeeze.add(self.block, &path, self.value);
    }
}

/// `MBConv(t, c, s, k)`: EfficientNet's, with `in · t` hidden channels, swish, and a squeeze-and-excitation of a quarter of
/// the input's channels. No stochastic depth.
pub(super) fn mbconv(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let expansion = arguments.factor("t")?;
    let kernel = arguments.size("k")?;
    build("MBConv", arguments, scope, |block, path, repeat| {
        let hidden = repeat.in_channels as f64 * expansion;
        if hidden.fract() != 0.0 {
            let expected = format!("a factor that makes a whole number of {} channels", repeat.in_channels);
            return Err(arguments.unfit("t", expected));
        }
        let hidden = hidden as usize;
        let mut paths = (0..).map(|index| format!("{path}.{index}"));
        let mut next = || paths.next().unwrap_or_default();
        let mut x = Value::INPUT;
        if hidden != repeat.in_channels {
            x = padded_conv(block, &next(), pointwise(repeat.in_channels, hidden), x);
        }
        let x = padded_conv(block, &next(), depthwise(hidden, kernel, repeat.stride), x);
        let squeeze = SqueezeExcitation {
            channels: hidden,
            squeezed: (repeat.in_channels / 4).max(1),
            activation: Activation::Silu,
            scale: Activation::Sigmoid,
        };
        let x = squeeze.add(block, &next(), x);
        let x = block.conv(next(), pointwise(hidden, repeat.out_channels), x);
        Ok(block.batch_norm(next(), Norm::TORCH.over(repeat.out_channels), x))
    })
}

/// Zero padding `PATH.0` (in the convolution, here), convolution `PATH.1`, norm `PATH.2`, swish `PATH.3`. The padding is what a
/// stride leaves of the kernel, the odd row and column behind.
fn padded_conv(block: &mut BlockBuilder, path: &str, conv: Conv2d, input: Value) -> Value {
    let padding = conv.kernel[0].saturating_sub(conv.stride[0]);
    let (before, after) = (padding / 2, padding - padding / 2);
    let conv = conv.with_padding(Padding { top: before, left: before, bottom: after, right: after });
    let norm = Norm::TORCH.over(conv.out_channels);
    block.idle(format!("{path}.0"));
    let x = block.conv(format!("{path}.1"), conv, input);
    let x = block.batch_norm(format!("{path}.2"), norm, x);
    block.activation(format!("{path}.3"), Activation::Silu, x)
}
