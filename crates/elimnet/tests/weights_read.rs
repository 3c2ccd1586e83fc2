//! Reading checkpoints that PyTorch wrote (`reference/write_checkpoints.py`).

use std::path::{Path, PathBuf};

use elimnet::weights::{Checkpoint, Fault, Format, Tensor, WeightsError, read_checkpoint};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights").join(name)
}

fn read(name: &str) -> Checkpoint {
    read_checkpoint(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

fn fault(name: &str) -> Fault {
    match read_checkpoint(fixture(name)) {
        Err(WeightsError::Malformed { fault, .. }) => fault,
        other => panic!("{name}: expected a fault, found {other:?}"),
    }
}

fn tensor(shape: &[usize], values: impl IntoIterator<Item = f32>) -> Tensor {
    Tensor { shape: shape.to_vec(), values: values.into_iter().collect() }
}

/// What `state_dict()` in the script holds.
fn plain() -> [(&'static str, Tensor); 3] {
    [
        ("bn.num_batches_tracked", tensor(&[], [7.0])),
        ("conv.bias", tensor(&[2], [-1.0, 2.0])),
        ("conv.weight", tensor(&[2, 3, 1, 2], (0..12).map(|i| i as f32 / 2.0))),
    ]
}

#[test]
fn every_layout_and_element_type_holds_the_same_state_dict() {
    let cases = [
        ("zip.pth", Format::TorchZip),
        ("legacy.pth", Format::TorchLegacy),
        ("protocol_4.pth", Format::TorchZip),
        ("f16.pth", Format::TorchZip),
        ("bf16.pth", Format::TorchZip),
        ("f64.pth", Format::TorchZip),
        ("nested_state_dict.pth", Format::TorchZip),
        ("nested_model.pth", Format::TorchZip),
        ("nested_model_state.pth", Format::TorchZip),
        ("nested_model_state_dict.pth", Format::TorchZip),
        ("data_parallel.pth", Format::TorchZip),
        ("plain.safetensors", Format::Safetensors),
        ("f16.safetensors", Format::Safetensors),
        ("bf16.safetensors", Format::Safetensors),
    ];
    for (name, format) in cases {
        let checkpoint = read(name);
        assert_eq!(checkpoint.format, format, "{name}");
        let found: Vec<_> =
            checkpoint.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        assert_eq!(found, plain(), "{name}");
    }
}

#[test]
fn the_layout_is_found_from_the_content_not_from_the_name() {
    let folder = tempfile::tempdir().unwrap();
    for (source, format) in [("zip.pth", Format::TorchZip), ("plain.safetensors", Format::Safetensors)] {
        let misnamed = folder.path().join(if source.ends_with("pth") { "a.safetensors" } else { "b.pth" });
        std::fs::copy(fixture(source), &misnamed).unwrap();
        assert_eq!(read_checkpoint(&misnamed).unwrap().format, format);
    }
}

#[test]
fn views_come_out_in_the_order_in_which_they_are_indexed() {
    for name in ["views.pth", "views_legacy.pth"] {
        let tensors = read(name).tensors;
        let transposed = (0..6).flat_map(|column| (0..4).map(move |row| (6 * row + column) as f32));
        assert_eq!(tensors["transposed"], tensor(&[6, 4], transposed), "{name}");
        assert_eq!(tensors["tail"], tensor(&[4], [20.0, 21.0, 22.0, 23.0]), "{name}");
        let odd_columns = (0..4).flat_map(|row| [1, 3, 5].map(|column| (6 * row + column) as f32));
        assert_eq!(tensors["every_other_column"], tensor(&[4, 3], odd_columns), "{name}");
        assert_eq!(tensors["expanded"], tensor(&[2, 2], [3.0; 4]), "{name}");
        assert_eq!(tensors["scalar"], tensor(&[], [1.5]), "{name}");
        assert_eq!(tensors["empty"], tensor(&[0, 3], []), "{name}");
        assert_eq!(tensors.len(), 6, "{name}");
    }
}

#[test]
fn trained_parameters_are_tensors_too() {
    let tensors = read("parameters.pth").tensors;
    assert_eq!(tensors["conv.bias"], plain()[1].1);
    assert_eq!(tensors["conv.weight"], plain()[2].1);
}

#[test]
fn metadata_of_safetensors_is_kept() {
    let metadata = read("plain.safetensors").metadata;
    assert_eq!(metadata.into_iter().collect::<Vec<_>>(), [("note".to_owned(), "café".to_owned())]);
}

#[test]
fn code_is_refused_by_name() {
    for (file, name) in [
        ("malicious.pth", "posix.system"),
        ("malicious_legacy.pth", "posix.system"),
        ("whole_module.pth", "torch.nn.modules.linear.Linear"),
        ("unknown_class.pth", "__main__.Callback"),
    ] {
        assert!(matches!(fault(file), Fault::Refused(found) if found == name), "{file}: {}", fault(file));
        let error = read_checkpoint(fixture(file)).unwrap_err();
        assert!(error.to_string().contains(file), "the message names the file: {error}");
        assert!(error.hint().unwrap().contains("state_dict()"), "{file}");
    }
}

#[test]
fn a_checkpoint_without_tensors_says_what_it_has() {
    assert!(
        matches!(fault("no_tensors.pth"), Fault::NoTensors { entries } if entries == ["epoch", "history"])
    );
}

#[test]
fn complex_numbers_are_no_weights() {
    assert!(matches!(fault("complex.pth"), Fault::ElementType(name) if name == "torch.ComplexFloatStorage"));
}

/// The folder with weights that PyTorch really trained, where this machine has it.
fn trained_weights(file: &str) -> Option<PathBuf> {
    let beside_workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("ELIMNET_SHARED").map_or_else(beside_workspace, PathBuf::from);
    let path = shared.join("weights").join(file);
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there; set ELIMNET_SHARED", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn trained_networks_are_complete() {
    // The numbers of entries are torchvision's: len(torchvision.models.resnet18().state_dict()).
    for (file, count, head, head_shape) in [
        ("resnet18-tiny-imagenet.pth", 122, "fc.weight", [200, 512]),
        ("efficientnet_b0-tiny-imagenet.pth", 360, "classifier.1.weight", [200, 1280]),
        ("mobilenet_v3_large-tiny-imagenet.pth", 312, "classifier.3.weight", [200, 1280]),
    ] {
        let Some(path) = trained_weights(file) else { continue };
        let tensors = read_checkpoint(path).unwrap().tensors;
        assert_eq!(tensors.len(), count, "{file}");
        assert_eq!(tensors[head].shape, head_shape, "{file}");
        for (name, tensor) in &tensors {
            assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>(), "{file}: {name}");
            assert!(tensor.values.iter().all(|value| value.is_finite()), "{file}: {name}");
        }
    }
}
