//! The seed's YAML language: a table of rows, each a module with arguments, as a [`Network`](crate::Network).
//!
//! ```yaml
//! input_channel: 3
//! depth_multiple: 1.0
//! width_multiple: 1.0
//! backbone:
//!   # [repeat, module, arguments]
//!   - [1, Conv, [16, 3, 2]]
//!   - [2, InvertedResidualv3, [3, 4, 24, 0, 0, 2]]
//!   - [1, GlobalAvgPool, []]
//!   - [1, Flatten, []]
//!   - [1, Linear, [6]]
//! ```
//!
//! # Keys
//! `input_channel` and `backbone` must be there, `depth_multiple` and `width_multiple` are 1 where they are not; all
//! other keys are kept in [`ModelFile::keys`]. A repeat above 1 becomes `max(round(repeat · depth_multiple), 1)`, halves
//! to even as Python rounds. Channels of all modules but FixedConv, Linear and the pretrained trunks become
//! `arg · width_multiple` rounded to a multiple of 8, never down by more than 10 %.
//!
//! # Modules
//! [`modules`] lists them with their arguments; every module is described where it is built.
//!
//! # Names
//! Blocks and tensors are named as in a plain PyTorch reading of the file, a `Sequential` called `model` of the rows:
//! row 3 is `model.3`; if it is repeated it is a `Sequential` itself, with the blocks `model.3.0`, `model.3.1`, each of which
//! can be cut. Below that
//!
//! | module | children |
//! |---|---|
//! | Conv, DWConv, ConvResidual, FixedConv | `conv`, `bn`, `act` |
//! | Bottleneck | `conv1`, `conv2`, each a Conv |
//! | InvertedResidualv2 | `conv`: as torchvision's `InvertedResidual` of MobileNetV2 |
//! | InvertedResidualv3 | `conv.0` ... `conv.8`, without expansion `conv.0` ... `conv.5`; the squeeze-and-excitation (or an `Identity`) has the children of torchvision's |
//! | MBConv | `conv.0`, `conv.1`: zero padding, convolution, batch norm, swish; squeeze-and-excitation, convolution, batch norm |
//! | Linear | `linear`, `activation` |
//!
//! An activation of `null` is an `Identity`, which counts as a module. A trunk's blocks have torchvision's own names, and
//! where exactly GlobalAvgPool, Flatten and Linear follow it, the Linear has the family's name too: an uncut
//! `resnet18.yaml` is saved under torchvision's names.
//!
//! # Trunk and head
//! The head starts at the first GlobalAvgPool, Flatten or Linear after the last row that looks at neighbouring pixels;
//! what stands before is the trunk, which can be cut.

mod arguments;
pub(crate) mod convolution;
mod error;
mod inverted_residual;
mod module;
mod pooling;
mod scope;
mod table;
mod trunk;
mod value;
mod write;

pub use error::{Place, YamlError};
pub use module::{Signature, modules};
pub use table::{ModelFile, parse};
pub use value::{Node, Value, read};
pub use write::to_text;
