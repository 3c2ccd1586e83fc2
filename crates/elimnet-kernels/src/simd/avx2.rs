//! AVX2 with FMA: the only unsafe code of this instruction set.
#![allow(unsafe_code)] // intrinsics, and calls of functions with `#[target_feature]`

use std::arch::x86_64::*;

use super::product::tiles_of_height;
use super::{Kernel, Simd};
use crate::element::Bf16;

/// Proof that AVX2 with FMA is there; [`Avx2::detect`] is the only constructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,fma")]
fn run<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// [`Bf16::from_f32`] of each lane, in the lower halves.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn round_to_bf16(vector: __m256) -> __m256i {
    let bits = _mm256_castps_si256(vector);
    let upper = _mm256_srli_epi32::<16>(bits);
    let even = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), even);
    let rounded = _mm256_srli_epi32::<16>(rounded);
    let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(vector, vector));
    let rounded = _mm256_blendv_epi8(rounded, quiet, is_nan);
    let magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fff_ffff));
    let is_subnormal = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x0080_0000), magnitude);
    let zero = _mm256_and_si256(upper, _mm256_set1_epi32(0x8000));
    _mm256_blendv_epi8(rounded, zero, is_subnormal)
}

impl Simd for Avx2 {
    type Vector = __m256;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> Self::Vector {
        assert!(values.len() >= Self::LANES);
        // SAFETY: `self` proves that the instruction set is there; the length was checked.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, values: &mut [f32]) {
        assert!(values.len() >= Self::LANES);
        // SAFETY: `self` proves that the instruction set is there; the length was checked.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn load_bf16(self, values: &[Bf16]) -> Self::Vector {
        assert!(values.len() >= Self::LANES);
        // SAFETY: `self` proves that the instruction set is there; the length was checked; a `Bf16` is a u16.
        unsafe {
            let halves = _mm_loadu_si128(values.as_ptr().cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    fn store_bf16(self, vector: Self::Vector, values: &mut [Bf16]) {
        assert!(values.len() >= Self::LANES);
        // SAFETY: `self` proves that the instruction set is there; the length was checked; a `Bf16` is a u16.
        unsafe {
            let words = round_to_bf16(vector);
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(words, words));
            _mm_storeu_si128(values.as_mut_ptr().cast(), _mm256_castsi256_si128(packed));
        }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn divide(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn minimum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    fn maximum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn select_below(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }

    #[inline(always)]
    fn select_at_most(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LE_OQ>(a, b)) }
    }

    /// The machine's estimate (error 4e-4) after one step of Newton's.
    #[inline(always)]
    fn reciprocal_estimate(self, a: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe {
            let estimate = _mm256_rcp_ps(a);
            _mm256_mul_ps(estimate, _mm256_fnmadd_ps(a, estimate, _mm256_set1_ps(2.0)))
        }
    }

    #[inline(always)]
    fn scale_by_power(self, a: Self::Vector, power: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }

    #[inline(always)]
    fn prefetch_line<T>(self, place: *const T) {
        // SAFETY: a hint that reads nothing, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(place.cast()) }
    }

    #[inline(always)]
    fn power_of_bits(self, a: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(a))) }
    }

    #[inline(always)]
    fn mul_add_scalar(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { run(self, kernel) }
    }

    tiles_of_height!([6, 5, 4, 3, 2, 1], self, kernel => self.vectorize(kernel));
}
