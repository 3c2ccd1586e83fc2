//! The innermost loop of the matrix product, for all instruction sets.
#![allow(unsafe_code)] // bounds that are checked once for a tile, and not at every step of its depth
#![allow(clippy::needless_range_loop)] // iterators over registers are not always taken apart into them

use super::{CACHE_LINE, Kernel, Simd};
use crate::matmul::{Left, Start};

/// Values of the panels that are asked for ahead of those in use: weights that other layers drove out of the caches come in time.
const AHEAD: usize = 1024;

/// One tile: as many rows and registers as [`TileKernel`] says.
pub(crate) struct Tile<'a> {
    pub(crate) left: Left<'a>,
    pub(crate) depth: usize,
    /// `[depth][vectors · lanes]`
    pub(crate) panel: &'a [f32],
    pub(crate) start: Start<'a>,
    pub(crate) output: &'a mut [f32],
    pub(crate) output_stride: usize,
}

/// [`Simd::TILE_ROWS`] and [`Simd::tile`] of an instruction set that has these heights and runs a `$kernel` by `$run`.
macro_rules! tiles_of_height {
    ([$($height:literal),*], $self:ident, $kernel:ident => $run:expr) => {
        const TILE_ROWS: &[usize] = &[$($height),*];

        fn tile($self, rows: usize, vectors: usize, tile: $crate::simd::product::Tile<'_>) {
            match (rows, vectors) {
                $(
                    ($height, 2) => {
                        let $kernel = $crate::simd::product::TileKernel::<$height, 2>(tile);
                        $run
                    }
                    ($height, _) => {
                        let $kernel = $crate::simd::product::TileKernel::<$height, 1>(tile);
                        $run
                    }
                )*
                _ => unreachable!("no tile of {rows} rows"),
            }
        }
    };
}
pub(crate) use tiles_of_height;

/// `ROWS x VECTORS` sums in registers.
pub(crate) struct TileKernel<'a, const ROWS: usize, const VECTORS: usize>(pub(crate) Tile<'a>);

impl<const ROWS: usize, const VECTORS: usize> Kernel for TileKernel<'_, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Tile { left, depth, panel, start, output, output_stride } = self.0;
        let Left { values, row_stride, depth_stride } = left;
        let width = VECTORS * S::LANES;
        assert!(panel.len() >= product(depth, width));
        assert!(output.len() >= end(ROWS, output_stride, width));
        let mut sums = first_sums::<S, ROWS, VECTORS>(simd, start, output, output_stride);
        // Loops apart, each with one stride that the compiler knows.
        if depth_stride == 1 {
            assert!(values.len() >= end(ROWS, row_stride, depth));
            for k in 0..depth {
                // SAFETY: `k` is below `depth`, a row below `ROWS`, for which both lengths were checked.
                unsafe {
                    let panel = panel.get_unchecked(k * width..(k + 1) * width);
                    add_step(simd, panel, |row| *values.get_unchecked(row * row_stride + k), &mut sums);
                }
            }
        } else {
            assert!(row_stride == 1 && values.len() >= end(depth, depth_stride, ROWS));
            for k in 0..depth {
                // SAFETY: as above.
                unsafe {
                    let panel = panel.get_unchecked(k * width..(k + 1) * width);
                    add_step(simd, panel, |row| *values.get_unchecked(k * depth_stride + row), &mut sums);
                }
            }
        }
        for row in 0..ROWS {
            // SAFETY: the length was checked for the last row.
            let output =
                unsafe { output.get_unchecked_mut(row * output_stride..row * output_stride + width) };
            for vector in 0..VECTORS {
                simd.store(sums[row][vector], &mut output[vector * S::LANES..]);
            }
        }
    }
}

/// # Panics
/// If the product is larger than any length.
#[inline(always)]
fn product(a: usize, b: usize) -> usize {
    a.checked_mul(b).expect("sizes within memory")
}

/// Where the last of `rows` rows of `length` values ends, each `stride` behind the one before.
///
/// # Panics
/// As [`product`].
#[inline(always)]
fn end(rows: usize, stride: usize, length: usize) -> usize {
    match rows.checked_sub(1) {
        Some(others) => product(others, stride).checked_add(length).expect("sizes within memory"),
        None => 0,
    }
}

type Sums<S, const ROWS: usize, const VECTORS: usize> = [[<S as Simd>::Vector; VECTORS]; ROWS];

#[inline(always)]
fn first_sums<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    start: Start<'_>,
    output: &[f32],
    output_stride: usize,
) -> Sums<S, ROWS, VECTORS> {
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    match start {
        Start::Zero => {}
        Start::Bias(bias) => {
            for vector in 0..VECTORS {
                let bias = simd.load(&bias[vector * S::LANES..]);
                for row in 0..ROWS {
                    sums[row][vector] = bias;
                }
            }
        }
        Start::Output => {
            for row in 0..ROWS {
                for vector in 0..VECTORS {
                    sums[row][vector] = simd.load(&output[row * output_stride + vector * S::LANES..]);
                }
            }
        }
    }
    sums
}

/// One step of the depth.
#[inline(always)]
fn add_step<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    panel: &[f32],
    left: impl Fn(usize) -> f32,
    sums: &mut Sums<S, ROWS, VECTORS>,
) {
    let mut right = [simd.splat(0.0); VECTORS];
    for vector in 0..VECTORS {
        right[vector] = simd.load(&panel[vector * S::LANES..]);
        if (vector * S::LANES * size_of::<f32>()).is_multiple_of(CACHE_LINE) {
            simd.prefetch_line(panel.as_ptr().wrapping_add(AHEAD + vector * S::LANES));
        }
    }
    for row in 0..ROWS {
        let value = simd.splat(left(row));
        for vector in 0..VECTORS {
            sums[row][vector] = simd.mul_add(value, right[vector], sums[row][vector]);
        }
    }
}
