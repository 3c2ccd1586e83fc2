use std::io;

/// What is wrong inside a checkpoint file: one variant for each way to be wrong.
///
/// A fault doesn't know which file it was found in; [`WeightsError::Malformed`] adds the path.
///
/// [`WeightsError::Malformed`]: super::WeightsError::Malformed
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The first bytes are of no format that is known here.
    #[error("starts with {start:02x?}, which is neither a PyTorch checkpoint nor a safetensors file")]
    UnknownFormat {
        /// The first bytes, at most eight.
        start: Vec<u8>,
    },
    /// The operating system could not read the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something is said to lie where the file has no bytes; truncated files end here.
    #[error("{what} should be bytes {offset}..{offset}+{length}, but the file has only {file_length} bytes")]
    PastEnd {
        /// What was to be read.
        what: String,
        /// Where it should start.
        offset: u64,
        /// How many bytes it should have.
        length: u64,
        /// How many the file has.
        file_length: u64,
    },

    /// A zip archive without its directory: the end of the file is missing or overwritten.
    #[error("the zip archive has no directory at its end (is the file cut off?)")]
    NoDirectory,
    /// The zip directory contradicts itself.
    #[error("the zip directory is damaged: {0}")]
    DamagedDirectory(&'static str),
    /// An archive entry that a checkpoint needs is missing.
    #[error("the zip archive has no entry `{0}`")]
    NoEntry(String),
    /// An entry is compressed or encrypted, which `torch.save` never does.
    #[error(
        "the zip entry `{entry}` is compressed or encrypted (method {method}), which torch.save never writes"
    )]
    CompressedEntry {
        /// Name of the entry.
        entry: String,
        /// Zip's number of the compression method; 0 with encryption.
        method: u16,
    },
    /// An entry's bytes don't have the checksum the directory gives.
    #[error("the zip entry `{entry}` has the checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// Name of the entry.
        entry: String,
        /// CRC-32 in the directory.
        expected: u32,
        /// CRC-32 of the bytes.
        found: u32,
    },
    /// The numbers are stored with the most significant byte first.
    #[error("the numbers are stored big-endian; only little-endian files can be read")]
    BigEndian,

    /// The pickle asks for a function or class that a state dict doesn't need.
    #[error("the pickle refers to `{0}`, which is not data; it was refused and nothing was run")]
    Refused(String),
    /// A byte that is no opcode, or one that torch.save doesn't write.
    #[error("the pickle has the unsupported opcode 0x{opcode:02x} at byte {position}")]
    Opcode {
        /// The byte found.
        opcode: u8,
        /// Where, from the pickle's start.
        position: usize,
    },
    /// The pickle ends in the middle of an instruction.
    #[error("the pickle ends early, at byte {0}")]
    PickleEnds(usize),
    /// The pickle takes more from its stack than is there, or refers to what it never stored.
    #[error("the pickle is inconsistent at byte {position}: {what}")]
    Pickle {
        /// What doesn't fit.
        what: &'static str,
        /// Where, from the pickle's start.
        position: usize,
    },
    /// The pickle is larger than any state dict's.
    #[error("the pickle has more than {limit} {unit}; a state dict has far fewer")]
    PickleTooLarge {
        /// The most that is accepted.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// A legacy file of a protocol version that no PyTorch release writes.
    #[error("the legacy file has the protocol version {found}, expected 1001")]
    LegacyProtocol {
        /// The version found; -1 where there is no number.
        found: i64,
    },
    /// There is no tensor where a state dict should be.
    #[error("holds no tensors (its top-level entries: {})", entries.join(", "))]
    NoTensors {
        /// Names found instead, at most ten.
        entries: Vec<String>,
    },

    /// A tensor's element type is not one that networks' weights have.
    #[error("elements of the type `{0}` are not supported")]
    ElementType(String),
    /// A storage is declared twice, differently.
    #[error("the storage `{0}` is declared twice, with different types or lengths")]
    StorageRedeclared(String),
    /// A storage has not as many bytes as the pickle says.
    #[error("the storage `{storage}` has {found} bytes, expected {expected}")]
    StorageLength {
        /// The storage's key.
        storage: String,
        /// Elements declared times their size.
        expected: u64,
        /// Bytes stored.
        found: u64,
    },
    /// A tensor reaches beyond its storage.
    #[error(
        "tensor `{tensor}` of shape {shape:?} and strides {strides:?} at offset {offset} reaches beyond its storage of {storage_length} elements"
    )]
    TensorOutside {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in elements.
        strides: Vec<usize>,
        /// Its first element in the storage.
        offset: usize,
        /// Elements in the storage.
        storage_length: usize,
    },
    /// The tensors together are far larger than the file: a decompression bomb made of repeated values.
    #[error("the tensors claim {claimed} values, which a file of {file_length} bytes cannot hold")]
    TooManyValues {
        /// Values in all tensors so far; `usize::MAX` where the product overflows.
        claimed: usize,
        /// Length of the file in bytes.
        file_length: u64,
    },

    /// The header of a safetensors file is not the JSON it should be.
    #[error("the safetensors header is not valid: {0}")]
    Header(#[source] serde_json::Error),
    /// The header is longer than the format allows.
    #[error("the safetensors header claims {claimed} bytes; the format allows {limit}")]
    HeaderTooLarge {
        /// Length claimed.
        claimed: u64,
        /// Most that the format allows.
        limit: u64,
    },
    /// A tensor's bytes don't start where the previous tensor's end.
    #[error("tensor `{tensor}` starts at byte {found} of the data, expected {expected}")]
    Offset {
        /// The tensor's name.
        tensor: String,
        /// Where the previous tensor ends.
        expected: usize,
        /// Where this one starts.
        found: usize,
    },
    /// A tensor has not as many bytes as its shape and type take.
    #[error("tensor `{tensor}` of shape {shape:?} has {found} bytes, expected {expected}")]
    TensorLength {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that the shape and type take; `usize::MAX` where the product overflows.
        expected: usize,
        /// Bytes between its offsets.
        found: usize,
    },
    /// There are bytes after the last tensor.
    #[error("{0} bytes follow the last tensor")]
    TrailingBytes(u64),
}
