//! Means and products of features: what standardising, the probe and LogME all start from.

use elimnet_engine::Matrix;
use ndarray::{Array1, Array2, ArrayView2, linalg::general_mat_mul};

/// Rows that are widened to f64 at once.
const ROWS: usize = 512;

/// A view of an engine's matrix.
pub(crate) fn view(matrix: &Matrix) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((matrix.rows, matrix.columns), &matrix.values)
        .expect("a matrix has rows times columns values")
}

/// First and second moments of the columns of a matrix.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) rows: usize,
    pub(crate) mean: Array1<f64>,
    /// `Fᵀ F / n`, not centred.
    pub(crate) products: Array2<f64>,
}

impl Moments {
    /// Of features `[n, channels]`, n at least 1.
    pub(crate) fn of(features: &Matrix) -> Self {
        let mut mean = Array1::zeros(features.columns);
        let mut products = Array2::zeros((features.columns, features.columns));
        let share = 1.0 / features.rows.max(1) as f64;
        for rows in view(features).axis_chunks_iter(ndarray::Axis(0), ROWS) {
            let rows = rows.mapv(f64::from);
            mean += &(rows.sum_axis(ndarray::Axis(0)) * share);
            general_mat_mul(share, &rows.t(), &rows, 1.0, &mut products);
        }
        Self { rows: features.rows, mean, products }
    }

    /// What makes every column of mean 0 and variance 1; a constant column is only shifted.
    pub(crate) fn standardiser(&self) -> Standardiser {
        let variance = self.products.diag().to_owned() - &self.mean * &self.mean;
        let scale = variance.iter().zip(&self.mean).map(|(&variance, mean)| {
            // What rounding leaves of the variance of a constant is not spread.
            if variance > 1e-12 * mean * mean && variance > 0.0 { variance.sqrt() } else { 1.0 }
        });
        Standardiser { mean: self.mean.clone(), scale: scale.collect() }
    }
}

/// Shifts and scales columns.
#[derive(Clone, Debug)]
pub(crate) struct Standardiser {
    pub(crate) mean: Array1<f64>,
    pub(crate) scale: Array1<f64>,
}

impl Standardiser {
    /// The standardised features.
    pub(crate) fn apply(&self, features: &Matrix) -> Array2<f32> {
        let (mean, scale) = (self.mean.mapv(|mean| mean as f32), self.scale.mapv(|scale| scale as f32));
        let mut standardised = view(features).to_owned();
        standardised -= &mean;
        standardised /= &scale;
        standardised
    }

    /// Correlations of the columns: `Zᵀ Z / n` of the standardised features, without forming them.
    pub(crate) fn correlations(&self, moments: &Moments) -> Array2<f64> {
        let mut correlations = moments.products.clone();
        for ((row, column), value) in correlations.indexed_iter_mut() {
            let centred = *value - self.mean[row] * self.mean[column];
            *value = centred / (self.scale[row] * self.scale[column]);
        }
        correlations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns that vary and a constant one.
    fn features() -> Matrix {
        Matrix::new(4, 3, vec![1.0, 5.0, 7.0, 2.0, 3.0, 7.0, 3.0, 5.0, 7.0, 6.0, 3.0, 7.0])
    }

    #[test]
    fn standardised_columns_have_mean_0_and_variance_1() {
        let moments = Moments::of(&features());
        let standardised = moments.standardiser().apply(&features());
        for (column, expected) in standardised.columns().into_iter().zip([1.0, 1.0, 0.0]) {
            let mean = column.sum() / 4.0;
            let variance = column.iter().map(|value| value * value).sum::<f32>() / 4.0;
            assert!(mean.abs() < 1e-6 && (variance - expected).abs() < 1e-6, "{column}");
        }
    }

    #[test]
    fn correlations_are_the_products_of_the_standardised_features() {
        let moments = Moments::of(&features());
        let standardiser = moments.standardiser();
        let standardised = standardiser.apply(&features()).mapv(f64::from);
        let expected = standardised.t().dot(&standardised) / 4.0;
        let found = standardiser.correlations(&moments);
        assert!((found - expected).iter().all(|difference| difference.abs() < 1e-6));
    }
}
