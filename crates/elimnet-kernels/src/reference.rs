//! What the kernels must compute, as plain loops in f64: the oracle of this crate's tests and of others'.
//!
//! It shares nothing with the kernels but the structs that describe a problem, not even output sizes: each
//! is worked out again here, from the definition. Slow on purpose. Lengths are trusted.

mod activation;
mod convolution;
mod norm;
mod optimizer;
mod pool;

pub use activation::{activation, activation_slope, erf, softmax, softmax_gradient};
pub use convolution::{conv2d, conv2d_input_gradient, conv2d_weight_gradient};
pub use norm::{batch_norm_gradients, batch_statistics, normalize};
pub use optimizer::{adamw_step, sgd_momentum_step};
pub use pool::{adaptive_avg_pool2d, avg_pool2d, max_pool2d};
