//! Pretrained weights: reading, translating, checking, saving and fetching them.
//!
//! Everything here deals in [`Tensor`]s by name. The canonical names are torchvision's, so that what we
//! save loads in torchvision and the other way round.
//!
//! Files come from strangers. They are read as data (no pickle is ever run), every length is checked
//! against the file before memory is set aside for it, and whatever is wrong has an error of its own
//! ([`Fault`]).

mod archive;
mod atomic;
mod cache;
mod checkpoint;
mod download;
mod element;
mod error;
mod fault;
mod input;
mod matching;
mod pickle;
mod pickle_global;
mod pickle_tensor;
mod pretrained;
mod safetensors;
mod save;

mod state_dict;
mod timm;
mod timm_block;
mod torch;

pub use atomic::write_atomically;
pub use cache::{Source, cache_folder, locate_or_download, locate_or_download_weights, sha256_of_file};
pub use checkpoint::{Checkpoint, Format, Tensor, read_checkpoint, read_checkpoint_from};
pub use download::DownloadError;
pub use error::WeightsError;
pub use fault::Fault;
pub use matching::{Allowance, ExpectedTensor, LoadReport, ShapeMismatch, match_tensors};
pub use pretrained::{Interpolation, PRETRAINED, Pretrained};
pub use save::{encode_safetensors, write_safetensors};
