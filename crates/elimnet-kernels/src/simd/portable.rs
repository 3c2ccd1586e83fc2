//! Plain arrays, for machines with none of the other instruction sets; the compiler vectorises them as far
//! as the baseline target allows. No `unsafe`.

use super::product::tiles_of_height;
use super::{Kernel, Simd};
use crate::element::Bf16;

/// Always there, so anyone may make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portable;

/// Not part of its callers, of which each kernel has many: it would be compiled as often.
#[inline(never)]
fn run<K: Kernel>(simd: Portable, kernel: K) -> K::Output {
    kernel.run(simd)
}

impl Simd for Portable {
    type Vector = [f32; 4];
    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; 4]
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> Self::Vector {
        *values.first_chunk().expect("a whole vector to load")
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, values: &mut [f32]) {
        *values.first_chunk_mut().expect("room for a whole vector") = vector;
    }

    #[inline(always)]
    fn load_bf16(self, values: &[Bf16]) -> Self::Vector {
        values.first_chunk::<4>().expect("a whole vector to load").map(Bf16::to_f32)
    }

    #[inline(always)]
    fn store_bf16(self, vector: Self::Vector, values: &mut [Bf16]) {
        *values.first_chunk_mut().expect("room for a whole vector") = vector.map(Bf16::from_f32);
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        [a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]]
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
    }

    #[inline(always)]
    fn subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
    }

    #[inline(always)]
    fn multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    fn divide(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| a[lane] / b[lane])
    }

    #[inline(always)]
    fn minimum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn maximum(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn select_below(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector {
        std::array::from_fn(|lane| if a[lane] < b[lane] { yes[lane] } else { no[lane] })
    }

    #[inline(always)]
    fn select_at_most(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector {
        std::array::from_fn(|lane| if a[lane] <= b[lane] { yes[lane] } else { no[lane] })
    }

    #[inline(always)]
    fn reciprocal_estimate(self, a: Self::Vector) -> Self::Vector {
        a.map(|a| 1.0 / a)
    }

    #[inline(always)]
    fn scale_by_power(self, a: Self::Vector, power: Self::Vector) -> Self::Vector {
        // Adding 2²³ to a small whole number leaves it in the low bits: no conversion, which would not vectorise.
        let factor = |power: f32| f32::from_bits((power + (8_388_608.0 + 127.0)).to_bits() << 23);
        std::array::from_fn(|lane| a[lane] * factor(power[lane]))
    }

    #[inline(always)]
    fn power_of_bits(self, a: Self::Vector) -> Self::Vector {
        a.map(|a| f32::from_bits(a.to_bits() << 23))
    }

    // Not `f32::mul_add`: without the instruction that is a call into the C library.
    #[inline(always)]
    fn mul_add_scalar(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        run(self, kernel)
    }

    tiles_of_height!([4, 2, 1], self, kernel => kernel.run(self));
}
