//! Operations on each value by itself, and per channel of each image.

use rayon::prelude::*;

use crate::isa::Isa;
use crate::simd::{Kernel, Simd};
use crate::threads::ELEMENTS;

/// A function of one value.
pub(crate) trait Unary: Copy + Sync + Send {
    fn apply<S: Simd>(self, simd: S, x: f32) -> f32;
}

/// A function of two values.
pub(crate) trait Binary: Copy + Sync + Send {
    fn apply<S: Simd>(self, simd: S, a: f32, b: f32) -> f32;
}

pub(crate) fn map<F: Unary>(isa: Isa, function: F, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "lengths of input and output");
    let chunks = y.par_chunks_mut(ELEMENTS).zip(x.par_chunks(ELEMENTS));
    chunks.for_each(|(y, x)| isa.run(Map { function, x, y }));
}

pub(crate) fn map_in_place<F: Unary>(isa: Isa, function: F, values: &mut [f32]) {
    values.par_chunks_mut(ELEMENTS).for_each(|values| isa.run(MapInPlace { function, values }));
}

pub(crate) fn zip_map<F: Binary>(isa: Isa, function: F, a: &[f32], b: &[f32], y: &mut [f32]) {
    assert_eq!(a.len(), y.len(), "lengths of the first input and the output");
    assert_eq!(b.len(), y.len(), "lengths of the second input and the output");
    let chunks = y.par_chunks_mut(ELEMENTS).zip(a.par_chunks(ELEMENTS)).zip(b.par_chunks(ELEMENTS));
    chunks.for_each(|((y, a), b)| isa.run(ZipMap { function, a, b, y }));
}

struct Map<'a, F> {
    function: F,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Unary> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y = self.function.apply(simd, *x);
        }
    }
}

pub(crate) struct MapInPlace<'a, F> {
    pub(crate) function: F,
    pub(crate) values: &'a mut [f32],
}

impl<F: Unary> Kernel for MapInPlace<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for value in self.values {
            *value = self.function.apply(simd, *value);
        }
    }
}

struct ZipMap<'a, F> {
    function: F,
    a: &'a [f32],
    b: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Binary> Kernel for ZipMap<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for ((y, a), b) in self.y.iter_mut().zip(self.a).zip(self.b) {
            *y = self.function.apply(simd, *a, *b);
        }
    }
}

#[derive(Clone, Copy)]
struct Add;

impl Binary for Add {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, a: f32, b: f32) -> f32 {
        a + b
    }
}

/// `y = a + b`.
///
/// # Panics
/// If the lengths differ.
pub fn add(isa: Isa, a: &[f32], b: &[f32], y: &mut [f32]) {
    zip_map(isa, Add, a, b, y);
}

/// `y += x`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(isa: Isa, y: &mut [f32], x: &[f32]) {
    assert_eq!(x.len(), y.len(), "lengths of the two summands");
    let chunks = y.par_chunks_mut(ELEMENTS).zip(x.par_chunks(ELEMENTS));
    chunks.for_each(|(y, x)| isa.run(AddAssign { y, x }));
}

struct AddAssign<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
}

impl Kernel for AddAssign<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y += x;
        }
    }
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
    pub(crate) fn check(&self, values: &[f32], what: &str) {
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

/// `y = x · scale`, one scale for each channel of each image (squeeze-and-excitation). With the output
/// gradient in place of `x`, the gradient with respect to `x`.
///
/// # Shapes
/// `x` and `y` `[batch, pixels, channels]`, `scale` `[batch, channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn scale_channels(isa: Isa, images: Images, x: &[f32], scale: &[f32], y: &mut [f32]) {
    images.check(x, "the input");
    images.check(y, "the output");
    images.check_pooled(scale, "the scale");
    if images.is_empty() {
        return;
    }
    let length = images.image_length();
    let rows = (ELEMENTS / images.channels).max(1) * images.channels;
    y.par_chunks_mut(length).zip(x.par_chunks(length)).enumerate().for_each(|(image, (y, x))| {
        let scale = &scale[image * images.channels..][..images.channels];
        let chunks = y.par_chunks_mut(rows).zip(x.par_chunks(rows));
        chunks.for_each(|(y, x)| isa.run(ScaleRows { scale, x, y }));
    });
}

struct ScaleRows<'a> {
    scale: &'a [f32],
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for ScaleRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let channels = self.scale.len();
        for (y, x) in self.y.chunks_exact_mut(channels).zip(self.x.chunks_exact(channels)) {
            for ((y, x), scale) in y.iter_mut().zip(x).zip(self.scale) {
                *y = x * scale;
            }
        }
    }
}
