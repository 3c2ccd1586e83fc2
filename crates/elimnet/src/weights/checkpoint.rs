use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Seek};
use std::path::Path;

use super::error::WeightsError;
use super::fault::Fault;
use super::input::Input;
use super::timm::translate_timm;
use super::{safetensors, torch};

/// A tensor of a checkpoint.
///
/// Numbers stored as f16, bf16 or integers are widened to f32, f64 and 64-bit integers rounded to it.
/// The only integers in torchvision's networks are the counters `num_batches_tracked`, which nothing
/// computes with.
///
/// # Shapes
/// `values` are in row-major order, as many as the product of `shape`; a scalar has the shape `[]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Length of each side, outermost first.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: Vec<f32>,
}

/// The tensors of a file by name, with what else it says about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The tensors.
    pub tensors: BTreeMap<String, Tensor>,
    /// Texts that the file carries beside its tensors; only safetensors files have any.
    pub metadata: BTreeMap<String, String>,
    /// How the file is laid out.
    pub format: Format,
}

/// The layout of a checkpoint file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `torch.save` of PyTorch 1.6 and later: a zip archive.
    TorchZip,
    /// `torch.save` before PyTorch 1.6: pickles followed by raw numbers.
    TorchLegacy,
    /// `safetensors`.
    Safetensors,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TorchZip => "PyTorch checkpoint",
            Self::TorchLegacy => "PyTorch checkpoint (before 1.6)",
            Self::Safetensors => "safetensors",
        })
    }
}

/// Reads the tensors of a checkpoint file. Its layout is found from its content, not from its name.
///
/// PyTorch's files are read as data: nothing in them is run. A state dict nested under `state_dict`,
/// `model_state_dict`, `model_state` or `model` is found, what lies beside it (epoch, optimizer) is left
/// out, and the prefixes of `DataParallel` (`module.`) and `torch.compile` (`_orig_mod.`) are stripped.
///
/// Weights with timm's names come out with torchvision's, for the networks that are the same in both:
/// `resnet18`, `efficientnet_b0`, `mobilenetv3_large_100`, `mobilenetv3_small_100`, `mobilenetv2_100`,
/// `mnasnet_100` and `vgg11`. timm's MobileNetV3 has another eps in batch norm (1e-5, torchvision 1e-3);
/// the running variances are shifted by the difference, so that the outputs are timm's. The `tf_` variants
/// pad differently, which no checkpoint shows: they load, but with worse outputs than in timm.
///
/// # Errors
/// [`WeightsError::Io`] where the file cannot be read, [`WeightsError::Malformed`] where it is not a
/// checkpoint, is damaged, or holds more than data.
pub fn read_checkpoint(path: impl AsRef<Path>) -> Result<Checkpoint, WeightsError> {
    let path = path.as_ref();
    if fs_err::metadata(path)?.is_dir() {
        return Err(WeightsError::Directory { path: path.to_owned() });
    }
    read_checkpoint_from(fs_err::File::open(path)?, path)
}

/// Reads a checkpoint from anything that can be read and sought, such as bytes in memory.
///
/// `name` is what errors call it.
///
/// # Errors
/// As [`read_checkpoint`].
pub fn read_checkpoint_from(
    reader: impl Read + Seek,
    name: impl AsRef<Path>,
) -> Result<Checkpoint, WeightsError> {
    read(reader).map_err(|fault| match fault {
        Fault::Io(error) => WeightsError::Io(error),
        fault => WeightsError::Malformed { path: name.as_ref().to_owned(), fault },
    })
}

fn read(reader: impl Read + Seek) -> Result<Checkpoint, Fault> {
    let mut input = Input::new(reader)?;
    let format = find_format(&mut input)?;
    let (tensors, metadata) = match format {
        Format::TorchZip => (torch::read_zip(&mut input)?, BTreeMap::new()),
        Format::TorchLegacy => (torch::read_legacy(&mut input)?, BTreeMap::new()),
        Format::Safetensors => safetensors::read(&mut input)?,
    };
    Ok(Checkpoint { tensors: translate_timm(tensors), metadata, format })
}

fn find_format<R: Read + Seek>(input: &mut Input<R>) -> Result<Format, Fault> {
    let start = input.read_start(16)?;
    if start.is_empty() {
        return Err(Fault::Empty);
    }
    if start.starts_with(b"PK\x03\x04") {
        Ok(Format::TorchZip)
    } else if start.starts_with(&torch::LEGACY_MAGIC) {
        Ok(Format::TorchLegacy)
    } else if start.get(8) == Some(&b'{') {
        Ok(Format::Safetensors)
    } else {
        Err(Fault::UnknownFormat { start: start.into_iter().take(8).collect() })
    }
}
