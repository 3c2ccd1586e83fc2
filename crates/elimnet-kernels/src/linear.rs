//! Fully connected layers: pointwise convolutions over rows.

use crate::columns::column_sums;
use crate::conv2d::{Conv2d, Padding, convolve, convolve_input_gradient, convolve_weight_gradient};
use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::filter::PackedFilter;
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
    pub(crate) fn pointwise(&self) -> Conv2d {
        Conv2d {
            batch: self.rows, // which a packed filter does not depend on
            in_height: 1,
            in_width: 1,
            in_channels: self.in_features,
            out_channels: self.out_features,
            kernel: [1, 1],
            stride: [1, 1],
            padding: Padding::same(0),
            groups: 1,
        }
    }
}

/// `output = activation(input · weightᵀ + bias + shortcut)`; `O` is f32 for logits.
///
/// # Shapes
/// `input` `[rows, in_features]`, `filter` from [`PackedFilter::linear`], `output` `[rows, out_features]`; see
/// [`Epilogue`].
///
/// # Panics
/// If a length is not the product of its shape, or the filter was packed for something else.
pub fn linear<I: Element, O: Element>(
    isa: Isa,
    sizes: &Linear,
    input: &[I],
    filter: &PackedFilter<I>,
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    convolve(isa, &sizes.pointwise(), input, filter, epilogue, output);
}

/// Gradient with respect to the input of [`linear`]; overwrites it. `filter` comes from
/// [`PackedFilter::linear_input_gradient`].
///
/// # Panics
/// If a length is not the product of its shape, or the filter was packed for something else.
pub fn linear_input_gradient<I: Element, O: Element>(
    isa: Isa,
    sizes: &Linear,
    output_gradient: &[O],
    filter: &PackedFilter<I>,
    input_gradient: &mut [I],
) {
    convolve_input_gradient(isa, &sizes.pointwise(), output_gradient, filter, input_gradient);
}

/// Gradients with respect to the weight and the bias of [`linear`]; overwrites them.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn linear_parameter_gradients<I: Element, O: Element>(
    isa: Isa,
    sizes: &Linear,
    input: &[I],
    output_gradient: &[O],
    weight_gradient: &mut [f32],
    bias_gradient: Option<&mut [f32]>,
) {
    convolve_weight_gradient(isa, &sizes.pointwise(), input, output_gradient, weight_gradient);
    if let Some(bias_gradient) = bias_gradient {
        assert_eq!(bias_gradient.len(), sizes.out_features, "length of the bias gradient of {sizes:?}");
        column_sums(isa, output_gradient, bias_gradient);
    }
}
