//! AMX with bf16: the only unsafe code of this instruction set.
//!
//! The intrinsics are not stable, so the instructions are written out. All eight tile registers are configured
//! alike, 16 rows of 64 bytes: four of them sum up a block of 2 x 2 tiles, two hold the left and two the right
//! operands, so that each loaded tile is used twice.
#![allow(unsafe_code)] // a system call, instructions without intrinsics

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::tiles::{First, STEP, TILE, TileBlock};
use crate::block::{BLOCK, Sums};
use crate::element::Bf16;

/// Proof that AMX with bf16 (and AVX-512 beside it) is there and the system lets this process use it; [`Amx::detect`] is the only
/// constructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amx(());

impl Amx {
    pub(crate) fn detect() -> Option<Self> {
        static DETECTED: OnceLock<bool> = OnceLock::new();
        DETECTED.get_or_init(|| has_instructions() && is_permitted()).then_some(Self(()))
    }

    /// Configures this thread's tile registers until the value is dropped.
    pub(super) fn configure(self) -> Configured {
        let config = TileConfig::new();
        // SAFETY: `self` proves that the instruction is there; the configuration is a valid one of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, preserves_flags)) };
        Configured { thread: PhantomData }
    }
}

/// CPUID's AMX-BF16 and AMX-TILE, and AVX-512.
fn has_instructions() -> bool {
    let has_avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2");
    // Leaf 7 exists wherever AVX-512 does.
    if !has_avx512 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    features & 1 << 22 != 0 && features & 1 << 24 != 0
}

/// Asks Linux to keep the tile registers' contents for all threads of this process.
///
/// Source: the kernel's Documentation/arch/x86/xstate.rst.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let result: i64;
    // SAFETY: this system call reads no memory of ours; `syscall` overwrites rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// Eight tiles of 16 rows of 64 bytes.
    fn new() -> Self {
        let tiles = |value| std::array::from_fn(|tile| if tile < 8 { value } else { 0 });
        Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes_per_row: tiles(64).map(u16::from),
            rows: tiles(16),
        }
    }
}

/// This thread's tile registers, configured; released when dropped.
pub(crate) struct Configured {
    /// The configuration is the thread's: neither `Send` nor `Sync`.
    thread: PhantomData<*const ()>,
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: a `Configured` is made where the instruction is there.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

impl Configured {
    /// As [`super::tiles::Tiles::multiply`].
    pub(super) fn multiply(&self, block: TileBlock<'_>, first: First, sums: &mut Sums) {
        let TileBlock { left, right, steps, shape } = block;
        block.check(shape.down() * TILE);
        assert!(steps.are_whole(), "tiles have all depths of a step");
        let bytes = |values: usize| values * size_of::<Bf16>();
        let pointers = Pointers {
            offsets: steps.offsets().as_ptr(),
            steps: steps.len(),
            left: left.values.as_ptr(),
            left_row: bytes(left.row),
            left_second: bytes(left.second),
            right: right.values.as_ptr(),
            right_row: bytes(right.row),
            right_second: bytes(right.second),
        };
        // SAFETY: `self` proves that the tiles are configured. What the steps load is inside the operands (checked
        // above; the offsets are in bytes, see `Steps`), and `sums` has room for four tiles. The compiler does
        // not use the tile registers, so they keep the sums from one statement to the next.
        unsafe {
            match first {
                First::Zero => asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    options(nostack, nomem, preserves_flags)
                ),
                First::Sums => load_sums(sums),
            }
            match (shape.down(), shape.across) {
                (2, 2) => multiply_2x2(pointers),
                (2, _) => multiply_2x1(pointers),
                (_, 2) => multiply_1x2(pointers),
                _ => multiply_1x1(pointers),
            }
            store_sums(sums);
        }
    }
}

impl Configured {
    /// As [`super::tiles::TileUnit::multiply_in_registers`].
    pub(super) fn multiply_in_registers(&self, rounds: usize) -> usize {
        // A sum counts 32 a round, up to 2²⁴ exactly.
        const MOST_TURNS: usize = 1 << 19;
        let ones = [Bf16::from_f32(1.0); TILE * STEP];
        let (mut sums, mut count, mut left) = ([0.0; BLOCK * BLOCK], 0.0, rounds);
        while left > 0 {
            let turns = left.min(MOST_TURNS);
            sums.fill(0.0);
            // SAFETY: `self` proves that the tiles are configured; `sums` has room for four tiles, `ones` are one. The
            // compiler does not use the tile registers, so they keep the sums from one statement to the next.
            unsafe {
                load_sums(&sums);
                asm!(
                    "tileloadd tmm4, [{ones} + 1*{row}]",
                    "tileloadd tmm6, [{ones} + 1*{row}]",
                    "2:",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm6",
                    "tdpbf16ps tmm2, tmm4, tmm6",
                    "tdpbf16ps tmm3, tmm4, tmm6",
                    "dec {turns}",
                    "jnz 2b",
                    ones = in(reg) ones.as_ptr(),
                    row = in(reg) 64_usize,
                    turns = inout(reg) turns => _,
                    options(nostack, readonly),
                );
                store_sums(&mut sums);
            }
            count += sums.iter().copied().map(f64::from).sum::<f64>();
            left -= turns;
        }
        count as usize
    }
}

/// Operands as the instructions want them; distances in bytes.
struct Pointers {
    offsets: *const [usize; 2],
    steps: usize,
    left: *const Bf16,
    left_row: usize,
    left_second: usize,
    right: *const Bf16,
    right_row: usize,
    right_second: usize,
}

/// # Safety
/// The tiles must be configured.
unsafe fn load_sums(sums: &Sums) {
    // SAFETY: `sums` is four tiles with rows of 128 bytes.
    unsafe {
        asm!(
            "tileloadd tmm0, [{sums} + 1*{row}]",
            "tileloadd tmm1, [{sums} + 1*{row} + 64]",
            "tileloadd tmm2, [{sums} + 1*{row} + 2048]",
            "tileloadd tmm3, [{sums} + 1*{row} + 2112]",
            sums = in(reg) sums.as_ptr(),
            row = in(reg) 128_usize,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// # Safety
/// The tiles must be configured.
unsafe fn store_sums(sums: &mut Sums) {
    // SAFETY: `sums` is four tiles with rows of 128 bytes.
    unsafe {
        asm!(
            "tilestored [{sums} + 1*{row}], tmm0",
            "tilestored [{sums} + 1*{row} + 64], tmm1",
            "tilestored [{sums} + 1*{row} + 2048], tmm2",
            "tilestored [{sums} + 1*{row} + 2112], tmm3",
            sums = in(reg) sums.as_mut_ptr(),
            row = in(reg) 128_usize,
            options(nostack, preserves_flags),
        );
    }
}

/// The steps of a block: `$instruction`s for each. Sums are tiles 0 to 3 (row-major), the left operand's tiles
/// are 4 and 5, the right one's 6 and 7.
macro_rules! steps {
    ($name:ident, $($instruction:literal),*) => {
        /// # Safety
        /// The tiles must be configured, and what the pointers say must be there.
        #[inline(always)]
        unsafe fn $name(pointers: Pointers) {
            // SAFETY: the caller's.
            unsafe {
                asm!(
                    "2:",
                    "mov {place}, qword ptr [{offsets}]",
                    "mov {other}, qword ptr [{offsets} + 8]",
                    "add {offsets}, 16",
                    "add {place}, {left}",
                    "add {other}, {right}",
                    $($instruction,)*
                    "dec {steps}",
                    "jnz 2b",
                    "/* {left_second} {right_second} */",
                    offsets = inout(reg) pointers.offsets => _,
                    place = out(reg) _,
                    other = out(reg) _,
                    left = in(reg) pointers.left,
                    left_row = in(reg) pointers.left_row,
                    left_second = in(reg) pointers.left_second,
                    right = in(reg) pointers.right,
                    right_row = in(reg) pointers.right_row,
                    right_second = in(reg) pointers.right_second,
                    steps = inout(reg) pointers.steps => _,
                    options(nostack, readonly),
                );
            }
        }
    };
}

steps!(
    multiply_2x2,
    "tileloadd tmm4, [{place} + 1*{left_row}]",
    "tileloadd tmm6, [{other} + 1*{right_row}]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "add {other}, {right_second}",
    "tileloadd tmm7, [{other} + 1*{right_row}]",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "add {place}, {left_second}",
    "tileloadd tmm5, [{place} + 1*{left_row}]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7"
);
steps!(
    multiply_2x1,
    "tileloadd tmm4, [{place} + 1*{left_row}]",
    "tileloadd tmm6, [{other} + 1*{right_row}]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "add {place}, {left_second}",
    "tileloadd tmm5, [{place} + 1*{left_row}]",
    "tdpbf16ps tmm2, tmm5, tmm6"
);
steps!(
    multiply_1x2,
    "tileloadd tmm4, [{place} + 1*{left_row}]",
    "tileloadd tmm6, [{other} + 1*{right_row}]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "add {other}, {right_second}",
    "tileloadd tmm7, [{other} + 1*{right_row}]",
    "tdpbf16ps tmm1, tmm4, tmm7"
);
steps!(
    multiply_1x1,
    "tileloadd tmm4, [{place} + 1*{left_row}]",
    "tileloadd tmm6, [{other} + 1*{right_row}]",
    "tdpbf16ps tmm0, tmm4, tmm6"
);
