//! Householder's tridiagonal form of a symmetric matrix: one decomposition that serves every ridge strength.
//!
//! With `A = Q T Qᵀ`, a system `(a·T + b) x = y` costs as many steps as the matrix has rows, for any `a` and `b`. LogME
//! needs that for every step of its fixed point, the probe as preconditioner for every penalty. Eigenvectors would do, too,
//! for three times the work.
//!
//! # Source
//! Golub & Van Loan, *Matrix Computations*, 4th edition, algorithms 5.1.1, 8.3.1 and 4.3.6.

use ndarray::{Array2, s};

/// `A = Q T Qᵀ` of a symmetric matrix `A`.
#[derive(Clone, Debug)]
pub(crate) struct Tridiagonal {
    pub(crate) diagonal: Vec<f64>,
    /// One shorter than the diagonal.
    pub(crate) off_diagonal: Vec<f64>,
    /// Reflector `k` acts on coordinates `k + 1..`; its vector has norm `√2`, or is zero.
    reflectors: Vec<Vec<f64>>,
}

impl Tridiagonal {
    /// Decomposes `matrix`, of which symmetry is taken for granted.
    ///
    /// # Panics
    /// If it is not square.
    pub(crate) fn of(mut matrix: Array2<f64>) -> Self {
        let size = matrix.nrows();
        assert_eq!(size, matrix.ncols(), "a square matrix");
        let mut off_diagonal = Vec::with_capacity(size.saturating_sub(1));
        let mut reflectors = Vec::with_capacity(size.saturating_sub(1));
        for k in 0..size.saturating_sub(1) {
            let column: Vec<f64> = matrix.slice(s![k + 1.., k]).to_vec();
            let (reflector, length) = reflector(&column);
            off_diagonal.push(length);
            reflect_both_sides(&mut matrix, k + 1, &reflector);
            reflectors.push(reflector);
        }
        Self { diagonal: matrix.diag().to_vec(), off_diagonal, reflectors }
    }

    /// `Qᵀ x`, in place.
    pub(crate) fn rotate(&self, vector: &mut [f64]) {
        for (k, reflector) in self.reflectors.iter().enumerate() {
            reflect(&mut vector[k + 1..], reflector);
        }
    }

    /// `Q x`, in place.
    pub(crate) fn rotate_back(&self, vector: &mut [f64]) {
        for (k, reflector) in self.reflectors.iter().enumerate().rev() {
            reflect(&mut vector[k + 1..], reflector);
        }
    }

    /// `Q` itself.
    pub(crate) fn basis(&self) -> Array2<f32> {
        let size = self.diagonal.len();
        let mut basis = Array2::zeros((size, size));
        for (index, mut row) in basis.rows_mut().into_iter().enumerate() {
            // Row `index` of Q is Qᵀ applied to a unit vector.
            let mut unit = vec![0.0; size];
            unit[index] = 1.0;
            self.rotate(&mut unit);
            row.iter_mut().zip(unit).for_each(|(to, from)| *to = from as f32);
        }
        basis
    }

    /// The pivots of `scale · T + shift` without row exchanges, which a positive definite matrix does not need.
    pub(crate) fn pivots(&self, scale: f64, shift: f64) -> Pivots {
        let off: Vec<f64> = self.off_diagonal.iter().map(|off| scale * off).collect();
        let mut pivots = Vec::with_capacity(self.diagonal.len());
        for (index, diagonal) in self.diagonal.iter().enumerate() {
            let below: f64 =
                if index > 0 { off[index - 1] * off[index - 1] / pivots[index - 1] } else { 0.0 };
            // Rounding may leave a tiny negative number where the matrix is singular; the shift bounds it from below.
            pivots.push((scale * diagonal + shift - below).max(shift * 1e-3).max(f64::MIN_POSITIVE));
        }
        Pivots { pivots, off }
    }

    /// Trace of the inverse of `T + shift`.
    pub(crate) fn inverse_trace(&self, shift: f64) -> f64 {
        let down = self.pivots(1.0, shift).pivots;
        let reversed = |values: &[f64]| values.iter().rev().copied().collect::<Vec<f64>>();
        let flipped = Self {
            diagonal: reversed(&self.diagonal),
            off_diagonal: reversed(&self.off_diagonal),
            reflectors: Vec::new(),
        };
        let up = flipped.pivots(1.0, shift).pivots;
        let ends = down.iter().zip(up.iter().rev());
        ends.zip(&self.diagonal).map(|((down, up), diagonal)| 1.0 / (down + up - diagonal - shift)).sum()
    }

    /// `T x`.
    pub(crate) fn times(&self, x: &[f64]) -> Vec<f64> {
        let at = |index: usize| {
            let left = if index > 0 { self.off_diagonal[index - 1] * x[index - 1] } else { 0.0 };
            let right = self.off_diagonal.get(index).map_or(0.0, |off| off * x[index + 1]);
            left + self.diagonal[index] * x[index] + right
        };
        (0..x.len()).map(at).collect()
    }
}

/// A factored tridiagonal matrix.
#[derive(Clone, Debug)]
pub(crate) struct Pivots {
    pivots: Vec<f64>,
    off: Vec<f64>,
}

impl Pivots {
    /// Solves for one right side, in place.
    pub(crate) fn solve(&self, x: &mut [f64]) {
        for index in 1..x.len() {
            x[index] -= self.off[index - 1] / self.pivots[index - 1] * x[index - 1];
        }
        for index in (0..x.len()).rev() {
            let above = self.off.get(index).map_or(0.0, |off| off * x[index + 1]);
            x[index] = (x[index] - above) / self.pivots[index];
        }
    }

    /// Logarithm of the determinant.
    pub(crate) fn ln_determinant(&self) -> f64 {
        self.pivots.iter().map(|pivot| pivot.ln()).sum()
    }
}

/// The vector `v`, of norm √2, for which `(I − v vᵀ) x = (length, 0, …)`; zero where `x` is.
fn reflector(x: &[f64]) -> (Vec<f64>, f64) {
    let norm = x.iter().map(|value| value * value).sum::<f64>().sqrt();
    if norm == 0.0 {
        return (vec![0.0; x.len()], 0.0);
    }
    // Of the two possible signs the one that does not cancel.
    let length = if x[0] > 0.0 { -norm } else { norm };
    let mut vector = x.to_vec();
    vector[0] -= length;
    let half = vector.iter().map(|value| value * value).sum::<f64>() / 2.0;
    let scale = half.sqrt().recip();
    vector.iter_mut().for_each(|value| *value *= scale);
    (vector, length)
}

/// `x ← x − v (vᵀ x)`.
fn reflect(x: &mut [f64], vector: &[f64]) {
    let dot: f64 = dot(x, vector);
    x.iter_mut().zip(vector).for_each(|(x, v)| *x -= dot * v);
}

/// `A ← H A H` for the reflector's `H`, on rows and columns from `first` on, as an update of rank two.
fn reflect_both_sides(matrix: &mut Array2<f64>, first: usize, v: &[f64]) {
    let size = matrix.nrows();
    let values = matrix.as_slice_mut().expect("an owned matrix is contiguous");
    let rows = || (first..size).map(|row| row * size + first..(row + 1) * size);
    let product: Vec<f64> = rows().map(|row| dot(&values[row], v)).collect();
    let half = dot(&product, v) / 2.0;
    let w: Vec<f64> = product.iter().zip(v).map(|(p, v)| p - half * v).collect();
    for (index, row) in rows().enumerate() {
        let (v_row, w_row) = (v[index], w[index]);
        for ((value, v), w) in values[row].iter_mut().zip(v).zip(&w) {
            *value -= v_row * w + w_row * v;
        }
    }
}

/// Eight partial sums, so that the processor's vectors are of use.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// A random symmetric positive semidefinite matrix of rank `rank`.
    fn matrix(size: usize, rank: usize) -> Array2<f64> {
        let mut random = Random::named(7, "tridiagonal");
        let factor = Array2::from_shape_fn((rank, size), |_| random.normal());
        factor.t().dot(&factor)
    }

    fn assert_close(found: &[f64], expected: &[f64], what: &str) {
        let scale = expected.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-10 * scale, "{what}: {found} {expected}");
        }
    }

    #[test]
    fn the_matrix_acts_as_before_in_the_new_basis() {
        for (size, rank) in [(1, 1), (2, 2), (3, 1), (9, 9), (17, 5), (40, 60)] {
            let matrix = matrix(size, rank);
            let form = Tridiagonal::of(matrix.clone());
            let mut random = Random::named(1, "x");
            let x: Vec<f64> = (0..size).map(|_| random.normal()).collect();
            let mut rotated = x.clone();
            form.rotate(&mut rotated);
            let mut product = form.times(&rotated);
            form.rotate_back(&mut product);
            let expected = matrix.dot(&ndarray::Array1::from(x)).to_vec();
            assert_close(&product, &expected, &format!("{size} of rank {rank}"));
        }
    }

    #[test]
    fn rotations_undo_each_other_and_the_basis_is_orthogonal() {
        let form = Tridiagonal::of(matrix(12, 12));
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        let mut there_and_back = x.clone();
        form.rotate(&mut there_and_back);
        form.rotate_back(&mut there_and_back);
        assert_close(&there_and_back, &x, "x");
        let basis = form.basis();
        let product = basis.t().dot(&basis);
        for ((row, column), value) in product.indexed_iter() {
            assert!((value - f32::from(u8::from(row == column))).abs() < 1e-5, "{row} {column} {value}");
        }
    }

    #[test]
    fn shifted_systems_are_solved() {
        for (size, rank) in [(1, 1), (6, 6), (15, 4)] {
            let form = Tridiagonal::of(matrix(size, rank));
            let x: Vec<f64> = (0..size).map(|index| (index as f64).sin()).collect();
            for (scale, shift) in [(1.0, 0.5), (0.25, 1e-3), (0.0, 2.0)] {
                let product = form.times(&x);
                let mut right: Vec<f64> =
                    product.iter().zip(&x).map(|(product, x)| scale * product + shift * x).collect();
                form.pivots(scale, shift).solve(&mut right);
                assert!(right.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-8), "{size} {scale} {shift}");
            }
        }
    }

    #[test]
    fn determinant_and_trace_of_a_known_matrix() {
        // [[2, 1], [1, 2]] has the eigenvalues 1 and 3.
        let form = Tridiagonal::of(ndarray::array![[2.0, 1.0], [1.0, 2.0]]);
        assert!((form.pivots(1.0, 0.0).ln_determinant() - 3f64.ln()).abs() < 1e-12);
        assert!((form.pivots(1.0, 1.0).ln_determinant() - 8f64.ln()).abs() < 1e-12);
        assert!((form.inverse_trace(0.0) - (1.0 + 1.0 / 3.0)).abs() < 1e-12);
        assert!((form.inverse_trace(1.0) - (0.5 + 0.25)).abs() < 1e-12);
    }
}
