//! Sums over the rows of `[rows, channels]`, and operations with one set of parameters a channel.
//!
//! Few channels make short rows; several are then folded into one, with the parameters repeated, so that the
//! inner loop stays long.

use rayon::prelude::*;

use crate::isa::Isa;
use crate::simd::{Kernel, MAX_LANES, Simd};
use crate::threads::ELEMENTS;

/// Length that folded rows have at least.
const FOLDED_LENGTH: usize = 128;

/// Rows that are folded into one.
fn fold(channels: usize) -> usize {
    FOLDED_LENGTH.div_ceil(channels)
}

/// `parameters` once for each folded row.
pub(crate) fn repeated(parameters: &[f32]) -> Vec<f32> {
    parameters.repeat(fold(parameters.len()))
}

/// Values in a task: whole folded rows, and enough of them that adding up the tasks' sums costs little.
pub(crate) fn task_length(channels: usize) -> usize {
    let row = fold(channels) * channels;
    (ELEMENTS / row).max(16) * row
}

pub(crate) fn check_rows(values: &[f32], channels: usize) {
    assert!(channels > 0, "no channels");
    assert_eq!(values.len() % channels, 0, "{} values in rows of {channels}", values.len());
}

/// Sums for each channel of terms of the values at one place of two arrays.
pub(crate) trait Terms<const COUNT: usize>: Copy + Sync {
    /// `sums` and the terms of the folded columns from `column` on.
    fn add<S: Simd>(
        self,
        simd: S,
        column: usize,
        values: [S::Vector; 2],
        sums: [S::Vector; COUNT],
    ) -> [S::Vector; COUNT];
}

/// `COUNT` sums for each channel over all rows of two arrays of the same shape: within a task in f32, over
/// the tasks, in order, in f64.
pub(crate) fn sum_columns<const COUNT: usize, T: Terms<COUNT>>(
    isa: Isa,
    channels: usize,
    terms: T,
    a: &[f32],
    b: &[f32],
) -> [Vec<f64>; COUNT] {
    let length = task_length(channels);
    let tasks = a.par_chunks(length).zip(b.par_chunks(length));
    let parts: Vec<_> = tasks.map(|(a, b)| isa.run(SumRows { channels, terms, a, b })).collect();
    let mut sums = std::array::from_fn(|_| vec![0.0; channels]);
    for part in &parts {
        for (sums, part) in sums.iter_mut().zip(part) {
            for (sum, value) in sums.iter_mut().zip(part) {
                *sum += f64::from(*value);
            }
        }
    }
    sums
}

/// The sums of one task's rows.
pub(crate) struct SumRows<'a, T, const COUNT: usize> {
    pub(crate) channels: usize,
    pub(crate) terms: T,
    pub(crate) a: &'a [f32],
    pub(crate) b: &'a [f32],
}

impl<const COUNT: usize, T: Terms<COUNT>> Kernel for SumRows<'_, T, COUNT> {
    type Output = [Vec<f32>; COUNT];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let row = fold(self.channels) * self.channels;
        let whole = self.a.len() / row * row;
        let mut sums = std::array::from_fn(|_| vec![0.0; self.channels]);
        for (first, last, length) in [(0, whole, row), (whole, self.a.len(), self.a.len() - whole)] {
            let mut column = 0;
            while column + 4 * S::LANES <= length {
                self.sum_block::<S, 4>(simd, first..last, column, length, &mut sums);
                column += 4 * S::LANES;
            }
            while column < length {
                self.sum_block::<S, 1>(simd, first..last, column, length, &mut sums);
                column += S::LANES;
            }
        }
        sums
    }
}

impl<const COUNT: usize, T: Terms<COUNT>> SumRows<'_, T, COUNT> {
    /// Adds `VECTORS` registers' columns from `column` on of all rows, of `length` each, in `values`.
    #[inline(always)]
    fn sum_block<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        values: std::ops::Range<usize>,
        column: usize,
        length: usize,
        sums: &mut [Vec<f32>; COUNT],
    ) {
        let mut block = [[simd.splat(0.0); COUNT]; VECTORS];
        let rows = self.a[values.clone()].chunks_exact(length).zip(self.b[values].chunks_exact(length));
        for (a, b) in rows {
            for (vector, sums) in block.iter_mut().enumerate() {
                let column = column + vector * S::LANES;
                let values = [simd.load_partial(&a[column..]), simd.load_partial(&b[column..])];
                *sums = self.terms.add(simd, column, values, *sums);
            }
        }
        for (vector, block) in block.into_iter().enumerate() {
            let column = column + vector * S::LANES;
            for (sums, block) in sums.iter_mut().zip(block) {
                let mut lanes = [0.0; MAX_LANES];
                simd.store(block, &mut lanes);
                for (lane, value) in lanes[..S::LANES.min(length - column)].iter().enumerate() {
                    sums[(column + lane) % self.channels] += value;
                }
            }
        }
    }
}

/// A function of the values at one place of two arrays, with parameters by channel.
pub(crate) trait ChannelMap: Copy + Sync {
    fn apply<S: Simd>(self, simd: S, column: usize, values: [S::Vector; 2]) -> S::Vector;
}

/// Applies `function` to all rows; `a` and `b` may be the same.
pub(crate) fn map_columns<F: ChannelMap>(
    isa: Isa,
    channels: usize,
    function: F,
    a: &[f32],
    b: &[f32],
    y: &mut [f32],
) {
    let length = task_length(channels);
    let tasks = y.par_chunks_mut(length).zip(a.par_chunks(length)).zip(b.par_chunks(length));
    tasks.for_each(|((y, a), b)| isa.run(MapRows { channels, function, a, b, y }));
}

struct MapRows<'a, F> {
    channels: usize,
    function: F,
    a: &'a [f32],
    b: &'a [f32],
    y: &'a mut [f32],
}

impl<F: ChannelMap> Kernel for MapRows<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let row = fold(self.channels) * self.channels;
        for ((y, a), b) in self.y.chunks_mut(row).zip(self.a.chunks(row)).zip(self.b.chunks(row)) {
            let mut column = 0;
            while column < y.len() {
                let values = [simd.load_partial(&a[column..]), simd.load_partial(&b[column..])];
                let value = self.function.apply(simd, column, values);
                simd.store_partial(value, &mut y[column..]);
                column += S::LANES;
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Sum;

impl Terms<1> for Sum {
    #[inline(always)]
    fn add<S: Simd>(
        self,
        simd: S,
        _: usize,
        [a, _]: [S::Vector; 2],
        [sum]: [S::Vector; 1],
    ) -> [S::Vector; 1] {
        [simd.add(sum, a)]
    }
}

/// Sum of each channel over all rows: the gradient of a bias.
///
/// # Shapes
/// `x` `[rows, channels]`, `sums` `[channels]`.
///
/// # Panics
/// If the length of `sums` is zero or does not divide that of `x`.
pub fn column_sums(isa: Isa, x: &[f32], sums: &mut [f32]) {
    check_rows(x, sums.len());
    let [total] = sum_columns(isa, sums.len(), Sum, x, x);
    for (sum, total) in sums.iter_mut().zip(total) {
        *sum = total as f32;
    }
}

/// The sums of one task, on this thread: `x` is a part that [`task_length`] allows.
pub(crate) fn task_sums(isa: Isa, channels: usize, x: &[f32]) -> Vec<f32> {
    let [sums] = isa.run(SumRows { channels, terms: Sum, a: x, b: x });
    sums
}
