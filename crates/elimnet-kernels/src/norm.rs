//! Batch normalisation over `[rows, channels]`: statistics, application, gradients.

use rayon::prelude::*;

use crate::columns::{
    ChannelMap, SumRows, Terms, check_rows, map_columns, repeated, sum_columns, task_length, task_sums,
};
use crate::isa::Isa;
use crate::simd::Simd;

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
pub fn batch_statistics(isa: Isa, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    let channels = mean.len();
    check_rows(x, channels);
    assert!(!x.is_empty(), "statistics of no rows");
    assert_eq!(variance.len(), channels, "length of the variance");
    let parts: Vec<_> = x.par_chunks(task_length(channels)).map(|x| Moments::of(isa, channels, x)).collect();
    for channel in 0..channels {
        let (total_mean, total_squares) = combine(&parts, channel);
        mean[channel] = total_mean as f32;
        variance[channel] = (total_squares / (x.len() / channels) as f64) as f32;
    }
}

/// Of some rows: the mean, and the sum of the squares around it, of each channel.
struct Moments {
    rows: f64,
    means: Vec<f32>,
    squares: Vec<f32>,
}

impl Moments {
    fn of(isa: Isa, channels: usize, x: &[f32]) -> Self {
        let rows = x.len() / channels;
        let mut means = task_sums(isa, channels, x);
        means.iter_mut().for_each(|mean| *mean /= rows as f32);
        let folded = repeated(&means);
        let [squares] = isa.run(SumRows { channels, terms: Squares { means: &folded }, a: x, b: x });
        Self { rows: rows as f64, means, squares }
    }
}

/// Mean and sum of squares of `channel` over all parts, in their order.
fn combine(parts: &[Moments], channel: usize) -> (f64, f64) {
    let (mut rows, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for part in parts {
        let distance = f64::from(part.means[channel]) - mean;
        let total = rows + part.rows;
        mean += distance * part.rows / total;
        squares += f64::from(part.squares[channel]) + distance * distance * rows * part.rows / total;
        rows = total;
    }
    (mean, squares)
}

#[derive(Clone, Copy)]
struct Squares<'a> {
    means: &'a [f32],
}

impl Terms<1> for Squares<'_> {
    #[inline(always)]
    fn add<S: Simd>(
        self,
        simd: S,
        column: usize,
        [x, _]: [S::Vector; 2],
        [sum]: [S::Vector; 1],
    ) -> [S::Vector; 1] {
        let distance = simd.subtract(x, simd.load_partial(&self.means[column..]));
        [simd.mul_add(distance, distance, sum)]
    }
}

/// `y = (x − mean) · inverse_std · weight + bias` by channel.
///
/// # Shapes
/// `x` and `y` `[rows, channels]`, the others `[channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn normalize(
    isa: Isa,
    x: &[f32],
    mean: &[f32],
    inverse_std: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
) {
    check_rows(x, mean.len());
    check_channels(mean.len(), &[inverse_std, weight, bias]);
    assert_eq!(x.len(), y.len(), "lengths of input and output");
    let scale: Vec<_> = inverse_std.iter().zip(weight).map(|(s, w)| s * w).collect();
    let (shift, scale, offset) = (repeated(mean), repeated(&scale), repeated(bias));
    let affine = Affine { shift: &shift, scale: &scale, offset: &offset };
    map_columns(isa, mean.len(), affine, x, x, y);
}

/// `y = x · scale + shift` by channel: batch norm with its statistics folded in, for inference, or the
/// gradient through it.
///
/// # Shapes
/// `x` and `y` `[rows, channels]`, the others `[channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn scale_shift(isa: Isa, x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
    check_rows(x, scale.len());
    check_channels(scale.len(), &[shift]);
    assert_eq!(x.len(), y.len(), "lengths of input and output");
    let zero = vec![0.0; scale.len()];
    let (shift, scale, offset) = (repeated(&zero), repeated(scale), repeated(shift));
    let affine = Affine { shift: &shift, scale: &scale, offset: &offset };
    map_columns(isa, zero.len(), affine, x, x, y);
}

fn check_channels(channels: usize, parameters: &[&[f32]]) {
    for parameter in parameters {
        assert_eq!(parameter.len(), channels, "values in a parameter of {channels} channels");
    }
}

/// `(x − shift) · scale + offset`
#[derive(Clone, Copy)]
struct Affine<'a> {
    shift: &'a [f32],
    scale: &'a [f32],
    offset: &'a [f32],
}

impl ChannelMap for Affine<'_> {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, column: usize, [x, _]: [S::Vector; 2]) -> S::Vector {
        let distance = simd.subtract(x, simd.load_partial(&self.shift[column..]));
        let scale = simd.load_partial(&self.scale[column..]);
        simd.mul_add(distance, scale, simd.load_partial(&self.offset[column..]))
    }
}

/// What [`batch_norm_backward`] reads of the forward pass, one value a channel each.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Mean of the batch.
    pub mean: &'a [f32],
    /// `1 / √(biased variance of the batch + epsilon)`
    pub inverse_std: &'a [f32],
    /// Learned scale.
    pub weight: &'a [f32],
}

/// Gradients of [`normalize`] where `mean` and `inverse_std` are those of the batch `x` itself (training);
/// overwrites the three gradients.
///
/// # Shapes
/// `x`, `dy` and `dx` `[rows, channels]`, the others `[channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
///
/// # Source
/// Ioffe & Szegedy, *Batch Normalization*, 2015, §3.
pub fn batch_norm_backward(
    isa: Isa,
    norm: BatchNorm<'_>,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    assert_eq!(dx.len(), x.len(), "lengths of the input and its gradient");
    batch_norm_parameter_gradients(isa, norm, x, dy, d_weight, d_bias);
    let channels = norm.mean.len();
    let rows = (x.len() / channels) as f64;
    // dx = scale · (dy − d_bias / rows − (x − mean) · inverse_std · d_weight / rows)
    let scale: Vec<_> = norm.inverse_std.iter().zip(norm.weight).map(|(s, w)| s * w).collect();
    let by_channel = |value: &dyn Fn(usize) -> f64| -> Vec<f32> {
        repeated(&(0..channels).map(|channel| value(channel) as f32).collect::<Vec<_>>())
    };
    let slope = by_channel(&|c| {
        -f64::from(scale[c]) * f64::from(norm.inverse_std[c]) * f64::from(d_weight[c]) / rows
    });
    let offset = by_channel(&|c| -f64::from(scale[c]) * f64::from(d_bias[c]) / rows);
    let (mean, scale) = (repeated(norm.mean), repeated(&scale));
    let gradient = InputGradient { mean: &mean, scale: &scale, slope: &slope, offset: &offset };
    map_columns(isa, channels, gradient, x, dy, dx);
}

/// The gradients of weight and bias alone; with running statistics for the batch's, those of inference mode.
///
/// # Shapes
/// `x` and `dy` `[rows, channels]`, the others `[channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn batch_norm_parameter_gradients(
    isa: Isa,
    norm: BatchNorm<'_>,
    x: &[f32],
    dy: &[f32],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let channels = norm.mean.len();
    check_rows(x, channels);
    check_channels(channels, &[norm.inverse_std, norm.weight, d_weight, d_bias]);
    assert_eq!(dy.len(), x.len(), "lengths of the input and the output gradient");
    let mean = repeated(norm.mean);
    let [sums, products] = sum_columns(isa, channels, GradientSums { mean: &mean }, x, dy);
    for channel in 0..channels {
        d_bias[channel] = sums[channel] as f32;
        d_weight[channel] = (products[channel] * f64::from(norm.inverse_std[channel])) as f32;
    }
}

#[derive(Clone, Copy)]
struct GradientSums<'a> {
    mean: &'a [f32],
}

impl Terms<2> for GradientSums<'_> {
    #[inline(always)]
    fn add<S: Simd>(
        self,
        simd: S,
        column: usize,
        [x, dy]: [S::Vector; 2],
        [sum, product]: [S::Vector; 2],
    ) -> [S::Vector; 2] {
        let distance = simd.subtract(x, simd.load_partial(&self.mean[column..]));
        [simd.add(sum, dy), simd.mul_add(distance, dy, product)]
    }
}

#[derive(Clone, Copy)]
struct InputGradient<'a> {
    mean: &'a [f32],
    scale: &'a [f32],
    slope: &'a [f32],
    offset: &'a [f32],
}

impl ChannelMap for InputGradient<'_> {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, column: usize, [x, dy]: [S::Vector; 2]) -> S::Vector {
        let distance = simd.subtract(x, simd.load_partial(&self.mean[column..]));
        let offset = simd.load_partial(&self.offset[column..]);
        let centered = simd.mul_add(distance, simd.load_partial(&self.slope[column..]), offset);
        simd.mul_add(dy, simd.load_partial(&self.scale[column..]), centered)
    }
}
