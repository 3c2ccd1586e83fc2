//! Batch norms in inference: fixed statistics, so that they fold into the convolution before them.

use std::borrow::Cow;

use crate::parameters::Parameters;
use crate::plan::{ConvStep, NormStep};

/// `y = x · scale + shift` of a batch norm in inference.
pub(crate) fn scale_shift(norm: &NormStep, parameters: &Parameters) -> (Vec<f32>, Vec<f32>) {
    let tensor =
        |offset: usize| parameters.values[norm.weight + offset].iter().map(|&value| f64::from(value));
    let scale = tensor(0)
        .zip(tensor(3))
        .map(|(weight, variance)| weight / (variance + f64::from(norm.norm.eps)).sqrt());
    let scale: Vec<f64> = scale.collect();
    let shift =
        tensor(1).zip(tensor(2)).zip(&scale).map(|((bias, mean), scale)| (bias - mean * scale) as f32);
    (scale.iter().map(|&scale| scale as f32).collect(), shift.collect())
}

/// Weight and bias of a convolution with the batch norm behind it, if there is one.
pub(crate) fn fold_conv<'p>(
    conv: &ConvStep,
    parameters: &'p Parameters,
) -> (Cow<'p, [f32]>, Option<Vec<f32>>) {
    let weight = &parameters.values[conv.weight];
    let bias = conv.bias.map(|bias| &parameters.values[bias]);
    let Some(norm) = &conv.norm else { return (Cow::Borrowed(weight), bias.cloned()) };
    let (scale, shift) = scale_shift(norm, parameters);
    let filter = weight.len() / scale.len();
    let scaled =
        weight.chunks_exact(filter).zip(&scale).flat_map(|(w, &scale)| w.iter().map(move |w| w * scale));
    let bias = match bias {
        Some(bias) => {
            bias.iter().zip(&scale).zip(&shift).map(|((bias, scale), shift)| bias * scale + shift).collect()
        }
        None => shift,
    };
    (Cow::Owned(scaled.collect()), Some(bias))
}
