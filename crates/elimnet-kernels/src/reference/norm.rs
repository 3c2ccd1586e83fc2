//! Batch normalisation.

/// Means and biased variances of `[rows, channels]`.
pub fn batch_statistics(channels: usize, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let rows = (x.len() / channels) as f64;
    let column = |c: usize| x.iter().skip(c).step_by(channels);
    let means: Vec<f64> = (0..channels).map(|c| column(c).sum::<f64>() / rows).collect();
    let variance = |c: usize| column(c).map(|x| (x - means[c]).powi(2)).sum::<f64>() / rows;
    let variances = (0..channels).map(variance).collect();
    (means, variances)
}

/// `(x − mean) · inverse_std · weight + bias`.
pub fn normalize(x: &[f64], mean: &[f64], inverse_std: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let value = |(index, x): (usize, &f64)| {
        let c = index % mean.len();
        (x - mean[c]) * inverse_std[c] * weight[c] + bias[c]
    };
    x.iter().enumerate().map(value).collect()
}

/// Gradients of training-mode batch norm to its input, weight and bias, by the chain rule through the mean
/// and the variance, one after the other.
pub fn batch_norm_gradients(x: &[f64], dy: &[f64], epsilon: f64, weight: &[f64]) -> [Vec<f64>; 3] {
    let channels = weight.len();
    let rows = (x.len() / channels) as f64;
    let (means, variances) = batch_statistics(channels, x);
    let [mut dx, mut d_weight, mut d_bias] = [x.len(), channels, channels].map(|length| vec![0.0; length]);
    for c in 0..channels {
        let inverse_std = 1.0 / (variances[c] + epsilon).sqrt();
        let (mut d_variance, mut d_mean) = (0.0, 0.0);
        for i in (c..x.len()).step_by(channels) {
            let centered = x[i] - means[c];
            d_bias[c] += dy[i];
            d_weight[c] += dy[i] * centered * inverse_std;
            d_variance += dy[i] * weight[c] * centered * -0.5 * inverse_std.powi(3);
            d_mean -= dy[i] * weight[c] * inverse_std;
        }
        for i in (c..x.len()).step_by(channels) {
            let through_variance = d_variance * 2.0 * (x[i] - means[c]) / rows;
            dx[i] = dy[i] * weight[c] * inverse_std + through_variance + d_mean / rows;
        }
    }
    [dx, d_weight, d_bias]
}
