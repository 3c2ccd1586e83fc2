//! Reads `.safetensors`: a 64-bit header length, a JSON header, and the numbers.
//!
//! The crate `safetensors` wants the whole file in memory beside the numbers, and reports what is wrong
//! without saying where; it is the oracle of our tests instead. Its rules are kept: offsets are
//! contiguous, lengths follow from shapes, and nothing comes after the last tensor.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use serde::Deserialize;

use super::checkpoint::Tensor;
use super::element::Element;
use super::fault::Fault;
use super::input::Input;
use super::state_dict::without_wrappers;

/// The format's own limit.
const MOST_HEADER_BYTES: u64 = 100_000_000;

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Info>,
}

#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

type TensorsAndMetadata = (BTreeMap<String, Tensor>, BTreeMap<String, String>);

pub(super) fn read<R: Read + Seek>(input: &mut Input<R>) -> Result<TensorsAndMetadata, Fault> {
    let length = input.read_at(0, 8, "the length of the header")?;
    let length = length.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    if length > MOST_HEADER_BYTES {
        return Err(Fault::HeaderTooLarge { claimed: length, limit: MOST_HEADER_BYTES });
    }
    let header = input.read_at(8, length, "the header")?;
    let header: Header = serde_json::from_slice(&header).map_err(Fault::Header)?;
    let data_offset = 8 + length;
    check_offsets(&header.tensors, input.length() - data_offset)?;
    if header.tensors.is_empty() {
        return Err(Fault::NoTensors { entries: header.metadata.into_keys().take(10).collect() });
    }
    let mut tensors = BTreeMap::new();
    for (name, info) in header.tensors {
        let (start, end) = info.data_offsets;
        let element = Element::from_safetensors(&info.dtype)?;
        let bytes =
            input.read_at(data_offset + start as u64, (end - start) as u64, &format!("tensor `{name}`"))?;
        tensors.insert(name, Tensor { shape: info.shape, values: element.decode(&bytes) });
    }
    Ok((without_wrappers(tensors), header.metadata))
}

/// Checks that the tensors fill the data without gap, overlap or rest, each as its shape says.
fn check_offsets(tensors: &BTreeMap<String, Info>, data_length: u64) -> Result<(), Fault> {
    let mut in_order: Vec<_> = tensors.iter().collect();
    in_order.sort_by_key(|(_, info)| info.data_offsets);
    let mut expected_start = 0;
    for (name, info) in in_order {
        let (start, end) = info.data_offsets;
        if start != expected_start || end < start {
            return Err(Fault::Offset { tensor: name.clone(), expected: expected_start, found: start });
        }
        let expected = byte_length(info)?;
        if end - start != expected {
            return Err(Fault::TensorLength {
                tensor: name.clone(),
                shape: info.shape.clone(),
                expected,
                found: end - start,
            });
        }
        expected_start = end;
    }
    match data_length.checked_sub(expected_start as u64) {
        Some(0) => Ok(()),
        Some(rest) => Err(Fault::TrailingBytes(rest)),
        None => Err(Fault::PastEnd {
            what: "the tensors' data".to_owned(),
            offset: 0,
            length: expected_start as u64,
            file_length: data_length,
        }),
    }
}

/// Bytes that a tensor's shape and type take, `usize::MAX` where that overflows.
fn byte_length(info: &Info) -> Result<usize, Fault> {
    let size = Element::from_safetensors(&info.dtype)?.size();
    let length = info.shape.iter().try_fold(size, |product, &side| product.checked_mul(side));
    Ok(length.unwrap_or(usize::MAX))
}
