//! What a network costs: parameters, multiply-adds, torch modules, activation memory.

use std::collections::HashSet;

use crate::block::Block;
use crate::layer::Op;
use crate::network::Network;
use crate::shape::{Shape, ShapeError};

/// Costs of one block for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Trained numbers (running statistics don't count).
    pub parameters: usize,
    /// Multiply-adds of convolutions and linear layers.
    pub multiply_adds: u64,
    /// Channels that go in.
    pub in_channels: usize,
    /// What comes out.
    pub output: Shape,
}

impl Network {
    /// Trained numbers, as `sum(p.numel() for p in model.parameters())` in torch.
    pub fn parameters(&self) -> usize {
        self.all_blocks().map(Block::parameters).sum()
    }

    /// Multiply-adds of convolutions and linear layers for one image.
    ///
    /// # Errors
    /// If the image does not fit the network.
    pub fn multiply_adds(&self, input: Shape) -> Result<u64, ShapeError> {
        Ok(self.costs(input)?.iter().fold(0, |sum, cost| cost.multiply_adds.saturating_add(sum)))
    }

    /// Costs of every block, head blocks last.
    ///
    /// # Errors
    /// If the image does not fit the network.
    pub fn costs(&self, input: Shape) -> Result<Vec<Cost>, ShapeError> {
        let mut input = input;
        self.all_blocks()
            .map(|block| {
                let cost = block.cost(input)?;
                input = cost.output;
                Ok(cost)
            })
            .collect()
    }

    /// Number of torch modules, `len(list(model.modules()))`: the seed's "layers".
    ///
    /// Counted from the module paths: every distinct path, every container on the way to it, and the network itself.
    pub fn module_count(&self) -> usize {
        let mut paths = HashSet::new();
        for block in self.all_blocks() {
            for path in block
                .layers
                .iter()
                .filter_map(|layer| layer.path.as_deref())
                .chain(block.idle_modules.iter().map(String::as_str))
            {
                let containers = path.match_indices('.').map(|(end, _)| &path[..end]);
                paths.extend(containers.chain([path]));
            }
        }
        paths.len() + 1
    }

    /// Largest number of f32 activation bytes that are alive at once for one image in inference, nothing computed in place.
    ///
    /// # Errors
    /// If the image does not fit the network.
    pub fn peak_activation_bytes(&self, input: Shape) -> Result<usize, ShapeError> {
        let mut input = input;
        let mut peak = 0;
        for block in self.all_blocks() {
            let shapes = block.shapes(input)?;
            peak = peak.max(block.peak_activations(input, &shapes));
            input = shapes.last().copied().unwrap_or(input);
        }
        Ok(peak.saturating_mul(size_of::<f32>()))
    }
}

impl Block {
    /// Trained numbers of the block.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| op_parameters(&layer.op)).sum()
    }

    /// Costs for one input of shape `input`.
    ///
    /// # Errors
    /// If the input does not fit the block.
    pub fn cost(&self, input: Shape) -> Result<Cost, ShapeError> {
        let shapes = self.shapes(input)?;
        let multiply_adds =
            self.layers.iter().zip(&shapes).map(|(layer, &out)| op_multiply_adds(&layer.op, out));
        Ok(Cost {
            parameters: self.parameters(),
            multiply_adds: multiply_adds.fold(0, u64::saturating_add),
            in_channels: input.channels,
            output: shapes.last().copied().unwrap_or(input),
        })
    }

    fn peak_activations(&self, input: Shape, shapes: &[Shape]) -> usize {
        let last_use = |value: usize| {
            let readers = self.layers.iter().enumerate().filter(|(_, layer)| layer.inputs.contains(&value));
            readers.map(|(index, _)| index).next_back().unwrap_or(value)
        };
        let values: Vec<usize> = std::iter::once(input.len()).chain(shapes.iter().map(|s| s.len())).collect();
        let alive_at = |step: usize| {
            values
                .iter()
                .enumerate()
                .filter(|&(value, _)| value <= step + 1 && last_use(value) >= step)
                .fold(0, |sum: usize, (_, &len)| sum.saturating_add(len))
        };
        (0..self.layers.len()).map(alive_at).max().unwrap_or(0)
    }
}

fn op_parameters(op: &Op) -> usize {
    match op {
        Op::Conv2d(conv) => {
            conv.out_channels * (conv.in_channels / conv.groups) * conv.kernel[0] * conv.kernel[1]
                + usize::from(conv.bias) * conv.out_channels
        }
        Op::BatchNorm(norm) => 2 * norm.channels,
        Op::Linear(linear) => linear.out_features * (linear.in_features + usize::from(linear.bias)),
        _ => 0,
    }
}

fn op_multiply_adds(op: &Op, output: Shape) -> u64 {
    match op {
        Op::Conv2d(conv) => {
            let per_output = conv.in_channels / conv.groups * conv.kernel[0] * conv.kernel[1];
            (output.len() as u64).saturating_mul(per_output as u64)
        }
        Op::Linear(linear) => (linear.in_features * linear.out_features) as u64,
        _ => 0,
    }
}
