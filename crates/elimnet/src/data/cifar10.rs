//! CIFAR-10's binary version: records of a label byte and 3,072 pixels, red plane first.
//!
//! # Source
//! Alex Krizhevsky: <https://www.cs.toronto.edu/~kriz/cifar.html>, section "Binary version".

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DataError;
use super::found::Found;
use super::sample::{Layout, PixelArray, Sample, Source};

const SIDE: usize = 32;
const RECORD: usize = 1 + SIDE * SIDE * 3;
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The folder that holds the batches: `path` itself or what the archive unpacks to inside it.
pub(crate) fn folder(path: &Path) -> Option<PathBuf> {
    let candidates = [path.to_owned(), path.join("cifar-10-batches-bin")];
    candidates.into_iter().find(|folder| folder.join("data_batch_1.bin").is_file())
}

/// All of CIFAR-10; validation is still part of train.
pub(crate) fn find(path: &Path) -> Result<Found, DataError> {
    let expected = || DataError::Empty { path: path.to_owned(), expected: "data_batch_1.bin" };
    let folder = folder(path).ok_or_else(expected)?;
    let classes = class_names(&folder)?;
    let batches = (1..).map(|number| folder.join(format!("data_batch_{number}.bin")));
    let mut train = Vec::new();
    for batch in batches.take_while(|batch| batch.is_file()) {
        train.extend(read_batch(&batch, classes.len())?);
    }
    let test = Some(folder.join("test_batch.bin")).filter(|batch| batch.is_file());
    let test = test.map(|batch| read_batch(&batch, classes.len())).transpose()?;
    Ok(Found { root: path.to_owned(), classes, train, validation: None, test, skipped: Vec::new() })
}

/// The lines of `batches.meta.txt`, or the known names where it is missing.
fn class_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let path = folder.join("batches.meta.txt");
    if !path.is_file() {
        return Ok(CLASSES.map(str::to_owned).to_vec());
    }
    let text = fs_err::read_to_string(&path)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn read_batch(path: &Path, classes: usize) -> Result<Vec<Sample>, DataError> {
    let malformed = |reason: String| DataError::Format { path: path.to_owned(), format: "CIFAR-10", reason };
    let bytes = fs_err::read(path)?;
    let labels = parse_labels(&bytes, classes).map_err(malformed)?;
    let array = Arc::new(PixelArray::new(SIDE, SIDE, Layout::Planes, 1, bytes));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let sample = |(index, label)| {
        Sample::new(&format!("{stem}/{index:05}"), Source::Array { array: Arc::clone(&array), index }, label)
    };
    Ok(labels.into_iter().enumerate().map(sample).collect())
}

/// The labels of a batch, once its length and they are known to be right.
///
/// # Errors
/// Says what is wrong if the bytes are not records of one of `classes` labels each.
pub fn parse_labels(bytes: &[u8], classes: usize) -> Result<Vec<usize>, String> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        return Err(format!("it has {} bytes, which is not a multiple of {RECORD}", bytes.len()));
    }
    let labels: Vec<usize> = bytes.iter().step_by(RECORD).map(|&label| usize::from(label)).collect();
    match labels.iter().position(|&label| label >= classes) {
        Some(index) => {
            Err(format!("image {index} has the label {}, there are {classes} classes", labels[index]))
        }
        None => Ok(labels),
    }
}
