//! ResNet: He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016.

use crate::block::{Block, BlockBuilder, Value};
use crate::head::{Head, Pool};
use crate::layer::{Activation, Conv2d, Padding, Pool2d};
use crate::network::Network;
use crate::zoo::ops::Norm;

/// ResNet-18, layer for layer torchvision's `resnet18`.
pub fn resnet18(classes: usize) -> Network {
    let mut blocks = vec![stem()];
    let mut in_channels = 64;
    for (stage, out_channels) in [64, 128, 256, 512].into_iter().enumerate() {
        for index in 0..2 {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            blocks.push(basic_block(
                &format!("layer{}.{index}", stage + 1),
                in_channels,
                out_channels,
                stride,
            ));
            in_channels = out_channels;
        }
    }
    Head::new(Pool::Module).linear("fc", in_channels, classes).network("resnet18", blocks)
}

fn stem() -> Block {
    let mut block = BlockBuilder::new("maxpool", "Stem");
    block.arguments([64_usize.into(), 7_usize.into(), 2_usize.into()]);
    let x = block.conv("conv1", Conv2d::square(3, 64, 7, 2), Value::INPUT);
    let x = block.batch_norm("bn1", Norm::TORCH.over(64), x);
    let x = block.activation("relu", Activation::Relu, x);
    block.max_pool("maxpool", Pool2d { kernel: [3, 3], stride: [2, 2], padding: Padding::same(1) }, x);
    block.build()
}

fn basic_block(path: &str, in_channels: usize, out_channels: usize, stride: usize) -> Block {
    let mut block = BlockBuilder::new(path, "BasicBlock");
    block.arguments([out_channels.into(), stride.into()]);
    let relu = format!("{path}.relu"); // one module, called twice
    let x = block.conv(
        format!("{path}.conv1"),
        Conv2d::square(in_channels, out_channels, 3, stride),
        Value::INPUT,
    );
    let x = block.batch_norm(format!("{path}.bn1"), Norm::TORCH.over(out_channels), x);
    let x = block.activation(&relu, Activation::Relu, x);
    let x = block.conv(format!("{path}.conv2"), Conv2d::square(out_channels, out_channels, 3, 1), x);
    let x = block.batch_norm(format!("{path}.bn2"), Norm::TORCH.over(out_channels), x);
    let shortcut = if stride == 1 && in_channels == out_channels {
        Value::INPUT
    } else {
        let conv = Conv2d::square(in_channels, out_channels, 1, stride);
        let y = block.conv(format!("{path}.downsample.0"), conv, Value::INPUT);
        block.batch_norm(format!("{path}.downsample.1"), Norm::TORCH.over(out_channels), y)
    };
    let x = block.add(x, shortcut);
    block.activation(&relu, Activation::Relu, x);
    block.build()
}
