//! Safetensors: `cargo +nightly fuzz run safetensors`, seeded with
//! `crates/elimnet/tests/fixtures/weights/*.safetensors`.
//!
//! The input is a header; the length and the data are made to fit, so that most runs get past them. What
//! is read holds exactly the bytes that follow the header, and saving it twice gives the same file.
#![no_main]

use std::io::Cursor;

use elimnet::weights::{encode_safetensors, read_checkpoint_from};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u16)| {
    let (header, data_length) = input;
    let data = (0..data_length).map(|index| index as u8);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    let Ok(checkpoint) = read_checkpoint_from(Cursor::new(&bytes), "input") else { return };
    let values: usize = checkpoint.tensors.values().map(|tensor| tensor.values.len()).sum();
    assert!(values <= usize::from(data_length), "an element takes at least a byte");

    let encode = |checkpoint: &elimnet::weights::Checkpoint| {
        let mut saved = Vec::new();
        encode_safetensors(&mut saved, &checkpoint.tensors, &checkpoint.metadata).unwrap();
        saved
    };
    let saved = encode(&checkpoint);
    let again = read_checkpoint_from(Cursor::new(&saved), "saved").unwrap();
    assert_eq!(again.metadata, checkpoint.metadata);
    assert_eq!(encode(&again), saved);
});
