//! The instruction set that the kernels run on, picked at run time.

use std::fmt;

#[cfg(target_arch = "aarch64")]
use crate::simd::neon::Neon;
use crate::simd::portable::Portable;
use crate::simd::{Kernel, Simd};
#[cfg(target_arch = "x86_64")]
use crate::simd::{amx::Amx, avx2::Avx2, avx512::Avx512, dot::Dot, plain::Plain, tiles::TileUnit};

/// Environment variable that forces an instruction set: `portable`, `neon`, `avx2`, `avx512`, `avx512bf16`, `amx`, or one of
/// [`Isa::emulated`].
pub const ISA_VARIABLE: &str = "ELIMNET_ISA";

/// An instruction set that this machine has, or a stand-in: a value is the proof.
///
/// ```
/// use elimnet_kernels::Isa;
/// assert!(Isa::available().contains(&Isa::portable()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Portable(Portable),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// Products of bf16 in pairs, all else on AVX-512.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512, Dot),
    /// Products of bf16 on tiles, all else on AVX-512.
    #[cfg(target_arch = "x86_64")]
    Amx(Avx512, Amx),
    /// What stands in for either.
    #[cfg(target_arch = "x86_64")]
    Emulated(Portable, Plain),
}

/// [`ISA_VARIABLE`] names an instruction set that does not exist or that this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnavailableIsa {
    /// What the variable says.
    pub requested: String,
}

impl fmt::Display for UnavailableIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
        write!(f, "{ISA_VARIABLE}=`{}`: this machine has {}", self.requested, available.join(", "))
    }
}

impl std::error::Error for UnavailableIsa {}

impl Isa {
    /// The one that every machine has.
    pub fn portable() -> Self {
        Self(Level::Portable(Portable))
    }

    /// All that this machine has, the best last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)] // some architectures have the portable one only
        let mut available = vec![Self::portable()];
        #[cfg(target_arch = "aarch64")]
        available.push(Self(Level::Neon(Neon)));
        #[cfg(target_arch = "x86_64")]
        {
            available.extend(Avx2::detect().map(|avx2| Self(Level::Avx2(avx2))));
            available.extend(Avx512::detect().map(|avx512| Self(Level::Avx512(avx512))));
            let dot = Avx512::detect_bf16().zip(Dot::detect());
            available.extend(dot.map(|(avx512, dot)| Self(Level::Avx512Bf16(avx512, dot))));
            let amx = Avx512::detect_bf16().zip(Amx::detect());
            available.extend(amx.map(|(avx512, amx)| Self(Level::Amx(avx512, amx))));
        }
        available
    }

    /// Stand-ins for AVX512_BF16 and AMX, on any x86-64 machine: portable code around blocks of products in plain loops. They
    /// test what feeds and empties those units, and are slow.
    pub fn emulated() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        return [Plain::DOT, Plain::AMX].map(|unit| Self(Level::Emulated(Portable, unit))).to_vec();
        #[cfg(not(target_arch = "x86_64"))]
        Vec::new()
    }

    /// The best that this machine has, or the one that [`ISA_VARIABLE`] asks for.
    ///
    /// # Panics
    /// If the variable asks for one that is not available; [`Isa::try_detect`] returns that as an error.
    pub fn detect() -> Self {
        Self::try_detect().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Isa::detect`].
    ///
    /// # Errors
    /// If [`ISA_VARIABLE`] asks for one that is not available.
    pub fn try_detect() -> Result<Self, UnavailableIsa> {
        match std::env::var(ISA_VARIABLE) {
            Ok(requested) => Self::from_name(&requested).ok_or(UnavailableIsa { requested }),
            Err(_) => Ok(*Self::available().last().expect("the portable one")),
        }
    }

    /// The available or emulated one of that [`Isa::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().into_iter().chain(Self::emulated()).find(|isa| isa.name() == name)
    }

    /// As the environment variable names it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable(_) => "portable",
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => "neon",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16(..) => "avx512bf16",
            #[cfg(target_arch = "x86_64")]
            Level::Amx(..) => "amx",
            #[cfg(target_arch = "x86_64")]
            Level::Emulated(_, Plain::DOT) => "emulated-avx512bf16",
            #[cfg(target_arch = "x86_64")]
            Level::Emulated(..) => "emulated-amx",
        }
    }

    /// f32 values in a register.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Level::Portable(_) => Portable::LANES,
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => Neon::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) | Level::Avx512Bf16(..) | Level::Amx(..) => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Emulated(..) => Portable::LANES,
        }
    }

    /// What multiplies bf16, where there is something.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn tile_unit(self) -> Option<TileUnit> {
        match self.0 {
            Level::Amx(_, amx) => Some(TileUnit::Amx(amx)),
            Level::Avx512Bf16(_, dot) => Some(TileUnit::Dot(dot)),
            Level::Emulated(_, plain) => Some(TileUnit::Plain(plain)),
            _ => None,
        }
    }

    /// Runs `kernel` on this instruction set, on the calling thread.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable(simd) => simd.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Emulated(simd, _) => simd.vectorize(kernel),
            #[cfg(target_arch = "aarch64")]
            Level::Neon(simd) => simd.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(simd) => simd.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(simd) | Level::Avx512Bf16(simd, _) | Level::Amx(simd, _) => simd.vectorize(kernel),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_what_is_available() {
        for isa in Isa::available().into_iter().chain(Isa::emulated()) {
            assert_eq!(Isa::from_name(isa.name()), Some(isa));
        }
        assert_eq!(Isa::from_name("mmx"), None);
    }

    #[test]
    fn an_unavailable_request_says_what_there_is() {
        let message = UnavailableIsa { requested: "mmx".into() }.to_string();
        assert!(message.starts_with("ELIMNET_ISA=`mmx`: this machine has portable"), "{message}");
    }
}
