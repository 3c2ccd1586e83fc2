//! Times of trained networks beside each other: in turns, so that a slow moment hits them alike.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use elimnet_engine::{Device, Engine, Images};

use crate::bench::random_images;
use crate::model::load_model;
use crate::random::{Purpose, Random};
use crate::scan::{Estimate, Interval, RESAMPLES, ScanError};

/// Rounds for a batch of `images`: many where a round is short.
fn rounds(images: usize) -> usize {
    if images == 1 { 60 } else { 12 }
}

/// Seconds of each round, for each network: `times[network][round]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rounds(Vec<Vec<f64>>);

impl Rounds {
    /// Median milliseconds of a network.
    pub(crate) fn median_ms(&self, network: usize) -> f64 {
        median(self.0[network].clone()) * 1e3
    }

    /// Median of `a` over median of `b`, with its interval over the rounds, which both share.
    pub(crate) fn ratio(&self, a: usize, b: usize) -> Estimate {
        let of = |rounds: &[usize]| {
            let median_of = |network: usize| median(rounds.iter().map(|&r| self.0[network][r]).collect());
            median_of(a) / median_of(b)
        };
        let count = self.0[a].len();
        let value = of(&(0..count).collect::<Vec<_>>());
        let resampled = |number: usize| {
            let mut random = Random::new(0, Purpose::Bootstrap, [number as u64, 2]);
            of(&(0..count).map(|_| random.below(count)).collect::<Vec<_>>())
        };
        let Interval { low, high } = Interval::of((0..RESAMPLES).map(resampled).collect());
        Estimate { value, low, high }
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    crate::scan::quantile(&times, 0.5)
}

/// Measures the networks in these model files end to end, by number of images at once.
pub(crate) fn in_turns(
    files: &[&Path],
    batches: &[usize],
    device: &dyn Device,
) -> Result<BTreeMap<usize, Rounds>, ScanError> {
    let mut engines = Vec::with_capacity(files.len());
    for file in files {
        let model = load_model(file)?;
        let mut engine = device.load(&model.card.network)?;
        engine.set_tensors(&model.tensors)?;
        engines.push((engine, model.card.preprocessing.image_size));
    }
    let of_batch = |&batch: &usize| Ok((batch, measure(&mut engines, batch)?));
    batches.iter().map(of_batch).collect()
}

fn measure(engines: &mut [(Box<dyn Engine>, usize)], batch: usize) -> Result<Rounds, ScanError> {
    let input = |(engine, side): &(Box<dyn Engine>, usize)| {
        random_images(batch, *side, engine.network().input_channels)
    };
    let images: Vec<Images> = engines.iter().map(input).collect();
    let mut times = vec![Vec::new(); engines.len()];
    // The first two rounds warm up.
    for round in 0..rounds(batch) + 2 {
        for (((engine, _), images), times) in engines.iter_mut().zip(&images).zip(&mut times) {
            let began = Instant::now();
            engine.infer(images)?;
            if round >= 2 {
                times.push(began.elapsed().as_secs_f64());
            }
        }
    }
    Ok(Rounds(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_slow_rounds_cancel_in_the_ratio() {
        let slow = |round: usize| if round.is_multiple_of(3) { 5.0 } else { 1.0 + round as f64 * 1e-3 };
        let a: Vec<f64> = (0..60).map(|round| 2e-3 * slow(round)).collect();
        let b: Vec<f64> = (0..60).map(|round| 4e-3 * slow(round)).collect();
        let rounds = Rounds(vec![a, b]);
        let ratio = rounds.ratio(0, 1);
        assert!(
            [ratio.value, ratio.low, ratio.high].iter().all(|value| (value - 0.5).abs() < 1e-9),
            "{ratio:?}"
        );
        assert!((rounds.median_ms(1) - 2.0 * rounds.median_ms(0)).abs() < 1e-9);
    }
}
