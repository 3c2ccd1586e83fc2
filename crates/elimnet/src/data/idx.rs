//! MNIST's file format: a magic number, the sizes of the dimensions (big endian), bytes.
//!
//! # Source
//! Yann LeCun: "The MNIST database of handwritten digits", section "File formats".

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use super::error::DataError;
use super::found::Found;
use super::sample::{Layout, PixelArray, Sample, Source};

/// Fashion-MNIST's classes in the order of their labels.
const FASHION_CLASSES: [&str; 10] = [
    "T-shirt_top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle_boot",
];

/// Most bytes that an IDX file may hold, unpacked: a gzip bomb stops here.
const MAX_BYTES: u64 = 1 << 32;

/// Whether there are IDX files to train on in `path`.
pub(crate) fn is_folder_of(path: &Path) -> bool {
    file(path, "train-images").is_some()
}

/// All of MNIST or Fashion-MNIST; validation is still part of train.
pub(crate) fn find(path: &Path, names: ClassNames) -> Result<Found, DataError> {
    let expected = || DataError::Empty { path: path.to_owned(), expected: "train-images-idx3-ubyte[.gz]" };
    let train = read_split(path, "train")?.ok_or_else(expected)?;
    let test = match read_split(path, "t10k")? {
        None => read_split(path, "test")?,
        found => found,
    };
    let classes = names.of(&train)?;
    let known = classes.len();
    if let Some((source, sample)) = test.iter().flat_map(|split| split.beyond(known)).next() {
        return Err(label_error(source, sample, known));
    }
    Ok(Found {
        root: path.to_owned(),
        classes,
        train: train.samples("train"),
        validation: None,
        test: test.map(|split| split.samples("test")),
        skipped: Vec::new(),
    })
}

/// How the classes are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassNames {
    Fashion,
    Digits,
}

impl ClassNames {
    fn of(self, train: &LabelledArray) -> Result<Vec<String>, DataError> {
        let highest = train.labels.iter().copied().max().map_or(0, usize::from);
        match self {
            Self::Digits => Ok((0..=highest).map(|digit| digit.to_string()).collect()),
            Self::Fashion => match train.beyond(FASHION_CLASSES.len()) {
                Some((path, label)) => Err(label_error(path, label, FASHION_CLASSES.len())),
                None => Ok(FASHION_CLASSES.map(str::to_owned).to_vec()),
            },
        }
    }
}

fn label_error(path: &Path, label: u8, known: usize) -> DataError {
    malformed(path, format!("it has the label {label}, there are {known} classes"))
}

struct LabelledArray {
    images: Arc<PixelArray>,
    labels: Vec<u8>,
    labels_path: PathBuf,
}

impl LabelledArray {
    /// The first label that is not below `known`, and its file.
    fn beyond(&self, known: usize) -> Option<(&Path, u8)> {
        let label = self.labels.iter().copied().find(|&label| usize::from(label) >= known);
        label.map(|label| (self.labels_path.as_path(), label))
    }

    fn samples(&self, split: &str) -> Vec<Sample> {
        let sample = |(index, &label): (usize, &u8)| {
            let source = Source::Array { array: Arc::clone(&self.images), index };
            Sample::new(&format!("{split}/{index:05}"), source, usize::from(label))
        };
        self.labels.iter().enumerate().map(sample).collect()
    }
}

/// The images and labels of a split, if its image file is there.
fn read_split(folder: &Path, prefix: &str) -> Result<Option<LabelledArray>, DataError> {
    let Some(images_path) = file(folder, &format!("{prefix}-images")) else { return Ok(None) };
    let labels_path = file(folder, &format!("{prefix}-labels")).ok_or_else(|| {
        malformed(&images_path, format!("there is no `{prefix}-labels-idx1-ubyte[.gz]` beside it"))
    })?;
    let (sizes, pixels) = read(&images_path)?;
    let &[count, height, width] = sizes.as_slice() else {
        return Err(malformed(&images_path, format!("it has {} dimensions, images have 3", sizes.len())));
    };
    let (sizes, labels) = read(&labels_path)?;
    if sizes != [count] {
        return Err(malformed(
            &labels_path,
            format!("it has the sizes {sizes:?}, {count} labels are needed"),
        ));
    }
    if pixels.is_empty() {
        return Err(malformed(&images_path, format!("it has {count} images of {width}x{height}")));
    }
    let images = Arc::new(PixelArray::new(width, height, Layout::Gray, 0, pixels));
    Ok(Some(LabelledArray { images, labels, labels_path }))
}

/// `prefix-idx?-ubyte`, as in the original or with a dot as some tools unpack it, with or without `.gz`.
fn file(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let kind = if prefix.ends_with("images") { "idx3" } else { "idx1" };
    let endings = ["", ".gz"];
    let names = ['-', '.']
        .into_iter()
        .flat_map(|joint| endings.map(|ending| folder.join(format!("{prefix}{joint}{kind}-ubyte{ending}"))));
    names.into_iter().find(|path| path.is_file())
}

/// Sizes and bytes of an IDX file.
fn read(path: &Path) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let bytes = unpacked(path)?;
    let (sizes, values) = parse(&bytes).map_err(|reason| malformed(path, reason))?;
    Ok((sizes, values.to_vec()))
}

fn unpacked(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = fs_err::read(path)?;
    if !bytes.starts_with(&[0x1F, 0x8B]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let packed = MultiGzDecoder::new(bytes.as_slice());
    packed
        .take(MAX_BYTES)
        .read_to_end(&mut unpacked)
        .map_err(|error| malformed(path, format!("gzip: {error}")))?;
    Ok(unpacked)
}

/// Splits the bytes of an IDX file of unsigned bytes into its sizes and values.
///
/// # Errors
/// Says what is wrong if the bytes are not exactly such a file.
pub fn parse(bytes: &[u8]) -> Result<(Vec<usize>, &[u8]), String> {
    let &[0, 0, kind, dimensions] = bytes.first_chunk::<4>().ok_or("it has no header")? else {
        return Err("it does not start with two zero bytes".to_owned());
    };
    if kind != 8 {
        return Err(format!("its values have type {kind:#04x}, unsigned bytes (0x08) are expected"));
    }
    let header = 4 + 4 * usize::from(dimensions);
    let sizes = bytes.get(4..header).ok_or("its header is cut off")?;
    let sizes: Vec<usize> =
        sizes.as_chunks::<4>().0.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
    let length = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let values = &bytes[header..];
    if dimensions == 0 || length != Some(values.len()) {
        return Err(format!("its header says {sizes:?} values, {} follow", values.len()));
    }
    Ok((sizes, values))
}

fn malformed(path: &Path, reason: String) -> DataError {
    DataError::Format { path: path.to_owned(), format: "IDX", reason }
}
