//! The folder of reference data (photos, trained weights) that is not part of the repository.

use std::env;
use std::path::{Path, PathBuf};

/// The environment variable that says where the folder is.
pub const VARIABLE: &str = "ELIMNET_SHARED";

/// The file or folder `relative` of the shared reference data, say `weights/resnet18-tiny-imagenet.pth`.
///
/// The folder is `ELIMNET_SHARED` or, when that is unset, `shared` beside the workspace. `None`, and a line on standard
/// error that names what is missing, where there is no such file: the calling test then has nothing to test and
/// returns.
///
/// # Panics
/// If `ELIMNET_SHARED` is set and the file is not there: whoever set it wants these tests to run.
#[must_use]
pub fn find(relative: &str) -> Option<PathBuf> {
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    let required = named.is_some();
    let path = named.unwrap_or_else(beside_workspace).join(relative);
    if path.exists() {
        return Some(path);
    }
    assert!(!required, "{VARIABLE} is set, but there is no {}", path.display());
    report_absent(&path);
    None
}

fn beside_workspace() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    workspace.canonicalize().unwrap_or(workspace).join("../shared")
}

#[expect(clippy::print_stderr, reason = "a skipped test has to say so, and libtest has no other way")]
fn report_absent(path: &Path) {
    eprintln!(
        "SKIPPED: no {}; set {VARIABLE} to the folder of reference data to run this test",
        path.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_none() {
        if env::var_os(VARIABLE).is_none() {
            assert_eq!(find("no/such/file"), None);
        }
    }

    #[test]
    fn the_folder_is_a_sibling_of_the_workspace() {
        let workspace = beside_workspace().parent().expect("the path ends in `shared`").join("..");
        assert!(beside_workspace().ends_with("shared"));
        assert!(workspace.is_dir(), "{}", workspace.display());
    }
}
