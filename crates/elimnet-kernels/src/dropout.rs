//! Dropout. Its random numbers are a pure function of seed and element, so that the mask needs no memory and does not
//! depend on threads.

use crate::element::Element;
use crate::threads::{self, ELEMENTS};

/// Multiplies each element by 0 with `probability`, by `1 / (1 - probability)` otherwise. With the
/// same seed it turns the output's gradient into the input's.
///
/// `group` consecutive elements share their fate: 1 for dropout, a whole sample for stochastic depth.
///
/// # Panics
/// If `group` is zero.
pub fn dropout<E: Element>(values: &mut [E], probability: f32, seed: u64, group: usize) {
    assert!(group > 0, "a group of no elements");
    let factor = factors(probability, seed);
    if group > 1 {
        return threads::for_each(values.chunks_mut(group), &|unit, values| {
            let factor = factor(unit);
            values.iter_mut().for_each(|value| *value = E::from_f32(value.to_f32() * factor));
        });
    }
    threads::for_each(values.chunks_mut(ELEMENTS), &|chunk, values| {
        for (offset, value) in values.iter_mut().enumerate() {
            *value = E::from_f32(value.to_f32() * factor(chunk * ELEMENTS + offset));
        }
    });
}

/// What [`dropout`] multiplies each group by.
pub fn dropout_factors(values: &mut [f32], probability: f32, seed: u64) {
    let factor = factors(probability, seed);
    values.iter_mut().enumerate().for_each(|(unit, value)| *value = factor(unit));
}

/// The factor of each unit.
fn factors(probability: f32, seed: u64) -> impl Fn(usize) -> f32 {
    let scale = if probability < 1.0 { 1.0 / (1.0 - probability) } else { 0.0 };
    move |unit| if uniform(seed, unit as u64) < probability { 0.0 } else { scale }
}

/// One of many seeds for [`dropout`] that follow from one: a layer's in a step.
pub fn dropout_seed(seed: u64, stream: u64) -> u64 {
    mix(seed ^ mix(stream.wrapping_add(0x9E37_79B9_7F4A_7C15)))
}

/// Uniform number in `[0, 1)`.
fn uniform(seed: u64, index: u64) -> f32 {
    let bits = mix(seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15))) >> 40;
    bits as f32 / (1_u32 << 24) as f32
}

/// Finalizer of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{dropout, dropout_seed};

    #[test]
    fn the_mean_is_kept_and_about_the_right_share_is_zeroed() {
        let mut values = vec![1.0_f32; 100_000];
        dropout(&mut values, 0.2, dropout_seed(7, 3), 1);
        let zeros = values.iter().filter(|&&value| value == 0.0).count() as f64 / 1e5;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / 1e5;
        assert!((zeros - 0.2).abs() < 0.01, "{zeros}");
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn a_sample_shares_its_fate_and_layers_do_not() {
        let masks = [1, 2].map(|stream| {
            let mut values = vec![1.0_f32; 64 * 10];
            dropout(&mut values, 0.5, dropout_seed(7, stream), 10);
            values
        });
        assert!(masks[0].chunks(10).all(|sample| sample.iter().all(|&value| value == sample[0])));
        assert_ne!(masks[0], masks[1]);
    }
}
