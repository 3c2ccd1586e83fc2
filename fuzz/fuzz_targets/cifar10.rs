//! Batches of CIFAR-10: `cargo +nightly fuzz run cifar10`.
//!
//! What is read has a known label for each whole record and no byte left over.
#![no_main]

use elimnet::data::parse_cifar10_labels;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, classes) = (input.0, usize::from(input.1));
    let Ok(labels) = parse_cifar10_labels(bytes, classes) else { return };
    assert_eq!(labels.len() * 3073, bytes.len());
    assert!(labels.iter().all(|&label| label < classes));
});
