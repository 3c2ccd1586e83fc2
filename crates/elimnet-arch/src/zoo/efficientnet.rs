//! EfficientNet: Tan & Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, ICML 2019.

use crate::block::{Argument, Block, BlockBuilder, Value};
use crate::head::{Head, Pool};
use crate::layer::{Activation, Conv2d, Op};
use crate::network::Network;
use crate::zoo::ops::{Norm, SqueezeExcitation, conv_norm_activation, depthwise, pointwise};

/// A row of the paper's table 1.
struct Stage {
    expansion: usize,
    kernel: usize,
    stride: usize,
    out_channels: usize,
    repeats: usize,
}

const STAGES: [Stage; 7] = [
    Stage { expansion: 1, kernel: 3, stride: 1, out_channels: 16, repeats: 1 },
    Stage { expansion: 6, kernel: 3, stride: 2, out_channels: 24, repeats: 2 },
    Stage { expansion: 6, kernel: 5, stride: 2, out_channels: 40, repeats: 2 },
    Stage { expansion: 6, kernel: 3, stride: 2, out_channels: 80, repeats: 3 },
    Stage { expansion: 6, kernel: 5, stride: 1, out_channels: 112, repeats: 3 },
    Stage { expansion: 6, kernel: 5, stride: 2, out_channels: 192, repeats: 4 },
    Stage { expansion: 6, kernel: 3, stride: 1, out_channels: 320, repeats: 1 },
];

/// Stochastic depth of the deepest block, exclusive: block `i` of `n` has `i / n` of it.
const STOCHASTIC_DEPTH: f64 = 0.2;

/// EfficientNet-B0, layer for layer torchvision's `efficientnet_b0`.
pub fn efficientnet_b0(classes: usize) -> Network {
    let mut blocks = vec![convolution("features.0", Conv2d::square(3, 32, 3, 2))];
    let total: usize = STAGES.iter().map(|stage| stage.repeats).sum();
    let mut in_channels = 32;
    for (stage, row) in STAGES.iter().enumerate() {
        for repeat in 0..row.repeats {
            let drop = STOCHASTIC_DEPTH * (blocks.len() - 1) as f64 / total as f64;
            let stride = if repeat == 0 { row.stride } else { 1 };
            let path = format!("features.{}.{repeat}", stage + 1);
            blocks.push(MBConv { in_channels, row, stride, drop: drop as f32 }.build(&path));
            in_channels = row.out_channels;
        }
    }
    let features = 4 * in_channels;
    blocks.push(convolution("features.8", pointwise(in_channels, features)));
    Head::new(Pool::Module)
        .dropout("classifier.0", 0.2)
        .linear("classifier.1", features, classes)
        .network("efficientnet_b0", blocks)
}

fn convolution(path: &str, conv: Conv2d) -> Block {
    let mut block = BlockBuilder::new(path, "Conv");
    block.arguments([conv.out_channels, conv.kernel[0], conv.stride[0]].map(Argument::from));
    conv_norm_activation(&mut block, path, conv, Norm::TORCH, Some(Activation::Silu), Value::INPUT);
    block.build()
}

struct MBConv<'a> {
    in_channels: usize,
    row: &'a Stage,
    stride: usize,
    drop: f32,
}

impl MBConv<'_> {
    fn build(&self, path: &str) -> Block {
        let &Stage { expansion, kernel, out_channels, .. } = self.row;
        let mut block = BlockBuilder::new(path, "MBConv");
        block.arguments([expansion, out_channels, self.stride, kernel].map(Argument::from));
        let x = self.residual(&mut block, path);
        let stochastic_depth = format!("{path}.stochastic_depth");
        if self.stride == 1 && self.in_channels == out_channels {
            let op = Op::StochasticDepth { probability: self.drop };
            let x = block.module(stochastic_depth, op, x);
            block.add(x, Value::INPUT);
        } else {
            block.idle(stochastic_depth);
        }
        block.build()
    }

    /// Expansion, depthwise convolution, squeeze-and-excitation, projection.
    fn residual(&self, block: &mut BlockBuilder, path: &str) -> Value {
        let hidden = self.in_channels * self.row.expansion;
        let silu = Some(Activation::Silu);
        let mut paths = (0..).map(|index| format!("{path}.block.{index}"));
        let mut next = || paths.next().unwrap_or_default();
        let mut x = Value::INPUT;
        if hidden != self.in_channels {
            x = conv_norm_activation(
                block,
                &next(),
                pointwise(self.in_channels, hidden),
                Norm::TORCH,
                silu,
                x,
            );
        }
        let conv = depthwise(hidden, self.row.kernel, self.stride);
        let x = conv_norm_activation(block, &next(), conv, Norm::TORCH, silu, x);
        let squeeze = SqueezeExcitation {
            channels: hidden,
            squeezed: (self.in_channels / 4).max(1),
            activation: Activation::Silu,
            scale: Activation::Sigmoid,
        };
        let x = squeeze.add(block, &next(), x);
        conv_norm_activation(block, &next(), pointwise(hidden, self.row.out_channels), Norm::TORCH, None, x)
    }
}
