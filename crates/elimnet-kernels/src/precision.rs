//! Which of the two element types a slice is of: where a kernel has a path for one of them.

use crate::element::Bf16;
use crate::scratch::Stored;

/// The element types by name; the way from generic code to code for one of them, without casts.
pub(crate) trait Precision: Convert<f32> + Convert<Bf16> + Stored {
    /// The slice itself, where its elements are f32.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
    /// As [`Precision::as_f32`].
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// The slice itself, where its elements are bf16.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "products of bf16 are there alone"))]
    fn as_bf16(values: &[Self]) -> Option<&[Bf16]>;
    /// As [`Precision::as_bf16`].
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "as above"))]
    fn as_bf16_mut(values: &mut [Self]) -> Option<&mut [Bf16]>;
}

impl Precision for f32 {
    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }

    fn as_bf16(_: &[Self]) -> Option<&[Bf16]> {
        None
    }

    fn as_bf16_mut(_: &mut [Self]) -> Option<&mut [Bf16]> {
        None
    }
}

impl Precision for Bf16 {
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }

    fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    fn as_bf16(values: &[Self]) -> Option<&[Bf16]> {
        Some(values)
    }

    fn as_bf16_mut(values: &mut [Self]) -> Option<&mut [Bf16]> {
        Some(values)
    }
}

/// From one element type to another, or the same.
pub(crate) trait Convert<T>: Copy {
    fn convert(self) -> T;
}

impl<T: Copy> Convert<T> for T {
    #[inline(always)]
    fn convert(self) -> T {
        self
    }
}

impl Convert<Bf16> for f32 {
    #[inline(always)]
    fn convert(self) -> Bf16 {
        Bf16::from_f32(self)
    }
}

impl Convert<f32> for Bf16 {
    #[inline(always)]
    fn convert(self) -> f32 {
        self.to_f32()
    }
}
