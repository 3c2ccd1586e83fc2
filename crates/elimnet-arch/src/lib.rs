//! What a convolutional network *is*: blocks of layers, as data.
//!
//! A [`Network`] is a list of [`Block`]s and a head; a block is a small graph of [`Layer`]s whose names are the
//! module paths of torchvision. Everything else in the project walks this one value: counting ([`cost`]),
//! cutting ([`eliminate`]), running (`elimnet-cpu`), exporting and saving. There are no tensors and no I/O here.
//!
//! Rejected: closures or trait objects that build a network at run time (they can't be counted, cut, exported or
//! stored in a file), and one enum variant per block family (every walker would have to know every family).

pub mod block;
pub mod cost;
pub mod eliminate;
mod head;
pub mod layer;
pub mod network;
pub mod shape;
mod surgery;
pub mod table;
pub mod tensor;
pub mod validate;
pub mod yaml;
pub mod zoo;

pub use block::{Argument, Block, BlockBuilder, Value};
pub use cost::Cost;
pub use eliminate::{Cut, EliminateError};
pub use layer::{Activation, BatchNorm, Conv2d, Layer, Linear, Op, Padding, Pool2d};
pub use network::Network;
pub use shape::{Shape, ShapeError};
pub use surgery::Tail;
pub use table::Row;
pub use tensor::{TensorKind, TensorSpec};
pub use validate::NetworkError;
