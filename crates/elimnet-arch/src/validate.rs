//! Checks of networks that came from outside, from a file's metadata.

use std::collections::HashSet;

use crate::block::Block;
use crate::layer::{Layer, Op, Padding};
use crate::network::Network;

/// A network that contradicts itself; only data from outside (a file's metadata) can be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// No blocks in trunk or head, or no layers in a block.
    #[error("network `{network}` has an empty {part}")]
    Empty {
        /// Name of the network.
        network: String,
        /// What is empty.
        part: String,
    },
    /// A layer that reads a value which does not exist yet, or another number of values than its operation takes.
    #[error("block `{block}`, layer {layer}: reads values {inputs:?}, which does not fit its operation")]
    Inputs {
        /// Name of the block.
        block: String,
        /// Index of the layer.
        layer: usize,
        /// What it says it reads.
        inputs: Vec<usize>,
    },
    /// A size of zero, groups that don't divide the channels, a number out of range.
    #[error("block `{block}`, layer {layer}: {reason}")]
    Argument {
        /// Name of the block.
        block: String,
        /// Index of the layer.
        layer: usize,
        /// What is wrong.
        reason: String,
    },
    /// More blocks, or layers in a block, than any network needs.
    #[error("{what} has {count} {parts}, expected at most {MOST_PARTS}")]
    TooLarge {
        /// The network or a block.
        what: String,
        /// How many there are.
        count: usize,
        /// What is counted.
        parts: &'static str,
    },
    /// Two blocks of one name: a cut after it would be ambiguous.
    #[error("network `{network}` has two blocks called `{block}`")]
    DuplicateBlock {
        /// Name of the network.
        network: String,
        /// Name of the blocks.
        block: String,
    },
    /// Two tensors of one name.
    #[error("network `{network}` names tensor `{tensor}` twice")]
    DuplicateTensor {
        /// Name of the network.
        network: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// The head has no layer that makes logits.
    #[error("network `{network}` has no Linear or Conv in its head")]
    NoClassifier {
        /// Name of the network.
        network: String,
    },
}

impl Network {
    /// Checks a network that came from outside.
    ///
    /// # Errors
    /// See [`NetworkError`]. A network that passes can be walked, counted and shape-inferred without a panic.
    pub fn validate(&self) -> Result<(), NetworkError> {
        for (part, blocks) in [("trunk", &self.blocks), ("head", &self.head)] {
            if blocks.is_empty() {
                return Err(NetworkError::Empty { network: self.name.clone(), part: part.to_owned() });
            }
        }
        check_parts(&format!("network `{}`", self.name), "blocks", self.all_blocks().count())?;
        let mut names = HashSet::new();
        for block in self.all_blocks() {
            block.validate(&self.name)?;
            if !names.insert(&block.name) {
                let (network, block) = (self.name.clone(), block.name.clone());
                return Err(NetworkError::DuplicateBlock { network, block });
            }
        }
        if self.classes() == 0 {
            return Err(NetworkError::NoClassifier { network: self.name.clone() });
        }
        let mut names = HashSet::new();
        for tensor in self.tensors() {
            if !names.insert(tensor.name.clone()) {
                return Err(NetworkError::DuplicateTensor {
                    network: self.name.clone(),
                    tensor: tensor.name,
                });
            }
        }
        Ok(())
    }
}

/// Largest number that a file may state for a channel count, kernel, stride or padding.
const LIMIT: usize = 1 << 20;
/// Most blocks of a network and most layers of a block.
const MOST_PARTS: usize = 4096;
/// Most numbers of one weight: sums of as many over all layers do not overflow.
const MOST_WEIGHTS: usize = 1 << 40;

impl Block {
    fn validate(&self, network: &str) -> Result<(), NetworkError> {
        if self.layers.is_empty() {
            return Err(NetworkError::Empty {
                network: network.to_owned(),
                part: format!("block `{}`", self.name),
            });
        }
        check_parts(&format!("block `{}`", self.name), "layers", self.layers.len())?;
        for (index, layer) in self.layers.iter().enumerate() {
            let arity = if matches!(layer.op, Op::Add | Op::Scale) { 2 } else { 1 };
            if layer.inputs.len() != arity || layer.inputs.iter().any(|&value| value > index) {
                return Err(NetworkError::Inputs {
                    block: self.name.clone(),
                    layer: index,
                    inputs: layer.inputs.clone(),
                });
            }
            layer.check_arguments().map_err(|reason| NetworkError::Argument {
                block: self.name.clone(),
                layer: index,
                reason,
            })?;
        }
        Ok(())
    }
}

impl Layer {
    fn check_arguments(&self) -> Result<(), String> {
        let positive = |name: &str, values: &[usize]| {
            if values.iter().all(|&value| (1..=LIMIT).contains(&value)) {
                return Ok(());
            }
            Err(format!("{name} is {values:?}, expected 1 to {LIMIT}"))
        };
        if self.path.is_none() && matches!(self.op, Op::Conv2d(_) | Op::Linear(_) | Op::BatchNorm(_)) {
            return Err("a layer with tensors has no path".to_owned());
        }
        match &self.op {
            Op::Conv2d(conv) => {
                positive("channels", &[conv.in_channels, conv.out_channels])?;
                positive("kernel", &conv.kernel)?;
                positive("stride", &conv.stride)?;
                positive("groups", &[conv.groups])?;
                check_padding(conv.padding)?;
                if conv.in_channels % conv.groups != 0 || conv.out_channels % conv.groups != 0 {
                    return Err(format!(
                        "{} groups do not divide {} to {} channels",
                        conv.groups, conv.in_channels, conv.out_channels
                    ));
                }
                let [height, width] = conv.kernel;
                check_weights(&[conv.out_channels, conv.in_channels / conv.groups, height, width])
            }
            Op::MaxPool(pool) | Op::AvgPool(pool) => {
                positive("kernel", &pool.kernel)?;
                positive("stride", &pool.stride)?;
                check_padding(pool.padding)
            }
            Op::BatchNorm(norm) => {
                positive("channels", &[norm.channels])?;
                check_fraction("momentum", norm.momentum)?;
                check_fraction("eps", norm.eps)
            }
            Op::Linear(linear) => {
                let features = [linear.in_features, linear.out_features];
                positive("features", &features)?;
                check_weights(&features)
            }
            &Op::AdaptiveAvgPool { height, width } => positive("grid", &[height, width]),
            &Op::Dropout { probability } | &Op::StochasticDepth { probability } => {
                if (0.0..1.0).contains(&probability) {
                    return Ok(());
                }
                Err(format!("probability is {probability}, expected 0 to below 1"))
            }
            _ => Ok(()),
        }
    }
}

fn check_parts(what: &str, parts: &'static str, count: usize) -> Result<(), NetworkError> {
    if count <= MOST_PARTS {
        return Ok(());
    }
    Err(NetworkError::TooLarge { what: what.to_owned(), count, parts })
}

fn check_weights(shape: &[usize]) -> Result<(), String> {
    let count = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if count.is_some_and(|count| count <= MOST_WEIGHTS) {
        return Ok(());
    }
    Err(format!("a weight of shape {shape:?} is too large"))
}

fn check_padding(padding: Padding) -> Result<(), String> {
    let sides = [padding.top, padding.left, padding.bottom, padding.right];
    if sides.iter().all(|&side| side <= LIMIT) {
        return Ok(());
    }
    Err(format!("padding is {sides:?}, expected at most {LIMIT}"))
}

fn check_fraction(name: &str, value: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(format!("{name} is {value}, expected 0 to 1"))
}
