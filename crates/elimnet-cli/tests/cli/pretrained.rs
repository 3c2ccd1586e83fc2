//! Checkpoints of networks of the zoo: used as they are, cut, with another head.

use std::collections::BTreeMap;

use elimnet::train::initial_tensors;
use elimnet::weights::{Tensor, write_safetensors};
use elimnet_arch::zoo;

use crate::scene::{RECIPE, Scene, stable};

/// A scene with a checkpoint of ten classes.
fn scene() -> Scene {
    let scene = Scene::new();
    let tensors = initial_tensors(&zoo::mobilenet_v3_small(10), 5).into_iter();
    let tensors: BTreeMap<_, _> =
        tensors.map(|t| (t.name, Tensor { shape: t.shape, values: t.values })).collect();
    write_safetensors(scene.path("zoo.safetensors"), &tensors, &BTreeMap::new()).expect("written");
    scene
}

#[test]
fn a_cut_network_starts_from_what_is_left_of_the_checkpoint() {
    let scene = scene();
    let command = format!("train --model mobilenet_v3_small@features.1 --data photos {RECIPE}");
    let outcome = scene.run(&format!("{command} --weights zoo.safetensors --epochs 1"));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let line = outcome.stderr.lines().find(|line| line.starts_with("weights")).expect("a line about weights");
    stable(&scene).bind(|| insta::assert_snapshot!("what_is_left_of_the_checkpoint", line));
    let card = scene.ok("info exp/latest");
    assert!(card.contains("zoo.safetensors (sha256 "), "{card}");
    let scratch = scene.run(&format!("{command} --weights none --epochs 1"));
    assert!(scratch.stderr.contains("weights   none: training from scratch"), "{}", scratch.stderr);
    let yaml = scene.read("exp/latest/model.yml");
    scene.write("again.yaml", &yaml);
    let parameters = |model: &str| {
        let info = scene.ok(&format!("info {model} --classes 3 --format json"));
        serde_json::from_str::<serde_json::Value>(&info).expect("JSON")["parameters"].clone()
    };
    assert_eq!(parameters("again.yaml"), parameters("mobilenet_v3_small@features.1"), "{yaml}");
}

#[test]
fn a_checkpoint_predicts_as_it_is() {
    let scene = scene();
    scene.write("names.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
    let predict = "predict --model mobilenet_v3_small --weights zoo.safetensors --image-size 32";
    let named = scene.ok(&format!("{predict} --classes-file names.txt photos/test/red --format json"));
    let numbered = scene.ok(&format!("{predict} photos/test/red --format json"));
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    for (named, numbered) in named.lines().map(parse).zip(numbered.lines().map(parse)) {
        assert_eq!(named["logits"], numbered["logits"]);
        assert_eq!(named["probabilities"]["c"], numbered["probabilities"]["2"]);
    }
}

#[test]
fn a_cut_network_has_no_head_to_predict_with() {
    let scene = scene();
    let error = scene
        .error("predict --model mobilenet_v3_small@features.1 --weights zoo.safetensors photos/test/red");
    assert!(error.contains("tensors in `zoo.safetensors` don't fit the network"), "{error}");
}

#[test]
fn a_training_starts_from_a_probe() {
    let scene = scene();
    let command = format!("train --model mobilenet_v3_small@features.1 --data photos {RECIPE}");
    let outcome = scene.run(&format!("{command} --weights zoo.safetensors --head probe"));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("head      a probe of 24 training images\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("(the start)  validation "), "{}", outcome.stderr);
    assert!(scene.read("exp/latest/run.json").contains("\"head\": \"probe\""));
    let fresh = scene.run(&format!("{command} --weights zoo.safetensors --head fresh"));
    assert_eq!(fresh.code, Some(0), "{}", fresh.stderr);
    assert!(!fresh.stderr.contains("(the start)"), "{}", fresh.stderr);
    assert!(scene.read("exp/latest/run.json").contains("\"head\": \"fresh\""));
}

#[test]
fn heads_that_can_not_be_probes_are_refused() {
    let scene = scene();
    let mut text = String::new();
    for more in [
        "--model mobilenet_v3_small@features.1 --data photos --weights none",
        "--model tiny.yaml --data photos",
        "--model mobilenet_v3_small --data photos --weights zoo.safetensors",
        "--resume exp/latest",
    ] {
        text += &format!("{more}\n{}\n", scene.error(&format!("train {more} --head probe")));
    }
    stable(&scene).bind(|| insta::assert_snapshot!("heads_that_can_not_be_probes", text));
}
