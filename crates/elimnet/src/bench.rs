//! How fast a network runs on a device: random inputs, warm-up, median and 95th percentile.

use std::time::{Duration, Instant};

use elimnet_arch::Network;
use elimnet_engine::{Device, Engine, EngineError, Images, Matrix, NamedTensor, PassTimes, Step, Training};
use serde::Serialize;

use crate::train::{CrossEntropy, Targets};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A forward pass in inference mode.
    Infer,
    /// Forward, loss, backward and an SGD step.
    Train,
}

/// How a measurement is made.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchConfig {
    /// Images at once.
    pub batch_size: usize,
    /// Side of the images in pixels.
    pub image_size: usize,
    /// What is measured.
    pub mode: Mode,
    /// Runs before the first that counts, at least.
    pub warm_up: usize,
    /// Time that the counted runs take together, about.
    pub duration: Duration,
    /// Counted runs, at least and at most.
    pub runs: std::ops::RangeInclusive<usize>,
}

impl BenchConfig {
    /// Two runs of warm-up, then runs for two seconds (at least five, at most a thousand).
    pub fn new(mode: Mode, batch_size: usize, image_size: usize) -> Self {
        Self { batch_size, image_size, mode, warm_up: 2, duration: Duration::from_secs(2), runs: 5..=1000 }
    }
}

/// A measurement; the fields are those of `elimnet bench --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchResult {
    /// Name of the network.
    pub model: String,
    /// Name of the device.
    pub device: String,
    /// Type that activations are stored as: `f32` or `bf16`.
    pub precision: &'static str,
    /// Images at once.
    pub batch_size: usize,
    /// Side of the images in pixels.
    pub image_size: usize,
    /// What was measured.
    pub mode: Mode,
    /// Median of the times of one batch, in milliseconds.
    pub median_ms: f64,
    /// 95th percentile of them.
    pub p95_ms: f64,
    /// Batch size over the median.
    pub images_per_second: f64,
    /// Bytes that the engine held at the end: tensors, gradients, activations, workspaces.
    pub memory_bytes: usize,
}

/// Measures `network` with `tensors` on `device`.
///
/// # Errors
/// If the device can't run the network at this size.
pub fn bench(
    network: &Network,
    tensors: &[NamedTensor],
    device: &dyn Device,
    config: &BenchConfig,
) -> Result<BenchResult, EngineError> {
    network.shapes(network.input_shape(config.image_size))?;
    let (mut engine, images) = prepared(network, tensors, device, config)?;
    let times = match config.mode {
        Mode::Infer => measure(config, || engine.infer(&images).map(drop))?,
        Mode::Train => {
            let mut training = TrainingStep::start(engine.as_mut(), config.batch_size)?;
            measure(config, || training.run(&images))?
        }
    };
    let median = percentile(&times, 0.5);
    Ok(BenchResult {
        model: network.name.clone(),
        device: device.name().to_owned(),
        precision: device.precision().name(),
        batch_size: config.batch_size,
        image_size: config.image_size,
        mode: config.mode,
        median_ms: median * 1e3,
        p95_ms: percentile(&times, 0.95) * 1e3,
        images_per_second: config.batch_size as f64 / median,
        memory_bytes: engine.memory_bytes(),
    })
}

/// The network on the device, and the images that it gets.
fn prepared(
    network: &Network,
    tensors: &[NamedTensor],
    device: &dyn Device,
    config: &BenchConfig,
) -> Result<(Box<dyn Engine>, Images), EngineError> {
    let mut engine = device.load(network)?;
    engine.set_tensors(tensors)?;
    Ok((engine, random_images(config.batch_size, config.image_size, network.input_channels)))
}

/// Ascending times in seconds of the counted runs.
fn measure(
    config: &BenchConfig,
    mut run: impl FnMut() -> Result<(), EngineError>,
) -> Result<Vec<f64>, EngineError> {
    for _ in 0..config.warm_up {
        run()?;
    }
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < *config.runs.start()
        || (times.len() < *config.runs.end() && started.elapsed() < config.duration)
    {
        let before = Instant::now();
        run()?;
        times.push(before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// The smallest of the ascending `times` that at least `share` of them do not exceed.
fn percentile(times: &[f64], share: f64) -> f64 {
    let rank = (share * times.len() as f64).ceil() as usize;
    times[rank.clamp(1, times.len()) - 1]
}

/// What one block takes of a pass in inference mode; a row of `elimnet bench --profile --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockTime {
    /// Name of the block.
    pub block: String,
    /// Its module.
    pub module: String,
    /// What leaves it for one image: channels, rows, columns.
    pub output: [usize; 3],
    /// Median time of one batch in milliseconds.
    pub median_ms: f64,
    /// Its share of all blocks' times, 0..1.
    pub share: f64,
    /// Multiply-adds of convolutions and linear layers for one image.
    pub multiply_adds: u64,
    /// 10^12 floating-point operations a second: two for each multiply-add.
    pub tflops: f64,
}

/// What one block takes of a training step; a row of `elimnet bench --train --profile --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingBlockTime {
    /// Name of the block.
    pub block: String,
    /// Its module.
    pub module: String,
    /// What leaves it for one image: channels, rows, columns.
    pub output: [usize; 3],
    /// Median time of the forward pass of one batch in milliseconds.
    pub forward_ms: f64,
    /// The same of the backward pass.
    pub backward_ms: f64,
    /// Its share of all blocks' times, 0..1.
    pub share: f64,
    /// Multiply-adds of convolutions and linear layers for one image, forward.
    pub multiply_adds: u64,
}

/// Measures how long each block of `network` takes in inference; times are medians over passes as `config` asks for them.
///
/// # Errors
/// If the device can't run the network at this size.
pub fn profile(
    network: &Network,
    tensors: &[NamedTensor],
    device: &dyn Device,
    config: &BenchConfig,
) -> Result<Vec<BlockTime>, EngineError> {
    let costs = network.costs(network.input_shape(config.image_size))?;
    let (mut engine, images) = prepared(network, tensors, device, config)?;
    let mut passes: Vec<Vec<Duration>> = Vec::new();
    measure(config, || {
        passes.push(engine.profile(&images)?);
        Ok(())
    })?;
    let medians = medians(&passes[config.warm_up..], |time| *time);
    let total: f64 = medians.iter().sum();
    let rows = network.all_blocks().zip(&costs).zip(&medians);
    Ok(rows
        .map(|((block, cost), &seconds)| {
            let operations = 2.0 * cost.multiply_adds as f64 * config.batch_size as f64;
            BlockTime {
                block: block.name.clone(),
                module: block.module.clone(),
                output: [cost.output.channels, cost.output.height, cost.output.width],
                median_ms: seconds * 1e3,
                share: if total > 0.0 { seconds / total } else { 0.0 },
                multiply_adds: cost.multiply_adds,
                tflops: if seconds > 0.0 { operations / seconds / 1e12 } else { 0.0 },
            }
        })
        .collect())
}

/// Measures how long each block of `network` takes in the forward and backward passes of a training step; times are medians over
/// steps as `config` asks for them.
///
/// # Errors
/// If the device can't train the network at this size.
pub fn profile_training(
    network: &Network,
    tensors: &[NamedTensor],
    device: &dyn Device,
    config: &BenchConfig,
) -> Result<Vec<TrainingBlockTime>, EngineError> {
    let costs = network.costs(network.input_shape(config.image_size))?;
    let (mut engine, images) = prepared(network, tensors, device, config)?;
    let mut training = TrainingStep::start(engine.as_mut(), config.batch_size)?;
    let mut steps: Vec<Vec<PassTimes>> = Vec::new();
    measure(config, || {
        training.run(&images)?;
        steps.push(training.engine.training_times());
        Ok(())
    })?;
    let counted = &steps[config.warm_up..];
    let (forward, backward) = (medians(counted, |time| time.forward), medians(counted, |time| time.backward));
    let total: f64 = forward.iter().chain(&backward).sum();
    let rows = network.all_blocks().zip(&costs).zip(forward.iter().zip(&backward));
    Ok(rows
        .map(|((block, cost), (forward, backward))| TrainingBlockTime {
            block: block.name.clone(),
            module: block.module.clone(),
            output: [cost.output.channels, cost.output.height, cost.output.width],
            forward_ms: forward * 1e3,
            backward_ms: backward * 1e3,
            share: if total > 0.0 { (forward + backward) / total } else { 0.0 },
            multiply_adds: cost.multiply_adds,
        })
        .collect())
}

/// The median in seconds of each block's times over all passes.
fn medians<T>(passes: &[Vec<T>], time: impl Fn(&T) -> Duration) -> Vec<f64> {
    let median = |block: usize| {
        let mut times: Vec<f64> = passes.iter().map(|pass| time(&pass[block]).as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        percentile(&times, 0.5)
    };
    (0..passes.first().map_or(0, Vec::len)).map(median).collect()
}

struct TrainingStep<'a> {
    engine: &'a mut dyn Engine,
    classes: Vec<usize>,
}

impl<'a> TrainingStep<'a> {
    fn start(engine: &'a mut dyn Engine, batch_size: usize) -> Result<Self, EngineError> {
        let network = engine.network();
        let (blocks, classes) = (network.all_blocks().count(), network.classes());
        engine.start_training(&Training::plain(blocks))?;
        Ok(Self { engine, classes: (0..batch_size).map(|index| index % classes).collect() })
    }

    fn run(&mut self, images: &Images) -> Result<(), EngineError> {
        let logits: Matrix = self.engine.forward(images, 0)?;
        let loss = CrossEntropy::default().value(&logits, Targets::Classes(&self.classes));
        self.engine.backward(&loss.logit_gradient)?;
        // So small that thousands of steps on random pixels leave the numbers finite.
        let step = Step { learning_rates: vec![1e-6], momentum: 0.9, weight_decay: 0.0, clip_norm: None };
        self.engine.step(&step).map(drop)
    }
}

/// Pixels between -2 and 2; zeros would be faster than any photo.
pub fn random_images(count: usize, side: usize, channels: usize) -> Images {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64 (Marsaglia, 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    let pixels = (0..count * side * side * channels).map(|_| next()).collect();
    Images::new(count, side, side, channels, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(
            [percentile(&times, 0.5), percentile(&times, 0.95), percentile(&times, 1.0)],
            [10., 19., 20.]
        );
        assert_eq!([percentile(&[7.0], 0.5), percentile(&[7.0], 0.95)], [7.0, 7.0]);
    }

    #[test]
    fn the_images_are_spread_over_their_range() {
        let images = random_images(2, 16, 3);
        let mean = images.pixels.iter().sum::<f32>() / images.pixels.len() as f32;
        assert!(images.pixels.iter().all(|pixel| (-2.0..2.0).contains(pixel)), "a pixel out of range");
        assert!(mean.abs() < 0.1, "mean {mean}");
        assert_ne!(images.pixels[..768], images.pixels[768..], "two images are the same");
    }

    #[test]
    fn runs_are_bounded_on_both_sides() {
        let config = |milliseconds, runs| BenchConfig {
            duration: Duration::from_millis(milliseconds),
            runs,
            ..BenchConfig::new(Mode::Infer, 1, 8)
        };
        let mut calls = 0;
        let mut count = || {
            calls += 1;
            Ok(())
        };
        let times = measure(&config(0, 5..=1000), &mut count).expect("no error");
        assert_eq!((times.len(), calls), (5, 7), "the least, after the warm-up");
        assert_eq!(measure(&config(60_000, 1..=9), || Ok(())).expect("no error").len(), 9, "the most");
    }
}
