//! Image files to eight-bit RGB. The content decides about the format, never the name.
//!
//! One small decoder crate a format (BMP is our own) instead of the `image` crate: `image` 0.25 brings a colour management library and
//! costs some 75 seconds of compilation where these four cost 15. `turbojpeg` decodes JPEG a little faster than
//! `zune-jpeg` and needs a C compiler, CMake and NASM for it. `zune-jpeg` can't decode at a part of the size; where that is
//! enough, `jpeg-decoder` does, which is slower at the whole size.
//!
//! What becomes RGB follows Pillow's `convert("RGB")`: alpha is dropped (not composited: a transparent pixel keeps the
//! colour that is stored under it), gray is repeated, palettes are looked up, 16 bits give their high byte, CMYK is taken
//! as Adobe's inverted one. Unlike `convert`, the EXIF orientation is applied.

mod bmp;
mod detail;
mod formats;
mod orientation;

use std::io;
use std::path::Path;

pub use detail::Detail;

use super::image::Image;

/// Most pixels that a file may declare (Pillow's limit for decompression bombs): half a gigabyte decoded.
pub const MAX_PIXELS: usize = 178_956_970;

/// Why a file is no image for us.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file can't be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The first bytes belong to none of the formats.
    #[error("not a JPEG, PNG, WebP, BMP or GIF image{}", found.map(|name| format!(" (it looks like {name})")).unwrap_or_default())]
    UnknownFormat {
        /// What the bytes look like, where they are something known.
        found: Option<&'static str>,
    },
    /// The file declares more pixels than we are ready to allocate.
    #[error("the image claims to have {width}x{height} pixels, the limit is {MAX_PIXELS} in all")]
    TooLarge {
        /// Declared columns.
        width: usize,
        /// Declared rows.
        height: usize,
    },
    /// The content breaks its format or ends too early.
    #[error("broken {format} file: {reason}")]
    Malformed {
        /// Name of the format.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
}

/// A file format that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
    Bmp,
    Gif,
}

impl Format {
    /// The format that the first bytes of a file announce.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            // "BM", the length, four reserved zeros: two letters alone would claim many a text.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(Self::Bmp),
            _ => None,
        }
    }
}

/// Decodes the bytes of a file.
///
/// # Errors
/// If they are not an image of a known format, end too early or are too large.
pub fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    decode_with(bytes, Detail::Full)
}

/// Decodes the bytes of a file, with as much of it as is wanted.
///
/// # Errors
/// As [`decode`].
pub fn decode_with(bytes: &[u8], detail: Detail) -> Result<Image, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = Format::of(bytes).ok_or_else(|| DecodeError::UnknownFormat { found: stranger(bytes) })?;
    let (image, exif) = match format {
        Format::Jpeg => formats::jpeg(bytes, detail),
        Format::Png => formats::png(bytes),
        Format::WebP => formats::webp(bytes),
        Format::Bmp => bmp::decode(bytes),
        Format::Gif => formats::gif(bytes),
    }?;
    Ok(orientation::upright(image, exif.as_deref()))
}

/// Decodes a file.
///
/// # Errors
/// If it can't be read, or as [`decode`].
pub fn decode_file(path: &Path) -> Result<Image, DecodeError> {
    decode_file_with(path, Detail::Full)
}

/// Decodes a file, with as much of it as is wanted.
///
/// # Errors
/// If it can't be read, or as [`decode`].
pub fn decode_file_with(path: &Path, detail: Detail) -> Result<Image, DecodeError> {
    decode_with(&fs_err::read(path)?, detail)
}

/// Names what people commonly put between photos.
fn stranger(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some("TIFF"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..] => Some("HEIC"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', ..] => Some("AVIF"),
        [b'%', b'P', b'D', b'F', ..] => Some("PDF"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive"),
        _ if bytes.starts_with(b"<") => Some("SVG, XML or HTML"),
        _ => None,
    }
}
