//! Mean and variance of each channel.

use crate::columns::{Pointwise, Rows, Sum, check_rows, folded, task_length};
use crate::element::Element;
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
    let tasks = x.chunks(task_length(channels, x.len()));
    let parts = threads::map(tasks, &|x| TaskMoments::of(isa, channels, x));
    TaskMoments::combine(&parts, mean, variance);
}

/// Of some rows: the mean, and the sum of the squares around it, of each channel.
///
/// A kernel that makes its output in pieces takes those of each piece while it is in cache, and combines them
/// in the order of the pieces.
pub(crate) struct TaskMoments {
    rows: f64,
    means: Vec<f64>,
    squares: Vec<f64>,
}

impl TaskMoments {
    /// Of `x` `[rows, channels]`, on this thread.
    pub(crate) fn of<E: Element>(isa: Isa, channels: usize, x: &[E]) -> Self {
        let (length, rows) = (x.len(), x.len() / channels);
        let (inputs, function) = ([x], Sum);
        let mut means = isa.run(Rows { channels, length, function, parameters: [], inputs, outputs: [] });
        means.iter_mut().for_each(|mean| *mean /= rows as f32);
        let (table, function) = (folded(channels, &means), Squares);
        let parameters = [&table[..]];
        let squares = isa.run(Rows { channels, length, function, parameters, inputs, outputs: [] });
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Self { rows: rows as f64, means: wide(means), squares: wide(squares) }
    }

    /// Of `rows` rows of which `sums` holds, by channel, pivots, the sums of the distances to them, and those
    /// of the distances' squares, in thirds of which the first `channels` values count; nothing where `sums` is empty.
    pub(crate) fn around_pivots(rows: usize, channels: usize, sums: &[f32]) -> Self {
        let rows = rows as f64;
        let (mut means, mut squares) = (Vec::new(), Vec::new());
        let third = sums.len() / 3;
        for channel in 0..channels.min(sums.len()) {
            let [pivot, sum, square] = [0, 1, 2].map(|moment| f64::from(sums[moment * third + channel]));
            means.push(pivot + sum / rows);
            squares.push((square - sum * sum / rows).max(0.0));
        }
        Self { rows, means, squares }
    }

    /// Mean and biased variance of each channel over all parts, in their order.
    pub(crate) fn combine(parts: &[Self], mean: &mut [f32], variance: &mut [f32]) {
        assert_eq!(variance.len(), mean.len(), "lengths of mean and variance");
        let mut rows = 0.0;
        let mut sums = vec![(0.0, 0.0); mean.len()];
        for part in parts {
            let total = rows + part.rows;
            for ((mean, squares), (part_mean, part_squares)) in
                sums.iter_mut().zip(part.means.iter().zip(&part.squares))
            {
                let distance = part_mean - *mean;
                *mean += distance * part.rows / total;
                *squares += part_squares + distance * distance * rows * part.rows / total;
            }
            rows = total;
        }
        for ((mean, variance), sums) in mean.iter_mut().zip(variance).zip(sums) {
            (*mean, *variance) = (sums.0 as f32, (sums.1 / rows) as f32);
        }
    }
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
