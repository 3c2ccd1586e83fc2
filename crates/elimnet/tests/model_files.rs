//! Model files: what is written is what is read, and what was tampered with is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use elimnet::data::Preprocessing;
use elimnet::model::{
    ModelBase, ModelCard, ModelError, Provenance, load_model, read_card, resolve, save_model,
};
use elimnet::weights::{Tensor, WeightsError, read_checkpoint, write_safetensors};
use elimnet_arch::{Network, zoo};
use elimnet_engine::NamedTensor;

fn network() -> Network {
    zoo::resnet18(1000).cut_at("layer1.0").expect("a cut").with_classes(3)
}

fn card() -> ModelCard {
    ModelCard {
        network: network(),
        cut: Some("layer1.0".to_owned()),
        classes: ["glass", "Übrig", "paper, \"mixed\""].map(str::to_owned).to_vec(),
        preprocessing: Preprocessing::new(96),
        weights_from: Provenance::File { file: "resnet18.pth".to_owned(), sha256: "ab".repeat(32) },
        metrics: BTreeMap::from([("validation.loss".to_owned(), 0.1 + 0.2)]),
        seed: u64::MAX,
        tool_version: "0.1.0".to_owned(),
    }
}

/// Values that differ from each other and among tensors, with a negative zero and a subnormal among them.
fn tensors() -> Vec<NamedTensor> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(state & 0xbfff_ffff)
    };
    let specs = network().tensors();
    let values = |spec: &elimnet_arch::TensorSpec, next: &mut dyn FnMut() -> f32| match spec.name.as_str() {
        name if name.ends_with("num_batches_tracked") => vec![7.0],
        _ => (0..spec.len()).map(|_| next()).collect(),
    };
    specs
        .iter()
        .map(|spec| NamedTensor {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            values: values(spec, &mut next),
        })
        .collect()
}

fn named(tensors: Vec<NamedTensor>) -> BTreeMap<String, Tensor> {
    let named = |tensor: NamedTensor| (tensor.name, Tensor { shape: tensor.shape, values: tensor.values });
    tensors.into_iter().map(named).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn saved(&self) -> PathBuf {
        let path = self.path("best.safetensors");
        save_model(&path, &card(), &tensors()).expect("saved");
        path
    }
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit() {
    let folder = Folder::new();
    let model = load_model(&folder.saved()).expect("loaded");
    assert_eq!(model.card, card());
    let bits = |tensors: &[NamedTensor]| -> Vec<(String, Vec<usize>, Vec<u32>)> {
        let bits = |t: &NamedTensor| t.values.iter().map(|value| value.to_bits()).collect();
        tensors.iter().map(|t| (t.name.clone(), t.shape.clone(), bits(t))).collect()
    };
    assert!(bits(&model.tensors) == bits(&tensors()), "the tensors differ");
}

#[test]
fn saving_refuses_what_could_not_be_loaded() {
    let folder = Folder::new();
    let path = folder.path("best.safetensors");
    let mut few = tensors();
    few.pop();
    let error = save_model(&path, &card(), &few).expect_err("a tensor is missing");
    assert_eq!(error.to_string(), "tensor `fc.bias` is missing (in `best.safetensors`)");
    let mut misnamed = card();
    misnamed.classes.pop();
    assert!(matches!(
        save_model(&path, &misnamed, &tensors()),
        Err(ModelError::Classes { names: 2, outputs: 3, .. })
    ));
    assert_eq!(std::fs::read_dir(folder.0.path()).expect("listed").count(), 0, "something was written");
}

/// Writes the saved model again with other metadata.
fn tampered(folder: &Folder, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<(), ModelError> {
    let mut metadata = read_checkpoint(folder.saved()).expect("read").metadata;
    change(&mut metadata);
    let path = folder.path("tampered.safetensors");
    write_safetensors(&path, &named(tensors()), &metadata).expect("written");
    load_model(&path).map(drop)
}

#[test]
fn each_way_of_tampering_has_its_error() {
    type Change = fn(&mut BTreeMap<String, String>);
    type Expected = fn(&ModelError) -> bool;
    let network_with = |change: fn(&mut Network)| {
        let mut network = network();
        change(&mut network);
        serde_json::to_string(&network).expect("JSON")
    };
    let no_head = network_with(|network| network.head.clear());
    let reads_ahead = network_with(|network| network.blocks[0].layers[0].inputs = vec![9]);
    let narrower = serde_json::to_string(&zoo::resnet18(3)).expect("JSON");
    let cases: [(&str, Change, Expected); 5] = [
        ("not ours", BTreeMap::clear, |e| matches!(e, ModelError::Foreign { .. })),
        (
            "another format",
            |m| drop(m.insert("elimnet.format".to_owned(), "2".to_owned())),
            |e| matches!(e, ModelError::Format { found, .. } if found == "2"),
        ),
        (
            "no class names",
            |m| drop(m.remove("elimnet.classes")),
            |e| matches!(e, ModelError::MissingKey { key: "elimnet.classes", .. }),
        ),
        (
            "broken JSON",
            |m| drop(m.insert("elimnet.seed".to_owned(), "-1".to_owned())),
            |e| matches!(e, ModelError::Value { key: "elimnet.seed", .. }),
        ),
        (
            "a name too few",
            |m| drop(m.insert("elimnet.classes".to_owned(), "[\"a\"]".to_owned())),
            |e| matches!(e, ModelError::Classes { names: 1, outputs: 3, .. }),
        ),
    ];
    let folder = Folder::new();
    for (name, change, expected) in cases {
        let error = tampered(&folder, change).expect_err(name);
        assert!(expected(&error), "{name}: {error}");
    }
    for (name, network) in [("no head", no_head), ("reads ahead", reads_ahead)] {
        let error =
            tampered(&folder, |m| drop(m.insert("elimnet.network".to_owned(), network))).expect_err(name);
        assert!(matches!(error, ModelError::Network { .. }), "{name}: {error}");
    }
    for (size, std) in [(0, 0.2), (1 << 20, 0.2), (32, 0.0), (32, -1.0)] {
        let mut preprocessing = Preprocessing::new(size);
        preprocessing.std[1] = std;
        let text = serde_json::to_string(&preprocessing).expect("JSON");
        let error = tampered(&folder, |m| drop(m.insert("elimnet.preprocessing".to_owned(), text)));
        assert!(matches!(error, Err(ModelError::Preprocessing { .. })), "{size} {std}: {error:?}");
    }
    let error =
        tampered(&folder, |m| drop(m.insert("elimnet.network".to_owned(), narrower))).expect_err("wider");
    let ModelError::Weights(WeightsError::Mismatch { report, .. }) = &error else { panic!("{error}") };
    assert!(report.missing.contains(&"layer4.1.conv2.weight".to_owned()), "{report}");
    assert_eq!(report.mismatched[0].expected, [3, 512], "{report}");
}

#[test]
fn a_foreign_file_is_told_how_to_be_used() {
    let folder = Folder::new();
    let path = folder.path("foreign.safetensors");
    write_safetensors(&path, &named(tensors()), &BTreeMap::new()).expect("written");
    let error = read_card(&path).expect_err("foreign");
    assert!(error.hint().is_some_and(|hint| hint.contains("--model NAME")), "{error}");
}

#[test]
fn models_are_named_in_every_way() {
    let folder = Folder::new();
    let run = folder.path("run");
    std::fs::create_dir(&run).expect("created");
    let file = run.join("best.safetensors");
    std::fs::rename(folder.saved(), &file).expect("moved");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let cases: [(String, &str, Option<&str>); 6] = [
        ("resnet18".to_owned(), "resnet18", None),
        ("resnet18@layer2.1".to_owned(), "resnet18@layer2.1", Some("layer2.1")),
        ("resnet18@128".to_owned(), "resnet18@layer2.1", Some("128")),
        (text(&file), "resnet18@layer1.0", None),
        (text(&run), "resnet18@layer1.0", None),
        (format!("{}@maxpool", text(&run)), "resnet18@maxpool", Some("maxpool")),
    ];
    for (name, network, cut) in cases {
        let source = resolve(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(source.cut.as_deref(), cut, "{name}");
        assert_eq!(source.network().expect("a network").name, network, "{name}");
    }
    let model = resolve(&text(&run)).expect("resolved").model().expect("loaded").expect("a model");
    assert_eq!(model.card, card());
    assert!(matches!(resolve("resnet18").expect("resolved").base, ModelBase::Zoo(_)));
}

#[test]
fn what_does_not_exist_is_told_apart() {
    let folder = Folder::new();
    let empty = folder.0.path().to_str().expect("UTF-8").to_owned();
    let text_file = folder.path("notes.txt");
    std::fs::write(&text_file, "notes").expect("written");
    let error = |text: &str| resolve(text).and_then(|source| source.network()).expect_err(text);
    let ModelError::Unknown { text, nearest } = error("resnet-18@layer2.1") else { panic!("not unknown") };
    assert_eq!((text.as_str(), nearest), ("resnet-18", vec!["resnet18".to_owned()]));
    assert!(matches!(error("configs/nothing.yaml"), ModelError::Missing { .. }));
    assert!(matches!(error(&empty), ModelError::NotARun { .. }));
    assert!(matches!(error(text_file.to_str().expect("UTF-8")), ModelError::Extension { .. }));
    assert!(matches!(error("resnet18@layer9"), ModelError::Cut(_)));
}
