//! Killed or interrupted at any moment, a run goes on to the very same result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use elimnet::weights::{Tensor, read_checkpoint};

use crate::scene::{Outcome, Scene};

/// Long enough to be caught in the middle: 40 epochs of 3 steps, a checkpoint after each.
const LONG: &str = "train --model tiny.yaml --data photos --image-size 32 --epochs 40 --batch-size 8 --checkpoint-every 1s --ema 0.9";

fn tensors(file: &Path) -> BTreeMap<String, Tensor> {
    read_checkpoint(file).expect("read").tensors
}

/// The weights of the best epoch and of the last step, with everything that the optimizer remembers.
fn result(run: &Path) -> [BTreeMap<String, Tensor>; 2] {
    [tensors(&run.join("best.safetensors")), tensors(&run.join("last/checkpoint.safetensors"))]
}

fn uninterrupted(scene: &Scene) -> PathBuf {
    scene.ok(&format!("{LONG} --output whole"));
    std::fs::canonicalize(scene.path("whole/latest")).expect("a run")
}

/// Starts a long training and waits until a few epochs of it are over.
fn started(scene: &Scene) -> Child {
    let mut command = scene.command(LONG);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let began = Instant::now();
    let metrics = scene.path("exp/latest/metrics.jsonl");
    while std::fs::read_to_string(&metrics).unwrap_or_default().lines().count() < 3 {
        assert_eq!(child.try_wait().expect("asked"), None, "the training ended too early");
        assert!(began.elapsed() < Duration::from_secs(120), "the training does not get on");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn killed_in_the_middle_and_resumed_it_ends_with_the_same_bits() {
    let scene = Scene::new();
    let mut child = started(&scene);
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(!scene.path("exp/latest/summary.json").exists(), "the training was over before the kill");
    scene.ok("train --resume exp/latest");
    let whole = uninterrupted(&scene);
    assert!(result(&scene.latest()) == result(&whole), "the weights differ");
}

#[cfg(unix)]
#[test]
fn interrupted_it_says_how_to_go_on() {
    let scene = Scene::new();
    let child = started(&scene);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    let Outcome { code, stdout, stderr } = Outcome::of(child.wait_with_output().expect("ended"));
    assert_eq!((code, stdout.as_str()), (Some(130), ""), "{stderr}");
    let hint = stderr.lines().last().expect("a last line");
    let arguments = hint.strip_prefix("go on with: elimnet ").unwrap_or_else(|| panic!("{stderr}"));
    scene.ok(arguments);
    let whole = uninterrupted(&scene);
    assert!(result(&scene.latest()) == result(&whole), "the weights differ");
}
