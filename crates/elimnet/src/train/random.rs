//! Random numbers as pure functions of what they are for, so that nothing depends on the order of calls.

/// Numbers of one purpose: the `i`-th is a function of the seed, the name and `i`.
///
/// # Source
/// SplitMix64: Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    state: u64,
}

const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

impl Stream {
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let state = name.bytes().fold(finalize(seed), |state, byte| finalize(state ^ u64::from(byte)));
        Self { state }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_RATIO);
        finalize(self.state)
    }

    /// In 0..1, of 53 bits.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and variance 1 (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// What the engine draws its dropout from in step `step` of epoch `epoch`.
pub(crate) fn of_step(seed: u64, epoch: usize, step: usize) -> u64 {
    let keyed = finalize(seed.wrapping_add(GOLDEN_RATIO));
    let keyed = finalize(keyed ^ epoch as u64);
    finalize(keyed.wrapping_add(GOLDEN_RATIO) ^ step as u64)
}

fn finalize(z: u64) -> u64 {
    let z = z.wrapping_add(GOLDEN_RATIO);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let mut stream = Stream::new(1, "moments");
        let uniform: Vec<f64> = (0..20_000).map(|_| stream.uniform()).collect();
        let normal: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let square = |values: &[f64]| mean(&values.iter().map(|v| v * v).collect::<Vec<_>>());
        // Six standard errors of the mean of 20,000.
        assert!((mean(&uniform) - 0.5).abs() < 0.0123, "{}", mean(&uniform));
        assert!((square(&uniform) - 1.0 / 3.0).abs() < 0.0127, "{}", square(&uniform));
        assert!(mean(&normal).abs() < 0.0425, "{}", mean(&normal));
        assert!((square(&normal) - 1.0).abs() < 0.06, "{}", square(&normal));
    }

    #[test]
    fn steps_seeds_and_epochs_all_matter() {
        let mut seen = HashSet::new();
        for seed in 0..4 {
            for epoch in 0..16 {
                for step in 0..16 {
                    assert!(seen.insert(of_step(seed, epoch, step)), "{seed} {epoch} {step} is not new");
                }
            }
        }
    }

    #[test]
    fn a_stream_is_a_function_of_seed_and_name() {
        let first = |seed, name| Stream::new(seed, name).next();
        assert_eq!(first(3, "fc.weight"), first(3, "fc.weight"));
        let distinct =
            HashSet::from([first(3, "fc.weight"), first(4, "fc.weight"), first(3, "fc.bias"), first(3, "")]);
        assert_eq!(distinct.len(), 4);
    }
}
