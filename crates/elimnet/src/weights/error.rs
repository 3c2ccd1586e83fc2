use std::io;
use std::path::{Path, PathBuf};

use super::download::DownloadError;
use super::fault::Fault;
use super::matching::LoadReport;
use super::pretrained::PRETRAINED;

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
    /// The weights don't fit the network.
    #[error("{}", mismatch_message(path, report))]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// What doesn't fit, and what does.
        report: Box<LoadReport>,
    },
    /// The weights could not be saved; nothing was left behind.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// There are no pretrained weights for a network of this name.
    #[error("there are no pretrained weights for `{network}`")]
    NotPretrained {
        /// The name asked for.
        network: String,
    },
    /// The system doesn't say where caches are.
    #[error(
        "there is no folder to keep downloaded weights in: ELIMNET_CACHE, XDG_CACHE_HOME and HOME are not set"
    )]
    NoCacheFolder,
    /// A file of weights is not the one that its name promises.
    #[error("`{}` has the SHA-256 {found}, expected one that starts with {expected}", path.display())]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// The digits that its name promises.
        expected: String,
        /// All digits of what it has.
        found: String,
    },
    /// The weights could not be fetched.
    #[error("cannot fetch {url}")]
    Download {
        /// Where they are.
        url: String,
        /// Where they belong on this machine.
        place: PathBuf,
        /// What went wrong.
        #[source]
        cause: DownloadError,
    },
}

/// One line where one tensor doesn't fit, else a list.
fn mismatch_message(path: &Path, report: &LoadReport) -> String {
    let file = path.file_name().unwrap_or(path.as_os_str()).display();
    let count = report.missing.len() + report.unexpected.len() + report.mismatched.len();
    match count {
        1 => format!("{report} (in `{file}`)"),
        _ => format!("{count} tensors in `{file}` don't fit the network:\n{report}"),
    }
}

impl WeightsError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { fault, .. } => fault_hint(fault).map(str::to_owned),
            Self::Io(_) => None,
            Self::Mismatch { report, .. } => Some(mismatch_hint(report).to_owned()),
            Self::Write { path, source } => write_hint(path, source),
            Self::NotPretrained { .. } => Some(format!("there are weights for {}", known_networks())),
            Self::NoCacheFolder => Some("set ELIMNET_CACHE to a folder".to_owned()),
            Self::WrongHash { path, .. } if path.extension().is_some_and(|extension| extension == "part") => {
                Some("the server or a proxy sent another file; it was removed, try again".to_owned())
            }
            Self::WrongHash { path, .. } => Some(format!("remove {} and fetch it again", path.display())),
            Self::Download { url, place, .. } => Some(format!(
                "without a network: fetch {url} elsewhere and put it at {}; or name a mirror in ELIMNET_WEIGHTS_URL",
                place.display()
            )),
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

fn known_networks() -> String {
    PRETRAINED.iter().map(|weights| weights.network).collect::<Vec<_>>().join(", ")
}

fn mismatch_hint(report: &LoadReport) -> &'static str {
    if report.loaded.is_empty() {
        "no tensor fits: these are the weights of another network"
    } else if report.missing.is_empty() && report.unexpected.is_empty() {
        "the names fit but the shapes don't: a head for other classes, or a network of another width"
    } else {
        "the weights are of another network or another cut of it"
    }
}

fn write_hint(path: &Path, source: &io::Error) -> Option<String> {
    let folder = path.parent().unwrap_or(Path::new(".")).display();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Some(format!("make room in {folder}, or write elsewhere"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some(format!("{folder} is not writable for you; write elsewhere"))
        }
        io::ErrorKind::NotFound => Some(format!("the folder {folder} does not exist")),
        _ => None,
    }
}
