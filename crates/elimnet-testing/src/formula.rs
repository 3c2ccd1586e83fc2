//! Weights and images from a formula, evaluated identically here and in `reference/formula.py`.
//!
//! A tensor is a pure function of its name and shape:
//!
//! ```text
//! state = fnv1a64(name)                                    64-bit FNV-1a of the UTF-8 name
//! z_i   = splitmix64_finalizer(state + (i + 1) * 0x9E3779B97F4A7C15)   wrapping, i in C order of the torch shape
//! u_i   = (z_i >> 40) * 2^-24                              exact in f64, in [0, 1)
//! v_i   = 2 u_i - 1
//! ```
//!
//! What is made of `u` and `v` is the tensor's [`Kind`], decided by the last component of its name and, for `weight`,
//! by the number of axes. All of it in f64, rounded once to f32 at the end.
//!
//! # Source
//! FNV-1a: Fowler, Noll and Vo. The finalizer: Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators", OOPSLA 2014 (Java's `SplittableRandom`).

const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a tensor of a state dict is, and so which values the formula gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `running_mean`: `0.2 v`.
    RunningMean,
    /// `running_var`: `0.5 + u`.
    RunningVariance,
    /// `num_batches_tracked`: 0.
    BatchCount,
    /// `bias` of any layer: `0.1 v`.
    Bias,
    /// `weight` with one axis: `0.75 + 0.5 u`.
    NormWeight,
    /// `weight` with two axes: `v · sqrt(3 / fan_in)`.
    LinearWeight,
    /// `weight` with three axes or more: `v · sqrt(6 / fan_in)`.
    ConvolutionWeight,
    /// Anything else: `v`.
    Other,
}

impl Kind {
    /// The kind of the tensor called `name` (`layer1.0.conv1.weight`) of that shape.
    #[must_use]
    pub fn of(name: &str, shape: &[usize]) -> Self {
        match (name.rsplit('.').next(), shape.len()) {
            (Some("running_mean"), _) => Self::RunningMean,
            (Some("running_var"), _) => Self::RunningVariance,
            (Some("num_batches_tracked"), _) => Self::BatchCount,
            (Some("bias"), _) => Self::Bias,
            (Some("weight"), 1) => Self::NormWeight,
            (Some("weight"), 2) => Self::LinearWeight,
            (Some("weight"), 3..) => Self::ConvolutionWeight,
            _ => Self::Other,
        }
    }

    fn value(self, unit: f64, fan_in: f64) -> f64 {
        let symmetric = 2.0 * unit - 1.0;
        match self {
            Self::RunningMean => symmetric * 0.2,
            Self::RunningVariance => unit + 0.5,
            Self::BatchCount => 0.0,
            Self::Bias => symmetric * 0.1,
            Self::NormWeight => unit * 0.5 + 0.75,
            Self::LinearWeight => symmetric * (3.0 / fan_in).sqrt(),
            Self::ConvolutionWeight => symmetric * (6.0 / fan_in).sqrt(),
            Self::Other => symmetric,
        }
    }
}

/// The values of the state dict entry `name`, in C order of `shape` (torch's axes: a convolution is
/// `[out, in / groups, height, width]`, a linear `[out, in]`).
///
/// ```
/// let weight = elimnet_testing::formula::tensor("bn1.weight", &[64]);
/// assert!(weight.iter().all(|value| (0.75..1.25).contains(value)));
/// ```
#[must_use]
pub fn tensor(name: &str, shape: &[usize]) -> Vec<f32> {
    let kind = Kind::of(name, shape);
    let fan_in = shape.iter().skip(1).product::<usize>() as f64;
    units(name, shape.iter().product()).map(|unit| kind.value(unit, fan_in) as f32).collect()
}

/// Images `[count, channels, size, size]` in NCHW order: `2 v` of the name `input`.
#[must_use]
pub fn images(count: usize, channels: usize, size: usize) -> Vec<f32> {
    units("input", count * channels * size * size).map(|unit| (2.0 * (2.0 * unit - 1.0)) as f32).collect()
}

/// `count` signs, +1 where `v >= 0` and -1 elsewhere: for checksums of tensors too large to ship.
pub fn signs(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    units(name, count).map(|unit| if 2.0 * unit - 1.0 >= 0.0 { 1.0 } else { -1.0 })
}

fn units(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    let state = fnv1a64(name);
    (1..=count as u64).map(move |step| {
        let mixed = finalize(state.wrapping_add(step.wrapping_mul(GOLDEN_RATIO)));
        (mixed >> 40) as f64 / f64::from(1 << 24)
    })
}

fn fnv1a64(name: &str) -> u64 {
    name.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

fn finalize(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        name: &'static str,
        shape: &'static [usize],
        first_bits: [u32; 4],
    }

    /// Printed by `python reference/formula.py`.
    const FROM_PYTHON: &[Case] = &[
        Case {
            name: "conv1.weight",
            shape: &[2, 3, 7, 7],
            first_bits: [0x3c95337c, 0x3dcae01f, 0xbe45652c, 0x3dc37529],
        },
        Case {
            name: "bn1.weight",
            shape: &[4],
            first_bits: [0x3f6e1b2a, 0x3f94c31e, 0x3f846d93, 0x3f5fec44],
        },
        Case { name: "bn1.bias", shape: &[4], first_bits: [0xbd8644b8, 0xbdbc5a4a, 0x3d985eba, 0x3d4acef6] },
        Case {
            name: "bn1.running_mean",
            shape: &[4],
            first_bits: [0x3dc00fb6, 0x3d24da86, 0x3c89f1e6, 0x3e1977ee],
        },
        Case {
            name: "bn1.running_var",
            shape: &[4],
            first_bits: [0x3f923722, 0x3fa4b456, 0x3fbc427b, 0x3f71a03c],
        },
        Case {
            name: "fc.weight",
            shape: &[3, 5],
            first_bits: [0xbcc2dc38, 0x3f13a3c4, 0x3ec1292d, 0x3e9f09f6],
        },
        Case { name: "input", shape: &[4], first_bits: [0xbf4deac2, 0x3e9c045c, 0xbf17be90, 0xbee6f7fc] },
    ];

    #[test]
    fn tensors_have_the_bits_that_numpy_gives() {
        for case in FROM_PYTHON {
            let values = tensor(case.name, case.shape);
            assert_eq!(values.len(), case.shape.iter().product::<usize>(), "{}", case.name);
            let bits: Vec<u32> = values[..4].iter().map(|value| value.to_bits()).collect();
            assert_eq!(bits, case.first_bits, "{}", case.name);
        }
    }

    #[test]
    fn images_and_signs_are_those_of_numpy() {
        let values = images(2, 3, 5);
        assert_eq!([0, 1, 149].map(|i| values[i].to_bits()), [0xbfcdeac2, 0x3f1c045c, 0xbfd15098]);
        let signs: Vec<f64> = signs("sign0.fc.weight", 12).collect();
        assert_eq!(signs, [1., 1., 1., 1., 1., -1., -1., -1., 1., 1., -1., 1.]);
    }

    #[test]
    fn the_batch_count_is_zero_and_a_scalar() {
        assert_eq!(tensor("bn1.num_batches_tracked", &[]), [0.0]);
    }

    #[test]
    fn names_that_differ_in_one_letter_give_unrelated_values() {
        let (a, b) = (tensor("a.weight", &[64, 64]), tensor("b.weight", &[64, 64]));
        let product: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        let norm: f32 = a.iter().map(|a| a * a).sum();
        assert!((product / norm).abs() < 0.06, "correlation {}", product / norm);
    }
}
