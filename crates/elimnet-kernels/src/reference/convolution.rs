//! Convolution from its definition.

use crate::conv2d::Conv2d;

/// Output positions along one axis, counted one by one.
fn positions(length: usize, before: usize, after: usize, kernel: usize, stride: usize) -> usize {
    let mut count = 0;
    while count * stride + kernel <= before + length + after {
        count += 1;
    }
    count
}

/// Calls `visit(input index, weight index, output index)` for every product of the convolution.
fn for_each_product(conv: &Conv2d, mut visit: impl FnMut(usize, usize, usize)) {
    let pad = conv.padding;
    let out_height = positions(conv.in_height, pad.top, pad.bottom, conv.kernel[0], conv.stride[0]);
    let out_width = positions(conv.in_width, pad.left, pad.right, conv.kernel[1], conv.stride[1]);
    let inputs_per_group = conv.in_channels / conv.groups;
    let outputs_per_group = conv.out_channels / conv.groups;
    for n in 0..conv.batch {
        for oy in 0..out_height {
            for ox in 0..out_width {
                for o in 0..conv.out_channels {
                    for ky in 0..conv.kernel[0] {
                        for kx in 0..conv.kernel[1] {
                            let y = (oy * conv.stride[0] + ky) as i64 - pad.top as i64;
                            let x = (ox * conv.stride[1] + kx) as i64 - pad.left as i64;
                            if y < 0 || x < 0 || y >= conv.in_height as i64 || x >= conv.in_width as i64 {
                                continue;
                            }
                            for i in 0..inputs_per_group {
                                let channel = o / outputs_per_group * inputs_per_group + i;
                                let pixel = (n * conv.in_height + y as usize) * conv.in_width + x as usize;
                                let tap = (o * conv.kernel[0] + ky) * conv.kernel[1] + kx;
                                let position = (n * out_height + oy) * out_width + ox;
                                visit(
                                    pixel * conv.in_channels + channel,
                                    tap * inputs_per_group + i,
                                    position * conv.out_channels + o,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// [`crate::conv2d`].
pub fn conv2d(conv: &Conv2d, input: &[f64], weight: &[f64], bias: Option<&[f64]>, output: &mut [f64]) {
    for (index, value) in output.iter_mut().enumerate() {
        *value = bias.map_or(0.0, |bias| bias[index % conv.out_channels]);
    }
    for_each_product(conv, |i, w, o| output[o] += input[i] * weight[w]);
}

/// [`crate::conv2d_input_gradient`].
pub fn conv2d_input_gradient(
    conv: &Conv2d,
    output_gradient: &[f64],
    weight: &[f64],
    input_gradient: &mut [f64],
) {
    input_gradient.fill(0.0);
    for_each_product(conv, |i, w, o| input_gradient[i] += output_gradient[o] * weight[w]);
}

/// [`crate::conv2d_weight_gradient`].
pub fn conv2d_weight_gradient(
    conv: &Conv2d,
    input: &[f64],
    output_gradient: &[f64],
    weight_gradient: &mut [f64],
) {
    weight_gradient.fill(0.0);
    for_each_product(conv, |i, w, o| weight_gradient[w] += output_gradient[o] * input[i]);
}
