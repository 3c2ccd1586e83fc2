//! Image files of all formats: `cargo +nightly fuzz run image_file`, seeded with
//! `crates/elimnet/tests/fixtures/images/decode/*`.
//!
//! What is decoded has the pixels that it says, within the limit, and is the same the second time. What is refused says why.
#![no_main]

use elimnet::data::{Detail, MAX_PIXELS, decode, decode_with};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match decode(bytes) {
        Ok(image) => {
            assert!(image.width > 0 && image.height > 0 && image.width * image.height <= MAX_PIXELS);
            assert_eq!(image.rgb.len(), image.width * image.height * 3);
            assert_eq!(decode(bytes).unwrap(), image);
            // The smallest part of it, which another decoder may read.
            let part = decode_with(bytes, Detail::Square { side: 1, padded: true }).unwrap();
            assert!(part.width <= image.width && part.height <= image.height);
            assert_eq!(part.rgb.len(), part.width * part.height * 3);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
