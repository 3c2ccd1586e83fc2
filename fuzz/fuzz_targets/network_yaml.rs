//! Model files: `cargo +nightly fuzz run network_yaml`, seeded with `configs/model/*.yaml`.
//!
//! What is read is a valid network that can be counted, shape-inferred and cut anywhere without a panic, and every cut of it
//! costs what the list of cuts says. What is refused is refused with the file's name.
#![no_main]

use elimnet_arch::yaml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let network = match yaml::parse(text, "input.yaml") {
        Ok(file) => file.network,
        Err(error) => {
            assert!(error.to_string().starts_with("input.yaml:"), "{error}");
            return;
        }
    };
    network.validate().unwrap();
    let numbers: usize =
        network.tensors().iter().filter(|tensor| tensor.kind.is_parameter()).map(|tensor| tensor.len()).sum();
    assert_eq!(numbers, network.parameters());
    let input = network.input_shape(64);
    let Ok(cuts) = network.cuts(input) else { return };
    assert_eq!(cuts.len(), network.blocks.len());
    for cut in cuts.iter().take(8) {
        let short = network.cut_after(cut.index);
        assert_eq!(short.parameters(), cut.parameters);
        assert_eq!(short.multiply_adds(input), Ok(cut.multiply_adds));
        if let Some(text) = yaml::to_text(&short, true) {
            assert_eq!(yaml::parse(&text, "again.yaml").unwrap().network.blocks, short.blocks);
        }
    }
});
