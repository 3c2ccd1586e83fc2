//! The one-dimensional transforms `Bᵀ`, `A`, `Aᵀ`, `G` and `Gᵀ` of the paper, for tiles of two and of four outputs.
//!
//! Two polynomials, of the pixels and of the filter, are evaluated at some points, multiplied there, and their product is found
//! again from its values (Toom and Cook's multiplication); the points are all that there is to choose.
//! Helpers are functions, not closures: these are not always compiled with the wide registers.

use crate::simd::Simd;

/// The transforms of tiles of `SIDE` outputs by 3 taps: `SPAN = SIDE + 2` pixels, and as many products.
pub(super) trait Points<const SIDE: usize, const SPAN: usize>: Copy {
    /// `G`, by rows.
    fn filter(self) -> [[f32; 3]; SPAN];
    /// `Bᵀ d`
    fn spread<S: Simd>(self, simd: S, pixels: [S::Vector; SPAN]) -> [S::Vector; SPAN];
    /// `A y`
    fn spread_gradient<S: Simd>(self, simd: S, gradients: [S::Vector; SIDE]) -> [S::Vector; SPAN];
    /// `Aᵀ m`
    fn gather<S: Simd>(self, simd: S, products: [S::Vector; SPAN]) -> [S::Vector; SIDE];
    /// `Gᵀ m`
    fn gather_filter<S: Simd>(self, simd: S, products: [S::Vector; SPAN]) -> [S::Vector; 3];
}

/// Two outputs: the points 0, ±1 and ∞.
#[derive(Clone, Copy)]
pub(super) struct Two;

impl Points<2, 4> for Two {
    fn filter(self) -> [[f32; 3]; 4] {
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]
    }

    #[inline(always)]
    fn spread<S: Simd>(self, simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 4] {
        [simd.subtract(a, c), simd.add(b, c), simd.subtract(c, b), simd.subtract(b, d)]
    }

    #[inline(always)]
    fn spread_gradient<S: Simd>(self, simd: S, [a, b]: [S::Vector; 2]) -> [S::Vector; 4] {
        [a, simd.add(a, b), simd.subtract(a, b), simd.subtract(simd.splat(0.0), b)]
    }

    #[inline(always)]
    fn gather<S: Simd>(self, simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 2] {
        [simd.add(simd.add(a, b), c), simd.subtract(simd.subtract(b, c), d)]
    }

    #[inline(always)]
    fn gather_filter<S: Simd>(self, simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 3] {
        let half = simd.splat(0.5);
        let (sum, difference) =
            (simd.multiply(half, simd.add(b, c)), simd.multiply(half, simd.subtract(b, c)));
        [simd.add(a, sum), difference, simd.add(sum, d)]
    }
}

/// Four outputs: the points 0, ±5/8, ±3/2 and ∞.
///
/// With ±1 and ±2, as in the paper, the error is twice as large (`reference/winograd_points.py`); what pixels are multiplied by is exact
/// in f32 here, too.
#[derive(Clone, Copy)]
pub(super) struct Four;

const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// The polynomial of all other points, at each point, is what a row of `G` is divided by.
const AT_0: f32 = A2 * B2;
const AT_A: f32 = 2.0 * A2 * (A2 - B2);
const AT_B: f32 = 2.0 * B2 * (B2 - A2);

impl Points<4, 6> for Four {
    fn filter(self) -> [[f32; 3]; 6] {
        [
            [1.0 / AT_0, 0.0, 0.0],
            [1.0 / AT_A, A / AT_A, A2 / AT_A],
            [1.0 / AT_A, -A / AT_A, A2 / AT_A],
            [1.0 / AT_B, B / AT_B, B2 / AT_B],
            [1.0 / AT_B, -B / AT_B, B2 / AT_B],
            [0.0, 0.0, 1.0],
        ]
    }

    #[inline(always)]
    fn spread<S: Simd>(self, simd: S, pixels: [S::Vector; 6]) -> [S::Vector; 6] {
        let [d0, d1, d2, d3, d4, d5] = pixels;
        let (product, sum) = (simd.splat(A2 * B2), simd.splat(-(A2 + B2)));
        let (other_a, other_b) = (simd.splat(-B2), simd.splat(-A2));
        // x⁴ − (a² + b²) x² + a² b², and the same times x.
        let zero = simd.mul_add(product, d0, simd.mul_add(sum, d2, d4));
        let infinity = simd.mul_add(product, d1, simd.mul_add(sum, d3, d5));
        // x (x ± a) (x² − b²), even and odd powers apart.
        let (even, odd) = (simd.mul_add(other_a, d2, d4), simd.mul_add(other_a, d1, d3));
        let [plus_a, minus_a] = both(simd, even, A, odd);
        let (even, odd) = (simd.mul_add(other_b, d2, d4), simd.mul_add(other_b, d1, d3));
        let [plus_b, minus_b] = both(simd, even, B, odd);
        [zero, plus_a, minus_a, plus_b, minus_b, infinity]
    }

    #[inline(always)]
    fn spread_gradient<S: Simd>(self, simd: S, [y0, y1, y2, y3]: [S::Vector; 4]) -> [S::Vector; 6] {
        let (a2, b2) = (simd.splat(A2), simd.splat(B2));
        let [plus_a, minus_a] = both(simd, simd.mul_add(a2, y2, y0), A, simd.mul_add(a2, y3, y1));
        let [plus_b, minus_b] = both(simd, simd.mul_add(b2, y2, y0), B, simd.mul_add(b2, y3, y1));
        [y0, plus_a, minus_a, plus_b, minus_b, y3]
    }

    #[inline(always)]
    fn gather<S: Simd>(self, simd: S, [m0, m1, m2, m3, m4, m5]: [S::Vector; 6]) -> [S::Vector; 4] {
        let (sum_a, sum_b) = (simd.add(m1, m2), simd.add(m3, m4));
        let (difference_a, difference_b) = (simd.subtract(m1, m2), simd.subtract(m3, m4));
        [
            simd.add(m0, simd.add(sum_a, sum_b)),
            simd.mul_add(simd.splat(A), difference_a, simd.multiply(simd.splat(B), difference_b)),
            simd.mul_add(simd.splat(A2), sum_a, simd.multiply(simd.splat(B2), sum_b)),
            simd.mul_add(
                simd.splat(A * A2),
                difference_a,
                simd.mul_add(simd.splat(B * B2), difference_b, m5),
            ),
        ]
    }

    #[inline(always)]
    fn gather_filter<S: Simd>(self, simd: S, [m0, m1, m2, m3, m4, m5]: [S::Vector; 6]) -> [S::Vector; 3] {
        let (at_0, at_a, at_b) = (simd.splat(1.0 / AT_0), simd.splat(1.0 / AT_A), simd.splat(1.0 / AT_B));
        let (sum_a, sum_b) = (simd.multiply(at_a, simd.add(m1, m2)), simd.multiply(at_b, simd.add(m3, m4)));
        let (difference_a, difference_b) =
            (simd.multiply(at_a, simd.subtract(m1, m2)), simd.multiply(at_b, simd.subtract(m3, m4)));
        [
            simd.mul_add(at_0, m0, simd.add(sum_a, sum_b)),
            simd.mul_add(simd.splat(A), difference_a, simd.multiply(simd.splat(B), difference_b)),
            simd.mul_add(simd.splat(A2), sum_a, simd.mul_add(simd.splat(B2), sum_b, m5)),
        ]
    }
}

/// `even ± point · odd`
#[inline(always)]
fn both<S: Simd>(simd: S, even: S::Vector, point: f32, odd: S::Vector) -> [S::Vector; 2] {
    [simd.mul_add(simd.splat(point), odd, even), simd.mul_add(simd.splat(-point), odd, even)]
}
