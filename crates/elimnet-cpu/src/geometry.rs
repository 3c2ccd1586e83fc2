//! Steps as the kernels describe them.

use elimnet_arch::{Activation, Pool2d, Shape};
use elimnet_kernels as kernels;

use crate::plan::{Plan, Step, ValueId};

/// A plan with as many images as are run at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) count: usize,
}

impl Geometry<'_> {
    pub(crate) fn shape(&self, value: ValueId) -> Shape {
        self.plan.shapes[value]
    }

    pub(crate) fn conv(&self, step: &Step, conv: &elimnet_arch::Conv2d) -> kernels::Conv2d {
        let input = self.shape(step.inputs[0]);
        let elimnet_arch::Padding { top, left, bottom, right } = conv.padding;
        kernels::Conv2d {
            batch: self.count,
            in_height: input.height,
            in_width: input.width,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: kernels::Padding { top, left, bottom, right },
            groups: conv.groups,
        }
    }

    pub(crate) fn pool(&self, step: &Step, pool: &Pool2d) -> kernels::Pool2d {
        let input = self.shape(step.inputs[0]);
        kernels::Pool2d {
            batch: self.count,
            in_height: input.height,
            in_width: input.width,
            channels: input.channels,
            kernel: pool.kernel,
            stride: pool.stride,
            padding: [pool.padding.top, pool.padding.left],
        }
    }

    pub(crate) fn adaptive_pool(&self, step: &Step) -> kernels::AdaptivePool2d {
        let (input, output) = (self.shape(step.inputs[0]), self.shape(step.output));
        kernels::AdaptivePool2d {
            batch: self.count,
            input: [input.height, input.width],
            output: [output.height, output.width],
            channels: input.channels,
        }
    }

    /// A value as images.
    pub(crate) fn images(&self, value: ValueId) -> kernels::Images {
        let shape = self.shape(value);
        kernels::Images { batch: self.count, pixels: shape.pixels(), channels: shape.channels }
    }

    pub(crate) fn linear(&self, step: &Step) -> kernels::Linear {
        kernels::Linear {
            rows: self.count,
            in_features: self.shape(step.inputs[0]).channels,
            out_features: self.shape(step.output).channels,
        }
    }
}

/// # Panics
/// For softmax, which is a step of its own.
pub(crate) fn kernel_activation(activation: Activation) -> kernels::Activation {
    match activation {
        Activation::Identity => kernels::Activation::Identity,
        Activation::Relu => kernels::Activation::Relu,
        Activation::Relu6 => kernels::Activation::Relu6,
        Activation::Silu => kernels::Activation::Silu,
        Activation::Sigmoid => kernels::Activation::Sigmoid,
        Activation::HardSwish => kernels::Activation::HardSwish,
        Activation::HardSigmoid => kernels::Activation::HardSigmoid,
        Activation::Gelu => kernels::Activation::Gelu,
        Activation::Softmax => unreachable!("softmax is a step of its own"),
    }
}

/// Swaps rows and columns of each sample's `[rows, columns]`: torch flattens channels first, the engine keeps them last.
pub(crate) fn transpose_samples<T: Copy>(input: &[T], output: &mut [T], rows: usize, columns: usize) {
    if rows == 1 || columns == 1 {
        return output.copy_from_slice(input);
    }
    let len = rows * columns;
    for (input, output) in input.chunks_exact(len).zip(output.chunks_exact_mut(len)) {
        for (row, values) in input.chunks_exact(columns).enumerate() {
            values.iter().enumerate().for_each(|(column, &value)| output[column * rows + row] = value);
        }
    }
}
