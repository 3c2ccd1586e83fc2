//! AVX2 with FMA: the only unsafe code of this instruction set.
#![allow(unsafe_code)] // intrinsics, and calls of functions with `#[target_feature]`

use std::arch::x86_64::*;

use super::{Kernel, Simd};
use crate::matmul::{Tile, TileKernel};

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

impl Simd for Avx2 {
    type Vector = __m256;
    const LANES: usize = 8;
    const TILE_ROWS: [usize; 3] = [6, 4, 2];

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
    fn mul_add_scalar(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the instruction set is there.
        unsafe { run(self, kernel) }
    }

    fn tile(self, rows: usize, vectors: usize, tile: Tile<'_>) {
        match (rows, vectors) {
            (6, 2) => self.vectorize(TileKernel::<6, 2>(tile)),
            (6, _) => self.vectorize(TileKernel::<6, 1>(tile)),
            (4, 2) => self.vectorize(TileKernel::<4, 2>(tile)),
            (4, _) => self.vectorize(TileKernel::<4, 1>(tile)),
            (_, 2) => self.vectorize(TileKernel::<2, 2>(tile)),
            _ => self.vectorize(TileKernel::<2, 1>(tile)),
        }
    }
}
