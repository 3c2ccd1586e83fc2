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

use crate::element::Bf16;

/// Rows of a tile, and f32 columns of one that holds sums.
pub(crate) const TILE: usize = 16;
/// bf16 values in a row of an operand's tile: the depth of one step.
pub(crate) const STEP: usize = 32;
/// Rows and columns of a block of sums.
pub(crate) const BLOCK: usize = 2 * TILE;

/// Sums of a block, row-major.
pub(crate) type Sums = [f32; BLOCK * BLOCK];

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
    pub(crate) fn configure(self) -> Tiles {
        let config = TileConfig::new();
        // SAFETY: `self` proves that the instruction is there; the configuration is a valid one of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, preserves_flags)) };
        Tiles { thread: PhantomData }
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
pub(crate) struct Tiles {
    /// The configuration is the thread's: neither `Send` nor `Sync`.
    thread: PhantomData<*const ()>,
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: a `Tiles` is made where the instruction is there.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// Where a step finds its tiles in an operand, in values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand<'a> {
    pub(crate) values: &'a [Bf16],
    /// From a row of a tile to the next.
    pub(crate) row: usize,
    /// From the first tile to the second.
    pub(crate) second: usize,
}

/// Where each step's first tiles start in the two operands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    /// Left and right, in bytes.
    offsets: Vec<[usize; 2]>,
    /// The largest of each, in values.
    furthest: [usize; 2],
}

impl Steps {
    /// From the first values, left and right, of each step's first tiles.
    pub(crate) fn new(offsets: impl Iterator<Item = [usize; 2]>) -> Self {
        let mut furthest = [0, 0];
        let offset = |offset: [usize; 2]| {
            furthest = [0, 1].map(|side| furthest[side].max(offset[side]));
            offset.map(|values| values * size_of::<Bf16>())
        };
        Self { offsets: offsets.map(offset).collect(), furthest }
    }

    /// Of a left operand and a packed panel of two tiles across.
    pub(crate) fn of_panel(left: impl Iterator<Item = usize>) -> Self {
        Self::new(left.enumerate().map(|(step, left)| [left, step * STEP * BLOCK]))
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }
}

/// How many tiles of a block there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// 1 or 2 tiles down: those of the left operand.
    pub(crate) down: usize,
    /// 1 or 2 tiles across: those of the right operand.
    pub(crate) across: usize,
}

impl Operand<'_> {
    /// # Panics
    /// If `tiles` tiles that start up to `furthest` are not all inside.
    fn check(&self, furthest: usize, tiles: usize) {
        let last = furthest + (TILE - 1) * self.row + (tiles - 1) * self.second + STEP;
        assert!(last <= self.values.len(), "tiles reach {last} of {} values", self.values.len());
    }
}

/// One block of the product of two operands.
#[derive(Clone, Copy)]
pub(crate) struct TileBlock<'a> {
    pub(crate) left: Operand<'a>,
    pub(crate) right: Operand<'a>,
    pub(crate) steps: &'a Steps,
    pub(crate) shape: Shape,
}

/// What a block's sums start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Zero,
    /// What is there already.
    Sums,
}

impl Tiles {
    /// Sums up a block; tiles that its shape lacks are left as they are.
    ///
    /// # Panics
    /// If an operand is not as large as the steps need, or there are no steps.
    pub(crate) fn multiply(&self, block: TileBlock<'_>, first: First, sums: &mut Sums) {
        let TileBlock { left, right, steps, shape } = block;
        assert!(steps.len() > 0 && (1..=2).contains(&shape.down) && (1..=2).contains(&shape.across));
        left.check(steps.furthest[0], shape.down);
        right.check(steps.furthest[1], shape.across);
        let bytes = |values: usize| values * size_of::<Bf16>();
        let pointers = Pointers {
            offsets: steps.offsets.as_ptr(),
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
            match (shape.down, shape.across) {
                (2, 2) => multiply_2x2(pointers),
                (2, _) => multiply_2x1(pointers),
                (_, 2) => multiply_1x2(pointers),
                _ => multiply_1x1(pointers),
            }
            store_sums(sums);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A value for each place, small enough that sums are exact.
    fn value(place: usize) -> f32 {
        (place * 7 % 11) as f32 - 5.0
    }

    #[test]
    fn blocks_of_every_shape_are_products() {
        let Some(amx) = Amx::detect() else { return };
        let depth = 3 * STEP;
        let left: Vec<_> = (0..BLOCK * depth).map(|place| Bf16::from_f32(value(place))).collect();
        let right: Vec<_> = (0..depth * BLOCK).map(|place| Bf16::from_f32(value(place + 3))).collect();
        let steps = Steps::new([0, 1, 2].map(|step| [step * STEP, step * STEP * BLOCK]).into_iter());
        for shape in [[1, 1], [1, 2], [2, 1], [2, 2]].map(|[down, across]| Shape { down, across }) {
            // `right`: pairs of the depth, then columns.
            let block = TileBlock {
                left: Operand { values: &left, row: depth, second: TILE * depth },
                right: Operand { values: &right, row: 2 * BLOCK, second: 2 * TILE },
                steps: &steps,
                shape,
            };
            let tiles = amx.configure();
            let mut sums = [1.0; BLOCK * BLOCK];
            tiles.multiply(block, First::Zero, &mut sums);
            tiles.multiply(block, First::Sums, &mut sums);
            for row in 0..shape.down * TILE {
                for column in 0..shape.across * TILE {
                    let product = |k: usize| {
                        let right = value((k / 2 * BLOCK + column) * 2 + k % 2 + 3);
                        value(row * depth + k) * right
                    };
                    let expected: f32 = 2.0 * (0..depth).map(product).sum::<f32>();
                    assert_eq!(sums[row * BLOCK + column], expected, "{shape:?} at {row}, {column}");
                }
            }
        }
    }
}
