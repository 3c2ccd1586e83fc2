//! Fully connected layers: pointwise convolutions over rows.

use crate::columns::column_sums;
use crate::conv2d::{Conv2d, Padding, conv2d, conv2d_input_gradient, conv2d_weight_gradient};
use crate::isa::Isa;

/// Sizes of a fully connected layer (torch.nn.Linear).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    /// Rows of the input and the output.
    pub rows: usize,
    /// Values in an input row.
    pub in_features: usize,
    /// Values in an output row.
    pub out_features: usize,
}

impl Linear {
    fn pointwise(&self) -> Conv2d {
        Conv2d {
            batch: 1,
            in_height: 1,
            in_width: self.rows,
            in_channels: self.in_features,
            out_channels: self.out_features,
            kernel: [1, 1],
            stride: [1, 1],
            padding: Padding::same(0),
            groups: 1,
        }
    }
}

/// `output = input · weightᵀ + bias`
///
/// # Shapes
/// `input` `[rows, in_features]`, `weight` `[out_features, in_features]`, `bias` `[out_features]`, `output`
/// `[rows, out_features]`. There must be rows.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn linear(
    isa: Isa,
    sizes: &Linear,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    conv2d(isa, &sizes.pointwise(), input, weight, bias, output);
}

/// Gradient with respect to the input of [`linear`]; overwrites it.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn linear_input_gradient(
    isa: Isa,
    sizes: &Linear,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    conv2d_input_gradient(isa, &sizes.pointwise(), output_gradient, weight, input_gradient);
}

/// Gradients with respect to the weight and the bias of [`linear`]; overwrites them.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn linear_parameter_gradients(
    isa: Isa,
    sizes: &Linear,
    input: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
    bias_gradient: Option<&mut [f32]>,
) {
    conv2d_weight_gradient(isa, &sizes.pointwise(), input, output_gradient, weight_gradient);
    if let Some(bias_gradient) = bias_gradient {
        assert_eq!(bias_gradient.len(), sizes.out_features, "length of the bias gradient of {sizes:?}");
        column_sums(isa, output_gradient, bias_gradient);
    }
}
