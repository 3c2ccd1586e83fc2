//! Conv, DWConv, ConvResidual, FixedConv and Bottleneck.

use super::arguments::Arguments;
use super::error::YamlError;
use super::scope::Scope;
use crate::block::{BlockBuilder, Value};
use crate::layer::{Activation, Conv2d, Padding};
use crate::zoo::ops::Norm;

const RELU: Option<Activation> = Some(Activation::Relu);

/// `Conv(out, kernel, stride=1, padding=kernel/2, groups=1, activation="ReLU")`: convolution without bias, batch norm,
/// activation. Of repeats, the last one strides.
pub(super) fn conv(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let out_channels = scope.scaled(arguments.size("out")?);
    Convolution::read("Conv", arguments, out_channels)?.repeat(arguments, scope)
}

/// `DWConv(out, kernel, stride=1, padding=kernel/2, activation="ReLU")`: a Conv of as many groups as divide both sides.
pub(super) fn depthwise(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let out_channels = scope.scaled(arguments.size("out")?);
    let conv = Convolution::read("DWConv", arguments, out_channels)?;
    Convolution { groups: Groups::MostPossible, ..conv }.repeat(arguments, scope)
}

/// `ConvResidual`: as Conv, added to its input where it keeps the shape.
pub(super) fn residual(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let out_channels = scope.scaled(arguments.size("out")?);
    let conv = Convolution::read("ConvResidual", arguments, out_channels)?;
    Convolution { residual: true, ..conv }.repeat(arguments, scope)
}

/// `FixedConv`: as Conv, its channels as they are written.
pub(super) fn fixed(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    Convolution::read("FixedConv", arguments, arguments.size("out")?)?.repeat(arguments, scope)
}

#[derive(Clone, Copy)]
enum Groups {
    Given(usize),
    /// The greatest common divisor of input and output channels.
    MostPossible,
}

struct Convolution {
    module: &'static str,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    groups: Groups,
    activation: Option<Activation>,
    residual: bool,
}

impl Convolution {
    fn read(module: &'static str, arguments: &Arguments<'_>, out_channels: usize) -> Result<Self, YamlError> {
        let kernel = arguments.size("kernel")?;
        Ok(Self {
            module,
            out_channels,
            kernel,
            stride: arguments.size_or("stride", 1)?,
            padding: arguments.padding_or("padding", kernel / 2)?,
            groups: Groups::Given(arguments.size_or("groups", 1)?),
            activation: arguments.activation_or("activation", RELU)?,
            residual: false,
        })
    }

    fn repeat(&self, arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
        for index in 0..scope.repeats {
            let stride = if index + 1 == scope.repeats { self.stride } else { 1 };
            let conv = self.conv(arguments, scope.channels, stride)?;
            let mut block = scope.block(index, self.module, arguments);
            let x = conv_norm_act(&mut block, &scope.path(index), conv, self.activation, Value::INPUT);
            if self.residual && stride == 1 && scope.channels == self.out_channels {
                block.add(x, Value::INPUT);
            }
            scope.blocks.push(block.build());
            scope.channels = self.out_channels;
        }
        Ok(())
    }

    fn conv(
        &self,
        arguments: &Arguments<'_>,
        in_channels: usize,
        stride: usize,
    ) -> Result<Conv2d, YamlError> {
        let groups = match self.groups {
            Groups::Given(groups) => {
                check_groups(arguments, groups, in_channels, self.out_channels)?;
                groups
            }
            Groups::MostPossible => greatest_common_divisor(in_channels, self.out_channels),
        };
        Ok(Conv2d::square(in_channels, self.out_channels, self.kernel, stride)
            .with_padding(Padding::same(self.padding))
            .with_groups(groups))
    }
}

/// `Bottleneck(out, shortcut=True, groups=1, expansion=0.5, activation="ReLU")`: a 1x1 Conv to `int(out · expansion)` with
/// the activation, a 3x3 Conv with ReLU, added to its input where the channels are the same. Of repeats, all but the last
/// keep the input's channels.
pub(super) fn bottleneck(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let last = scope.scaled(arguments.size("out")?);
    let shortcut = arguments.flag_or("shortcut", true)?;
    let groups = arguments.size_or("groups", 1)?;
    let expansion = arguments.factor_or("expansion", 0.5)?;
    let activation = arguments.activation_or("activation", RELU)?;
    let in_channels = scope.channels;
    for index in 0..scope.repeats {
        let out_channels = if index + 1 == scope.repeats { last } else { in_channels };
        let hidden = (out_channels as f64 * expansion) as usize;
        if hidden == 0 {
            return Err(arguments.unfit("expansion", format!("enough for a channel out of {out_channels}")));
        }
        check_groups(arguments, groups, hidden, out_channels)?;
        let path = scope.path(index);
        let mut block = scope.block(index, "Bottleneck", arguments);
        let conv = Conv2d::square(in_channels, hidden, 1, 1);
        let x = conv_norm_act(&mut block, &format!("{path}.conv1"), conv, activation, Value::INPUT);
        let conv = Conv2d::square(hidden, out_channels, 3, 1).with_groups(groups);
        let x = conv_norm_act(&mut block, &format!("{path}.conv2"), conv, RELU, x);
        if shortcut && in_channels == out_channels {
            block.add(x, Value::INPUT);
        }
        scope.blocks.push(block.build());
    }
    scope.channels = last;
    Ok(())
}

/// `PATH.conv`, `PATH.bn`, `PATH.act`; without an activation the last one is an `Identity`.
pub(crate) fn conv_norm_act(
    block: &mut BlockBuilder,
    path: &str,
    conv: Conv2d,
    activation: Option<Activation>,
    input: Value,
) -> Value {
    let norm = Norm::TORCH.over(conv.out_channels);
    let x = block.conv(format!("{path}.conv"), conv, input);
    let x = block.batch_norm(format!("{path}.bn"), norm, x);
    match activation {
        Some(activation) => block.activation(format!("{path}.act"), activation, x),
        None => {
            block.idle(format!("{path}.act"));
            x
        }
    }
}

fn check_groups(
    arguments: &Arguments<'_>,
    groups: usize,
    in_channels: usize,
    out_channels: usize,
) -> Result<(), YamlError> {
    if in_channels.is_multiple_of(groups) && out_channels.is_multiple_of(groups) {
        return Ok(());
    }
    Err(arguments
        .unfit("groups", format!("a divisor of {in_channels} input and {out_channels} output channels")))
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
