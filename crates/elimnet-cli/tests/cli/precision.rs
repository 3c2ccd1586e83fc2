//! `--precision`: what is chosen is recorded, and a run goes on with its own.

use serde_json::Value;

use crate::scene::{Outcome, Scene};

fn field(text: &str, name: &str) -> Value {
    serde_json::from_str::<Value>(text).expect("JSON")[name].clone()
}

#[test]
fn a_run_records_its_precision_and_goes_on_with_no_other() {
    let scene = Scene::new();
    for precision in ["bf16", "f32"] {
        scene.train(&format!("--precision {precision}"));
        assert_eq!(field(&scene.read("exp/latest/run.json"), "precision"), precision);
        assert_eq!(field(&scene.read("exp/latest/summary.json"), "precision"), precision);
    }
    let outcome = scene.run("train --resume exp/latest --precision bf16");
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the precision was f32 and is now bf16"), "{}", outcome.stderr);
    let outcome = scene.run("train --resume exp/latest");
    assert!(!outcome.stderr.contains("precision"), "{}", outcome.stderr);
}

#[test]
fn measurements_say_their_precision() {
    let scene = Scene::empty();
    let bench = "bench mobilenet_v3_small --batch-size 1 --image-size 32 --seconds 0 --format json";
    for precision in ["bf16", "f32"] {
        let line = scene.ok(&format!("{bench} --precision {precision}"));
        assert_eq!(field(&line, "precision"), precision);
    }
}

#[test]
fn an_instruction_set_that_is_not_there_is_an_error() {
    let scene = Scene::empty();
    let mut command = scene.command("bench resnet18");
    let outcome = Outcome::of(command.env("ELIMNET_ISA", "mmx").output().expect("the binary starts"));
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("error: ELIMNET_ISA=`mmx`"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("\n\nhint: "), "{}", outcome.stderr);
}
