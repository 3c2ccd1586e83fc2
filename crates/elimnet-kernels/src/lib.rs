//! CPU kernels for convolutional networks: slices in, slices out.
//!
//! Values are f32, images are **channels-last** (`[batch, height, width, channels]`), and nothing here knows
//! what a network is. The kernels run on rayon's current pool; how they cut their work does not depend on the
//! number of threads, so results are bit-identical on any pool. The instruction set is a value, [`Isa`]: get
//! one from [`Isa::detect`].
//!
//! A broken contract (a slice of the wrong length) panics at the public door; nothing returns a `Result`.

mod conv2d;
mod dense;
mod depthwise;
mod isa;
mod matmul;
mod pack;
pub mod reference;
mod simd;
mod threads;
mod weight_gradient;
mod window;

pub use conv2d::{Conv2d, Padding, conv2d, conv2d_input_gradient, conv2d_weight_gradient};
pub use isa::{ISA_VARIABLE, Isa, UnavailableIsa};
