//! Loads at equal distances, for all instruction sets.
#![allow(unsafe_code)] // bounds that are checked once for all loads

use super::Simd;
use crate::element::Element;

/// Loads whole registers of elements, each `distance` elements behind the one before.
///
/// # Panics
/// If the last reaches over the end of `values`.
#[inline(always)]
pub(crate) fn load_spaced<S: Simd, E: Element>(
    simd: S,
    values: &[E],
    distance: usize,
    vectors: &mut [S::Vector],
) {
    let Some(others) = vectors.len().checked_sub(1) else { return };
    assert!(distance.saturating_mul(others).saturating_add(S::LANES) <= values.len());
    for (index, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the bound was checked for the last of them.
        let values = unsafe { values.get_unchecked(index * distance..index * distance + S::LANES) };
        *vector = E::load(simd, values);
    }
}
