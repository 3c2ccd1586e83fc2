//! MnasNet: Tan et al., *MnasNet: Platform-Aware Neural Architecture Search for Mobile*, CVPR 2019 (variant B1).

use crate::block::{Argument, Block, BlockBuilder, Value};
use crate::head::{Head, Pool};
use crate::layer::{Activation, Conv2d};
use crate::network::Network;
use crate::zoo::ops::{Norm, depthwise, pointwise};

/// TensorFlow's momentum of 0.9997, the other way round as torch has it.
const NORM: Norm = Norm { eps: 1e-5, momentum: 3e-4 };

/// A stack of inverted residuals: output channels, kernel, stride of the first, expansion, repeats.
const STACKS: [(usize, usize, usize, usize, usize); 6] = [
    (24, 3, 2, 3, 3),
    (40, 5, 2, 3, 3),
    (80, 5, 2, 6, 3),
    (96, 3, 1, 6, 2),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
];

/// MnasNet with depth multiplier 1.0, layer for layer torchvision's `mnasnet1_0`.
pub fn mnasnet1_0(classes: usize) -> Network {
    let mut blocks = vec![stem()];
    let mut in_channels = 16;
    for (stack, (out_channels, kernel, stride, expansion, repeats)) in STACKS.into_iter().enumerate() {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let residual = InvertedResidual { in_channels, out_channels, kernel, stride, expansion };
            blocks.push(residual.build(&format!("layers.{}.{repeat}", stack + 8)));
            in_channels = out_channels;
        }
    }
    blocks.push(last_convolution(in_channels));
    Head::new(Pool::Function)
        .dropout("classifier.0", 0.2)
        .linear("classifier.1", 1280, classes)
        .network("mnasnet1_0", blocks)
}

/// Convolution and separable convolution; torchvision lists their layers one by one.
fn stem() -> Block {
    let mut block = BlockBuilder::new("layers.7", "SepConv");
    block.arguments([16_usize, 3, 2].map(Argument::from));
    let x = norm_relu(&mut block, "layers", 0, Conv2d::square(3, 32, 3, 2), Value::INPUT);
    let x = norm_relu(&mut block, "layers", 3, depthwise(32, 3, 1), x);
    let x = block.conv("layers.6", pointwise(32, 16), x);
    block.batch_norm("layers.7", NORM.over(16), x);
    block.build()
}

fn last_convolution(in_channels: usize) -> Block {
    let mut block = BlockBuilder::new("layers.16", "Conv");
    block.arguments([1280_usize, 1, 1].map(Argument::from));
    norm_relu(&mut block, "layers", 14, pointwise(in_channels, 1280), Value::INPUT);
    block.build()
}

struct InvertedResidual {
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
}

impl InvertedResidual {
    fn build(&self, path: &str) -> Block {
        let &Self { in_channels, out_channels, kernel, stride, expansion } = self;
        let hidden = in_channels * expansion;
        let layers = format!("{path}.layers");
        let mut block = BlockBuilder::new(path, "InvertedResidual");
        block.arguments([out_channels, kernel, stride, expansion].map(Argument::from));
        let x = norm_relu(&mut block, &layers, 0, pointwise(in_channels, hidden), Value::INPUT);
        let x = norm_relu(&mut block, &layers, 3, depthwise(hidden, kernel, stride), x);
        let x = block.conv(format!("{layers}.6"), pointwise(hidden, out_channels), x);
        let x = block.batch_norm(format!("{layers}.7"), NORM.over(out_channels), x);
        if stride == 1 && in_channels == out_channels {
            block.add(x, Value::INPUT);
        }
        block.build()
    }
}

/// Convolution, batch normalisation and ReLU as children `first`, `first + 1` and `first + 2` of `path`.
fn norm_relu(block: &mut BlockBuilder, path: &str, first: usize, conv: Conv2d, input: Value) -> Value {
    let norm = NORM.over(conv.out_channels);
    let x = block.conv(format!("{path}.{first}"), conv, input);
    let x = block.batch_norm(format!("{path}.{}", first + 1), norm, x);
    block.activation(format!("{path}.{}", first + 2), Activation::Relu, x)
}
