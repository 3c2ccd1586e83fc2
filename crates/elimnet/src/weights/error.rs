use std::io;
use std::path::PathBuf;

use super::fault::Fault;

/// Why weights could not be read, matched, saved or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The path is a folder.
    #[error("`{}` is a folder, expected a checkpoint file", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
    },
    /// The file is not a checkpoint, is damaged, or holds more than data.
    #[error("cannot read `{}`", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        fault: Fault,
    },
}

impl WeightsError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { fault, .. } => fault_hint(fault).map(str::to_owned),
            Self::Io(_) => None,
            Self::Directory { path } => {
                Some(format!("name the file itself, such as {}", path.join("best.safetensors").display()))
            }
        }
    }
}

fn fault_hint(fault: &Fault) -> Option<&'static str> {
    match fault {
        Fault::Refused(_) => Some(
            "only tensors are read, never code; where the file is trusted, load it in PyTorch and save the bare \
             weights: torch.save(model.state_dict(), \"weights.pth\")",
        ),
        Fault::NoTensors { .. } => Some(
            "save the weights themselves: torch.save(model.state_dict(), \"weights.pth\"), or under the key `state_dict`",
        ),
        Fault::UnknownFormat { .. } => Some("expected a .pth file of torch.save or a .safetensors file"),
        Fault::Empty
        | Fault::PastEnd { .. }
        | Fault::NoDirectory
        | Fault::Checksum { .. }
        | Fault::PickleEnds(_)
        | Fault::StorageLength { .. } => Some("the file is incomplete or damaged; fetch or copy it again"),
        Fault::CompressedEntry { .. } => {
            Some("save it again with torch.save, or unpack and re-pack it without compression")
        }
        Fault::ElementType(_) => {
            Some("convert the weights to float32 before saving: model.float().state_dict()")
        }
        _ => None,
    }
}
