//! AVX-512 (F, DQ, BW, VL), rounding to bf16 in one instruction where there is AVX512_BF16.
#![allow(unsafe_code)] // intrinsics, and calls of functions with `#[target_feature]`

use std::arch::asm;
use std::arch::x86_64::*;

use super::product::tiles_of_height;
use super::{Kernel, Simd};
use crate::element::Bf16;

/// Proof that AVX-512 (F, DQ, BW, VL) is there; [`Avx512::detect`] and [`Avx512::detect_bf16`] are the
/// only constructors.
///
/// Whether there is AVX512_BF16 too is a value, not a type: the only instruction of it that the generic kernels use rounds what
/// they store, and all of them compiled twice would take minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512 {
    has_bf16: bool,
}

impl Avx512 {
    /// Without AVX512_BF16.
    pub(crate) fn detect() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        detected.then_some(Self { has_bf16: false })
    }

    /// With it.
    pub(crate) fn detect_bf16() -> Option<Self> {
        let detected = Self::detect().filter(|_| is_x86_feature_detected!("avx512bf16"));
        detected.map(|_| Self { has_bf16: true })
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
fn run<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// [`Bf16::from_f32`] of each lane.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
#[inline]
fn round_to_bf16(vector: __m512) -> __m256i {
    let bits = _mm512_castps_si512(vector);
    let upper = _mm512_srli_epi32::<16>(bits);
    let even = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    let rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), even);
    let rounded = _mm512_srli_epi32::<16>(rounded);
    let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(vector, vector);
    let rounded = _mm512_mask_or_epi32(rounded, is_nan, upper, _mm512_set1_epi32(0x40));
    let magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fff_ffff));
    let is_subnormal = _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(0x0080_0000));
    let rounded = _mm512_mask_and_epi32(rounded, is_subnormal, upper, _mm512_set1_epi32(0x8000));
    _mm512_cvtepi32_epi16(rounded)
}

/// As [`round_to_bf16`], in one instruction: written out, as its intrinsic would have to be called from functions compiled for
/// AVX512_BF16.
///
/// # Safety
/// AVX512_BF16 must be there.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
#[inline]
pub(super) unsafe fn convert_to_bf16(vector: __m512) -> __m256i {
    let halves: __m256i;
    // SAFETY: the caller's; the instruction touches its two registers alone.
    unsafe {
        asm!(
            "vcvtneps2bf16 {halves:y}, {vector:z}",
            halves = lateout(zmm_reg) halves,
            vector = in(zmm_reg) vector,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    halves
}

/// [`Bf16::to_f32`] of each lane.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
#[inline]
pub(super) fn widen(halves: __m256i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
}

/// Mask of the first `count` lanes.
#[inline(always)]
pub(super) fn lanes_of(count: usize) -> u16 {
    if count >= 16 { u16::MAX } else { (1 << count) - 1 }
}

impl Simd for Avx512 {
    type Vector = __m512;
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> Self::Vector {
        assert!(values.len() >= Self::LANES);
        // SAFETY: `self` proves that the instruction set is there; the length was checked.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, values: &mut [f32]) {
        assert!(values.len() >= Self::LANES);
        // SAFETY: `self` proves that the instruction set is there; the length was checked.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn load_bf16(self, values: &[Bf16]) -> Self::Vector {
        assert!(values.len() >= Self::LANES);
        // SAFETY: `self` proves that the instruction set is there; the length was checked; a `Bf16` is a u16.
        unsafe { widen(_mm256_loadu_si256(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn store_bf16(self, vector: Self::Vector, values: &mut [Bf16]) {
        assert!(values.len() >= Self::LANES);
        // SAFETY: `self` proves that the instruction set is there; the length was checked; a `Bf16` is a u16.
        unsafe {
            let halves = if self.has_bf16 { convert_to_bf16(vector) } else { round_to_bf16(vector) };
            _mm256_storeu_si256(values.as_mut_ptr().cast(), halves);
        }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn divide(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn minimum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn maximum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_max_ps(a, b) }
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
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes) }
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
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b), no, yes) }
    }

    #[inline(always)]
    fn reciprocal_estimate(self, a: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_rcp14_ps(a) }
    }

    #[inline(always)]
    fn scale_by_power(self, a: Self::Vector, power: Self::Vector) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { _mm512_scalef_ps(a, power) }
    }

    /// [`Simd::scale_by_power`] takes any power here, so there is no range to bring `a` into.
    #[inline(always)]
    fn split_power(self, a: Self::Vector) -> (Self::Vector, Self::Vector) {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe {
            let rest = _mm512_reduce_ps::<0>(a);
            (_mm512_sub_ps(a, rest), rest)
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
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(a))) }
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

    #[inline(always)]
    fn load_partial(self, values: &[f32]) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there; the mask has no lane beyond the slice.
        unsafe { _mm512_maskz_loadu_ps(lanes_of(values.len()), values.as_ptr()) }
    }

    #[inline(always)]
    fn store_partial(self, vector: Self::Vector, values: &mut [f32]) {
        // SAFETY: `self` proves that the instruction set is there; the mask has no lane beyond the slice.
        unsafe { _mm512_mask_storeu_ps(values.as_mut_ptr(), lanes_of(values.len()), vector) }
    }

    #[inline(always)]
    fn load_bf16_partial(self, values: &[Bf16]) -> Self::Vector {
        // SAFETY: `self` proves that the instruction set is there; the mask has no lane beyond the slice.
        unsafe {
            let halves = _mm256_maskz_loadu_epi16(lanes_of(values.len()), values.as_ptr().cast());
            widen(halves)
        }
    }

    #[inline(always)]
    fn store_bf16_partial(self, vector: Self::Vector, values: &mut [Bf16]) {
        // SAFETY: `self` proves that the instruction set is there; the mask has no lane beyond the slice.
        unsafe {
            let halves = if self.has_bf16 { convert_to_bf16(vector) } else { round_to_bf16(vector) };
            _mm256_mask_storeu_epi16(values.as_mut_ptr().cast(), lanes_of(values.len()), halves);
        }
    }

    tiles_of_height!([12, 8, 4, 2, 1], self, kernel => self.vectorize(kernel));
}
