//! PyTorch checkpoints: `cargo +nightly fuzz run checkpoint`, seeded with
//! `crates/elimnet/tests/fixtures/weights/*.pth`.
//!
//! Whatever is read has as many values as its shapes say, no more than the file can hold, and survives
//! being saved and read again bit for bit.
#![no_main]

use std::collections::BTreeMap;
use std::io::Cursor;

use elimnet::weights::{Tensor, encode_safetensors, read_checkpoint_from};
use libfuzzer_sys::fuzz_target;

fn bits(tensors: &BTreeMap<String, Tensor>) -> Vec<(&str, &[usize], Vec<u32>)> {
    let bits = |tensor: &Tensor| tensor.values.iter().map(|value| value.to_bits()).collect();
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice(), bits(tensor))).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(checkpoint) = read_checkpoint_from(Cursor::new(bytes), "input") else { return };
    assert!(!checkpoint.tensors.is_empty());
    for tensor in checkpoint.tensors.values() {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
    }
    let values: usize = checkpoint.tensors.values().map(|tensor| tensor.values.len()).sum();
    assert!(values <= 4 * bytes.len());

    if checkpoint.tensors.contains_key("__metadata__") {
        return; // the one name that safetensors cannot store
    }
    let mut saved = Vec::new();
    encode_safetensors(&mut saved, &checkpoint.tensors, &checkpoint.metadata).unwrap();
    let again = read_checkpoint_from(Cursor::new(saved), "saved").unwrap();
    assert_eq!(bits(&again.tensors), bits(&checkpoint.tensors));
    assert_eq!(again.metadata, checkpoint.metadata);
});
