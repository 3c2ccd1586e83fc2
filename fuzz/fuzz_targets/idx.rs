//! IDX files: `cargo +nightly fuzz run idx`.
//!
//! What is read fills its sizes exactly and is the whole rest of the file.
#![no_main]

use elimnet::data::parse_idx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((sizes, values)) = parse_idx(bytes) else { return };
    assert_eq!(sizes.iter().product::<usize>(), values.len());
    assert_eq!(4 + 4 * sizes.len() + values.len(), bytes.len());
    assert!(bytes.ends_with(values));
});
