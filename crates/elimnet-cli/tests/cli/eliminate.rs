//! `elimnet eliminate`: from images and a budget to a run, and no for an answer.

use serde_json::Value;

use crate::contracts::structure;
use crate::scene::{Outcome, Scene, stable};

/// A whole elimination in a moment; the backbone is the tiny network, trained.
const ELIMINATE: &str = "eliminate photos --backbone backbone.safetensors --image-size 32 --batch-size 8 --epochs 2 \
                         --anchors 2 --anchor-epochs 1";

/// The scene, with a backbone of four blocks that was trained for a moment.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.write(
        "residual.yaml",
        crate::scene::TINY.replace(
            "  - [1, MBConv, [2, 16, 2, 3]]\n",
            "  - [2, ConvResidual, [8, 3]]\n  - [1, Conv, [16, 3, 2]]\n",
        ),
    );
    scene.ok("train --model residual.yaml --data photos --image-size 32 --epochs 2 --batch-size 8");
    std::fs::copy(scene.path("exp/latest/best.safetensors"), scene.path("backbone.safetensors"))
        .expect("copied");
    std::fs::remove_dir_all(scene.path("exp")).expect("removed");
    scene
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

#[test]
fn an_elimination_leaves_runs_and_says_how_they_compare() {
    let scene = scene();
    let record = parse(&scene.ok(&format!("{ELIMINATE} --max-params 2k --seeds 2 --format json")));
    let mut shape = structure(&record);
    // Whether the winner is the baseline depends on a hundredth of F1.
    shape["against_baseline"] = Value::Null;
    shape["considered"][0]["rungs"] = Value::Null;
    stable(&scene).bind(|| insta::assert_json_snapshot!("elimination_as_json", shape));

    let winner = &record["winner"];
    assert!(number(&winner["parameters"]) <= 2000.0, "{winner}");
    assert!(record["considered"].as_array().expect("a list").len() >= 2, "{record}");
    for name in ["winner", "uncut", "baseline"] {
        let [low, value, high] = ["low", "macro_f1", "high"].map(|field| number(&record[name][field]));
        assert!(low <= value && value <= high, "{name}: {record}");
        assert_eq!(record[name]["seeds"].as_array().expect("a list").len(), 2, "{name}");
    }
    assert_eq!((&record["uncut"]["cut"], &record["split"]), (&Value::Null, &"test".into()));
    assert!(number(&record["search_seconds"]) < number(&record["seconds"]), "{record}");

    // The winner is the newest run, and an ordinary one.
    let run = winner["run"].as_str().expect("a path");
    let latest = std::fs::canonicalize(scene.path("exp/latest")).expect("a run");
    assert_eq!(std::fs::canonicalize(scene.path(run)).expect("a run"), latest);
    assert_eq!(parse(&scene.read("exp/latest/elimination.json")), record);
    assert_eq!(parse(&scene.read("exp/latest/scan.json"))[0]["backbone"], "backbone.safetensors");
    let evaluated = parse(&scene.ok("evaluate exp/latest --format json"));
    assert_eq!(number(&evaluated["macro_f1"]), number(&winner["seeds"][0]["macro_f1"]));
    let compared = scene.ok("compare exp/latest");
    assert!(compared.contains("residual"), "{compared}");
}

#[test]
fn the_same_command_chooses_the_same_network() {
    let scene = scene();
    let eliminate = |more: &str| {
        let record = parse(&scene.ok(&format!("{ELIMINATE} --no-proof --format json {more}")));
        assert_eq!((&record["uncut"]["macro_f1"], &record["regret"]), (&Value::Null, &Value::Null));
        (record["winner"]["cut"].clone(), record["winner"]["macro_f1"].clone())
    };
    // Latency, which is measured, decides nothing here: parameters and F1 do.
    assert_eq!(eliminate("--max-params 3k"), eliminate("--max-params 3k --threads 1 --workers 2"));
}

#[test]
fn a_race_is_no_longer_than_the_full_fine_tune() {
    let scene = scene();
    let race = |epochs: u64| {
        let all = format!("{ELIMINATE} --no-proof --format json --epochs {epochs} --anchors 0");
        let record = parse(&scene.ok(&all));
        let considered = record["considered"].as_array().expect("a list").iter();
        let last = |network: &Value| network["rungs"].as_array().expect("a list").last().cloned();
        considered.filter_map(last).map(|rung| rung["epochs"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    let (short, long) = (race(4), race(8));
    assert!(
        short.len() > 2 && short.iter().sum::<u64>() <= 4,
        "a second rung would cost two more: {short:?}"
    );
    assert!(long.contains(&2) && long.iter().sum::<u64>() <= 8, "{long:?}");
}

#[test]
fn an_elimination_as_text() {
    let scene = scene();
    let text = scene.ok(&format!("{ELIMINATE} --drop-blocks --tail conv:24x1 --distill --max-f1-drop 1"));
    for part in [
        "considered",
        "winner",
        "uncut",
        "baseline",
        "predicted",
        "achieved",
        "on 12 test images, 1 seed",
        "time  ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let record = parse(&scene.read("exp/latest/run.json"));
    let teacher = record["setup"]["config"]["distillation"]["teacher"].as_str().expect("a path");
    assert!(std::path::Path::new(teacher).is_file(), "{teacher}");
}

#[test]
fn no_network_fits_the_budget() {
    let scene = scene();
    let Outcome { code, stdout, stderr } = scene.run(&format!("{ELIMINATE} --max-params 100"));
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    let error = stderr.split_once("error: ").expect("an error").1;
    stable(&scene).bind(|| insta::assert_snapshot!("no_network_fits_the_budget", error));
    assert_eq!(scene.entries("exp"), [] as [&str; 0], "nothing was trained");
    let Outcome { code, stderr, .. } = scene.run(&format!("{ELIMINATE} --max-latency-ms 0.000001"));
    assert!(code == Some(1) && stderr.contains(" ms more than the 0.000001 ms allowed"), "{stderr}");
}

#[test]
fn a_choice_of_cuts_is_all_that_is_considered() {
    let scene = scene();
    let cuts = parse(&scene.ok("scan photos --backbone backbone.safetensors --image-size 32 --format json"));
    let name = cuts["cuts"][1]["name"].as_str().expect("a name");
    let record = parse(&scene.ok(&format!("{ELIMINATE} --cuts {name} --no-proof --format json")));
    assert_eq!(record["winner"]["cut"], name);
    let considered = record["considered"].as_array().expect("a list");
    assert!(considered.len() == 1 && considered[0]["cut"] == name, "{record}");
    let Outcome { code, stderr, .. } = scene.run(&format!("{ELIMINATE} --cuts {name},roof"));
    assert!(code == Some(2) && stderr.contains("error: no cut is called `roof`\n"), "{stderr}");
    assert!(stderr.contains(&format!("{name}, ")), "the hint names those that there are: {stderr}");
}

#[test]
fn budgets_that_are_none_are_refused() {
    let scene = scene();
    let mut text = String::new();
    for budget in
        ["--max-params many", "--max-params -5", "--max-latency-ms 0", "--max-mb -1", "--max-f1-drop 2"]
    {
        let error = scene.error(&format!("{ELIMINATE} {}", budget.replacen(' ', "=", 1)));
        text += &format!("{budget}\n  {}\n", error.trim_end().replace("\n\n", "\n  "));
    }
    stable(&scene).bind(|| insta::assert_snapshot!("budgets_that_are_none", text));
}
