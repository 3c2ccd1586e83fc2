//! BMP: 1 to 32 bits, palettes, bit fields, run lengths.
//!
//! A decoder of our own: `zune-bmp` reads 1-bit files wrongly and takes what is missing at the end of a file for zeros.
//!
//! # Source
//! Microsoft: "Bitmap Storage", headers from BITMAPCOREHEADER to BITMAPV5HEADER.

use super::DecodeError;
use super::formats::{Decoded, malformed, sides};
use crate::data::image::Image;

const FILE_HEADER: usize = 14;
/// Where the masks stand: behind a BITMAPINFOHEADER, or as part of a longer one.
const MASKS: usize = FILE_HEADER + 40;

/// Decodes a file that starts with "BM".
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let header = Header::read(bytes)?;
    let stored = bytes.get(header.pixels..).ok_or_else(cut_off)?;
    let mut rows = match header.compression {
        Compression::None => plain_rows(&header, stored)?,
        Compression::RunLengths => run_lengths(&header, stored)?,
    };
    if !header.top_down {
        rows.reverse();
    }
    Ok((Image::new(header.width, header.height, rows.concat()), None))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    RunLengths,
}

struct Header {
    width: usize,
    height: usize,
    top_down: bool,
    bits: usize,
    compression: Compression,
    /// Red, green and blue in pixels of 16 and 32 bits.
    masks: [u32; 3],
    palette: Vec<[u8; 3]>,
    /// Where the pixels start.
    pixels: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let size = long(bytes, FILE_HEADER)? as usize;
        let core = size == 12;
        if !core && size < 40 {
            return Err(broken(format!("its header has {size} bytes")));
        }
        let (width, height, bits) = if core {
            (i32::from(short(bytes, 18)? as i16), i32::from(short(bytes, 20)? as i16), short(bytes, 24)?)
        } else {
            (long(bytes, 18)? as i32, long(bytes, 22)? as i32, short(bytes, 28)?)
        };
        let bits = usize::from(bits);
        let code = if core { 0 } else { long(bytes, 30)? };
        let (width, height_) =
            sides("BMP", usize::try_from(width).unwrap_or(0), height.unsigned_abs() as usize)?;
        Ok(Self {
            width,
            height: height_,
            top_down: height < 0,
            bits,
            compression: compression(code, bits)?,
            masks: if matches!(code, 3 | 6) { masks(bytes)? } else { default_masks(bits) },
            palette: if bits <= 8 { palette(bytes, size, bits)? } else { Vec::new() },
            pixels: long(bytes, 10)? as usize,
        })
    }

    fn colour(&self, index: usize) -> [u8; 3] {
        self.palette.get(index).copied().unwrap_or_default()
    }
}

fn compression(code: u32, bits: usize) -> Result<Compression, DecodeError> {
    match (code, bits) {
        (0, 1 | 4 | 8 | 16 | 24 | 32) | (3 | 6, 16 | 32) => Ok(Compression::None),
        (1, 8) | (2, 4) => Ok(Compression::RunLengths),
        _ => Err(broken(format!("{bits} bits a pixel with compression {code} are not supported"))),
    }
}

fn masks(bytes: &[u8]) -> Result<[u32; 3], DecodeError> {
    Ok([long(bytes, MASKS)?, long(bytes, MASKS + 4)?, long(bytes, MASKS + 8)?])
}

fn default_masks(bits: usize) -> [u32; 3] {
    if bits == 16 { [0x7C00, 0x03E0, 0x001F] } else { [0xFF_0000, 0x00_FF00, 0x00_00FF] }
}

/// Blue, green, red, and a byte that means nothing except in the oldest header, which lacks it.
fn palette(bytes: &[u8], header: usize, bits: usize) -> Result<Vec<[u8; 3]>, DecodeError> {
    let (entry, used) = if header == 12 { (3, 0) } else { (4, long(bytes, 46)? as usize) };
    let full = 1 << bits;
    let count = if used == 0 { full } else { used.min(full) };
    let start = FILE_HEADER + header;
    let entries = bytes.get(start..start + count * entry).ok_or_else(cut_off)?;
    Ok(entries.chunks_exact(entry).map(|entry| [entry[2], entry[1], entry[0]]).collect())
}

/// RGB rows in the order of the file.
fn plain_rows(header: &Header, stored: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
    let stride = (header.width * header.bits).div_ceil(32) * 4;
    if stored.len() < stride * header.height {
        return Err(cut_off());
    }
    Ok(stored.chunks_exact(stride).take(header.height).map(|row| plain_row(header, row)).collect())
}

fn plain_row(header: &Header, row: &[u8]) -> Vec<u8> {
    let width = header.width;
    match header.bits {
        24 => row
            .as_chunks::<3>()
            .0
            .iter()
            .take(width)
            .flat_map(|&[blue, green, red]| [red, green, blue])
            .collect(),
        32 => {
            let pixels = row.as_chunks::<4>().0.iter().take(width);
            pixels.flat_map(|&pixel| masked(u32::from_le_bytes(pixel), header.masks)).collect()
        }
        16 => {
            let pixels = row.as_chunks::<2>().0.iter().take(width);
            pixels.flat_map(|&pixel| masked(u16::from_le_bytes(pixel).into(), header.masks)).collect()
        }
        bits => (0..width).flat_map(|column| header.colour(index(row, bits, column))).collect(),
    }
}

/// The palette index of a column, where 8, 2 or 1 indices share a byte, the first one in its highest bits.
fn index(row: &[u8], bits: usize, column: usize) -> usize {
    let first_bit = column * bits;
    let shift = 8 - bits - first_bit % 8;
    (usize::from(row[first_bit / 8]) >> shift) & ((1 << bits) - 1)
}

/// Each masked value stretched to 0..255.
fn masked(pixel: u32, masks: [u32; 3]) -> [u8; 3] {
    masks.map(|mask| {
        let shift = mask.trailing_zeros().min(31);
        let (value, most) = ((pixel & mask) >> shift, mask >> shift);
        if most == 0 { 0 } else { (u64::from(value) * 255 / u64::from(most)) as u8 }
    })
}

/// RGB rows in the order of the file, from pairs of (count, index) and escapes that start with zero.
fn run_lengths(header: &Header, stored: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut canvas = Canvas::new(header);
    let mut pairs = stored;
    while let [first, second, rest @ ..] = pairs {
        pairs = rest;
        match (usize::from(*first), usize::from(*second)) {
            (0, 0) => canvas.next_row(),
            (0, 1) => return Ok(canvas.rows),
            (0, 2) => {
                let [right, down, rest @ ..] = pairs else { return Err(cut_off()) };
                pairs = rest;
                canvas.skip(usize::from(*right), usize::from(*down));
            }
            (0, count) => {
                let length = (count * header.bits).div_ceil(8);
                let literal = pairs.get(..length).ok_or_else(cut_off)?;
                (0..count).for_each(|at| canvas.put(index(literal, header.bits, at)));
                pairs = pairs.get(length.next_multiple_of(2)..).unwrap_or_default();
            }
            (count, _) => {
                let pattern = [*second, *second, *second, *second];
                (0..count).for_each(|at| canvas.put(index(&pattern, header.bits, at % 2)));
            }
        }
    }
    Err(cut_off())
}

/// Where run lengths are drawn; what they skip has the first colour.
struct Canvas<'a> {
    header: &'a Header,
    rows: Vec<Vec<u8>>,
    column: usize,
    row: usize,
}

impl<'a> Canvas<'a> {
    fn new(header: &'a Header) -> Self {
        let row = header.colour(0).repeat(header.width);
        Self { header, rows: vec![row; header.height], column: 0, row: 0 }
    }

    fn put(&mut self, index: usize) {
        if let Some(pixels) = self.rows.get_mut(self.row)
            && self.column < self.header.width
        {
            pixels[self.column * 3..self.column * 3 + 3].copy_from_slice(&self.header.colour(index));
        }
        self.column += 1;
    }

    fn next_row(&mut self) {
        self.skip(0, 1);
        self.column = 0;
    }

    fn skip(&mut self, right: usize, down: usize) {
        self.column += right;
        self.row += down;
    }
}

fn short(bytes: &[u8], at: usize) -> Result<u16, DecodeError> {
    let value = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    value.map(|&value| u16::from_le_bytes(value)).ok_or_else(cut_off)
}

fn long(bytes: &[u8], at: usize) -> Result<u32, DecodeError> {
    let value = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    value.map(|&value| u32::from_le_bytes(value)).ok_or_else(cut_off)
}

fn cut_off() -> DecodeError {
    broken("it is cut off".to_owned())
}

fn broken(reason: String) -> DecodeError {
    malformed("BMP", &reason)
}
