//! LogME: how probable the labels are under Bayesian linear regression on the features, prior and noise chosen by the data.
//!
//! A number a cut without a split, without a penalty to choose and without training. It is a side column: rankings by
//! such scores are fragile, the held-out probe is steadier.
//!
//! # Source
//! You et al., *LogME: Practical Assessment of Pre-trained Models for Transfer Learning*, ICML 2021; constants and stopping
//! as in the authors' code. Their singular value decomposition is a tridiagonal form here, which gives the same numbers.

use super::moments::{Moments, view};
use super::tridiagonal::Tridiagonal;
use elimnet_engine::Matrix;
use ndarray::Array2;

/// Added to what is divided by.
const EPSILON: f64 = 1e-5;

/// Logarithm of the maximum evidence of the labels, per image, mean over the classes (one against all others).
pub(crate) fn logme(features: &Matrix, labels: &[usize], classes: usize, moments: &Moments) -> f64 {
    let rows = moments.rows as f64;
    let form = Tridiagonal::of(&moments.products * rows);
    let mut sums = Array2::<f64>::zeros((classes, features.columns));
    for (row, &label) in view(features).rows().into_iter().zip(labels) {
        sums.row_mut(label).iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let of_class = |class: usize| {
        let mut projection = sums.row(class).to_vec();
        form.rotate(&mut projection);
        let images = labels.iter().filter(|&&label| label == class).count();
        evidence(&form, &projection, images as f64, rows)
    };
    (0..classes).map(of_class).sum::<f64>() / classes.max(1) as f64
}

/// Evidence of a 0/1 target that is 1 for `ones` of `rows` images, `projection` being `Qᵀ Fᵀ y`.
fn evidence(form: &Tridiagonal, projection: &[f64], ones: f64, rows: f64) -> f64 {
    let channels = projection.len() as f64;
    let (mut alpha, mut beta, mut ratio) = (1.0_f64, 1.0_f64, 1.0_f64);
    let (mut norm, mut residual) = (0.0, 0.0);
    for _ in 0..11 {
        let effective = channels - ratio * form.inverse_trace(ratio);
        let mut mean: Vec<f64> = projection.iter().map(|value| beta * value).collect();
        form.pivots(beta, alpha).solve(&mut mean);
        norm = dot(&mean, &mean);
        residual = (dot(&mean, &form.times(&mean)) - 2.0 * dot(&mean, projection) + ones).max(0.0);
        alpha = effective / (norm + EPSILON);
        beta = (rows - effective) / (residual + EPSILON);
        let new = alpha / beta;
        let converged = (new - ratio).abs() / ratio < 0.01;
        // The authors keep the old ratio once it has converged; nothing reads it afterwards.
        ratio = new;
        if converged {
            break;
        }
    }
    let evidence = channels / 2.0 * alpha.ln() + rows / 2.0 * beta.ln()
        - 0.5 * form.pivots(beta, alpha).ln_determinant()
        - beta / 2.0 * (residual + EPSILON)
        - alpha / 2.0 * (norm + EPSILON)
        - rows / 2.0 * std::f64::consts::TAU.ln();
    evidence / rows
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
