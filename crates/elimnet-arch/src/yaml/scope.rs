//! Where a row stands: what reaches it, how it is repeated, what it is called.

use super::arguments::Arguments;
use crate::block::{Block, BlockBuilder};
use crate::zoo::ops::make_divisible;

/// The state of the table while its rows are built one after the other.
pub(super) struct Scope<'a> {
    /// Channels that reach the row.
    pub(super) channels: usize,
    /// Pixels of a channel, once a pooling has fixed them.
    pub(super) pixels: Option<usize>,
    pub(super) width_multiple: f64,
    /// Row in the file.
    pub(super) row: usize,
    /// How often the row's module stands there.
    pub(super) repeats: usize,
    /// Blocks of all rows so far.
    pub(super) blocks: &'a mut Vec<Block>,
    /// What a trunk row says about the network.
    pub(super) trunk: &'a mut Option<Trunk>,
}

/// A pretrained trunk at the bottom of a table.
#[derive(Clone, Debug)]
pub(super) struct Trunk {
    pub(super) family: &'static str,
    pub(super) classifier: String,
    pub(super) pretrained: bool,
    /// The head of the uncut network.
    pub(super) head: Vec<Block>,
}

impl Scope<'_> {
    /// Channels after the width multiple, rounded to eights.
    pub(super) fn scaled(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width_multiple)
    }

    /// The torch path of repeat `index` of the row.
    pub(super) fn path(&self, index: usize) -> String {
        if self.repeats == 1 { format!("model.{}", self.row) } else { format!("model.{}.{index}", self.row) }
    }

    /// An empty block for repeat `index` of the row.
    pub(super) fn block(&self, index: usize, module: &str, arguments: &Arguments<'_>) -> BlockBuilder {
        let mut block = BlockBuilder::new(&self.path(index), module);
        block.arguments(arguments.values().iter().cloned());
        block
    }
}
