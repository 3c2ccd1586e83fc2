//! The files under `configs/model/`: what a user runs unchanged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use elimnet_arch::yaml::{self, ModelFile};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/model")
}

/// Every file with its text, by its name without ending.
fn texts() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder()).expect("the folder is there");
    entries
        .map(|entry| {
            let path = entry.expect("readable").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("readable"))
        })
        .collect()
}

fn parse(name: &str, text: &str) -> ModelFile {
    yaml::parse(text, &format!("{name}.yaml")).unwrap_or_else(|error| panic!("{error}"))
}

/// Classes in the file: six, as the seed's data have, but for the one that the seed leaves at ImageNet's.
fn classes(name: &str) -> usize {
    if name == "mobilenet_v2" { 1000 } else { 6 }
}

#[test]
fn parameters_are_the_seeds_and_the_comments_say_so() {
    let texts = texts();
    let expected = [
        ("efficientnet_b0", 4_015_234),
        ("efficientnet_b0_elim_1", 3_012_562),
        ("efficientnet_b0_elim_2", 909_414),
        ("efficientnet_b0_elim_3", 309_146),
        ("mnasnet", 3_109_998),
        ("mobilenet_v2", 3_505_872),
        ("mobilenet_v3", 4_210_998),
        ("mobilenet_v3_large", 2_977_718),
        ("mobilenet_v3_large_elim_1", 2_817_398),
        ("mobilenet_v3_large_elim_2", 793_166),
        ("mobilenet_v3_large_elim_3", 192_430),
        ("nas_dwconv_inverted_residual_v3", 84_446),
        ("nas_mbconv", 328_778),
        ("resnet18", 11_179_590),
        ("resnet18_elim_1", 2_784_326),
        ("resnet18_elim_2", 683_846),
        ("resnet18_elim_2_conv_2", 979_270),
        ("vgg11", 9_223_558),
        ("vgg11_elim_2", 4_503_942),
        ("vgg11_elim_4", 962_438),
    ];
    let names: Vec<_> = texts.keys().map(String::as_str).collect();
    assert_eq!(names, expected.map(|(name, _)| name));
    for (name, parameters) in expected {
        let network = parse(name, &texts[name]).network;
        assert_eq!(network.parameters(), parameters, "{name}");
        assert_eq!(network.classes(), classes(name), "{name}");
        let comment = format!("# {} parameters with {} classes.\n", grouped(parameters), classes(name));
        assert!(texts[name].contains(&comment), "{name}: no line {comment:?}");
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8(groups.join(&b',')).expect("digits")
}

#[test]
fn every_file_is_a_network_for_photos_of_any_usual_size() {
    for (name, text) in texts() {
        let network = parse(&name, &text).network.with_classes(10);
        network.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
        for size in [64, 150, 224] {
            let input = network.input_shape(size);
            let rows = network.rows(input).unwrap_or_else(|error| panic!("{name} at {size}: {error}"));
            assert_eq!(rows.last().expect("a row").output_shape, [10, 1, 1], "{name}");
            assert!(network.multiply_adds(input).expect("fits") > network.parameters() as u64 / 2, "{name}");
        }
    }
}

#[test]
fn pretrained_trunks_say_whose_weights_fit() {
    for (name, text) in texts() {
        let file = parse(&name, &text);
        let expected = match name.as_str() {
            "mobilenet_v2" | "mobilenet_v3" => None,
            name if name.starts_with("nas_") => None,
            name if name.starts_with("efficientnet_b0") => Some("efficientnet_b0"),
            name if name.starts_with("resnet18") => Some("resnet18"),
            name if name.starts_with("mobilenet_v3_large") => Some("mobilenet_v3_large"),
            name if name.starts_with("vgg11") => Some("vgg11"),
            "mnasnet" => Some("mnasnet1_0"),
            other => panic!("which weights fit {other}?"),
        };
        assert_eq!(file.network.pretrained_as.as_deref(), expected, "{name}");
        assert_eq!(file.pretrained, expected.is_some(), "{name}");
    }
}

/// The trunk of the file that writes MobileNetV2 out has torchvision's tensors, all but their names.
#[test]
fn mobilenet_v2_written_out_is_torchvisions() {
    let ours = parse("mobilenet_v2", &texts()["mobilenet_v2"]).network;
    let theirs = elimnet_arch::zoo::mobilenet_v2(1000);
    let trunk = |network: &elimnet_arch::Network| -> Vec<_> {
        let tensors = network.tensors().into_iter().filter(|tensor| tensor.block < network.blocks.len());
        tensors.map(|tensor| (tensor.shape, tensor.kind)).collect()
    };
    assert_eq!(trunk(&ours), trunk(&theirs));
    let input = ours.input_shape(224);
    let last = ours.blocks.len() - 1;
    assert_eq!(
        ours.costs(input).expect("fits")[last].output,
        theirs.costs(input).expect("fits")[last].output
    );
}
