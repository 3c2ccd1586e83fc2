//! Blocks of bf16 products on AVX512_BF16, for processors without AMX (AMD from Zen 4 on, Cooper Lake).
//!
//! Up to twelve rows of sums stay in registers, two registers across: a row of the right tile holds one pair of each column, and
//! meets the same pair of each row of the left operand, spread over a register. Three rows hide the instruction's latency of six
//! cycles, and a row costs one load for two products. Rows, and depths of the last step, are multiplied as far as they are there.
#![allow(unsafe_code)] // intrinsics, and calls of a function with `#[target_feature]`

use std::arch::x86_64::*;

use super::Simd;
use super::avx512::{Avx512, convert_to_bf16, lanes_of, widen};
use super::tiles::{FinishRows, First, STEP, TILE, TileBlock};
use crate::activation::{self, Activation, Function};
use crate::block::{BLOCK, Sums};
use crate::element::Bf16;
use crate::threads::piece_length;

/// Most rows of sums in registers.
const MOST_ROWS: usize = 12;

/// Fewest rows that are finished in registers; each number of them is compiled for each activation.
const LEAST_FINISHED: usize = 8;

/// Steps whose right tiles (2 KiB each) stay in the first-level cache from one group of rows to the next.
const STEPS: usize = 8;

/// Values of the right operand that are asked for ahead of those in use, four packed steps of two tiles: weights that other layers
/// drove out of the caches come in time. Asked for in the second-level cache, as the first-level one can wait for few lines at once.
const AHEAD: usize = 4 * STEP * BLOCK;

/// Proof that AVX512_BF16 (and AVX-512 beside it) is there; [`Dot::detect`] is the only constructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dot(Avx512);

impl Dot {
    pub(crate) fn detect() -> Option<Self> {
        Avx512::detect_bf16().map(Self)
    }

    /// As [`super::tiles::Tiles::multiply`].
    pub(super) fn multiply(self, block: TileBlock<'_>, first: First, sums: &mut Sums) {
        block.check(block.shape.rows);
        // SAFETY: operands were checked.
        unsafe { self.multiply_chunks(block, first, sums, None) };
    }

    /// As [`super::tiles::Tiles::multiply_and_finish`].
    pub(super) fn multiply_and_finish(
        self,
        mut block: TileBlock<'_>,
        sums: &mut Sums,
        finish: FinishRows<'_>,
    ) -> usize {
        let rows = rows_at_once(&block, &finish);
        if rows > 0 {
            block.shape.rows = rows;
            block.check_operands(rows);
            finish.check(block.shape);
            // SAFETY: operands and where rows go were checked.
            unsafe { self.multiply_chunks(block, First::Zero, sums, Some(finish)) };
        }
        rows
    }

    /// # Safety
    /// [`TileBlock::check_operands`] and [`FinishRows::check`] must hold.
    unsafe fn multiply_chunks(
        self,
        block: TileBlock<'_>,
        first: First,
        sums: &mut Sums,
        mut finish: Option<FinishRows<'_>>,
    ) {
        let TileBlock { left, right, steps, shape } = block;
        assert_eq!(left.second, TILE * left.row, "rows of the left operand, all at one distance");
        let groups = shape.rows.div_ceil(MOST_ROWS);
        let chunk = if groups == 1 { steps.len() } else { piece_length(steps.len(), STEPS) };
        for (index, offsets) in steps.offsets().chunks(chunk).enumerate() {
            let is_last = (index + 1) * chunk >= steps.len();
            let mut row = 0;
            // Some groups of a row more than the others.
            let (height, higher) = (shape.rows / groups, shape.rows % groups);
            for (groups, height) in [(higher, height + 1), (groups - higher, height)] {
                if groups == 0 {
                    continue;
                }
                let rows = Rows {
                    groups,
                    offsets,
                    last_pairs: if is_last { steps.last_pairs() } else { STEP / 2 },
                    left: &left.values[row * left.row..],
                    left_row: left.row,
                    right: right.values,
                    right_row: right.row,
                    right_second: right.second,
                    first: if index == 0 { first } else { First::Sums },
                };
                // SAFETY: `self` proves that the instruction set is there; what the steps load is inside the operands, and rows are
                // where they go, by the caller.
                unsafe {
                    match &mut finish {
                        Some(finish) if is_last => {
                            let sums = if index == 0 { &mut [][..] } else { &mut sums[row * BLOCK..] };
                            finish_rows(self.0, height, shape.across, rows, sums, finish.without(row));
                        }
                        _ => multiply_rows(height, shape.across, rows, &mut sums[row * BLOCK..]),
                    }
                }
                row += groups * height;
            }
        }
    }
}

impl Dot {
    /// As [`super::tiles::TileUnit::multiply_in_registers`].
    pub(super) fn multiply_in_registers(self, rounds: usize) -> usize {
        /// A sum counts two a round, up to 2²⁴ exactly.
        const MOST_TURNS: usize = 1 << 23;
        let turns = (0..rounds).step_by(MOST_TURNS).map(|done| MOST_TURNS.min(rounds - done));
        // SAFETY: `self` proves that the instruction set is there.
        turns.map(|turns| unsafe { multiply_ones(turns) }).sum()
    }
}

/// Rows that are multiplied and finished at once: all where the right operand stays in the first-level cache from one group of them to
/// the next, else as many as there are sums; none where there are no functions for them.
pub(super) fn rows_at_once(block: &TileBlock<'_>, finish: &FinishRows<'_>) -> usize {
    let most = if block.steps.len() <= STEPS { usize::MAX } else { BLOCK };
    let rows = block.shape.rows.min(most);
    let is_fit = rows / rows.div_ceil(MOST_ROWS) >= LEAST_FINISHED && is_finished(finish);
    if is_fit { rows } else { 0 }
}

/// Whether there are functions for its activation; rare ones are not worth it.
fn is_finished(finish: &FinishRows<'_>) -> bool {
    use Activation::{HardSwish, Identity, Relu, Relu6, Silu};
    match finish.part {
        Some(_) => finish.activation == Identity,
        None => matches!(finish.activation, Identity | Relu | Relu6 | Silu | HardSwish),
    }
}

/// Counts one for each multiply-add.
#[target_feature(enable = "avx512f,avx512bf16")]
fn multiply_ones(turns: usize) -> usize {
    // Opaque, so that the compiler does not know what the product is.
    let ones = _mm512_set1_epi16(std::hint::black_box(Bf16::from_f32(1.0).to_bits()).cast_signed());
    // SAFETY: a register of bf16 is one of 16 bits each.
    let ones = unsafe { std::mem::transmute::<__m512i, __m512bh>(ones) };
    let mut sums = [_mm512_setzero_ps(); MOST_ROWS];
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, ones, ones);
        }
    }
    let mut lanes = [0.0_f32; TILE];
    let mut count = 0.0;
    for sum in sums {
        // SAFETY: a register is as long as a tile's row.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sum) };
        count += lanes.iter().copied().map(f64::from).sum::<f64>();
    }
    count as usize
}

/// Groups of rows of the left operand, and the whole right one; distances in values, offsets in bytes.
struct Rows<'a> {
    groups: usize,
    offsets: &'a [[usize; 2]],
    /// Of the last step; the others have all.
    last_pairs: usize,
    left: &'a [Bf16],
    left_row: usize,
    right: &'a [Bf16],
    right_row: usize,
    right_second: usize,
    first: First,
}

/// # Safety
/// AVX512_BF16 must be there, and what the offsets reach inside the operands.
unsafe fn multiply_rows(height: usize, across: usize, rows: Rows<'_>, sums: &mut [f32]) {
    macro_rules! of_height {
        ($($height:literal),*) => {
            match (height, across) {
                $(
                    // SAFETY: the caller's.
                    ($height, 1) => unsafe { multiply::<$height, 1, Memory>(rows, sums, Memory) },
                    // SAFETY: the caller's.
                    ($height, _) => unsafe { multiply::<$height, 2, Memory>(rows, sums, Memory) },
                )*
                _ => unreachable!("{height} rows in registers"),
            }
        };
    }
    of_height!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
}

/// As [`multiply_rows`], with what becomes of the sums.
///
/// # Safety
/// As there, and rows must be where `finish` has them.
unsafe fn finish_rows(
    simd: Avx512,
    height: usize,
    across: usize,
    rows: Rows<'_>,
    sums: &mut [f32],
    finish: FinishRows<'_>,
) {
    macro_rules! of_height {
        ($to:expr, $($height:literal),*) => {
            match (height, across) {
                $(
                    // SAFETY: the caller's.
                    ($height, 1) => unsafe { multiply::<$height, 1, _>(rows, sums, $to) },
                    // SAFETY: the caller's.
                    ($height, _) => unsafe { multiply::<$height, 2, _>(rows, sums, $to) },
                )*
                _ => unreachable!("{height} rows that are finished in registers"),
            }
        };
    }
    macro_rules! of_function {
        ($($name:ident),*) => {
            match finish.activation {
                Activation::Identity if finish.part.is_some() => {
                    let output = Output::<_, true> { simd, finish, function: activation::Identity };
                    of_height!(output, 8, 9, 10, 11, 12)
                }
                $(
                    Activation::$name => {
                        let output = Output::<_, false> { simd, finish, function: activation::$name };
                        of_height!(output, 8, 9, 10, 11, 12)
                    }
                )*
                other => unreachable!("{other:?} in registers"),
            }
        };
    }
    of_function!(Identity, Relu, Relu6, Silu, HardSwish);
}

/// What becomes of sums in registers.
trait Destination {
    /// Of a group of rows, from `first` on.
    ///
    /// # Safety
    /// AVX512_BF16 must be there, and room for the rows.
    unsafe fn take<const ROWS: usize, const ACROSS: usize>(
        &mut self,
        first: usize,
        registers: [[__m512; ACROSS]; ROWS],
        sums: &mut [[f32; BLOCK]],
    );
}

/// They are stored.
struct Memory;

impl Destination for Memory {
    #[inline(always)]
    unsafe fn take<const ROWS: usize, const ACROSS: usize>(
        &mut self,
        first: usize,
        registers: [[__m512; ACROSS]; ROWS],
        sums: &mut [[f32; BLOCK]],
    ) {
        for (registers, sums) in registers.into_iter().zip(&mut sums[first..][..ROWS]) {
            for (register, sums) in registers.into_iter().zip(sums.chunks_exact_mut(TILE)) {
                // SAFETY: a register is as long as a tile's row.
                unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), register) };
            }
        }
    }
}

/// They go on through bias, shortcut and activation, and are added to the moments.
struct Output<'a, F, const WITH_MOMENTS: bool> {
    simd: Avx512,
    finish: FinishRows<'a>,
    function: F,
}

impl<F: Function, const WITH_MOMENTS: bool> Destination for Output<'_, F, WITH_MOMENTS> {
    #[inline(always)]
    unsafe fn take<const ROWS: usize, const ACROSS: usize>(
        &mut self,
        first: usize,
        registers: [[__m512; ACROSS]; ROWS],
        _: &mut [[f32; BLOCK]],
    ) {
        let Self { simd, ref mut finish, function } = *self;
        // All lanes, but for the last register across.
        let mut lanes = [u16::MAX; ACROSS];
        lanes[ACROSS - 1] = lanes_of(finish.columns - (ACROSS - 1) * TILE);
        let mut bias = [simd.splat(0.0); ACROSS];
        if let Some(values) = finish.bias {
            for (across, bias) in bias.iter_mut().enumerate() {
                *bias = simd.load_partial(&values[across * TILE..]);
            }
        }
        let mut moments = None;
        if WITH_MOMENTS && let Some(part) = &mut finish.part {
            let mut pivot = registers[0];
            for (pivot, bias) in pivot.iter_mut().zip(bias) {
                *pivot = simd.add(*pivot, bias);
            }
            moments = Some(part.resume(simd, 0..finish.columns, pivot));
        }
        for (row, mut values) in (first..).zip(registers) {
            let output = finish.output.as_mut_ptr().wrapping_add(row * finish.pixel);
            simd.prefetch_line(output.wrapping_add(BLOCK * finish.pixel));
            for (value, bias) in values.iter_mut().zip(bias) {
                *value = simd.add(*value, bias);
            }
            if WITH_MOMENTS && let Some(moments) = &mut moments {
                moments.add(simd, values);
            }
            for (across, mut value) in values.into_iter().enumerate() {
                // SAFETY: the caller's; a `Bf16` is a u16.
                unsafe {
                    if let Some(shortcut) = finish.shortcut {
                        let place =
                            shortcut.as_ptr().wrapping_add(row * finish.shortcut_pixel + across * TILE);
                        let halves = _mm256_maskz_loadu_epi16(lanes[across], place.cast());
                        value = simd.add(value, widen(halves));
                    }
                    let halves = convert_to_bf16(function.value::<Avx512, Bf16>(simd, value));
                    _mm256_mask_storeu_epi16(output.add(across * TILE).cast(), lanes[across], halves);
                }
            }
        }
        if let (Some(part), Some(moments)) = (&mut finish.part, moments) {
            part.keep(simd, 0..finish.columns, moments);
        }
    }
}

/// # Safety
/// What the offsets reach must be inside the operands; as `to` has it.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,avx512bf16")]
unsafe fn multiply<const ROWS: usize, const ACROSS: usize, T: Destination>(
    rows: Rows<'_>,
    sums: &mut [f32],
    mut to: T,
) {
    let (sums, _) = sums.as_chunks_mut::<BLOCK>();
    for group in 0..rows.groups {
        let first = group * ROWS;
        // No closures here: they are not always compiled with the wide registers.
        let mut registers = [[_mm512_setzero_ps(); ACROSS]; ROWS];
        if rows.first == First::Sums {
            for (registers, sums) in registers.iter_mut().zip(&sums[first..][..ROWS]) {
                for (register, sums) in registers.iter_mut().zip(sums.chunks_exact(TILE)) {
                    // SAFETY: a register is as long as a tile's row.
                    *register = unsafe { _mm512_loadu_ps(sums.as_ptr()) };
                }
            }
        }
        // SAFETY: the caller's.
        let rows_left = unsafe { rows.left.as_ptr().add(first * rows.left_row) };
        for (step, [left, right]) in rows.offsets.iter().enumerate() {
            // SAFETY: the caller's.
            let (left, right) = unsafe { (rows_left.byte_add(*left), rows.right.as_ptr().byte_add(*right)) };
            let pairs = if step + 1 == rows.offsets.len() { rows.last_pairs } else { STEP / 2 };
            for pair in 0..pairs {
                let mut columns = [_mm512_setzero_si512(); ACROSS];
                for (across, columns) in columns.iter_mut().enumerate() {
                    // SAFETY: the caller's; a tile's row is a register of pairs. What is asked for ahead need not be there.
                    *columns = unsafe {
                        let row = right.add(pair * rows.right_row + across * rows.right_second);
                        _mm_prefetch::<_MM_HINT_T1>(row.wrapping_add(AHEAD).cast());
                        _mm512_loadu_si512(row.cast())
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
        // SAFETY: the caller's.
        unsafe { to.take(first, registers, sums) };
    }
}
