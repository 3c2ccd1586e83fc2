//! MobileNetV2: Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, CVPR 2018.

use crate::block::{Argument, Block, BlockBuilder, Value};
use crate::head::{Head, Pool};
use crate::layer::{Activation, Conv2d};
use crate::network::Network;
use crate::zoo::ops::{Norm, conv_norm_activation, depthwise, pointwise};

/// A row of the paper's table 2: expansion, output channels, repeats, stride of the first repeat.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

const RELU6: Option<Activation> = Some(Activation::Relu6);

/// MobileNetV2, layer for layer torchvision's `mobilenet_v2`.
pub fn mobilenet_v2(classes: usize) -> Network {
    let mut blocks = vec![convolution("features.0", Conv2d::square(3, 32, 3, 2))];
    let mut in_channels = 32;
    for (expansion, out_channels, repeats, stride) in STAGES {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let path = format!("features.{}", blocks.len());
            let residual = InvertedResidual { in_channels, expansion, out_channels, stride };
            blocks.push(residual.build(&path));
            in_channels = out_channels;
        }
    }
    blocks.push(convolution("features.18", pointwise(in_channels, 1280)));
    Head::new(Pool::Function)
        .dropout("classifier.0", 0.2)
        .linear("classifier.1", 1280, classes)
        .network("mobilenet_v2", blocks)
}

fn convolution(path: &str, conv: Conv2d) -> Block {
    let mut block = BlockBuilder::new(path, "Conv");
    block.arguments([conv.out_channels, conv.kernel[0], conv.stride[0]].map(Argument::from));
    conv_norm_activation(&mut block, path, conv, Norm::TORCH, RELU6, Value::INPUT);
    block.build()
}

struct InvertedResidual {
    in_channels: usize,
    expansion: usize,
    out_channels: usize,
    stride: usize,
}

impl InvertedResidual {
    fn build(&self, path: &str) -> Block {
        let hidden = self.in_channels * self.expansion;
        let mut block = BlockBuilder::new(path, "InvertedResidualv2");
        block.arguments([self.out_channels, self.expansion, self.stride].map(Argument::from));
        let mut paths = (0..).map(|index| format!("{path}.conv.{index}"));
        let mut next = || paths.next().unwrap_or_default();
        let mut x = Value::INPUT;
        if self.expansion != 1 {
            let conv = pointwise(self.in_channels, hidden);
            x = conv_norm_activation(&mut block, &next(), conv, Norm::TORCH, RELU6, x);
        }
        let conv = depthwise(hidden, 3, self.stride);
        let x = conv_norm_activation(&mut block, &next(), conv, Norm::TORCH, RELU6, x);
        let x = block.conv(next(), pointwise(hidden, self.out_channels), x);
        let x = block.batch_norm(next(), Norm::TORCH.over(self.out_channels), x);
        if self.stride == 1 && self.in_channels == self.out_channels {
            block.add(x, Value::INPUT);
        }
        block.build()
    }
}
