//! VGG: Simonyan & Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*, ICLR 2015.

use crate::block::{Argument, Block, BlockBuilder, Value};
use crate::head::{Head, Pool};
use crate::layer::{Activation, Conv2d, Padding, Pool2d};
use crate::network::Network;

/// Configuration A of the paper: output channels of each convolution, and whether a pooling follows.
const CONVOLUTIONS: [(usize, bool); 8] = [
    (64, true),
    (128, true),
    (256, false),
    (256, true),
    (512, false),
    (512, true),
    (512, false),
    (512, true),
];

/// VGG-11 without batch normalisation, layer for layer torchvision's `vgg11`.
pub fn vgg11(classes: usize) -> Network {
    let mut in_channels = 3;
    let mut child = 0;
    let mut blocks = Vec::new();
    for (out_channels, pooled) in CONVOLUTIONS {
        blocks.push(convolution(child, Conv2d::square(in_channels, out_channels, 3, 1).with_bias(), pooled));
        child += if pooled { 3 } else { 2 };
        in_channels = out_channels;
    }
    let relu = Activation::Relu;
    Head::new(Pool::Grid(7))
        .linear("classifier.0", in_channels * 7 * 7, 4096)
        .activation("classifier.1", relu)
        .dropout("classifier.2", 0.5)
        .linear("classifier.3", 4096, 4096)
        .activation("classifier.4", relu)
        .dropout("classifier.5", 0.5)
        .linear("classifier.6", 4096, classes)
        .network("vgg11", blocks)
}

/// Convolution, ReLU and perhaps a pooling, the children of `features` from `first` on; named after the last.
fn convolution(first: usize, conv: Conv2d, pooled: bool) -> Block {
    let last = first + if pooled { 2 } else { 1 };
    let mut block =
        BlockBuilder::new(&format!("features.{last}"), if pooled { "ConvMaxPool" } else { "Conv" });
    block.arguments([conv.out_channels, conv.kernel[0], conv.stride[0]].map(Argument::from));
    let x = block.conv(format!("features.{first}"), conv, Value::INPUT);
    let x = block.activation(format!("features.{}", first + 1), Activation::Relu, x);
    if pooled {
        let pool = Pool2d { kernel: [2, 2], stride: [2, 2], padding: Padding::same(0) };
        block.max_pool(format!("features.{last}"), pool, x);
    }
    block.build()
}
