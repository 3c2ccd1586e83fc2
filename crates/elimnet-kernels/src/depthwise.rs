//! Depthwise convolution: every channel with a window of its own.
use crate::conv2d::Conv2d;
use crate::isa::Isa;
pub(crate) fn forward(
    isa: Isa,
    conv: &Conv2d,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    crate::dense::forward(isa, conv, input, weight, bias, output)
}
pub(crate) fn input_gradient(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    crate::dense::input_gradient(isa, conv, output_gradient, weight, input_gradient)
}
pub(crate) fn weight_gradient(
    isa: Isa,
    conv: &Conv2d,
    input: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
) {
    crate::weight_gradient::dense(isa, conv, input, output_gradient, weight_gradient)
}
