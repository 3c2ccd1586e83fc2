//! Data YAMLs: `cargo +nightly fuzz run data_yaml`, seeded with `configs/data/*.yaml`.
//!
//! What is read, written and read again stays the same.
#![no_main]

use std::path::Path;

use elimnet::data::DataConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("input.yaml");
    let Ok(config) = DataConfig::parse(text, path) else { return };
    assert!(config.image_size > 0 && config.batch_size > 0 && config.epochs > 0);
    assert!(config.learning_rate > 0.0);
    assert_eq!(DataConfig::parse(&config.to_yaml(), path).unwrap(), config);
});
