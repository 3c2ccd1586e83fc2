//! A whole network: a trunk of blocks that can be eliminated, and a head.

use serde::{Deserialize, Serialize};

use crate::block::Block;
use crate::layer::{Layer, Op};

/// A convolutional classifier as data.
///
/// ```
/// use elimnet_arch::zoo;
///
/// let network = zoo::resnet18(1000).cut_at("layer2.1")?.with_classes(6);
/// assert_eq!(network.parameters(), 683_846);
/// # Ok::<(), elimnet_arch::EliminateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Name for people and files: `resnet18`, `efficientnet_b0@features.4.2`.
    pub name: String,
    /// Zoo network whose pretrained tensors carry the names of this network's trunk, if any.
    pub pretrained_as: Option<String>,
    /// Channels of the images.
    pub input_channels: usize,
    /// The trunk: everything that can be eliminated.
    pub blocks: Vec<Block>,
    /// What turns the trunk's output into logits.
    pub head: Vec<Block>,
    /// Path that a new last Linear gets: the family's own, `fc` or `classifier.1`.
    pub classifier: String,
}

impl Network {
    /// Trunk blocks, then head blocks.
    pub fn all_blocks(&self) -> impl DoubleEndedIterator<Item = &Block> {
        self.blocks.iter().chain(&self.head)
    }

    /// Every layer with its position `(block, layer)`, in the order in which they run.
    pub fn layers(&self) -> impl Iterator<Item = ((usize, usize), &Layer)> {
        self.all_blocks()
            .enumerate()
            .flat_map(|(b, block)| block.layers.iter().enumerate().map(move |(l, layer)| ((b, l), layer)))
    }

    /// Number of classes: what the last Linear (or convolution) of the head puts out.
    pub fn classes(&self) -> usize {
        let outputs = |layer: &Layer| match &layer.op {
            Op::Linear(linear) => Some(linear.out_features),
            Op::Conv2d(conv) => Some(conv.out_channels),
            _ => None,
        };
        self.head.iter().flat_map(|block| &block.layers).filter_map(outputs).next_back().unwrap_or(0)
    }

    /// The same network for another number of classes; only the last Linear (or convolution) and what follows change.
    pub fn with_classes(mut self, classes: usize) -> Self {
        for block in self.head.iter_mut().rev() {
            if let Some(before) = block.set_outputs(classes) {
                if block.arguments.first() == Some(&before.into()) {
                    block.arguments[0] = classes.into();
                }
                break;
            }
        }
        self
    }

    /// The same network with all dropout and stochastic depth switched off.
    pub fn without_dropout(mut self) -> Self {
        for block in self.blocks.iter_mut().chain(&mut self.head) {
            for layer in &mut block.layers {
                if let Op::Dropout { probability } | Op::StochasticDepth { probability } = &mut layer.op {
                    *probability = 0.0;
                }
            }
        }
        self
    }
}
