//! Measured times of all cuts: one instrumented pass of the whole trunk, added up block by block.

use std::collections::BTreeMap;
use std::time::Duration;

use elimnet_arch::{Network, Tail};
use elimnet_engine::{Device, EngineError, NamedTensor};

use crate::bench::{BenchConfig, Mode, bench, profile};
use crate::train::initial_tensors;

/// Times in milliseconds of the parts of a trunk, for each number of images at once.
#[derive(Clone, Debug)]
pub(crate) struct BlockTimes {
    /// By batch size: a time for each block, and one for the small head.
    by_batch: BTreeMap<usize, (Vec<f64>, f64)>,
}

/// How one batch size is measured: for half a second, and often enough for a median.
fn config(batch_size: usize, image_size: usize) -> BenchConfig {
    let runs = if batch_size == 1 { 10..=300 } else { 3..=50 };
    let duration = Duration::from_millis(500);
    BenchConfig { warm_up: 2, duration, runs, ..BenchConfig::new(Mode::Infer, batch_size, image_size) }
}

impl BlockTimes {
    /// Measures the trunk of `network` with the head of a cut network on it.
    pub(crate) fn measure(
        device: &dyn Device,
        network: &Network,
        tensors: &[NamedTensor],
        image_size: usize,
        batches: &[usize],
    ) -> Result<Self, EngineError> {
        let trunk = network.blocks.len();
        let mut by_batch = BTreeMap::new();
        for &batch in batches {
            let blocks = profile(network, tensors, device, &config(batch, image_size))?;
            let mut times: Vec<f64> = blocks.iter().map(|block| block.median_ms).collect();
            let head = times.split_off(trunk).iter().sum();
            by_batch.insert(batch, (times, head));
        }
        Ok(Self { by_batch })
    }

    /// Of the network that keeps these blocks.
    pub(crate) fn sum(&self, kept: impl Iterator<Item = usize> + Clone) -> BTreeMap<usize, f64> {
        let of_batch = |(&batch, (blocks, head)): (&usize, &(Vec<f64>, f64))| {
            (batch, kept.clone().map(|block| blocks[block]).sum::<f64>() + head)
        };
        self.by_batch.iter().map(of_batch).collect()
    }
}

/// Times of a fresh convolution and its head alone, on maps of `channels` and this side.
pub(crate) fn of_tail(
    device: &dyn Device,
    below: &Network,
    tail: &Tail,
    side: usize,
    batches: &[usize],
) -> Result<BTreeMap<usize, f64>, EngineError> {
    let whole = below.with_tail(tail);
    let channels = below.out_channels().last().copied().unwrap_or(below.input_channels);
    let blocks = whole.blocks[below.blocks.len()..].to_vec();
    let alone = Network { blocks, input_channels: channels, ..whole };
    let tensors = initial_tensors(&alone, 0);
    let time = |&batch: &usize| {
        let result = bench(&alone, &tensors, device, &config(batch, side))?;
        Ok((batch, result.median_ms))
    };
    batches.iter().map(time).collect()
}
