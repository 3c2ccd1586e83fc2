//! `elimnet scan`: what it prints, what it keeps, and how it fails.

use serde_json::Value;

use crate::contracts::structure;
use crate::scene::{Scene, stable};

/// A scan of the trained tiny network on the scene's own images.
const SCAN: &str = "scan photos --backbone exp/latest --image-size 32";

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

#[test]
fn scan_as_json_lines() {
    let scene = Scene::new();
    scene.train("");
    let found = lines(&scene.ok(&format!("{SCAN},24 --format json")));
    assert_eq!(found.len(), 2, "a line for each image size");
    stable(&scene).bind(|| insta::assert_json_snapshot!("scan_as_json_lines", structure(&found[0])));
    for record in &found {
        assert_eq!((&record["images"], &record["cached"]), (&36.into(), &false.into()));
        let cuts = record["cuts"].as_array().expect("a list");
        let names: Vec<&str> = cuts.iter().filter_map(|cut| cut["name"].as_str()).collect();
        assert_eq!(names, ["model.0", "model.1"]);
        for cut in cuts {
            let probe = &cut["probe"];
            assert!(number(&probe["low"]) <= number(&probe["macro_f1"]), "{probe}");
            assert!(number(&probe["macro_f1"]) <= number(&probe["high"]), "{probe}");
            assert!(cut["latency_ms"].as_object().expect("by batch").values().all(|time| number(time) > 0.0));
        }
        assert_eq!(number(&cuts[0]["probe"]["macro_f1"]), 1.0, "plain colours are told apart at once");
        assert!(number(&record["seconds"]) >= number(&record["forward_seconds"]), "{record}");
    }
    let written: Value = serde_json::from_str(&scene.read("scan/scan.json")).expect("JSON");
    assert_eq!(written, Value::from(found));
}

#[test]
fn costs_are_those_of_the_cut_networks() {
    let scene = Scene::new();
    scene.train("");
    let scanned = lines(&scene.ok(&format!("{SCAN} --format json")));
    let cuts: Value = serde_json::from_str(&scene.ok("cuts exp/latest --format json")).expect("JSON");
    for (scanned, cut) in
        scanned[0]["cuts"].as_array().expect("a list").iter().zip(cuts.as_array().expect("a list"))
    {
        for field in ["name", "index", "out_channels", "parameters", "multiply_adds"] {
            assert_eq!(scanned[field], cut[field], "{field}");
        }
    }
    // A run of the cut network leaves a file of that size behind, metrics aside.
    let run = scene.train("--weights none --name other").join("best.safetensors");
    let size = std::fs::metadata(run).expect("a model").len() as f64;
    let predicted = number(&scanned[0]["cuts"][1]["file_bytes"]);
    assert!((predicted / size - 1.0).abs() < 0.1, "{predicted} {size}");
}

#[test]
fn the_second_scan_is_the_first_without_the_pass() {
    let scene = Scene::new();
    scene.train("");
    let scan = format!("{SCAN} --format json");
    let first = lines(&scene.ok(&scan)).remove(0);
    let outcome = scene.run(&scan);
    let second = lines(&outcome.stdout).remove(0);
    assert!(outcome.stderr.contains("kept from an earlier scan"), "{}", outcome.stderr);
    assert_eq!((&second["cached"], number(&second["forward_seconds"])), (&true.into(), 0.0));
    let scores = |record: &Value| -> Vec<Value> {
        let cuts = record["cuts"].as_array().expect("a list");
        let fields = ["probe", "knn_accuracy", "class_mean_accuracy", "logme", "file_bytes"];
        cuts.iter().flat_map(|cut| fields.map(|field| cut[field].clone())).collect()
    };
    assert_eq!(scores(&first), scores(&second));
    assert_eq!(
        scores(&first),
        scores(&lines(&scene.ok(&format!("{scan} --no-cache --workers 1 --threads 1")))[0])
    );

    // Another image under the same name is another data set.
    scene.image("photos/train/red/00.bmp", [90, 90, 90], 5);
    assert_eq!(lines(&scene.ok(&scan))[0]["cached"], false);
    // A file that was cut short is as good as none.
    for file in scene.entries("cache/features") {
        scene.write(&format!("cache/features/{file}"), "short");
    }
    assert_eq!(lines(&scene.ok(&scan))[0]["cached"], false);
    assert_eq!(lines(&scene.ok(&scan))[0]["cached"], true);
}

#[test]
fn scan_as_text() {
    let scene = Scene::new();
    scene.train("");
    let text = scene.ok(SCAN);
    assert!(!text.contains('\u{1b}'), "colours without a terminal: {text}");
    let mut settings = stable(&scene);
    settings.add_filter(r"\d+\.\d+ s", "[N] s");
    // Latency and the bars between names and scores.
    settings.add_filter(r" +\d+\.\d+ \| +\d+\.\d+ \| (\d\.\d{3} \[)", " [MS] | [MS] | $1");
    // LogME has more digits than rounding leaves the same on every machine.
    settings.add_filter(r"(?m)\| +-?\d+\.\d+$", "| [LOGME]");
    settings.add_filter(r"-{20,}", "[RULE]");
    settings.bind(|| insta::assert_snapshot!("scan_as_text", text));
}

#[test]
fn anchors_predict_what_fine_tuning_comes_to() {
    let scene = Scene::new();
    scene.train("");
    let record = lines(&scene.ok(&format!("{SCAN} --anchors 2 --anchor-epochs 1 --format json"))).remove(0);
    let anchors = record["anchors"].as_array().expect("a list");
    assert_eq!(anchors.len(), 2);
    for cut in record["cuts"].as_array().expect("a list") {
        let predicted = &cut["predicted_macro_f1"];
        let [low, value, high] = ["low", "value", "high"].map(|field| number(&predicted[field]));
        assert!(0.0 <= low && low <= value && value <= high && high <= 1.0, "{predicted}");
    }
    assert_eq!(scene.entries("exp").len(), 2, "the run and `latest`: no runs of anchors");
}

#[test]
fn dropped_blocks_and_tails_are_further_candidates() {
    let scene = Scene::new();
    scene.write(
        "residual.yaml",
        crate::scene::TINY.replace(
            "  - [1, MBConv, [2, 16, 2, 3]]\n",
            "  - [2, ConvResidual, [8, 3]]\n  - [1, Conv, [16, 3, 2]]\n",
        ),
    );
    let arguments =
        "scan photos --backbone residual.yaml --image-size 32 --drop-blocks --tail conv:24x1 --format json";
    let record = lines(&scene.ok(arguments)).remove(0);
    let cuts = record["cuts"].as_array().expect("a list");
    let kind = |cut: &&Value| (cut["dropped"].is_array(), cut["tail"].is_string());
    let count = |wanted| cuts.iter().filter(|cut| kind(cut) == wanted).count();
    // Dropping the first of two residual blocks leaves two cuts above it, dropping the second leaves one.
    assert_eq!((count((false, false)), count((true, false)), count((false, true))), (4, 3, 4), "{record}");
    let top = |wanted| cuts.iter().rfind(|cut| kind(cut) == wanted).expect("one");
    let (plain, dropped, tail) = (top((false, false)), top((true, false)), top((false, true)));
    assert_eq!(dropped["dropped"][0], "model.1.1");
    assert!(number(&dropped["parameters"]) < number(&plain["parameters"]), "{dropped} {plain}");
    // 16 channels to 24, batch norm, and a Linear of 24 instead of 16.
    let added = number(&tail["parameters"]) - number(&plain["parameters"]);
    assert_eq!((tail["out_channels"].as_u64(), added), (Some(24), 16.0 * 24.0 + 48.0 + 8.0 * 3.0));
}

#[test]
fn what_can_not_be_scanned_is_refused() {
    let scene = Scene::new();
    let cases = [
        ("an unknown backbone", "scan photos --backbone resnet17"),
        ("a missing data folder", "scan pictures --backbone tiny.yaml"),
        (
            "weights for two of three",
            "scan photos --backbone tiny.yaml,tiny.yaml,tiny.yaml --weights a.pth,b.pth",
        ),
        ("weights that are missing", "scan photos --backbone resnet18 --weights missing.pth"),
        ("a tail that is none", "scan photos --backbone tiny.yaml --tail conv:x"),
        ("images too small", "scan photos --backbone vgg11 --weights none --image-size 8"),
        ("an output that is a file", "scan photos --backbone tiny.yaml --image-size 32 --output tiny.yaml"),
    ];
    let mut text = String::new();
    for (name, arguments) in cases {
        let outcome = scene.run(arguments);
        assert_eq!(outcome.code, Some(2), "{name}: {}", outcome.stderr);
        let error =
            outcome.stderr.split_once("error: ").unwrap_or_else(|| panic!("{name}: {}", outcome.stderr)).1;
        assert!(error.contains("\n\nhint: "), "{name}: {error}");
        text += &format!("{name}\n  {}\n", error.trim_end().replace("\n\n", "\n  "));
        assert_eq!(scene.entries("exp"), [] as [&str; 0], "{name} left something behind");
    }
    stable(&scene).bind(|| insta::assert_snapshot!("what_can_not_be_scanned", text));
}
