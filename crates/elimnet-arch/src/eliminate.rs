//! Elimination: cutting the top off a network, as data to data.

use crate::head::Head;
use crate::network::Network;
use crate::shape::{Shape, ShapeError};

/// A place where a network can be cut: after block `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// torchvision's name of the last kept block, `features.4.2`.
    pub name: String,
    /// Index of the last kept block.
    pub index: usize,
    /// Channels that leave it.
    pub out_channels: usize,
    /// Parameters of the cut network with one Linear for the network's number of classes.
    pub parameters: usize,
    /// Multiply-adds of the cut network for one image.
    pub multiply_adds: u64,
}

/// A cut that does not exist.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EliminateError {
    /// No block has that name, index or number of channels.
    #[error("`{network}` has no cut `{address}`; it has {available}")]
    UnknownCut {
        /// Name of the network.
        network: String,
        /// What was asked for.
        address: String,
        /// The cuts that there are.
        available: String,
    },
    /// A block that can't be dropped: it has no shortcut past it.
    #[error("block `{block}` of `{network}` can't be dropped: only blocks that add to their own input can")]
    NotRemovable {
        /// Name of the network.
        network: String,
        /// Name of the block, or its index after `#`.
        block: String,
    },
    /// A tail that is not written as one.
    #[error("there is no tail `{tail}`, expected `conv:OUTxKERNEL`, say `conv:256x3`")]
    UnknownTail {
        /// What was written.
        tail: String,
    },
}

impl Network {
    /// Every place where the network can be cut, from the stem up; the last one keeps the whole trunk.
    ///
    /// # Errors
    /// If the image does not fit the network.
    pub fn cuts(&self, input: Shape) -> Result<Vec<Cut>, ShapeError> {
        let costs = self.costs(input)?;
        let classes = self.classes();
        let mut parameters = 0;
        let mut multiply_adds = 0;
        let mut cuts = Vec::with_capacity(self.blocks.len());
        for (index, (block, cost)) in self.blocks.iter().zip(&costs).enumerate() {
            parameters += cost.parameters;
            multiply_adds = cost.multiply_adds.saturating_add(multiply_adds);
            let out_channels = cost.output.channels;
            cuts.push(Cut {
                name: block.name.clone(),
                index,
                out_channels,
                parameters: out_channels.saturating_add(1).saturating_mul(classes).saturating_add(parameters),
                multiply_adds: (out_channels.saturating_mul(classes) as u64).saturating_add(multiply_adds),
            });
        }
        Ok(cuts)
    }

    /// Index of the block that `address` names: a block's name, `#` and its index, or a number of output channels
    /// (the deepest block that has as many; where none has, the number is an index).
    ///
    /// # Errors
    /// [`EliminateError::UnknownCut`] with all the cuts that there are.
    pub fn find_cut(&self, address: &str) -> Result<usize, EliminateError> {
        let by_name = self.blocks.iter().rposition(|block| block.name == address);
        let by_index = |text: &str| text.parse().ok().filter(|&index: &usize| index < self.blocks.len());
        let explicit_index = || address.strip_prefix('#').and_then(by_index);
        let by_channels = || {
            let channels: usize = address.parse().ok()?;
            self.out_channels().iter().rposition(|&out| out == channels)
        };
        by_name.or_else(explicit_index).or_else(by_channels).or_else(|| by_index(address)).ok_or_else(|| {
            let list = self.blocks.iter().zip(self.out_channels());
            let list: Vec<String> =
                list.map(|(block, channels)| format!("{}@{channels}", block.name)).collect();
            EliminateError::UnknownCut {
                network: self.name.clone(),
                address: address.to_owned(),
                available: list.join(", "),
            }
        })
    }

    /// Keeps the blocks up to and with the one that `address` names (see [`Network::find_cut`]) and puts global average
    /// pooling and one Linear of the same number of classes on top. A cut after the last block changes the head alone.
    ///
    /// # Errors
    /// If there is no such cut.
    pub fn cut_at(&self, address: &str) -> Result<Self, EliminateError> {
        Ok(self.cut_after(self.find_cut(address)?))
    }

    /// Keeps blocks `0..=index`; see [`Network::cut_at`].
    ///
    /// # Panics
    /// If there is no block `index`.
    pub fn cut_after(&self, index: usize) -> Self {
        let blocks = self.blocks[..=index].to_vec();
        let out_channels = self.out_channels()[index];
        let row = blocks[index].row + 1;
        let head = Head::after_cut(&self.head, &self.classifier, out_channels, self.classes(), row);
        let base = self.name.split('@').next().unwrap_or(&self.name);
        Self {
            name: format!("{base}@{}", blocks[index].name),
            head,
            blocks,
            pretrained_as: self.pretrained_as.clone(),
            input_channels: self.input_channels,
            classifier: self.classifier.clone(),
        }
    }

    /// Channels that leave each trunk block; they do not depend on the image size.
    pub fn out_channels(&self) -> Vec<usize> {
        let mut channels = self.input_channels;
        self.blocks
            .iter()
            .map(|block| {
                channels = block.out_channels(channels);
                channels
            })
            .collect()
    }
}

impl crate::block::Block {
    fn out_channels(&self, input: usize) -> usize {
        use crate::layer::Op;
        let mut values = vec![input];
        for layer in &self.layers {
            values.push(match &layer.op {
                Op::Conv2d(conv) => conv.out_channels,
                Op::Linear(linear) => linear.out_features,
                _ => values[layer.inputs[0]],
            });
        }
        values[values.len() - 1]
    }
}
