use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::atomic::write_atomically;
use super::checkpoint::Tensor;
use super::error::WeightsError;

/// The header's entry for texts.
const METADATA: &str = "__metadata__";

/// Saves tensors and texts as `.safetensors`, which `safetensors.torch.load_file` reads.
///
/// The file appears complete or not at all; an existing one is replaced at once. The same content always
/// gives the same bytes. Numbers are stored as f32, except batch norm's counters (`num_batches_tracked`),
/// which are 64-bit integers as in torchvision.
///
/// # Errors
/// [`WeightsError::Write`] where the folder is missing, not writable, or full.
///
/// # Panics
/// If a tensor has not as many values as its shape says.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    write_atomically(path, |writer| encode_safetensors(writer, tensors, metadata))
        .map_err(|source| WeightsError::Write { path: path.to_owned(), source })
}

/// Writes what [`write_safetensors`] saves to any writer.
///
/// # Errors
/// The writer's, and `InvalidInput` for a tensor with the format's own name `__metadata__`.
///
/// # Panics
/// If a tensor has not as many values as its shape says.
pub fn encode_safetensors(
    writer: &mut impl Write,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    if tensors.contains_key(METADATA) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "safetensors has no tensors called `__metadata__`",
        ));
    }
    let (integers, floats): (Vec<_>, Vec<_>) =
        tensors.iter().partition(|(name, tensor)| is_counter(name, tensor));
    let mut header = serde_json::to_vec(&header(&integers, &floats, metadata))?;
    // Readers map the file into memory and want the numbers aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(&header)?;
    for (_, tensor) in integers {
        write_each(writer, &tensor.values, |value| (value as i64).to_le_bytes())?;
    }
    for (_, tensor) in floats {
        write_each(writer, &tensor.values, f32::to_le_bytes)?;
    }
    Ok(())
}

/// Whether a tensor is one of batch norm's counters and can be an integer without loss.
fn is_counter(name: &str, tensor: &Tensor) -> bool {
    let is_exact = |value: &f32| (*value as i64 as f32).to_bits() == value.to_bits();
    name.ends_with("num_batches_tracked") && tensor.values.iter().all(is_exact)
}

type NamedTensor<'a> = (&'a String, &'a Tensor);

/// The JSON header. Wider elements come first, then names in order, as the reference implementation does.
fn header(
    integers: &[NamedTensor<'_>],
    floats: &[NamedTensor<'_>],
    metadata: &BTreeMap<String, String>,
) -> Value {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert(METADATA.to_owned(), json!(metadata));
    }
    let mut start = 0;
    for (dtype, size, tensors) in [("I64", 8, integers), ("F32", 4, floats)] {
        for (name, tensor) in tensors {
            let count = tensor.shape.iter().product::<usize>();
            assert_eq!(tensor.values.len(), count, "tensor `{name}` has the shape {:?}", tensor.shape);
            let end = start + size * count;
            let info = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]});
            header.insert((*name).clone(), info);
            start = end;
        }
    }
    Value::Object(header)
}

/// Writes numbers through a small buffer, so that no second copy of them is made.
fn write_each<const SIZE: usize>(
    writer: &mut impl Write,
    values: &[f32],
    encode: impl Fn(f32) -> [u8; SIZE],
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(SIZE * values.len().min(1 << 14));
    for block in values.chunks(1 << 14) {
        bytes.clear();
        bytes.extend(block.iter().flat_map(|&value| encode(value)));
        writer.write_all(&bytes)?;
    }
    Ok(())
}
