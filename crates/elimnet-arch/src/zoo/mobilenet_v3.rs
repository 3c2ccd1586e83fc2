//! MobileNetV3: Howard et al., *Searching for MobileNetV3*, ICCV 2019.

use crate::block::{Argument, Block, BlockBuilder, Value};
use crate::head::{Head, Pool};
use crate::layer::{Activation, Conv2d};
use crate::network::Network;
use crate::zoo::ops::{Norm, SqueezeExcitation, conv_norm_activation, depthwise, make_divisible, pointwise};

const NORM: Norm = Norm { eps: 1e-3, momentum: 0.01 };

/// A row of the paper's tables 1 and 2.
struct Row {
    kernel: usize,
    expanded: usize,
    out_channels: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
}

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::HardSwish;

const fn row(
    kernel: usize,
    expanded: usize,
    out_channels: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
) -> Row {
    Row { kernel, expanded, out_channels, squeeze, activation, stride }
}

const LARGE: [Row; 15] = [
    row(3, 16, 16, false, RE, 1),
    row(3, 64, 24, false, RE, 2),
    row(3, 72, 24, false, RE, 1),
    row(5, 72, 40, true, RE, 2),
    row(5, 120, 40, true, RE, 1),
    row(5, 120, 40, true, RE, 1),
    row(3, 240, 80, false, HS, 2),
    row(3, 200, 80, false, HS, 1),
    row(3, 184, 80, false, HS, 1),
    row(3, 184, 80, false, HS, 1),
    row(3, 480, 112, true, HS, 1),
    row(3, 672, 112, true, HS, 1),
    row(5, 672, 160, true, HS, 2),
    row(5, 960, 160, true, HS, 1),
    row(5, 960, 160, true, HS, 1),
];

const SMALL: [Row; 11] = [
    row(3, 16, 16, true, RE, 2),
    row(3, 72, 24, false, RE, 2),
    row(3, 88, 24, false, RE, 1),
    row(5, 96, 40, true, HS, 2),
    row(5, 240, 40, true, HS, 1),
    row(5, 240, 40, true, HS, 1),
    row(5, 120, 48, true, HS, 1),
    row(5, 144, 48, true, HS, 1),
    row(5, 288, 96, true, HS, 2),
    row(5, 576, 96, true, HS, 1),
    row(5, 576, 96, true, HS, 1),
];

/// MobileNetV3-Large, layer for layer torchvision's `mobilenet_v3_large`.
pub fn mobilenet_v3_large(classes: usize) -> Network {
    mobilenet_v3("mobilenet_v3_large", &LARGE, 1280, classes)
}

/// MobileNetV3-Small, layer for layer torchvision's `mobilenet_v3_small`.
pub fn mobilenet_v3_small(classes: usize) -> Network {
    mobilenet_v3("mobilenet_v3_small", &SMALL, 1024, classes)
}

fn mobilenet_v3(name: &str, rows: &[Row], last_features: usize, classes: usize) -> Network {
    let mut blocks = vec![convolution("features.0", Conv2d::square(3, 16, 3, 2))];
    let mut in_channels = 16;
    for row in rows {
        blocks.push(row.build(&format!("features.{}", blocks.len()), in_channels));
        in_channels = row.out_channels;
    }
    let features = 6 * in_channels;
    blocks.push(convolution(&format!("features.{}", blocks.len()), pointwise(in_channels, features)));
    Head::new(Pool::Module)
        .linear("classifier.0", features, last_features)
        .activation("classifier.1", HS)
        .dropout("classifier.2", 0.2)
        .linear("classifier.3", last_features, classes)
        .network(name, blocks)
}

fn convolution(path: &str, conv: Conv2d) -> Block {
    let mut block = BlockBuilder::new(path, "Conv");
    block.arguments([conv.out_channels, conv.kernel[0], conv.stride[0]].map(Argument::from));
    conv_norm_activation(&mut block, path, conv, NORM, Some(HS), Value::INPUT);
    block.build()
}

impl Row {
    fn build(&self, path: &str, in_channels: usize) -> Block {
        let mut block = BlockBuilder::new(path, "InvertedResidualv3");
        block.arguments(self.arguments(in_channels));
        let x = self.residual(&mut block, path, in_channels);
        if self.stride == 1 && in_channels == self.out_channels {
            block.add(x, Value::INPUT);
        }
        block.build()
    }

    /// As the YAML language orders them; the expansion is relative to the input's channels.
    fn arguments(&self, in_channels: usize) -> [Argument; 6] {
        [
            self.kernel.into(),
            (self.expanded as f64 / in_channels as f64).into(),
            self.out_channels.into(),
            usize::from(self.squeeze).into(),
            usize::from(self.activation == HS).into(),
            self.stride.into(),
        ]
    }

    /// Expansion, depthwise convolution, squeeze-and-excitation, projection.
    fn residual(&self, block: &mut BlockBuilder, path: &str, in_channels: usize) -> Value {
        let activation = Some(self.activation);
        let mut paths = (0..).map(|index| format!("{path}.block.{index}"));
        let mut next = || paths.next().unwrap_or_default();
        let mut x = Value::INPUT;
        if self.expanded != in_channels {
            let conv = pointwise(in_channels, self.expanded);
            x = conv_norm_activation(block, &next(), conv, NORM, activation, x);
        }
        let conv = depthwise(self.expanded, self.kernel, self.stride);
        let mut x = conv_norm_activation(block, &next(), conv, NORM, activation, x);
        if self.squeeze {
            let squeeze = SqueezeExcitation {
                channels: self.expanded,
                squeezed: make_divisible((self.expanded / 4) as f64),
                activation: RE,
                scale: Activation::HardSigmoid,
            };
            x = squeeze.add(block, &next(), x);
        }
        conv_norm_activation(block, &next(), pointwise(self.expanded, self.out_channels), NORM, None, x)
    }
}
