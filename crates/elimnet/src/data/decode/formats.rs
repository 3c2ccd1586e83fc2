//! Each format's decoder, brought to one form: pixels, and the raw EXIF block where there is one.

use std::fmt::Display;
use std::io::Cursor;
use std::num::NonZeroU64;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

use super::{DecodeError, Detail, MAX_PIXELS};
use crate::data::image::Image;

pub(super) type Decoded = Result<(Image, Option<Vec<u8>>), DecodeError>;

/// JPEG: baseline and progressive; gray, YCbCr, RGB, CMYK, YCCK.
///
/// The scan is decoded strictly, so that a cut or damaged one is an error and not a photo that ends in gray; headers are
/// read leniently where they must be (many cameras leave stray bytes between them).
pub(super) fn jpeg(bytes: &[u8], detail: Detail) -> Decoded {
    let broken = |reason: &dyn Display| malformed("JPEG", reason);
    if !ends_as_jpeg(bytes) {
        return Err(broken(&"it is cut off: there is no end-of-image marker"));
    }
    let strict = jpeg_options().set_strict_mode(true);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), strict);
    if decoder.decode_headers().is_err() {
        decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), jpeg_options());
        decoder.decode_headers().map_err(|error| broken(&error))?;
    }
    let info = decoder.info().ok_or_else(|| broken(&"no frame header"))?;
    let (width, height) = sides("JPEG", usize::from(info.width), usize::from(info.height))?;
    let denominator = detail.denominator(width, height);
    if denominator > 1
        && let Some(image) = reduced_jpeg(bytes, width.div_ceil(denominator), height.div_ceil(denominator))
    {
        return Ok((image, decoder.exif().cloned()));
    }
    let rgb = decoder.decode().map_err(|error| broken(&error))?;
    let exif = decoder.exif().cloned();
    Ok((image("JPEG", width, height, rgb)?, exif))
}

/// A JPEG file at the part of its size that has these sides. `None` where it is in four colours, or where something is wrong
/// with it: the other decoder says what.
fn reduced_jpeg(bytes: &[u8], width: usize, height: usize) -> Option<Image> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let sides = decoder.scale(u16::try_from(width).ok()?, u16::try_from(height).ok()?).ok()?;
    if (usize::from(sides.0), usize::from(sides.1)) != (width, height) {
        return None;
    }
    let pixels = decoder.decode().ok()?;
    match decoder.info()?.pixel_format {
        jpeg_decoder::PixelFormat::L8 => Some(Image::from_gray(width, height, &pixels)),
        jpeg_decoder::PixelFormat::RGB24 => Some(Image::new(width, height, pixels)),
        _ => None,
    }
}

fn jpeg_options() -> DecoderOptions {
    DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
}

/// Whether an end-of-image marker follows the last start-of-scan marker (an EXIF thumbnail has markers of its own).
fn ends_as_jpeg(bytes: &[u8]) -> bool {
    let end = bytes.windows(2).rposition(|pair| pair == [0xFF, 0xD9]);
    end.is_some_and(|end| !bytes[end..].windows(2).any(|pair| pair == [0xFF, 0xDA]))
}

/// PNG: every colour type and depth.
pub(super) fn png(bytes: &[u8]) -> Decoded {
    let broken = |error: png::DecodingError| malformed("PNG", &error);
    let limits = png::Limits { bytes: MAX_PIXELS * 8 };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    let header = decoder.read_header_info().map_err(broken)?;
    let (width, height) = sides("PNG", header.width as usize, header.height as usize)?;
    let mut reader = decoder.read_info().map_err(broken)?;
    let channels = reader.output_color_type().0.samples();
    let mut pixels = vec![0; width * height * channels];
    reader.next_frame(&mut pixels).map_err(broken)?;
    let exif = reader.info().exif_metadata.as_ref().map(|block| block.to_vec());
    Ok((image("PNG", width, height, rgb_of(pixels, channels))?, exif))
}

/// WebP: lossy, lossless, and the first frame of an animation.
pub(super) fn webp(bytes: &[u8]) -> Decoded {
    let broken = |error: image_webp::DecodingError| malformed("WebP", &error);
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = sides("WebP", width as usize, height as usize)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    if decoder.is_animated() {
        decoder.read_frame(&mut pixels).map_err(broken)?;
    } else {
        decoder.read_image(&mut pixels).map_err(broken)?;
    }
    let exif = decoder.exif_metadata().map_err(broken)?;
    Ok((image("WebP", width, height, rgb_of(pixels, channels))?, exif))
}

/// GIF: the first frame, on black where it does not cover the canvas.
pub(super) fn gif(bytes: &[u8]) -> Decoded {
    let broken = |reason: &dyn Display| malformed("GIF", reason);
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    options.check_frame_consistency(true);
    let limit = NonZeroU64::new(MAX_PIXELS as u64).expect("the limit is not zero");
    options.set_memory_limit(gif::MemoryLimit::Bytes(limit));
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(|error| broken(&error))?;
    let (width, height) = sides("GIF", usize::from(decoder.width()), usize::from(decoder.height()))?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame =
        decoder.read_next_frame().map_err(|error| broken(&error))?.ok_or_else(|| broken(&"no frame"))?;
    let palette = frame.palette.clone().or(global).ok_or_else(|| broken(&"no palette"))?;
    let mut canvas = Image::filled(width, height, [0; 3]);
    draw_frame(&mut canvas, frame, &palette);
    Ok((canvas, None))
}

fn draw_frame(canvas: &mut Image, frame: &gif::Frame<'_>, palette: &[u8]) {
    let (left, columns) = (usize::from(frame.left), usize::from(frame.width));
    let row_bytes = canvas.width * 3;
    let rows = canvas.rgb.chunks_exact_mut(row_bytes).skip(usize::from(frame.top));
    for (row, indices) in rows.zip(frame.buffer.chunks_exact(columns.max(1))) {
        for (pixel, &index) in row.as_chunks_mut::<3>().0.iter_mut().skip(left).zip(indices) {
            let colour = palette.as_chunks::<3>().0.get(usize::from(index));
            *pixel = colour.copied().unwrap_or_default();
        }
    }
}

/// The sides, if they are not zero and not too large.
pub(super) fn sides(
    format: &'static str,
    width: usize,
    height: usize,
) -> Result<(usize, usize), DecodeError> {
    if width == 0 || height == 0 {
        return Err(malformed(format, &format_args!("the image has {width}x{height} pixels")));
    }
    match width.checked_mul(height) {
        Some(pixels) if pixels <= MAX_PIXELS => Ok((width, height)),
        _ => Err(DecodeError::TooLarge { width, height }),
    }
}

/// Three channels of one, two (gray, alpha), three or four (RGB, alpha).
fn rgb_of(pixels: Vec<u8>, channels: usize) -> Vec<u8> {
    match channels {
        1 | 2 => pixels.chunks_exact(channels).flat_map(|pixel| [pixel[0]; 3]).collect(),
        4 => pixels.as_chunks::<4>().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]).collect(),
        _ => pixels,
    }
}

fn image(format: &'static str, width: usize, height: usize, rgb: Vec<u8>) -> Result<Image, DecodeError> {
    if rgb.len() != width * height * 3 {
        return Err(malformed(format, &format_args!("{} bytes of pixels for {width}x{height}", rgb.len())));
    }
    Ok(Image::new(width, height, rgb))
}

pub(super) fn malformed(format: &'static str, reason: &dyn Display) -> DecodeError {
    DecodeError::Malformed { format, reason: reason.to_string() }
}
