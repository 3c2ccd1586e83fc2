//! CPU kernels for convolutional networks: slices in, slices out.
//!
//! Activations and their gradients are f32 or [`Bf16`] ([`Element`]), parameters, statistics and arithmetic
//! f32; images are **channels-last** (`[batch, height, width, channels]`), and nothing here knows what a
//! network is. The kernels run on rayon's current pool, or on a team of its threads ([`with_team`]); how they cut their work does not depend on the number
//! of threads, so results are bit-identical on any pool. The instruction set is a value, [`Isa`]: get one from
//! [`Isa::detect`].
//!
//! From another crate, call what is generic over the element through [`Kernels`], whose code is compiled here: compiled there it is not
//! inlined into the functions that may use wide registers, and half as fast.
//!
//! A broken contract (a slice of the wrong length) panics at the public door; nothing returns a `Result`.

mod activation;
#[cfg(target_arch = "x86_64")]
mod band;
mod block;
mod columns;
mod compiled;
mod conv2d;
mod dense;
mod depthwise;
mod dropout;
mod element;
mod elementwise;
mod epilogue;
mod excite;
mod exp;
mod filter;
mod isa;
mod linear;
mod matmul;
mod norm;
mod norm_backward;
mod optimizer;
mod pack;
mod peak;
mod pool;
mod precision;
pub mod reference;
mod scratch;
mod simd;
mod softmax;
mod statistics;
mod team;
mod threads;
#[cfg(target_arch = "x86_64")]
mod tile_gradient;
#[cfg(target_arch = "x86_64")]
mod tile_pack;
#[cfg(target_arch = "x86_64")]
mod tile_product;
#[cfg(target_arch = "x86_64")]
mod tile_rows;
#[cfg(target_arch = "x86_64")]
mod unroll;
mod weight_gradient;
mod window;
mod winograd;

pub use activation::{Activation, activate, activate_in_place, activation_gradient};
pub use columns::column_sums;
pub use compiled::Kernels;
pub use conv2d::{
    Conv2d, Padding, conv2d, conv2d_input_gradient, conv2d_weight_gradient, winograd_weight_gradient,
};
pub use dropout::{dropout, dropout_factors, dropout_seed};
pub use element::{Bf16, Element, narrow, widen};
pub use elementwise::{Images, add, add_assign, scale_channels, scale_channels_scale_gradient};
pub use epilogue::{Epilogue, Moments};
pub use excite::{ExciteSums, excite_backward_sums, excite_norm_backward};
pub use filter::PackedFilter;
pub use isa::{ISA_VARIABLE, Isa, UnavailableIsa};
pub use linear::{Linear, linear, linear_input_gradient, linear_parameter_gradients};
pub use norm::{
    BatchNorm, NormActivation, Shortcut, normalize, normalize_activate, normalize_activate_pool, scale_shift,
};
pub use norm_backward::{
    NormGradients, batch_norm_backward, batch_norm_parameter_gradients, norm_activation_backward,
    norm_shortcut_activation_backward,
};
pub use optimizer::{AdamW, Rule, Sgd, Update, adamw_step, sgd_momentum_step, squared_norm, update};
pub use peak::{multiply_bf16_in_registers, multiply_in_registers};
pub use pool::{
    AdaptivePool2d, Maxima, NormMaxPool, Pool2d, adaptive_avg_pool2d, adaptive_avg_pool2d_gradient,
    avg_pool2d, avg_pool2d_gradient, global_avg_pool, global_avg_pool_gradient, max_pool2d,
    max_pool2d_gradient, norm_relu_max_pool2d_backward, normalize_relu_max_pool2d,
};
pub use scratch::kept_bytes;
pub use softmax::{softmax, softmax_gradient};
pub use statistics::batch_statistics;
pub use team::with_team;
