//! MaxPool, AvgPool, GlobalAvgPool, Flatten and Linear.

use super::arguments::Arguments;
use super::error::YamlError;
use super::scope::Scope;
use crate::block::Value;
use crate::layer::{Linear, Op, Padding, Pool2d};

/// `MaxPool(kernel, stride=kernel, padding=0)`, torch's `MaxPool2d`.
pub(super) fn max(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    repeat("MaxPool", Op::MaxPool(window(arguments)?), arguments, scope)
}

/// `AvgPool(kernel, stride=kernel, padding=0)`, torch's `AvgPool2d`: padding counts as zeros.
pub(super) fn average(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    repeat("AvgPool", Op::AvgPool(window(arguments)?), arguments, scope)
}

/// `GlobalAvgPool(output=1)`: the mean over all pixels, or over each field of an `output` by `output` grid.
pub(super) fn global(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let output = arguments.size_or("output", 1)?;
    scope.pixels = Some(output * output);
    let op = match output {
        1 => Op::GlobalAvgPool,
        size => Op::AdaptiveAvgPool { height: size, width: size },
    };
    repeat("GlobalAvgPool", op, arguments, scope)
}

/// `Flatten`: channels, rows and columns become one vector.
pub(super) fn flatten(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    scope.channels *= scope.pixels.replace(1).unwrap_or(1);
    repeat("Flatten", Op::Flatten, arguments, scope)
}

/// `Linear(out, activation=None)`, with a bias.
pub(super) fn linear(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let out_features = arguments.size("out")?;
    let activation = arguments.activation_or("activation", None)?;
    let path = scope.path(0);
    let mut block = scope.block(0, "Linear", arguments);
    let linear = Linear { in_features: scope.channels, out_features, bias: true };
    let x = block.linear(format!("{path}.linear"), linear, Value::INPUT);
    match activation {
        Some(activation) => {
            block.activation(format!("{path}.activation"), activation, x);
        }
        None => block.idle(format!("{path}.activation")),
    }
    scope.blocks.push(block.build());
    scope.channels = out_features;
    Ok(())
}

fn window(arguments: &Arguments<'_>) -> Result<Pool2d, YamlError> {
    let kernel = arguments.size("kernel")?;
    let stride = arguments.size_or("stride", kernel)?;
    let padding = arguments.padding_or("padding", 0)?;
    if padding > kernel / 2 {
        return Err(arguments.unfit("padding", format!("at most half of the kernel of {kernel}")));
    }
    Ok(Pool2d { kernel: [kernel; 2], stride: [stride; 2], padding: Padding::same(padding) })
}

/// Blocks of one layer that is the row's module itself.
fn repeat(module: &str, op: Op, arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    for index in 0..scope.repeats {
        let mut block = scope.block(index, module, arguments);
        block.module(scope.path(index), op.clone(), Value::INPUT);
        scope.blocks.push(block.build());
    }
    Ok(())
}
