//! Elimination beyond the cut: dropping blocks inside the trunk, putting fresh ones on top of it.

use std::str::FromStr;

use crate::block::{Block, BlockBuilder, Value};
use crate::eliminate::EliminateError;
use crate::head::Head;
use crate::layer::{Activation, Conv2d, Op};
use crate::network::Network;
use crate::yaml::convolution::conv_norm_act;

/// A fresh convolution in the place of what was eliminated, written `conv:OUTxKERNEL`: without bias, batch norm, ReLU.
///
/// ```
/// use elimnet_arch::{Tail, zoo};
///
/// let tail: Tail = "conv:256x3".parse()?;
/// let network = zoo::resnet18(6).cut_at("128")?.with_tail(&tail);
/// assert_eq!(network.name, "resnet18@layer2.1+conv:256x3");
/// # Ok::<(), elimnet_arch::EliminateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Channels that leave it.
    pub out_channels: usize,
    /// Side of its kernel; padding is half of it.
    pub kernel: usize,
}

impl FromStr for Tail {
    type Err = EliminateError;

    fn from_str(text: &str) -> Result<Self, EliminateError> {
        let size = |text: &str| text.parse().ok().filter(|size| (1..=1 << 16).contains(size));
        let sizes = text.strip_prefix("conv:").and_then(|sizes| sizes.split_once('x'));
        let tail = sizes.and_then(|(out, kernel)| {
            Some(Self { out_channels: size(out)?, kernel: size(kernel).filter(|kernel| *kernel < 64)? })
        });
        tail.ok_or_else(|| EliminateError::UnknownTail { tail: text.to_owned() })
    }
}

impl std::fmt::Display for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "conv:{}x{}", self.out_channels, self.kernel)
    }
}

impl Network {
    /// The same network without trunk block `index`, a residual block that adds something to its own input: what is below
    /// and above fits together as it is.
    ///
    /// # Errors
    /// [`EliminateError::NotRemovable`] if the block changes the shape or has no shortcut, or if there is no such block.
    /// # Source
    /// Veit et al., *Residual Networks Behave Like Ensembles of Relatively Shallow Networks*, NeurIPS 2016.
    pub fn without_block(&self, index: usize) -> Result<Self, EliminateError> {
        let Some(block) = self.blocks.get(index).filter(|block| block.adds_to_its_input()) else {
            let name = self.blocks.get(index).map_or_else(|| format!("#{index}"), |block| block.name.clone());
            return Err(EliminateError::NotRemovable { network: self.name.clone(), block: name });
        };
        let (base, cut) = self.name.find('@').map_or((&self.name[..], ""), |at| self.name.split_at(at));
        let mut network = self.clone();
        network.name = format!("{base}~{}{cut}", block.name);
        network.blocks.remove(index);
        Ok(network)
    }

    /// The same trunk with a fresh convolution on top, and a head of one Linear on that.
    pub fn with_tail(&self, tail: &Tail) -> Self {
        let in_channels = self.out_channels().last().copied().unwrap_or(self.input_channels);
        let row = self.blocks.last().map_or(0, |block| block.row + 1);
        let fresh = self.blocks.iter().filter(|block| block.name.starts_with("tail.")).count();
        let path = format!("tail.{fresh}");
        let mut block = BlockBuilder::new(&path, "Conv");
        block.arguments([tail.out_channels.into(), tail.kernel.into()]);
        let conv = Conv2d::square(in_channels, tail.out_channels, tail.kernel, 1);
        conv_norm_act(&mut block, &path, conv, Some(Activation::Relu), Value::INPUT);
        let head = Head::after_cut(&self.head, &self.classifier, tail.out_channels, self.classes(), row + 1);
        let mut network = Self { head, name: format!("{}+{tail}", self.name), ..self.clone() };
        network.blocks.push(Block { row, ..block.build() });
        network
    }
}

impl Block {
    /// Whether the block's input, as it is, is a term of its output.
    fn adds_to_its_input(&self) -> bool {
        let activated = matches!(self.layers.last().map(|layer| &layer.op), Some(Op::Activation(_)));
        let sum = self.layers.iter().rev().nth(usize::from(activated));
        sum.is_some_and(|layer| layer.op == Op::Add && layer.inputs.contains(&0))
    }
}
