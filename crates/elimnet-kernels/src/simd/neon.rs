//! NEON, which every aarch64 machine has: the only unsafe code of this instruction set.
#![allow(unsafe_code)] // intrinsics

use std::arch::aarch64::*;

use super::product::tiles_of_height;
use super::{Kernel, Simd};
use crate::element::Bf16;

/// NEON belongs to the baseline of the architecture, so anyone may make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neon;

/// [`Bf16::from_f32`] of each lane.
#[inline(always)]
fn round_to_bf16(vector: float32x4_t) -> uint16x4_t {
    // SAFETY: every aarch64 machine has NEON.
    unsafe {
        let bits = vreinterpretq_u32_f32(vector);
        let upper = vshrq_n_u32::<16>(bits);
        let even = vandq_u32(upper, vdupq_n_u32(1));
        let rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), even);
        let rounded = vshrq_n_u32::<16>(rounded);
        let quiet = vorrq_u32(upper, vdupq_n_u32(0x40));
        let rounded = vbslq_u32(vceqq_f32(vector, vector), rounded, quiet);
        let magnitude = vandq_u32(bits, vdupq_n_u32(0x7fff_ffff));
        let is_subnormal = vcltq_u32(magnitude, vdupq_n_u32(0x0080_0000));
        let zero = vandq_u32(upper, vdupq_n_u32(0x8000));
        vmovn_u32(vbslq_u32(is_subnormal, zero, rounded))
    }
}

impl Simd for Neon {
    type Vector = float32x4_t;
    const LANES: usize = 4;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> Self::Vector {
        assert!(values.len() >= Self::LANES);
        // SAFETY: every aarch64 machine has NEON; the length was checked.
        unsafe { vld1q_f32(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, values: &mut [f32]) {
        assert!(values.len() >= Self::LANES);
        // SAFETY: every aarch64 machine has NEON; the length was checked.
        unsafe { vst1q_f32(values.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn load_bf16(self, values: &[Bf16]) -> Self::Vector {
        assert!(values.len() >= Self::LANES);
        // SAFETY: every aarch64 machine has NEON; the length was checked; a `Bf16` is a u16.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(values.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn store_bf16(self, vector: Self::Vector, values: &mut [Bf16]) {
        assert!(values.len() >= Self::LANES);
        // SAFETY: every aarch64 machine has NEON; the length was checked; a `Bf16` is a u16.
        unsafe { vst1_u16(values.as_mut_ptr().cast(), round_to_bf16(vector)) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn divide(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vdivq_f32(a, b) }
    }

    #[inline(always)]
    fn minimum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        self.select_below(a, b, a, b)
    }

    #[inline(always)]
    fn maximum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        self.select_below(b, a, a, b)
    }

    #[inline(always)]
    fn select_below(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vbslq_f32(vcltq_f32(a, b), yes, no) }
    }

    #[inline(always)]
    fn select_at_most(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vbslq_f32(vcleq_f32(a, b), yes, no) }
    }

    /// The machine's estimate (error 2^-8) after two steps of Newton's; exact zero where that is infinite.
    #[inline(always)]
    fn reciprocal_estimate(self, a: Self::Vector) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe {
            let estimate = vrecpeq_f32(a);
            let estimate = vmulq_f32(estimate, vrecpsq_f32(a, estimate));
            vmulq_f32(estimate, vrecpsq_f32(a, estimate))
        }
    }

    #[inline(always)]
    fn scale_by_power(self, a: Self::Vector, power: Self::Vector) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe {
            let exponent = vaddq_s32(vcvtq_s32_f32(power), vdupq_n_s32(127));
            vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent)))
        }
    }

    #[inline(always)]
    fn power_of_bits(self, a: Self::Vector) -> Self::Vector {
        // SAFETY: every aarch64 machine has NEON.
        unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vreinterpretq_s32_f32(a))) }
    }

    #[inline(always)]
    fn mul_add_scalar(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    tiles_of_height!([8, 4, 2, 1], self, kernel => kernel.run(self));
}
