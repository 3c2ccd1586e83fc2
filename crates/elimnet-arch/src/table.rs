//! A network as the seed's table: one row a module, repeats together.

use serde::Serialize;

use crate::block::{Argument, Block};
use crate::cost::Cost;
use crate::network::Network;
use crate::shape::{Shape, ShapeError};

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Position in the table.
    pub index: usize,
    /// How many blocks it stands for; of a row that was cut in the middle, what is left.
    pub repeat: usize,
    /// Name of the module.
    pub module: String,
    /// Its arguments as YAML writes them.
    pub arguments: Vec<Argument>,
    /// Trained numbers of all repeats.
    pub parameters: usize,
    /// Multiply-adds of all repeats for one image.
    pub multiply_adds: u64,
    /// Channels that go in.
    pub in_channels: usize,
    /// Channels that come out.
    pub out_channels: usize,
    /// Channels, height and width that come out.
    pub output_shape: [usize; 3],
}

impl Network {
    /// The network as a table, the head's rows last.
    ///
    /// # Errors
    /// If the image does not fit the network.
    pub fn rows(&self, input: Shape) -> Result<Vec<Row>, ShapeError> {
        let costs = self.costs(input)?;
        let blocks: Vec<(&Block, &Cost)> = self.all_blocks().zip(&costs).collect();
        let repeats = blocks.chunk_by(|(a, _), (b, _)| a.row == b.row && a.module == b.module);
        Ok(repeats.enumerate().map(|(index, repeats)| Row::of(index, repeats)).collect())
    }
}

impl Row {
    fn of(index: usize, repeats: &[(&Block, &Cost)]) -> Self {
        let (first, last) = (&repeats[0], &repeats[repeats.len() - 1]);
        let output = last.1.output;
        Self {
            index,
            repeat: repeats.len(),
            module: first.0.module.clone(),
            arguments: first.0.arguments.clone(),
            parameters: repeats.iter().map(|(_, cost)| cost.parameters).sum(),
            multiply_adds: repeats.iter().fold(0, |sum, (_, cost)| cost.multiply_adds.saturating_add(sum)),
            in_channels: first.1.in_channels,
            out_channels: output.channels,
            output_shape: [output.channels, output.height, output.width],
        }
    }
}
