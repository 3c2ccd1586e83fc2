use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest::{Context, SHA256};

use super::download::download;
use super::error::WeightsError;
use super::pretrained::Pretrained;

/// Where weights are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Address of the folder that holds the files.
    pub base_url: String,
    /// Folders on this machine that may have the files already, such as PyTorch's cache.
    pub folders: Vec<PathBuf>,
    /// How long the server may stay silent.
    pub timeout: Duration,
}

impl Source {
    /// Where torchvision publishes its weights.
    pub const TORCHVISION: &str = "https://download.pytorch.org/models/";

    /// torchvision's server, or the mirror that `ELIMNET_WEIGHTS_URL` names, and PyTorch's own cache.
    pub fn from_environment() -> Self {
        let mirror = env::var("ELIMNET_WEIGHTS_URL").ok().filter(|url| !url.is_empty());
        Self {
            base_url: mirror.unwrap_or_else(|| Self::TORCHVISION.to_owned()),
            folders: torch_cache_folder(|name| env::var_os(name)).into_iter().collect(),
            timeout: Duration::from_secs(30),
        }
    }

    pub(super) fn url(&self, file: &str) -> String {
        format!("{}/{file}", self.base_url.trim_end_matches('/'))
    }
}

/// The folder that keeps downloaded weights: `ELIMNET_CACHE`, else `elimnet` in the user's cache folder
/// (`XDG_CACHE_HOME`, `~/.cache`, or `LOCALAPPDATA` on Windows).
///
/// # Errors
/// [`WeightsError::NoCacheFolder`] where none of these is known.
pub fn cache_folder() -> Result<PathBuf, WeightsError> {
    cache_folder_from(|name| env::var_os(name)).ok_or(WeightsError::NoCacheFolder)
}

fn cache_folder_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let own = variable("ELIMNET_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
    own.or_else(|| Some(user_cache_folder(&variable)?.join("elimnet")))
}

fn torch_cache_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let own = variable("TORCH_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let torch = own.or_else(|| Some(user_cache_folder(&variable)?.join("torch")))?;
    Some(torch.join("hub").join("checkpoints"))
}

fn user_cache_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("XDG_CACHE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".cache")))
        .or_else(|| folder("LOCALAPPDATA"))
}

/// Finds the pretrained weights of a network on this machine, or downloads them into `cache`.
///
/// A file counts only with the right SHA-256. A download that was cut off is resumed, also by a later
/// call; callers that want the same file wait for each other. `progress` is told how many bytes are there
/// and how many there will be, where the server says so.
///
/// # Errors
/// [`WeightsError::NotPretrained`] for a network without weights, [`WeightsError::WrongHash`] where a
/// file is not what its name says, [`WeightsError::Download`] where it can be neither found nor fetched
/// (its hint says what to put where), [`WeightsError::Io`] where the cache cannot be written.
pub fn locate_or_download(
    network: &str,
    cache: impl AsRef<Path>,
    source: &Source,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<PathBuf, WeightsError> {
    locate_or_download_weights(Pretrained::find(network)?, cache, source, progress)
}

/// As [`locate_or_download`], for weights that need not be torchvision's.
///
/// # Errors
/// As there.
pub fn locate_or_download_weights(
    weights: &Pretrained,
    cache: impl AsRef<Path>,
    source: &Source,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<PathBuf, WeightsError> {
    let place = cache.as_ref().join(weights.file);
    if place.exists() {
        return check_hash(&place, weights).map(|()| place);
    }
    let elsewhere = source.folders.iter().map(|folder| folder.join(weights.file));
    if let Some(found) = elsewhere.into_iter().find(|path| path.exists() && check_hash(path, weights).is_ok())
    {
        return Ok(found);
    }
    download(weights, &place, source, progress)?;
    Ok(place)
}

/// Checks that a file is the one that its name promises.
pub(super) fn check_hash(path: &Path, weights: &Pretrained) -> Result<(), WeightsError> {
    let found = sha256_of_file(path)?;
    if found.starts_with(weights.hash_prefix()) {
        return Ok(());
    }
    Err(WeightsError::WrongHash { path: path.to_owned(), expected: weights.hash_prefix().to_owned(), found })
}

/// The SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// If the file can't be read.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => break,
            count => context.update(&block[..count]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        variables: &'static [(&'static str, &'static str)],
        own: Option<&'static str>,
        torch: Option<&'static str>,
    }

    #[cfg(unix)]
    #[test]
    fn the_cache_is_where_the_user_wants_it() {
        let torch_at_home = Some("/h/.cache/torch/hub/checkpoints");
        let cases = [
            Case { variables: &[], own: None, torch: None },
            Case { variables: &[("HOME", "/h")], own: Some("/h/.cache/elimnet"), torch: torch_at_home },
            Case {
                variables: &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
                own: Some("/x/elimnet"),
                torch: Some("/x/torch/hub/checkpoints"),
            },
            Case {
                variables: &[("HOME", "/h"), ("ELIMNET_CACHE", "/e")],
                own: Some("/e"),
                torch: torch_at_home,
            },
            Case {
                variables: &[("HOME", "/h"), ("ELIMNET_CACHE", "")],
                own: Some("/h/.cache/elimnet"),
                torch: torch_at_home,
            },
            Case { variables: &[("TORCH_HOME", "/t")], own: None, torch: Some("/t/hub/checkpoints") },
        ];
        for Case { variables, own, torch } in cases {
            let variable =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(cache_folder_from(variable), own.map(PathBuf::from), "{variables:?}");
            assert_eq!(torch_cache_folder(variable), torch.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn sha256_is_that_of_the_standard() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of_file(file.path()).unwrap(), expected);
    }

    #[test]
    fn a_base_url_may_end_in_a_slash_or_not() {
        for base in ["http://mirror/models", "http://mirror/models/"] {
            let source = Source { base_url: base.to_owned(), folders: Vec::new(), timeout: Duration::ZERO };
            assert_eq!(source.url("a.pth"), "http://mirror/models/a.pth");
        }
    }
}
