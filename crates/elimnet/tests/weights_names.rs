//! timm's names and torchvision's publications, against what `reference/write_names.py` found in both.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use elimnet::weights::{Interpolation, PRETRAINED, Source, Tensor, encode_safetensors, read_checkpoint_from};
use serde::Deserialize;

const NETWORKS: [&str; 7] = [
    "resnet18",
    "efficientnet_b0",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mobilenet_v2",
    "mnasnet1_0",
    "vgg11",
];

#[derive(Deserialize)]
struct Names {
    published: Published,
    /// timm's name and shape, torchvision's name and shape.
    tensors: Vec<(String, Vec<usize>, String, Vec<usize>)>,
}

#[derive(Deserialize)]
struct Published {
    url: String,
    classes: usize,
    resize: usize,
    crop: usize,
    interpolation: String,
    mean: [f32; 3],
    std: [f32; 3],
}

fn names(network: &str) -> Names {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights");
    let text = std::fs::read_to_string(folder.join(format!("names_{network}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

type Tensors = BTreeMap<String, Tensor>;

/// Reads tensors as if they came from a file.
fn read(tensors: &Tensors) -> Tensors {
    let mut bytes = Vec::new();
    encode_safetensors(&mut bytes, tensors, &BTreeMap::new()).unwrap();
    read_checkpoint_from(Cursor::new(bytes), "memory").unwrap().tensors
}

/// A tensor whose values are its number and a half.
fn numbered(number: usize, shape: &[usize]) -> Tensor {
    Tensor { shape: shape.to_vec(), values: vec![number as f32 + 0.5; shape.iter().product()] }
}

#[test]
fn timm_names_map_one_to_one_onto_torchvision() {
    for network in NETWORKS.into_iter().filter(|network| *network != "vgg11") {
        let rows = names(network).tensors;
        let timm: Tensors =
            rows.iter().enumerate().map(|(number, row)| (row.0.clone(), numbered(number, &row.1))).collect();
        let mut found = read(&timm);
        let eps_difference = if network.starts_with("mobilenet_v3") { 1e-3 - 1e-5 } else { 0.0 };
        for (number, (_, _, name, shape)) in rows.into_iter().enumerate() {
            let tensor = found.remove(&name).unwrap_or_else(|| panic!("{network}: `{name}` is missing"));
            let shift = if name.ends_with("running_var") { eps_difference } else { 0.0 };
            assert_eq!(tensor.shape, shape, "{network}: {name}");
            assert!(
                tensor.values.iter().all(|&value| value == number as f32 + 0.5 - shift),
                "{network}: {name}"
            );
        }
        assert!(found.is_empty(), "{network}: {:?} are left over", found.keys());
    }
}

#[test]
fn vgg_convolutions_become_matrices_with_the_same_order_of_inputs() {
    // The real layers have a hundred million values; names and dimensions are what matters.
    let rows = names("vgg11").tensors;
    let small =
        |shape: &[usize]| shape.iter().map(|&side| if side > 7 { 2 } else { side }).collect::<Vec<_>>();
    let counting = |shape: Vec<usize>| {
        let count = shape.iter().product::<usize>();
        Tensor { shape, values: (0..count).map(|value| value as f32).collect() }
    };
    let timm: Tensors = rows.iter().map(|row| (row.0.clone(), counting(small(&row.1)))).collect();
    let found = read(&timm);
    assert_eq!(found.len(), rows.len());
    for (timm_name, timm_shape, name, shape) in rows {
        assert_eq!(found[&name].values, timm[&timm_name].values, "{name}");
        assert_eq!(found[&name].shape.len(), shape.len(), "{name}");
        assert_eq!(timm_shape.iter().product::<usize>(), shape.iter().product::<usize>(), "{name}");
    }
    assert_eq!(found["classifier.0.weight"].shape, [2, 2 * 7 * 7]);
}

#[test]
fn torchvision_names_are_left_alone() {
    for network in NETWORKS {
        let rows = names(network).tensors;
        let small = |row: &(String, Vec<usize>, String, Vec<usize>)| {
            (row.2.clone(), numbered(3, &vec![1; row.3.len()]))
        };
        let torchvision: Tensors = rows.iter().map(small).collect();
        assert_eq!(read(&torchvision), torchvision, "{network}");
    }
}

#[test]
fn a_name_that_timm_does_not_have_is_kept_for_the_report() {
    let mut timm: Tensors =
        names("mobilenet_v2").tensors.iter().map(|row| (row.0.clone(), numbered(1, &row.1))).collect();
    timm.insert("blocks.0.0.attention.weight".to_owned(), numbered(2, &[1]));
    let found = read(&timm);
    assert_eq!(found.len(), timm.len());
    assert_eq!(found["blocks.0.0.attention.weight"], numbered(2, &[1]));
}

#[test]
fn the_table_of_pretrained_weights_is_torchvisions() {
    assert_eq!(PRETRAINED.iter().map(|weights| weights.network).collect::<Vec<_>>(), NETWORKS);
    for weights in PRETRAINED {
        let published = names(weights.network).published;
        assert_eq!(format!("{}{}", Source::TORCHVISION, weights.file), published.url);
        assert_eq!(
            (weights.classes, weights.resize, weights.crop),
            (published.classes, published.resize, published.crop)
        );
        assert_eq!((weights.mean, weights.std), (published.mean, published.std));
        let interpolation = match weights.interpolation {
            Interpolation::Bilinear => "bilinear",
            Interpolation::Bicubic => "bicubic",
        };
        assert_eq!(interpolation, published.interpolation);
        let digits = weights.hash_prefix();
        assert!(digits.len() >= 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digits}");
    }
}

#[test]
fn names_of_both_libraries_for_one_tensor_are_not_merged() {
    let both: Tensors = ["conv_stem.weight", "features.0.0.weight"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| (name.to_owned(), numbered(number, &[1])))
        .collect();
    assert_eq!(read(&both), both);
}
