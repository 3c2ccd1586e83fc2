//! Image files of all formats: `cargo +nightly fuzz run image_file`, seeded with
//! `crates/elimnet/tests/fixtures/images/decode/*`.
//!
//! What is decoded has the pixels that it says, within the limit, and is the same the second time. What is refused says why.
#![no_main]

use elimnet::data::{MAX_PIXELS, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match decode(bytes) {
        Ok(image) => {
            assert!(image.width > 0 && image.height > 0 && image.width * image.height <= MAX_PIXELS);
            assert_eq!(image.rgb.len(), image.width * image.height * 3);
            assert_eq!(decode(bytes).unwrap(), image);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
