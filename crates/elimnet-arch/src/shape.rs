//! Shape inference: what leaves each layer for a given image size.

use crate::block::Block;
use crate::layer::{Conv2d, Op, Padding, Pool2d};
use crate::network::Network;

/// Channels, height and width of one sample's activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels (features after a flatten).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// Numbers in one sample (as many as can be said, for the absurd networks that a file may hold).
    pub fn len(self) -> usize {
        self.channels.saturating_mul(self.pixels())
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Rows times columns.
    pub fn pixels(self) -> usize {
        self.height.saturating_mul(self.width)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}, {}]", self.channels, self.height, self.width)
    }
}

/// A layer that can't take what reaches it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// The window is larger than the padded input.
    #[error("block `{block}`: its window of {kernel} does not fit into {input} (with padding)")]
    TooSmall {
        /// Block that holds the layer.
        block: String,
        /// Rows or columns of the window.
        kernel: usize,
        /// What reaches the layer.
        input: Shape,
    },
    /// A layer gets another number of channels than it was made for.
    #[error("block `{block}`: {layer} takes {expected} channels and gets {found}")]
    Channels {
        /// Block that holds the layer.
        block: String,
        /// Name of the operation.
        layer: &'static str,
        /// What it was made for.
        expected: usize,
        /// What reaches it.
        found: usize,
    },
    /// Two values that are combined differ in shape.
    #[error("block `{block}`: can't combine {left} with {right}")]
    Mismatch {
        /// Block that holds the layer.
        block: String,
        /// First value.
        left: Shape,
        /// Second value.
        right: Shape,
    },
    /// A layer that works on vectors gets an image.
    #[error("block `{block}`: Linear takes a vector and gets {input}; pool and flatten first")]
    NotFlat {
        /// Block that holds the layer.
        block: String,
        /// What reaches the layer.
        input: Shape,
    },
}

impl Network {
    /// Shape of the images that the network takes at `image_size` pixels a side.
    pub fn input_shape(&self, image_size: usize) -> Shape {
        Shape { channels: self.input_channels, height: image_size, width: image_size }
    }

    /// Shapes of all layers' outputs, block by block (head blocks last).
    ///
    /// # Errors
    /// If the image is too small for a window or a layer does not fit its input.
    pub fn shapes(&self, input: Shape) -> Result<Vec<Vec<Shape>>, ShapeError> {
        let mut current = input;
        self.all_blocks()
            .map(|block| {
                let shapes = block.shapes(current)?;
                current = shapes.last().copied().unwrap_or(current);
                Ok(shapes)
            })
            .collect()
    }
}

impl Block {
    /// Shapes of the layers' outputs.
    ///
    /// # Errors
    /// See [`ShapeError`].
    pub fn shapes(&self, input: Shape) -> Result<Vec<Shape>, ShapeError> {
        let mut values = vec![input];
        for layer in &self.layers {
            let inputs: Vec<Shape> = layer.inputs.iter().map(|&value| values[value]).collect();
            values.push(self.output_shape(&layer.op, &inputs)?);
        }
        values.remove(0);
        Ok(values)
    }

    fn output_shape(&self, op: &Op, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let input = inputs[0];
        match op {
            Op::Conv2d(conv) => self.conv_shape(conv, input),
            Op::BatchNorm(norm) => {
                self.expect_channels("BatchNorm", norm.channels, input.channels)?;
                Ok(input)
            }
            Op::Activation(_) | Op::Dropout { .. } | Op::StochasticDepth { .. } => Ok(input),
            Op::MaxPool(pool) | Op::AvgPool(pool) => self.pool_shape(pool, input),
            Op::GlobalAvgPool => Ok(Shape { height: 1, width: 1, ..input }),
            &Op::AdaptiveAvgPool { height, width } => Ok(Shape { height, width, ..input }),
            Op::Flatten => Ok(Shape { channels: input.len(), height: 1, width: 1 }),
            Op::Linear(linear) => {
                if input.pixels() != 1 {
                    return Err(ShapeError::NotFlat { block: self.name.clone(), input });
                }
                self.expect_channels("Linear", linear.in_features, input.channels)?;
                Ok(Shape { channels: linear.out_features, ..input })
            }
            Op::Add if inputs[1] == input => Ok(input),
            Op::Scale if inputs[1] == (Shape { height: 1, width: 1, ..input }) => Ok(input),
            Op::Add | Op::Scale => {
                Err(ShapeError::Mismatch { block: self.name.clone(), left: input, right: inputs[1] })
            }
        }
    }

    fn conv_shape(&self, conv: &Conv2d, input: Shape) -> Result<Shape, ShapeError> {
        self.expect_channels("Conv2d", conv.in_channels, input.channels)?;
        let shape = self.windows(conv.kernel, conv.stride, conv.padding, input)?;
        Ok(Shape { channels: conv.out_channels, ..shape })
    }

    fn pool_shape(&self, pool: &Pool2d, input: Shape) -> Result<Shape, ShapeError> {
        self.windows(pool.kernel, pool.stride, pool.padding, input)
    }

    fn windows(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
        input: Shape,
    ) -> Result<Shape, ShapeError> {
        let fit = |size: usize, kernel: usize, stride: usize| match size.checked_sub(kernel) {
            Some(slack) => Ok((slack / stride).saturating_add(1)),
            None => Err(ShapeError::TooSmall { block: self.name.clone(), kernel, input }),
        };
        let padded =
            |size: usize, before: usize, after: usize| size.saturating_add(before).saturating_add(after);
        let height = fit(padded(input.height, padding.top, padding.bottom), kernel[0], stride[0])?;
        let width = fit(padded(input.width, padding.left, padding.right), kernel[1], stride[1])?;
        Ok(Shape { height, width, ..input })
    }

    fn expect_channels(&self, layer: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
        if expected == found {
            return Ok(());
        }
        Err(ShapeError::Channels { block: self.name.clone(), layer, expected, found })
    }
}
