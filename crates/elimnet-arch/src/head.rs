//! Heads: what stands on a trunk and makes logits.

use crate::block::{Block, BlockBuilder, Value};
use crate::layer::{Activation, Linear, Op};
use crate::network::Network;

/// How a head turns the last feature map into a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// Module `avgpool`: the mean over all pixels.
    Module,
    /// The same, computed in `forward` without a module.
    Function,
    /// Module `avgpool`: means over a square grid.
    Grid(usize),
}

/// Builds a head module by module.
pub(crate) struct Head {
    blocks: Vec<Block>,
}

impl Head {
    pub(crate) fn new(pool: Pool) -> Self {
        let grid = |size| Op::AdaptiveAvgPool { height: size, width: size };
        let mut block = BlockBuilder::new("avgpool", "GlobalAvgPool");
        match pool {
            Pool::Module => block.module("avgpool", Op::GlobalAvgPool, Value::INPUT),
            Pool::Function => block.function(Op::GlobalAvgPool, Value::INPUT),
            Pool::Grid(size) => {
                block = BlockBuilder::new("avgpool", "AdaptiveAvgPool");
                block.arguments([size.into()]);
                block.module("avgpool", grid(size), Value::INPUT)
            }
        };
        let mut flatten = BlockBuilder::new("flatten", "Flatten");
        flatten.function(Op::Flatten, Value::INPUT);
        Self { blocks: vec![block.build(), flatten.build()] }
    }

    /// Ends a network that was cut: one Linear called `path` on the mean over all pixels. The pooling is a torch module
    /// where `replaced`, the head that was there before, had one.
    /// Its rows in the table count from `first_row`.
    pub(crate) fn after_cut(
        replaced: &[Block],
        path: &str,
        in_features: usize,
        classes: usize,
        first_row: usize,
    ) -> Vec<Block> {
        let is_pool = |op: &Op| matches!(op, Op::GlobalAvgPool | Op::AdaptiveAvgPool { .. });
        let mut layers = replaced.iter().flat_map(|block| &block.layers);
        let pool = match layers.find(|layer| is_pool(&layer.op)) {
            Some(layer) if layer.path.is_none() => Pool::Function,
            _ => Pool::Module,
        };
        let mut head = Self::new(pool).linear(path, in_features, classes).blocks;
        number_rows(&mut head, first_row);
        head
    }

    pub(crate) fn linear(self, path: &str, in_features: usize, out_features: usize) -> Self {
        self.add(path, "Linear", Op::Linear(Linear { in_features, out_features, bias: true }))
    }

    pub(crate) fn activation(self, path: &str, activation: Activation) -> Self {
        self.add(path, activation.name(), Op::Activation(activation))
    }

    pub(crate) fn dropout(self, path: &str, probability: f32) -> Self {
        self.add(path, "Dropout", Op::Dropout { probability })
    }

    fn add(mut self, path: &str, module: &str, op: Op) -> Self {
        let mut block = BlockBuilder::new(path, module);
        match &op {
            Op::Linear(linear) => block.arguments([linear.out_features.into()]),
            Op::Dropout { probability } => block.arguments([shortest(*probability).into()]),
            _ => {}
        }
        block.module(path, op, Value::INPUT);
        self.blocks.push(block.build());
        self
    }

    /// The network of these parts; its last module is the classifier, every block a row of its own.
    pub(crate) fn network(self, name: &str, blocks: Vec<Block>) -> Network {
        let classifier = self.blocks[self.blocks.len() - 1].name.clone();
        let (mut blocks, mut head) = (blocks, self.blocks);
        number_rows(&mut blocks, 0);
        number_rows(&mut head, blocks.len());
        Network {
            name: name.to_owned(),
            pretrained_as: Some(name.to_owned()),
            input_channels: 3,
            blocks,
            head,
            classifier,
        }
    }
}

/// Makes every block a row of its own.
fn number_rows(blocks: &mut [Block], first: usize) {
    for (offset, block) in blocks.iter_mut().enumerate() {
        block.row = first + offset;
    }
}

/// The f64 that prints as the f32 does: 0.2, not 0.200000003.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
