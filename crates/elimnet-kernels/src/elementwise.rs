//! Operations on each value by itself, and per channel of each image.

use crate::columns::{Pointwise, sweep};
use crate::element::Element;
use crate::isa::Isa;
use crate::simd::Simd;

#[derive(Clone, Copy)]
struct Add;

impl Pointwise<0, 2, 1, 0> for Add {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        _: [S::Vector; 0],
        [a, b]: [S::Vector; 2],
        _: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        [simd.add(a, b)]
    }
}

/// `y = a + b`.
///
/// # Panics
/// If the lengths differ.
pub fn add<E: Element>(isa: Isa, a: &[E], b: &[E], y: &mut [E]) {
    assert_eq!(a.len(), y.len(), "lengths of the first input and the output");
    assert_eq!(b.len(), y.len(), "lengths of the second input and the output");
    sweep(isa, Images::rows(a, 1), Add, [], [a, b], [y]);
}

#[derive(Clone, Copy)]
struct AddAssign;

impl Pointwise<0, 1, 1, 0> for AddAssign {
    const READS_OUTPUTS: bool = true;

    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        _: [S::Vector; 0],
        [x]: [S::Vector; 1],
        [y]: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        [simd.add(y, x)]
    }
}

/// `y += x`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign<E: Element>(isa: Isa, y: &mut [E], x: &[E]) {
    assert_eq!(x.len(), y.len(), "lengths of the two summands");
    sweep(isa, Images::rows(x, 1), AddAssign, [], [x], [y]);
}

/// Images of a batch, for operations that treat each channel of each image apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// Images.
    pub batch: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// Channels of a pixel.
    pub channels: usize,
}

impl Images {
    /// All of `values` as the pixels of one image: for operations that tell images not apart.
    pub(crate) fn rows<E>(values: &[E], channels: usize) -> Self {
        Self { batch: 1, pixels: values.len() / channels, channels }
    }

    pub(crate) fn check<E>(&self, values: &[E], what: &str) {
        assert_eq!(values.len(), self.batch * self.pixels * self.channels, "length of {what} of {self:?}");
    }

    pub(crate) fn check_pooled(&self, values: &[f32], what: &str) {
        assert_eq!(values.len(), self.batch * self.channels, "length of {what} of {self:?}");
    }

    pub(crate) fn image_length(&self) -> usize {
        self.pixels * self.channels
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch * self.pixels * self.channels == 0
    }
}

#[derive(Clone, Copy)]
struct Scale;

impl Pointwise<1, 1, 1, 0> for Scale {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [scale]: [S::Vector; 1],
        [x]: [S::Vector; 1],
        _: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        [simd.multiply(x, scale)]
    }
}

/// `y = x · scale`, one scale for each channel of each image (squeeze-and-excitation). With the output
/// gradient in place of `x`, the gradient with respect to `x`.
///
/// # Shapes
/// `x` and `y` `[batch, pixels, channels]`, `scale` `[batch, channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn scale_channels<E: Element>(isa: Isa, images: Images, x: &[E], scale: &[f32], y: &mut [E]) {
    images.check(x, "the input");
    images.check(y, "the output");
    images.check_pooled(scale, "the scale");
    sweep(isa, images, Scale, [scale], [x], [y]);
}

#[derive(Clone, Copy)]
struct Product;

impl Pointwise<0, 2, 0, 1> for Product {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        _: [S::Vector; 0],
        [a, b]: [S::Vector; 2],
        _: [S::Vector; 0],
        [sum]: &mut [S::Vector; 1],
    ) -> [S::Vector; 0] {
        *sum = simd.mul_add(a, b, *sum);
        []
    }
}

/// Gradient with respect to the scale of [`scale_channels`]: `Σ x · dy` over the pixels.
///
/// # Shapes
/// `x` and `dy` `[batch, pixels, channels]`, `scale_gradient` `[batch, channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn scale_channels_scale_gradient<E: Element>(
    isa: Isa,
    images: Images,
    x: &[E],
    dy: &[E],
    scale_gradient: &mut [f32],
) {
    images.check(x, "the input");
    images.check(dy, "the output gradient");
    images.check_pooled(scale_gradient, "the scale gradient");
    let [sums] = sweep(isa, images, Product, [], [x, dy], []);
    scale_gradient.iter_mut().zip(&*sums).for_each(|(gradient, sum)| *gradient = *sum as f32);
}
