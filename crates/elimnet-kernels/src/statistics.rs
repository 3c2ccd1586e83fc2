//! Mean and variance of each channel.

use crate::columns::{Pointwise, Rows, Sum, check_rows, folded, task_length};
use crate::element::Element;
use crate::epilogue::{MomentParts, Moments, PartMoments};
use crate::isa::Isa;
use crate::simd::Simd;
use crate::threads;

/// Mean and biased variance of each channel over all rows.
///
/// # Accuracy
/// Each task's rows are read twice, for the mean and then for the squares around it, and the tasks' results
/// are combined in f64, so a large mean costs nothing (the textbook `E[x²] − E[x]²` would lose it all).
///
/// # Shapes
/// `x` `[rows, channels]`, `mean` and `variance` `[channels]`.
///
/// # Panics
/// If there are no rows, or `mean` and `variance` do not have one value a channel.
///
/// # Source
/// Combination: Chan, Golub & LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample
/// Variances*, 1979.
pub fn batch_statistics<E: Element>(isa: Isa, x: &[E], mean: &mut [f32], variance: &mut [f32]) {
    let channels = mean.len();
    check_rows(x, channels);
    assert!(!x.is_empty(), "statistics of no rows");
    assert_eq!(variance.len(), channels, "lengths of mean and variance");
    let length = task_length(channels, x.len());
    let mut moments = MomentParts::new(Some(x.len().div_ceil(length)), channels);
    threads::for_each(x.chunks(length).zip(moments.parts()), &|_, (x, part)| {
        part.into_iter().for_each(|part| task_moments(isa, x, part));
    });
    let rows = |task: usize| length.min(x.len() - task * length) / channels;
    moments.combine(rows, Moments { mean, variance });
}

/// Of `x` `[rows, channels]`, on this thread, around its mean.
fn task_moments<E: Element>(isa: Isa, x: &[E], part: PartMoments<'_>) {
    let (inputs, length, channels) = ([x], x.len(), part.pivots.len());
    let (parameters, outputs, sums) = ([], [], &mut *part.pivots);
    isa.run(Rows { channels, length, function: Sum, parameters, inputs, outputs, sums });
    part.pivots.iter_mut().for_each(|mean| *mean /= (length / channels) as f32);
    part.sums.fill(0.0);
    let table = folded(channels, part.pivots);
    let (parameters, outputs, sums) = ([&table[..]], [], part.squares);
    isa.run(Rows { channels, length, function: Squares, parameters, inputs, outputs, sums });
}

#[derive(Clone, Copy)]
struct Squares;

impl Pointwise<1, 1, 0, 1> for Squares {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean]: [S::Vector; 1],
        [x]: [S::Vector; 1],
        _: [S::Vector; 0],
        [sum]: &mut [S::Vector; 1],
    ) -> [S::Vector; 0] {
        let distance = simd.subtract(x, mean);
        *sum = simd.mul_add(distance, distance, *sum);
        []
    }
}
