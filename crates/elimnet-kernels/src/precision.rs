//! Which of the two element types a slice is of: where a kernel has a path for one of them.

use crate::element::Bf16;

/// The element types by name; the way from generic code to code for one of them, without casts.
pub(crate) trait Precision: Sized {
    /// The slice itself, where its elements are f32.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
    /// As [`Precision::as_f32`].
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]>;
}

impl Precision for f32 {
    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }
}

impl Precision for Bf16 {
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }

    fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
}
