//! From images to a run, and what can be done with one.

use std::process::Stdio;

use serde_json::Value;

use crate::scene::{Outcome, RECIPE, Scene, stable};

#[test]
fn a_training_tells_what_it_does_and_leaves_a_run_behind() {
    let scene = Scene::new();
    let Outcome { code, stdout, stderr } =
        scene.run(&format!("train --model tiny.yaml --data photos {RECIPE} --name first"));
    assert_eq!(code, Some(0), "{stderr}");
    let mut settings = stable(&scene);
    settings.add_filter(r"\d+\.\d+( s|%)?", "[N]$1");
    settings.add_filter(r"\d+ images/s, \d+% waiting", "[N] images/s, [N]% waiting");
    settings.bind(|| insta::assert_snapshot!("a_training", format!("{stdout}---\n{stderr}")));
    let files = ["best.safetensors", "data.yml", "last", "metrics.jsonl", "model.yml", "run.json"];
    let found = scene.entries("exp/latest");
    assert!(files.iter().all(|file| found.contains(&(*file).to_owned())), "{found:?}");
    assert_eq!(scene.entries("exp").len(), 2, "the run and `latest`");
    assert_eq!(scene.read("exp/latest/model.yml"), scene.read("tiny.yaml"));
}

#[test]
fn a_start_that_no_epoch_beats_is_named_and_kept() {
    let scene = Scene::new();
    let before = scene.train("--epochs 6 --learning-rate 0.1");
    let ruin = format!("train --model {} --data photos {RECIPE} --learning-rate 50", before.display());
    let Outcome { code, stdout, stderr } = scene.run(&ruin);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("epoch   0/2  (the start)  validation "), "{stderr}");
    assert_eq!(stderr.matches("(best)").count(), 1, "{stderr}");
    assert!(stdout.contains("epochs     2\nbest       epoch 0 (the start)\nvalidation "), "{stdout}");
    let model =
        |run: &std::path::Path| elimnet::model::load_model(&run.join("best.safetensors")).expect("read");
    let (kept, given) = (model(&scene.latest()), model(&before));
    assert_eq!(kept.tensors, given.tensors);
    assert!(kept.card.metrics.keys().all(|name| name.starts_with("validation.")), "{:?}", kept.card.metrics);
    let report = scene.read("exp/latest/report.html");
    assert!(report.contains("No epoch was better than the start") && report.contains("Epoch 0 is the start"));
}

#[test]
fn the_same_command_gives_the_same_model() {
    let scene = Scene::new();
    let first = scene.train("--seed 7 --workers 1 --threads 1");
    let second = scene.train("--seed 7 --workers 3 --threads 2");
    assert_ne!(first, second);
    let model = |run: &std::path::Path| std::fs::read(run.join("best.safetensors")).expect("read");
    assert!(model(&first) == model(&second), "threads changed the result");
    let other = scene.train("--seed 8");
    assert!(model(&first) != model(&other), "the seed changed nothing");
}

#[test]
fn the_model_file_needs_nothing_else() {
    let scene = Scene::new();
    let run = scene.train("");
    let before = scene.ok("predict exp/latest photos/test/red/00.bmp --format json");
    let elsewhere = Scene::empty();
    std::fs::copy(run.join("best.safetensors"), elsewhere.path("mine.safetensors")).expect("copied");
    std::fs::create_dir_all(elsewhere.path("photos/test/red")).expect("created");
    std::fs::copy(scene.path("photos/test/red/00.bmp"), elsewhere.path("photos/test/red/00.bmp"))
        .expect("copied");
    let after = elsewhere.ok("predict mine.safetensors photos/test/red/00.bmp --format json");
    assert_eq!(before, after, "the logits are bit-identical");
    let info = elsewhere.ok("info mine.safetensors");
    assert!(info.contains("blue, green, red") && info.contains("at 32x32"), "{info}");
}

#[test]
fn predictions_for_files_folders_and_globs() {
    let scene = Scene::new();
    scene.train("");
    let all = scene.ok("predict exp/latest photos/test");
    assert_eq!(all.lines().count(), 12);
    assert_eq!(scene.ok("predict exp/latest photos/test/*/*.bmp"), all, "the binary expands globs");
    let csv = scene.ok("predict exp/latest photos/test/red --format csv --top-k 2");
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("file,class,probability,class_2,probability_2"));
    assert_eq!(lines.clone().count(), 4);
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let [_, first, p, second, q] = cells[..] else { panic!("{line}") };
        let (p, q): (f32, f32) = (p.parse().expect("a number"), q.parse().expect("a number"));
        assert!(first != second && p >= q && p + q <= 1.000_001, "{line}");
    }
}

#[test]
fn one_image_alone_is_classified_as_among_others() {
    let scene = Scene::new();
    scene.train("");
    let together = scene.ok("predict exp/latest photos/test --format json --batch-size 12");
    let alone = scene.ok("predict exp/latest photos/test --format json --batch-size 1");
    assert_eq!(together, alone);
}

/// Batches of another size add the same losses up in another order.
fn same_loss(a: &Value, b: &Value) -> bool {
    let loss = |value: &Value| value["loss"].as_f64().expect("a number");
    (loss(a) / loss(b) - 1.0).abs() < 1e-12
}

#[test]
fn evaluating_repeats_the_runs_own_test() {
    let scene = Scene::new();
    scene.train("");
    let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let summary = parse(&scene.read("exp/latest/summary.json"));
    let test = parse(&scene.ok("evaluate exp/latest --format json"));
    for field in ["accuracy", "macro_f1", "per_class", "confusion"] {
        assert_eq!(test[field], summary["test"][field], "{field}");
    }
    assert!(same_loss(&test, &summary["test"]), "{} and {}", test["loss"], summary["test"]["loss"]);
    let validation = parse(&scene.ok("evaluate exp/latest --split validation --format json"));
    assert!(same_loss(&validation, &summary["validation"]), "{}", validation["loss"]);
    let other = parse(&scene.ok("evaluate exp/latest --data photos --split test --format json"));
    assert_eq!(other["loss"], test["loss"], "the same images given as other data");
    let text = scene.ok("evaluate exp/latest --split train");
    assert!(text.starts_with("24 images of the train split\nloss "), "{text}");
}

#[test]
fn inference_writes_predictions_and_times_for_compare() {
    let scene = Scene::new();
    scene.train("--name small");
    let text = scene.ok("inference --model_dir exp/latest --img_root photos/test --format json");
    let summary: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&summary["images"], &summary["labelled"]), (&12.into(), &12.into()));
    let evaluated: Value =
        serde_json::from_str(&scene.ok("evaluate exp/latest --format json")).expect("JSON");
    assert_eq!(summary["accuracy"], evaluated["accuracy"]);
    assert_eq!(summary["macro_f1"], evaluated["macro_f1"]);
    let timing: Value = serde_json::from_str(&scene.read("exp/latest/inference.json")).expect("JSON");
    assert_eq!(timing, summary["timing"]);
    let seconds = |name: &str| timing[name].as_f64().expect("a number");
    assert!(
        seconds("total_seconds") > seconds("device_seconds") && seconds("device_seconds") > 0.0,
        "{timing}"
    );
    assert_eq!(scene.read("exp/latest/predictions.csv").lines().count(), 13);

    scene.ok("inference --model-dir exp/latest --img-root photos/test --output mine.json");
    let line = scene.read("mine.json").lines().next().map(str::to_owned).expect("a line");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["label"], "blue");
}

#[test]
fn compare_makes_the_seeds_tables() {
    let scene = Scene::new();
    let first = scene.train("--name first");
    scene.ok("inference --model-dir exp/latest --img-root photos/test");
    let second = scene.train("--name second --epochs 1");
    let runs = format!("{} {}", first.display(), second.display());
    let text = scene.ok(&format!("compare {runs}"));
    let mut settings = stable(&scene);
    settings.add_filter(r"\d+\.\d+", "[N]");
    settings.bind(|| insta::assert_snapshot!("compare_makes_the_seeds_tables", text));
    let json: Value =
        serde_json::from_str(&scene.ok(&format!("compare {runs} --format json"))).expect("JSON");
    let outcome = scene.run(&format!("compare {runs} exp/latest --format json"));
    let again: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(again, json, "exp/latest is one of the two");
    std::fs::remove_file(second.join("summary.json")).expect("removed");
    let outcome = scene.run(&format!("compare {runs} --format json"));
    assert!(outcome.stderr.contains("left out: "), "{}", outcome.stderr);
    assert_eq!((outcome.code, outcome.stdout.matches("\"run\"").count()), (Some(0), 1));
    assert_eq!(scene.run("compare exp/latest").code, Some(2), "nothing is left to compare");
    assert_eq!(json[0]["timing"]["images"], 12);
    assert_eq!((&json[1]["epochs"], &json[1]["timing"]), (&1.into(), &Value::Null));
}

#[test]
fn every_part_of_the_recipe_can_be_set() {
    let scene = Scene::new();
    let run = scene.train(
        "--learning-rate 0.01 --schedule cosine --warmup 0.2 --optimizer adamw --weight-decay 0.01 \
         --label-smoothing 0.1 --logit-adjustment 1 --ema 0.9 --freeze-until model.0 --head-warmup 1 \
         --trunk-rate 0.5 --layer-decay 0.9 --patience 5 --clip-norm 1 --select macro_f1 --seed 3",
    );
    let record = std::fs::read_to_string(run.join("run.json")).expect("read");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    let config = &record["setup"]["config"];
    assert_eq!(config["learning_rate"], 0.01);
    assert_eq!(config["optimizer"]["adamw"]["beta2"].as_f64().map(|beta| (beta * 1e3).round()), Some(999.0));
    assert_eq!((&config["select"], &config["seed"]), (&"macro_f1".into(), &3.into()));
    assert_eq!((&config["freeze_until"], &config["head_warmup_epochs"]), (&"model.0".into(), &1.into()));
}

#[test]
fn a_run_can_be_trained_further_and_cut() {
    let scene = Scene::new();
    scene.train("");
    let further = format!("train --model exp/latest --data photos {RECIPE}");
    let outcome = scene.run(&further);
    assert!(outcome.stderr.contains("loaded 30 tensors\n"), "{}", outcome.stderr);
    let cut = scene.run(&format!("train --model exp/latest@model.0 --data photos {RECIPE}"));
    assert!(cut.stderr.contains("loaded 6 tensors, new: "), "{}", cut.stderr);
    let info = scene.ok("info exp/latest --format json");
    let info: Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!((&info["name"], &info["parameters"]), (&"tiny@model.0".into(), &(232 + 27).into()));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scene = Scene::empty();
    let mut child =
        scene.command("cuts resnet18").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let outcome = Outcome::of(child.wait_with_output().expect("ends"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}
