//! One labelled image, wherever it lies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode::{self, DecodeError, Detail};
use super::error::DataError;
use super::image::Image;

/// A labelled image. Cheap to clone: what is large is shared.
#[derive(Clone, Debug)]
pub struct Sample {
    name: Arc<str>,
    /// Where the pixels come from.
    pub source: Source,
    /// Index of its class.
    pub label: usize,
    /// How much of a file is decoded.
    pub(crate) detail: Detail,
    /// Decoded pixels that were kept when the data set was opened.
    pub(crate) kept: Option<Arc<Image>>,
}

/// Where the pixels of a sample come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// An image file.
    File(PathBuf),
    /// Pixels in memory.
    Pixels(Arc<Image>),
    /// An image of an array of them (IDX, CIFAR-10).
    Array {
        /// All images.
        array: Arc<PixelArray>,
        /// Which one.
        index: usize,
    },
}

impl Sample {
    /// A sample whose name (a path below the data set's root, say) tells it from all others of its data set.
    pub fn new(name: &str, source: Source, label: usize) -> Self {
        Self { name: name.into(), source, label, detail: Detail::Full, kept: None }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, if it comes from one.
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Pixels(_) | Source::Array { .. } => None,
        }
    }

    /// The pixels, of a file as many as its data set was opened for ([`super::OpenOptions::detail`]).
    ///
    /// # Errors
    /// If it is a file that can't be decoded (any more).
    pub fn load(&self) -> Result<Arc<Image>, DataError> {
        match &self.kept {
            Some(image) => Ok(Arc::clone(image)),
            None => self.load_with(self.detail),
        }
    }

    /// The pixels, of a file as many as are wanted.
    ///
    /// # Errors
    /// If it is a file that can't be decoded (any more).
    pub fn load_with(&self, detail: Detail) -> Result<Arc<Image>, DataError> {
        match &self.source {
            Source::File(path) => {
                let decoded = decode::decode_file_with(path, detail).map(Arc::new);
                decoded.map_err(|source| DataError::Decode { path: path.clone(), source })
            }
            Source::Pixels(image) => Ok(Arc::clone(image)),
            Source::Array { array, index } => Ok(Arc::new(array.image(*index))),
        }
    }

    /// Decodes a file to see whether it can be, and what it says if not.
    pub(crate) fn try_decode(&self) -> Option<Result<Image, DecodeError>> {
        match &self.source {
            Source::File(path) if self.kept.is_none() => Some(decode::decode_file_with(path, self.detail)),
            _ => None,
        }
    }
}

/// Order of the values of one image in a [`PixelArray`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One channel, row by row.
    Gray,
    /// All of red, then green, then blue.
    Planes,
}

/// Many images of one size in one piece of memory.
pub struct PixelArray {
    width: usize,
    height: usize,
    layout: Layout,
    /// Bytes from one image to the next.
    stride: usize,
    /// Bytes before the pixels of each.
    offset: usize,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for PixelArray {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PixelArray({} of {}x{})", self.len(), self.width, self.height)
    }
}

impl PixelArray {
    /// Images of `width` x `height`, each after `offset` other bytes.
    ///
    /// # Panics
    /// If the bytes are not a whole number of images.
    pub(crate) fn new(width: usize, height: usize, layout: Layout, offset: usize, bytes: Vec<u8>) -> Self {
        let channels = if layout == Layout::Gray { 1 } else { 3 };
        let stride = offset + width * height * channels;
        assert_eq!(bytes.len() % stride, 0, "bytes for images of {width}x{height}");
        Self { width, height, layout, stride, offset, bytes }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.stride
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none of that index.
    pub fn image(&self, index: usize) -> Image {
        let values = &self.bytes[index * self.stride + self.offset..(index + 1) * self.stride];
        match self.layout {
            Layout::Gray => Image::from_gray(self.width, self.height, values),
            Layout::Planes => self.interleaved(values),
        }
    }

    fn interleaved(&self, planes: &[u8]) -> Image {
        let area = self.width * self.height;
        let (red, rest) = planes.split_at(area);
        let (green, blue) = rest.split_at(area);
        let pixels = red.iter().zip(green).zip(blue).flat_map(|((&red, &green), &blue)| [red, green, blue]);
        Image::new(self.width, self.height, pixels.collect())
    }
}
