//! Parameter updates.

use crate::optimizer::{AdamW, Sgd};

/// [`crate::sgd_momentum_step`].
pub fn sgd_momentum_step(sgd: &Sgd, parameters: &mut [f64], gradients: &[f64], velocity: &mut [f64]) {
    let [rate, momentum, decay] = [sgd.learning_rate, sgd.momentum, sgd.weight_decay].map(f64::from);
    for i in 0..parameters.len() {
        let direction = gradients[i] + decay * parameters[i];
        velocity[i] = if sgd.first_step { direction } else { momentum * velocity[i] + direction };
        let update = if sgd.nesterov { direction + momentum * velocity[i] } else { velocity[i] };
        parameters[i] -= rate * update;
    }
}

/// [`crate::adamw_step`].
pub fn adamw_step(
    adam: &AdamW,
    parameters: &mut [f64],
    gradients: &[f64],
    mean: &mut [f64],
    mean_square: &mut [f64],
) {
    let [rate, decay, epsilon] = [adam.learning_rate, adam.weight_decay, adam.epsilon].map(f64::from);
    let [beta_1, beta_2] = adam.betas.map(f64::from);
    for i in 0..parameters.len() {
        parameters[i] -= rate * decay * parameters[i];
        mean[i] = beta_1 * mean[i] + (1.0 - beta_1) * gradients[i];
        mean_square[i] = beta_2 * mean_square[i] + (1.0 - beta_2) * gradients[i] * gradients[i];
        let corrected_mean = mean[i] / (1.0 - beta_1.powi(adam.step as i32));
        let corrected_square = mean_square[i] / (1.0 - beta_2.powi(adam.step as i32));
        parameters[i] -= rate * corrected_mean / (corrected_square.sqrt() + epsilon);
    }
}
