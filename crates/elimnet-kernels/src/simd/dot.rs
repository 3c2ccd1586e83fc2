//! Blocks of bf16 products on AVX512_BF16, for processors without AMX (AMD from Zen 4 on, Cooper Lake).
//!
//! Eight rows of sums stay in registers, two registers across. A step takes sixteen pairs of depths: a row of the right
//! tile holds one pair of each column, and meets the same pair of each row of the left tile, spread over a register.
//! Sixteen independent sums hide the instruction's latency of six cycles; ten loads a pair stay below its sixteen products.
#![allow(unsafe_code)] // intrinsics, and calls of a function with `#[target_feature]`

use std::arch::x86_64::*;

use super::avx512::Avx512;
use super::tiles::{First, STEP, TILE, TileBlock};
use crate::block::{BLOCK, Sums};
use crate::element::Bf16;

/// Rows of sums in registers.
const ROWS: usize = 8;

/// Steps whose right tiles (2 KiB each) stay in the first-level cache from one group of rows to the next.
const STEPS: usize = 8;

/// Proof that AVX512_BF16 (and AVX-512 beside it) is there; [`Dot::detect`] is the only constructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dot(());

impl Dot {
    pub(crate) fn detect() -> Option<Self> {
        Avx512::detect_bf16().map(|_| Self(()))
    }

    /// As [`super::tiles::Tiles::multiply`].
    pub(super) fn multiply(self, block: TileBlock<'_>, first: First, sums: &mut Sums) {
        block.check();
        let TileBlock { left, right, steps, shape } = block;
        for (index, offsets) in steps.offsets().chunks(STEPS).enumerate() {
            for row in (0..shape.rows).step_by(ROWS) {
                let rows = Rows {
                    offsets,
                    left: &left.values[row / TILE * left.second + row % TILE * left.row..],
                    left_row: left.row,
                    right: right.values,
                    right_row: right.row,
                    right_second: right.second,
                    first: if index == 0 { first } else { First::Sums },
                };
                let Some(sums) = sums[row * BLOCK..].first_chunk_mut() else { return };
                // SAFETY: `self` proves that the instruction set is there; what the steps load is inside the operands.
                unsafe {
                    match shape.across {
                        1 => multiply_rows::<1>(rows, sums),
                        _ => multiply_rows::<2>(rows, sums),
                    }
                }
            }
        }
    }
}

/// Eight rows of the left operand, and the whole right one; distances in values, offsets in bytes.
struct Rows<'a> {
    offsets: &'a [[usize; 2]],
    left: &'a [Bf16],
    left_row: usize,
    right: &'a [Bf16],
    right_row: usize,
    right_second: usize,
    first: First,
}

/// # Safety
/// What the offsets reach must be inside the operands.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn multiply_rows<const ACROSS: usize>(rows: Rows<'_>, sums: &mut [f32; ROWS * BLOCK]) {
    // No closures here: they are not always compiled with the wide registers.
    let mut registers = [[_mm512_setzero_ps(); ACROSS]; ROWS];
    if rows.first == First::Sums {
        for (registers, sums) in registers.iter_mut().zip(sums.chunks_exact(BLOCK)) {
            for (register, sums) in registers.iter_mut().zip(sums.chunks_exact(TILE)) {
                // SAFETY: a register is as long as a tile's row.
                *register = unsafe { _mm512_loadu_ps(sums.as_ptr()) };
            }
        }
    }
    for [left, right] in rows.offsets {
        // SAFETY: the caller's.
        let (left, right) =
            unsafe { (rows.left.as_ptr().byte_add(*left), rows.right.as_ptr().byte_add(*right)) };
        for pair in 0..STEP / 2 {
            let mut columns = [_mm512_setzero_si512(); ACROSS];
            for (across, columns) in columns.iter_mut().enumerate() {
                // SAFETY: the caller's; a tile's row is a register of pairs.
                *columns = unsafe {
                    _mm512_loadu_si512(right.add(pair * rows.right_row + across * rows.right_second).cast())
                };
            }
            for (row, registers) in registers.iter_mut().enumerate() {
                // SAFETY: the caller's; a pair is 32 bits without a meaning of their own, a register sixteen of them.
                unsafe {
                    let value = left.add(row * rows.left_row + 2 * pair).cast::<i32>().read_unaligned();
                    let value = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(value));
                    for (register, columns) in registers.iter_mut().zip(columns) {
                        let columns = std::mem::transmute::<__m512i, __m512bh>(columns);
                        *register = _mm512_dpbf16_ps(*register, value, columns);
                    }
                }
            }
        }
    }
    for (registers, sums) in registers.into_iter().zip(sums.chunks_exact_mut(BLOCK)) {
        for (register, sums) in registers.into_iter().zip(sums.chunks_exact_mut(TILE)) {
            // SAFETY: a register is as long as a tile's row.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), register) };
        }
    }
}
