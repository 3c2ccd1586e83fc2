use std::io::{Read, Seek, SeekFrom};

use super::fault::Fault;

/// A file, or bytes in memory, of known length. Nothing is allocated before the length allows it.
pub(crate) struct Input<R> {
    reader: R,
    length: u64,
}

impl<R: Read + Seek> Input<R> {
    pub(crate) fn new(mut reader: R) -> Result<Self, Fault> {
        let length = reader.seek(SeekFrom::End(0))?;
        Ok(Self { reader, length })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Reads `length` bytes at `offset`; `what` names them in the error.
    pub(crate) fn read_at(&mut self, offset: u64, length: u64, what: &str) -> Result<Vec<u8>, Fault> {
        let past_end = || Fault::PastEnd { what: what.to_owned(), offset, length, file_length: self.length };
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(past_end());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| past_end())?];
        self.reader.seek(SeekFrom::Start(offset))?;
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads the first `most` bytes, or all where the file is shorter.
    pub(crate) fn read_start(&mut self, most: u64) -> Result<Vec<u8>, Fault> {
        self.read_at(0, most.min(self.length), "the start")
    }
}
