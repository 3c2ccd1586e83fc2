//! What activations and gradients are stored as: f32, or [`Bf16`] where memory traffic sets the pace.
//!
//! Arithmetic is f32 either way: kernels widen what they load and round what they store, once.

use crate::isa::Isa;
use crate::precision::Precision;
use crate::simd::{Kernel, Simd};
use crate::threads::{self, ELEMENTS};

/// A bfloat16 number: the upper half of an f32 (8 bits of exponent, 7 of mantissa).
///
/// ```
/// use elimnet_kernels::Bf16;
/// assert_eq!(Bf16::from_f32(1.5).to_f32(), 1.5);
/// assert_eq!(Bf16::from_f32(1.0 + 1.0 / 256.0).to_f32(), 1.0); // a tie goes to the even neighbour
/// ```
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

/// What the bits of f32 numbers other than subnormals and zero reach, without the sign.
const SMALLEST_NORMAL: u32 = 0x0080_0000;
const SIGN: u32 = 0x8000_0000;
const INFINITY: u32 = 0x7f80_0000;
/// The bit of a bf16 that makes a NaN quiet.
const QUIET: u16 = 0x0040;

impl Bf16 {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// The nearest bf16, ties to even. A NaN stays one; **subnormal** numbers become zero of their sign, as
    /// the AVX512_BF16 instruction has it, so that every instruction set gives the same bits.
    #[inline(always)]
    pub const fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let magnitude = bits & !SIGN;
        if magnitude > INFINITY {
            return Self((bits >> 16) as u16 | QUIET);
        }
        if magnitude < SMALLEST_NORMAL {
            return Self(((bits & SIGN) >> 16) as u16);
        }
        Self(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }

    /// The same number, exactly.
    #[inline(always)]
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// The number with these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The bits of this number.
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

/// As f32 compares: zeros of either sign are equal, a NaN is equal to nothing.
impl PartialEq for Bf16 {
    fn eq(&self, other: &Self) -> bool {
        self.to_f32() == other.to_f32()
    }
}

impl std::fmt::Debug for Bf16 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_f32().fmt(f)
    }
}

/// A type that activations and gradients may be stored as: `f32` or [`Bf16`].
#[allow(private_bounds)] // which is what seals it
pub trait Element:
    Lanes + Precision + Copy + Send + Sync + Default + PartialEq + std::fmt::Debug + 'static
{
    /// Zero.
    const ZERO: Self;
    /// Whether functions need not be more precise than bf16 can store.
    const IS_SHORT: bool;

    /// The nearest value of this type; see [`Bf16::from_f32`].
    fn from_f32(value: f32) -> Self;

    /// The same number, exactly.
    fn to_f32(self) -> f32;
}

/// How elements come into f32 registers; kernels call [`Simd::load_element`] and its kin.
pub(crate) trait Lanes: Sized {
    fn load<S: Simd>(simd: S, values: &[Self]) -> S::Vector;
    fn store<S: Simd>(simd: S, vector: S::Vector, values: &mut [Self]);
    fn load_partial<S: Simd>(simd: S, values: &[Self]) -> S::Vector;
    fn store_partial<S: Simd>(simd: S, vector: S::Vector, values: &mut [Self]);
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    const IS_SHORT: bool = false;

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Lanes for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, values: &[Self]) -> S::Vector {
        simd.load(values)
    }

    #[inline(always)]
    fn store<S: Simd>(simd: S, vector: S::Vector, values: &mut [Self]) {
        simd.store(vector, values);
    }

    #[inline(always)]
    fn load_partial<S: Simd>(simd: S, values: &[Self]) -> S::Vector {
        simd.load_partial(values)
    }

    #[inline(always)]
    fn store_partial<S: Simd>(simd: S, vector: S::Vector, values: &mut [Self]) {
        simd.store_partial(vector, values);
    }
}

impl Element for Bf16 {
    const ZERO: Self = Self(0);
    const IS_SHORT: bool = true;

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        Self::to_f32(self)
    }
}

impl Lanes for Bf16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, values: &[Self]) -> S::Vector {
        simd.load_bf16(values)
    }

    #[inline(always)]
    fn store<S: Simd>(simd: S, vector: S::Vector, values: &mut [Self]) {
        simd.store_bf16(vector, values);
    }

    #[inline(always)]
    fn load_partial<S: Simd>(simd: S, values: &[Self]) -> S::Vector {
        simd.load_bf16_partial(values)
    }

    #[inline(always)]
    fn store_partial<S: Simd>(simd: S, vector: S::Vector, values: &mut [Self]) {
        simd.store_bf16_partial(vector, values);
    }
}

/// Converts elements to f32, exactly.
///
/// # Panics
/// If the lengths differ.
pub fn widen<E: Element>(isa: Isa, elements: &[E], values: &mut [f32]) {
    convert(isa, elements, values);
}

/// Converts f32 to elements, rounding as [`Element::from_f32`].
///
/// # Panics
/// If the lengths differ.
pub fn narrow<E: Element>(isa: Isa, values: &[f32], elements: &mut [E]) {
    convert(isa, values, elements);
}

fn convert<A: Element, B: Element>(isa: Isa, from: &[A], to: &mut [B]) {
    assert_eq!(from.len(), to.len(), "lengths of what is converted and what it becomes");
    let chunks = to.chunks_mut(ELEMENTS).zip(from.chunks(ELEMENTS));
    threads::for_each(chunks, &|_, (to, from)| isa.run(Convert { from, to }));
}

struct Convert<'a, A, B> {
    from: &'a [A],
    to: &'a mut [B],
}

impl<A: Element, B: Element> Kernel for Convert<'_, A, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (to, from) in self.to.chunks_mut(S::LANES).zip(self.from.chunks(S::LANES)) {
            simd.store_element(simd.load_element(from), to);
        }
    }
}
