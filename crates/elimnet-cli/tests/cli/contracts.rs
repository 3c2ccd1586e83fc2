//! The machine-readable outputs that other tools rely on.

use serde_json::{Value, json};

use crate::scene::{RECIPE, Scene, stable};

/// The structure of a value: names stay, numbers and texts become their kinds.
pub(crate) fn structure(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), structure(value))).collect()
        }
        Value::Array(items) => items.first().map_or_else(|| json!([]), |first| json!([structure(first)])),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("text"),
        other => other.clone(),
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn info_as_json() {
    let scene = Scene::new();
    let text = scene.ok("info tiny.yaml --classes 6 --image-size 32 --format json");
    stable(&scene).bind(|| insta::assert_snapshot!("info_as_json", text));
}

#[test]
fn info_as_text() {
    let scene = Scene::new();
    let text = scene.ok("info resnet18@layer2.1 --classes 6");
    stable(&scene).bind(|| insta::assert_snapshot!("info_as_text", text));
}

#[test]
fn the_seeds_counts_are_reproduced() {
    let scene = Scene::empty();
    for (model, parameters) in [("resnet18", 11_179_590), ("resnet18@128", 683_846)] {
        let info = parse(&scene.ok(&format!("info {model} --classes 6 --format json")));
        assert_eq!(info["parameters"], parameters, "{model}");
        let blocks = info["blocks"].as_array().expect("a list");
        let sum = |field: &str| blocks.iter().filter_map(|block| block[field].as_u64()).sum::<u64>();
        assert_eq!(info["parameters"], sum("parameters"), "{model}");
        assert_eq!(info["multiply_adds"], sum("multiply_adds"), "{model}");
    }
}

#[test]
fn cuts_as_json() {
    let scene = Scene::new();
    let text = scene.ok("cuts tiny.yaml --image-size 32 --format json");
    stable(&scene).bind(|| insta::assert_snapshot!("cuts_as_json", text));
}

#[test]
fn cuts_as_text() {
    let scene = Scene::empty();
    let text = scene.ok("cuts resnet18 --classes 6");
    stable(&scene).bind(|| insta::assert_snapshot!("cuts_as_text", text));
}

#[test]
fn every_cut_that_is_listed_can_be_used() {
    let scene = Scene::empty();
    let cuts = parse(&scene.ok("cuts resnet18 --classes 6 --format json"));
    for cut in cuts.as_array().expect("a list") {
        let name = cut["name"].as_str().expect("a name");
        let info = parse(&scene.ok(&format!("info resnet18@{name} --classes 6 --format json")));
        assert_eq!(info["parameters"], cut["parameters"], "{name}");
        assert_eq!(info["multiply_adds"], cut["multiply_adds"], "{name}");
    }
}

#[test]
fn bench_as_json_lines() {
    let scene = Scene::new();
    for (flag, mode) in [("", "infer"), ("--train", "train")] {
        let text = scene.ok(&format!(
            "bench tiny.yaml --batch-size 1,3 --image-size 32 --seconds 0 --format json {flag}"
        ));
        let lines: Vec<Value> = text.lines().map(parse).collect();
        assert_eq!(lines.len(), 2, "{text}");
        for (line, batch_size) in lines.iter().zip([1.0, 3.0]) {
            let number = |name: &str| line[name].as_f64().expect("a number");
            assert_eq!((&line["mode"], number("batch_size")), (&json!(mode), batch_size));
            assert!(number("median_ms") > 0.0 && number("p95_ms") >= number("median_ms"), "{line}");
            let expected = batch_size * 1e3 / number("median_ms");
            assert!((number("images_per_second") / expected - 1.0).abs() < 1e-9, "{line}");
        }
        stable(&scene).bind(|| {
            insta::assert_json_snapshot!("bench_as_json_lines", structure(&lines[0]));
        });
    }
    let text = scene.ok("bench tiny.yaml --batch-size 1 --image-size 32 --seconds 0");
    let columns: Vec<&str> = text.lines().nth(1).unwrap_or_default().split('|').map(str::trim).collect();
    assert_eq!(columns, ["mode", "batch", "image", "median ms", "p95 ms", "images/s", "MiB"], "{text}");
}

#[test]
fn a_profile_covers_every_block_and_adds_up() {
    let scene = Scene::new();
    let bench = "bench tiny.yaml --batch-size 2 --image-size 32 --seconds 0 --profile";
    let line = parse(&scene.ok(&format!("{bench} --format json")));
    let info = parse(&scene.ok("info tiny.yaml --image-size 32 --format json"));
    let blocks = line["blocks"].as_array().expect("a list");
    let sum = |field: &str| blocks.iter().filter_map(|block| block[field].as_f64()).sum::<f64>();
    assert_eq!(sum("multiply_adds"), info["multiply_adds"].as_f64().expect("a number"));
    assert!((sum("share") - 1.0).abs() < 1e-9, "{line}");
    stable(&scene).bind(|| insta::assert_json_snapshot!("bench_profile_as_json", structure(&line)));
    let text = scene.ok(bench);
    for block in blocks {
        assert!(text.contains(block["block"].as_str().expect("a name")), "{text}");
    }
}

#[test]
fn a_profile_of_training_has_both_passes_of_every_block() {
    let scene = Scene::new();
    let bench = "bench tiny.yaml --batch-size 2 --image-size 32 --seconds 0 --train --profile";
    let line = parse(&scene.ok(&format!("{bench} --format json")));
    let blocks = line["blocks"].as_array().expect("a list");
    let sum = |field: &str| blocks.iter().filter_map(|block| block[field].as_f64()).sum::<f64>();
    assert!((sum("share") - 1.0).abs() < 1e-9, "{line}");
    let times = [sum("forward_ms"), sum("backward_ms")];
    assert!(times.iter().all(|time| *time > 0.0), "{line}");
    stable(&scene)
        .bind(|| insta::assert_json_snapshot!("bench_profile_of_training_as_json", structure(&line)));
    let text = scene.ok(bench);
    for block in blocks {
        assert!(text.contains(block["block"].as_str().expect("a name")), "{text}");
    }
}

#[test]
fn summary_of_a_run() {
    let scene = Scene::new();
    let printed = scene.ok(&format!("train --model tiny.yaml --data photos {RECIPE} --format json"));
    let summary = parse(&scene.read("exp/latest/summary.json"));
    assert_eq!(parse(&printed), summary, "what is printed is what is in the run");
    assert_eq!(summary["classes"], json!(["blue", "green", "red"]));
    assert_eq!(summary["test"]["per_class"]["red"]["support"], 4);
    stable(&scene).bind(|| insta::assert_json_snapshot!("summary_of_a_run", structure(&summary)));
}

#[test]
fn predictions_as_json_lines() {
    let scene = Scene::new();
    scene.train("");
    let text = scene.ok("predict exp/latest photos/test --format json");
    let lines: Vec<Value> = text.lines().map(parse).collect();
    assert_eq!(lines.len(), 12);
    for line in &lines {
        let class = line["class"].as_str().expect("a class");
        let probabilities = line["probabilities"].as_object().expect("by name");
        let sum: f64 = probabilities.values().filter_map(Value::as_f64).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{line}");
        assert_eq!(line["probability"], probabilities[class], "{line}");
        assert!(probabilities.values().all(|p| p.as_f64() <= line["probability"].as_f64()), "{line}");
    }
    stable(&scene).bind(|| insta::assert_json_snapshot!("predictions_as_json_lines", structure(&lines[0])));
}
