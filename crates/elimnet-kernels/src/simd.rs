//! What an instruction set has to offer to the generic kernels.
//!
//! A kernel is written once, as safe code over [`Simd`], and [`Simd::vectorize`] compiles that same code
//! inside a function whose `#[target_feature]` list allows the wide registers. The values of the types that
//! implement [`Simd`] are proofs: only run-time detection makes them.
//!
//! Rejected: one intrinsics file per kernel and instruction set (three times the code to check), and
//! `target-cpu=native` (it hides what users get).

use crate::element::{Bf16, Element};
use product::Tile;

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod dot;
pub(crate) mod grid;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod places;
#[cfg(target_arch = "x86_64")]
pub(crate) mod plain;
pub(crate) mod portable;
pub(crate) mod product;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;
#[cfg(target_arch = "x86_64")]
mod transpose;

/// A computation that is compiled once for each instruction set.
pub(crate) trait Kernel {
    type Output;
    /// Must be `#[inline(always)]`, or the body is compiled without the wide registers.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Vectors of `LANES` f32 and the operations that the kernels need.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// One register.
    type Vector: Copy;
    /// Values in a register; at most [`MAX_LANES`].
    const LANES: usize;
    /// Registers that there are.
    const REGISTERS: usize;
    /// Heights of the matrix tiles that [`Simd::tile`] has, largest first, 1 last.
    ///
    /// Both come from `product::tiles_of_height`.
    const TILE_ROWS: &[usize];

    fn splat(self, value: f32) -> Self::Vector;
    /// The first `LANES` values of `values`; panics where there are fewer.
    fn load(self, values: &[f32]) -> Self::Vector;
    /// Writes the first `LANES` values of `values`; panics where there are fewer.
    fn store(self, vector: Self::Vector, values: &mut [f32]);
    /// `a · b + c`, rounded once where the machine can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn divide(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The smaller; `b` where one is NaN.
    fn minimum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger; `b` where one is NaN.
    fn maximum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `yes` in the lanes where `a < b`, else `no`.
    fn select_below(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;
    /// `yes` in the lanes where `a <= b`, else `no`.
    fn select_at_most(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;
    /// `1 / a` to a relative error of 1e-4, for `a` from 1 on; 0 may stand for what is below 1e-37.
    fn reciprocal_estimate(self, a: Self::Vector) -> Self::Vector;
    /// `a · 2^power` for whole powers of −126 to 127.
    fn scale_by_power(self, a: Self::Vector, power: Self::Vector) -> Self::Vector;
    /// The bits of `a` moved up to where an f32 has its exponent: its lowest eight become one, the ninth the sign.
    fn power_of_bits(self, a: Self::Vector) -> Self::Vector;
    /// `a · b + c` of single values, rounded once where the machine can; vectorises in loops.
    fn mul_add_scalar(self, a: f32, b: f32, c: f32) -> f32;
    /// Runs `kernel` where the compiler may use this instruction set.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;
    /// Multiplies one tile of `rows` (one of `TILE_ROWS`) by `vectors` (1 or 2) registers.
    fn tile(self, rows: usize, vectors: usize, tile: Tile<'_>);

    /// Asks for a cache line that will be needed soon, in the second-level cache; a hint, nothing need be there.
    #[inline(always)]
    fn prefetch_line<T>(self, _place: *const T) {}

    /// As [`Simd::prefetch_line`], for all lines of `length` values.
    #[inline(always)]
    fn prefetch_lines<T>(self, first: *const T, length: usize) {
        for offset in (0..length * size_of::<T>()).step_by(CACHE_LINE) {
            self.prefetch_line(first.wrapping_byte_add(offset));
        }
    }

    /// The same for all lines of `values`.
    #[inline(always)]
    fn prefetch<T>(self, values: &[T]) {
        self.prefetch_lines(values.as_ptr(), values.len());
    }

    /// A whole power that [`Simd::scale_by_power`] takes, and the rest of `a`, between −1/2 and 1/2; `a` is
    /// brought into the range of those powers first.
    #[inline(always)]
    fn split_power(self, a: Self::Vector) -> (Self::Vector, Self::Vector) {
        /// 1.5 · 2²³: adding it leaves a value rounded to a whole number.
        const ROUNDING: f32 = 12_582_912.0;
        let a = self.minimum(self.splat(127.0), self.maximum(self.splat(-126.0), a));
        let rounding = self.splat(ROUNDING);
        let power = self.subtract(self.add(a, rounding), rounding);
        (power, self.subtract(a, power))
    }

    /// As [`Simd::load`], of bf16.
    fn load_bf16(self, values: &[Bf16]) -> Self::Vector;
    /// As [`Simd::store`], rounded as [`Bf16::from_f32`] does.
    fn store_bf16(self, vector: Self::Vector, values: &mut [Bf16]);

    /// The first `LANES` elements, as f32; zeros in the lanes that `values` lacks.
    #[inline(always)]
    fn load_element<E: Element>(self, values: &[E]) -> Self::Vector {
        if values.len() >= Self::LANES { E::load(self, values) } else { E::load_partial(self, values) }
    }

    /// Writes the first `LANES` elements, or as many as `values` has.
    #[inline(always)]
    fn store_element<E: Element>(self, vector: Self::Vector, values: &mut [E]) {
        if values.len() >= Self::LANES {
            E::store(self, vector, values);
        } else {
            E::store_partial(self, vector, values);
        }
    }

    /// As [`Simd::load`], zeros in the lanes that `values` lacks.
    #[inline(always)]
    fn load_partial(self, values: &[f32]) -> Self::Vector {
        if values.len() >= Self::LANES {
            return self.load(values);
        }
        let mut lanes = [0.0; MAX_LANES];
        lanes[..values.len()].copy_from_slice(values);
        self.load(&lanes)
    }

    /// As [`Simd::store`], as many lanes as `values` has.
    #[inline(always)]
    fn store_partial(self, vector: Self::Vector, values: &mut [f32]) {
        if values.len() >= Self::LANES {
            return self.store(vector, values);
        }
        let mut lanes = [0.0; MAX_LANES];
        self.store(vector, &mut lanes);
        let count = values.len();
        values.copy_from_slice(&lanes[..count]);
    }

    /// As [`Simd::load_partial`], of bf16.
    #[inline(always)]
    fn load_bf16_partial(self, values: &[Bf16]) -> Self::Vector {
        let mut lanes = [Bf16::ZERO; MAX_LANES];
        let count = values.len().min(Self::LANES);
        lanes[..count].copy_from_slice(&values[..count]);
        self.load_bf16(&lanes)
    }

    /// As [`Simd::store_partial`], of bf16.
    #[inline(always)]
    fn store_bf16_partial(self, vector: Self::Vector, values: &mut [Bf16]) {
        let mut lanes = [Bf16::ZERO; MAX_LANES];
        self.store_bf16(vector, &mut lanes);
        let count = values.len().min(Self::LANES);
        values[..count].copy_from_slice(&lanes[..count]);
    }
}

/// Bytes that come from memory at once.
pub(crate) const CACHE_LINE: usize = 64;

/// Lanes of the widest register.
pub(crate) const MAX_LANES: usize = 16;

/// Tallest tile of any instruction set.
pub(crate) const MAX_TILE_ROWS: usize = 12;
