//! Blocks of bf16 turned round in AVX-512 registers: what the weight gradient's left operand needs.
#![allow(unsafe_code)] // intrinsics, and a call of a function with `#[target_feature]`

use std::arch::x86_64::*;

use super::plain::Plain;
use super::tiles::{STEP, TILE, TileUnit};
use crate::element::Bf16;

impl TileUnit {
    /// `turned[column][row] = rows[row][column]` for 32 rows of 16 columns.
    ///
    /// # Panics
    /// If the slices don't reach so far.
    pub(crate) fn transpose(
        self,
        rows: &[Bf16],
        distance: usize,
        turned: &mut [Bf16],
        turned_distance: usize,
    ) {
        assert!(rows.len() >= (STEP - 1) * distance + TILE, "32 rows of 16 values");
        assert!(turned.len() >= (TILE - 1) * turned_distance + STEP, "room for 16 rows of 32 values");
        if let Self::Plain(_) = self {
            return Plain::transpose(rows, distance, turned, turned_distance);
        }
        // SAFETY: `self` proves that AVX-512 is there, which all other units have beside them; the lengths were checked.
        unsafe { transpose_32x16(rows.as_ptr(), distance, turned.as_mut_ptr(), turned_distance) }
    }
}

/// # Safety
/// 32 rows of 16 values must be readable, 16 rows of 32 writable.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
unsafe fn transpose_32x16(rows: *const Bf16, distance: usize, turned: *mut Bf16, turned_distance: usize) {
    let mut pairs = [_mm512_setzero_si512(); 16];
    // No closures here: they are not always compiled with the wide registers.
    for (pair, vector) in pairs.iter_mut().enumerate() {
        // SAFETY: the caller's.
        unsafe {
            let even = _mm512_cvtepu16_epi32(_mm256_loadu_si256(rows.add(2 * pair * distance).cast()));
            let odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256(rows.add((2 * pair + 1) * distance).cast()));
            *vector = _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd));
        }
    }
    for (column, vector) in transpose_16x16(pairs).into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_si512(turned.add(column * turned_distance).cast(), vector) };
    }
}

/// Of 32-bit lanes: in pairs, in fours, then whole quarters of the registers.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose_16x16(rows: [__m512i; 16]) -> [__m512i; 16] {
    let mut pairs = rows;
    for i in 0..8 {
        pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // Row 4i + j then holds column j of each quarter of rows 4i..4i + 4.
    let mut fours = pairs;
    for i in 0..4 {
        let [a, b, c, d] = [pairs[4 * i], pairs[4 * i + 1], pairs[4 * i + 2], pairs[4 * i + 3]];
        fours[4 * i] = _mm512_unpacklo_epi64(a, c);
        fours[4 * i + 1] = _mm512_unpackhi_epi64(a, c);
        fours[4 * i + 2] = _mm512_unpacklo_epi64(b, d);
        fours[4 * i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    let mut turned = fours;
    for j in 0..4 {
        let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        let low = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d)];
        let high = [_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d)];
        turned[j] = _mm512_shuffle_i32x4::<0x88>(low[0], low[1]);
        turned[4 + j] = _mm512_shuffle_i32x4::<0x88>(high[0], high[1]);
        turned[8 + j] = _mm512_shuffle_i32x4::<0xdd>(low[0], low[1]);
        turned[12 + j] = _mm512_shuffle_i32x4::<0xdd>(high[0], high[1]);
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_goes_to_its_place() {
        let (distance, turned_distance) = (19, 35);
        let rows: Vec<_> = (0..STEP * distance).map(|place| Bf16::from_bits(place as u16)).collect();
        for unit in TileUnit::available() {
            let mut turned = vec![Bf16::ZERO; TILE * turned_distance];
            unit.transpose(&rows, distance, &mut turned, turned_distance);
            for (row, column) in (0..STEP).flat_map(|row| (0..TILE).map(move |column| (row, column))) {
                let [actual, expected] =
                    [turned[column * turned_distance + row], rows[row * distance + column]];
                assert_eq!(actual.to_bits(), expected.to_bits(), "{unit:?}: row {row}, column {column}");
            }
        }
    }
}
