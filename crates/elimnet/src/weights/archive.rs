//! The part of the zip format that `torch.save` writes: stored entries, found through the directory.
//!
//! A general zip library brings compression that is never used here, and with it the risk of entries
//! that unpack to far more than the file's size.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use super::fault::Fault;
use super::input::Input;

const END: [u8; 4] = *b"PK\x05\x06";
const END_LENGTH: u64 = 22;
const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const END_64: [u8; 4] = *b"PK\x06\x06";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
/// The comment that may follow the end record has a 16-bit length.
const LONGEST_COMMENT: u64 = 0xffff;
/// A state dict has one entry a storage; this many is far more than any network has.
const MOST_DIRECTORY_BYTES: u64 = 64 << 20;
const ENCRYPTED: u16 = 1;
const EXTRA_ZIP64: u16 = 1;

/// The directory of a zip archive.
#[derive(Debug)]
pub(crate) struct Archive {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    flags: u16,
    method: u16,
    checksum: u32,
    stored_length: u64,
    length: u64,
    header_offset: u64,
}

impl Archive {
    pub(crate) fn open<R: Read + Seek>(input: &mut Input<R>) -> Result<Self, Fault> {
        let (offset, length) = find_directory(input)?;
        if length > MOST_DIRECTORY_BYTES {
            return Err(Fault::DamagedDirectory("it is larger than 64 MiB"));
        }
        let directory = input.read_at(offset, length, "the zip directory")?;
        let mut fields = Fields(&directory);
        let mut entries = BTreeMap::new();
        while !fields.0.is_empty() {
            let (name, entry) = read_entry(&mut fields)?;
            if entries.insert(name, entry).is_some() {
                return Err(Fault::DamagedDirectory("two entries have the same name"));
            }
        }
        Ok(Self { entries })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The length of an entry's bytes, without reading them.
    pub(crate) fn length(&self, name: &str) -> Result<u64, Fault> {
        Ok(self.entry(name)?.length)
    }

    /// Reads an entry's bytes and checks them against their checksum.
    pub(crate) fn read<R: Read + Seek>(&self, input: &mut Input<R>, name: &str) -> Result<Vec<u8>, Fault> {
        let entry = self.entry(name)?;
        if entry.method != 0 || entry.flags & ENCRYPTED != 0 {
            return Err(Fault::CompressedEntry { entry: name.to_owned(), method: entry.method });
        }
        if entry.stored_length != entry.length {
            return Err(Fault::DamagedDirectory("a stored entry has two lengths"));
        }
        let header = input.read_at(entry.header_offset, 30, "a zip entry's header")?;
        if header[..4] != LOCAL_HEADER {
            return Err(Fault::DamagedDirectory("it points to something that is not an entry"));
        }
        let mut name_and_extra = Fields(&header[26..30]);
        let skipped = u64::from(name_and_extra.u16()?) + u64::from(name_and_extra.u16()?);
        let bytes = input.read_at(
            entry.header_offset + 30 + skipped,
            entry.length,
            &format!("the zip entry `{name}`"),
        )?;
        match crc32fast::hash(&bytes) {
            // PyTorch can be told not to compute checksums; it then writes zero.
            found if found == entry.checksum || entry.checksum == 0 => Ok(bytes),
            found => Err(Fault::Checksum { entry: name.to_owned(), expected: entry.checksum, found }),
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry, Fault> {
        self.entries.get(name).ok_or_else(|| Fault::NoEntry(name.to_owned()))
    }
}

/// Offset and length of the directory, from the record at the file's end.
fn find_directory<R: Read + Seek>(input: &mut Input<R>) -> Result<(u64, u64), Fault> {
    let tail_length = input.length().min(END_LENGTH + LONGEST_COMMENT);
    let tail_offset = input.length() - tail_length;
    let tail = input.read_at(tail_offset, tail_length, "the end of the file")?;
    let is_end = |at: &usize| tail[*at..].starts_with(&END) && comment_ends_file(&tail[*at..]);
    let found = (0..tail.len()).rev().find(is_end).ok_or(Fault::NoDirectory)?;
    let mut fields = Fields(&tail[found..]);
    fields.take(12)?;
    let (length, offset) = (fields.u32()?, fields.u32()?);
    if length != u32::MAX && offset != u32::MAX {
        return Ok((offset.into(), length.into()));
    }
    let locator_offset = (tail_offset + found as u64).checked_sub(20).ok_or(Fault::NoDirectory)?;
    find_directory_64(input, locator_offset)
}

/// Whether an end record and its comment are all that is left of the file.
fn comment_ends_file(end: &[u8]) -> bool {
    let comment_length = end.get(20..22).map(|length| u16::from_le_bytes([length[0], length[1]]));
    comment_length.is_some_and(|length| END_LENGTH + u64::from(length) == end.len() as u64)
}

/// The same for archives of 4 GiB and more.
fn find_directory_64<R: Read + Seek>(input: &mut Input<R>, locator_offset: u64) -> Result<(u64, u64), Fault> {
    let locator = input.read_at(locator_offset, 20, "the zip64 locator")?;
    if locator[..4] != END_64_LOCATOR {
        return Err(Fault::NoDirectory);
    }
    let end = input.read_at(Fields(&locator[8..]).u64()?, 56, "the zip64 end record")?;
    if end[..4] != END_64 {
        return Err(Fault::NoDirectory);
    }
    let mut fields = Fields(&end[40..]);
    let (length, offset) = (fields.u64()?, fields.u64()?);
    Ok((offset, length))
}

fn read_entry(fields: &mut Fields<'_>) -> Result<(String, Entry), Fault> {
    if fields.take(4)? != DIRECTORY_ENTRY {
        return Err(Fault::DamagedDirectory("an entry has the wrong signature"));
    }
    fields.take(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(4)?;
    let checksum = fields.u32()?;
    let (stored_length, length) = (fields.u32()?, fields.u32()?);
    let (name_length, extra_length, comment_length) = (fields.u16()?, fields.u16()?, fields.u16()?);
    fields.take(8)?;
    let header_offset = fields.u32()?;
    let name = fields.take(name_length.into())?;
    let extra = fields.take(extra_length.into())?;
    fields.take(comment_length.into())?;

    let mut wide = Fields(zip64_extra(extra)?);
    let mut widen = |narrow: u32| if narrow == u32::MAX { wide.u64() } else { Ok(narrow.into()) };
    // The format fixes this order of the wide fields: length, stored length, offset.
    let length = widen(length)?;
    let stored_length = widen(stored_length)?;
    let header_offset = widen(header_offset)?;
    if header_offset > i64::MAX as u64 {
        return Err(Fault::DamagedDirectory("an entry's offset is out of range"));
    }
    let name = String::from_utf8_lossy(name).into_owned();
    Ok((name, Entry { flags, method, checksum, stored_length, length, header_offset }))
}

/// The zip64 field among an entry's extra fields, or nothing.
fn zip64_extra(extra: &[u8]) -> Result<&[u8], Fault> {
    let mut fields = Fields(extra);
    while fields.0.len() >= 4 {
        let (tag, length) = (fields.u16()?, fields.u16()?);
        let content = fields.take(length.into())?;
        if tag == EXTRA_ZIP64 {
            return Ok(content);
        }
    }
    Ok(&[])
}

/// Little-endian fields, one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or(Fault::DamagedDirectory("a record is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }
}
