//! Random numbers as a pure function of a key, so that no result depends on which thread drew first.
//!
//! A [`Random`] is made from (seed, purpose, epoch, sample), or from (seed, tensor name), and then gives the SplitMix64 sequence of that state: passes
//! BigCrush, needs eight bytes and no warm-up, and never changes under us with a version of a crate.
//!
//! # Source
//! Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014.

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

/// What a stream is for; streams of different purposes are independent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Split = 1,
    Order = 2,
    Augment = 3,
    Draw = 4,
    Dropout = 5,
    Folds = 6,
    Bootstrap = 7,
}

impl Random {
    /// The stream of a key.
    pub(crate) fn new(seed: u64, purpose: Purpose, parts: [u64; 2]) -> Self {
        let key = [purpose as u64, parts[0], parts[1]];
        let state = key.iter().fold(mix(seed.wrapping_add(GOLDEN_GAMMA)), |state, &part| {
            mix(state ^ mix(part.wrapping_add(GOLDEN_GAMMA)).wrapping_add(GOLDEN_GAMMA))
        });
        Self { state }
    }

    /// The stream of a name.
    pub(crate) fn named(seed: u64, name: &str) -> Self {
        let start = mix(seed.wrapping_add(GOLDEN_GAMMA));
        let state =
            name.bytes().fold(start, |state, byte| mix(state.wrapping_add(GOLDEN_GAMMA) ^ u64::from(byte)));
        Self { state }
    }

    /// Any of 2^64 numbers.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Of mean 0 and variance 1 (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Uniform in `low..high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    /// Uniform in `0..bound`. The bias of multiplying instead of rejecting is below `bound / 2^64`.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "no number is below zero");
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// True with `probability`.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_matches_its_published_sequence() {
        let mut random = Random { state: 1_234_567 };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next(), random.next(), random.next()], expected);
    }

    #[test]
    fn a_stream_depends_on_every_part_of_its_key() {
        let first = |seed, purpose, parts| Random::new(seed, purpose, parts).next();
        let all = [
            first(0, Purpose::Order, [0, 0]),
            first(1, Purpose::Order, [0, 0]),
            first(0, Purpose::Augment, [0, 0]),
            first(0, Purpose::Order, [1, 0]),
            first(0, Purpose::Order, [0, 1]),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all[0], first(0, Purpose::Order, [0, 0]));
    }

    #[test]
    fn numbers_below_a_bound_are_uniform() {
        let mut random = Random::new(7, Purpose::Augment, [0, 0]);
        let mut counts = [0usize; 5];
        for _ in 0..50_000 {
            counts[random.below(5)] += 1;
        }
        // Five standard deviations of a binomial with p = 1/5.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 450), "{counts:?}");
    }

    #[test]
    fn a_shuffle_keeps_all_items_and_moves_them() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(1, Purpose::Order, [0, 0]).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn uniform_and_normal_numbers_have_their_moments() {
        let mut random = Random::named(1, "moments");
        let uniform: Vec<f64> = (0..20_000).map(|_| random.unit()).collect();
        let normal: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let square = |values: &[f64]| mean(&values.iter().map(|v| v * v).collect::<Vec<_>>());
        // Six standard errors of the mean of 20,000.
        assert!((mean(&uniform) - 0.5).abs() < 0.0123, "{}", mean(&uniform));
        assert!((square(&uniform) - 1.0 / 3.0).abs() < 0.0127, "{}", square(&uniform));
        assert!(mean(&normal).abs() < 0.0425, "{}", mean(&normal));
        assert!((square(&normal) - 1.0).abs() < 0.06, "{}", square(&normal));
    }

    #[test]
    fn a_named_stream_is_a_function_of_seed_and_name() {
        let first = |seed, name| Random::named(seed, name).next();
        assert_eq!(first(3, "fc.weight"), first(3, "fc.weight"));
        let distinct = [first(3, "fc.weight"), first(4, "fc.weight"), first(3, "fc.bias"), first(3, "")];
        assert_eq!(std::collections::HashSet::from(distinct).len(), 4);
    }

    #[test]
    fn steps_seeds_and_epochs_all_matter() {
        let keys = (0..4).flat_map(|seed| (0..256).map(move |step| (seed, [step / 16, step % 16])));
        let drawn = keys.map(|(seed, parts)| Random::new(seed, Purpose::Dropout, parts).next());
        assert_eq!(drawn.collect::<std::collections::HashSet<_>>().len(), 4 * 256);
    }
}
