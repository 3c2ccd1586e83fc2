//! Full disks, missing devices, settings out of range: each a clear error, exit code 2, and nothing left behind.

use crate::scene::{Outcome, RECIPE, Scene, stable};

fn snapshot(scene: &Scene, name: &str, text: &str) {
    stable(scene).bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn a_device_that_is_not_there() {
    let scene = Scene::new();
    let error = scene.error(&format!("train --model tiny.yaml --data photos {RECIPE} --device cuda"));
    snapshot(&scene, "a_device_that_is_not_there", &error);
    assert_eq!(scene.error("bench tiny.yaml --device cuda"), error);
}

#[test]
fn settings_out_of_range() {
    let scene = Scene::new();
    let train = |setting: &str| scene.error(&format!("train --model tiny.yaml --data photos {setting}"));
    snapshot(&scene, "a_negative_learning_rate", &train("--learning-rate=-1"));
    snapshot(&scene, "no_epochs", &train("--epochs 0"));
    snapshot(&scene, "checkpoints_at_odd_times", &train("--checkpoint-every often"));
    snapshot(&scene, "a_network_alone", &scene.error("train --model tiny.yaml"));
}

#[test]
fn freezing_up_to_a_cut_that_does_not_exist() {
    let scene = Scene::new();
    let error = scene.error(&format!("train --model tiny.yaml --data photos {RECIPE} --freeze-until top"));
    snapshot(&scene, "freezing_up_to_a_cut_that_does_not_exist", &error);
}

#[test]
fn an_output_folder_that_is_a_file() {
    let scene = Scene::new();
    scene.write("taken", "");
    let error = scene.error(&format!("train --model tiny.yaml --data photos {RECIPE} --output taken"));
    snapshot(&scene, "an_output_folder_that_is_a_file", &error);
}

/// A limit on the length of files stands for a full disk: a write fails in the middle.
#[cfg(unix)]
#[test]
fn no_space_for_the_run() {
    let scene = Scene::new();
    let arguments = format!("train --model tiny.yaml --data photos {RECIPE}");
    let binary = scene.command(&arguments);
    // Blocks of 512 or 1024 bytes: in any case less than the tensors take. Ignored signals stay so in the program.
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    let mut limited = std::process::Command::new("sh");
    limited.arg("-c").arg(script).arg(binary.get_program()).args(binary.get_args());
    let outcome = limited.current_dir(scene.path("")).output().expect("starts");
    let Outcome { code, stdout, stderr } = Outcome::of(outcome);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert_eq!(scene.entries("exp"), [] as [&str; 0], "half a run is left behind");
    let mut settings = stable(&scene);
    settings.add_filter(r"\.\d+-\d+\.part", ".[PART]");
    settings.bind(|| insta::assert_snapshot!("no_space_for_the_run", stderr));
}

#[cfg(target_os = "linux")]
#[test]
fn no_space_for_the_output() {
    let scene = Scene::empty();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let outcome = scene.command("cuts resnet18").stdout(full).output().expect("starts");
    let outcome = Outcome::of(outcome);
    assert_eq!(outcome.code, Some(2));
    snapshot(&scene, "no_space_for_the_output", &outcome.stderr);
}

/// Root may read everything, so a folder stands where a file should be.
#[test]
fn a_file_that_can_not_be_read() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("folder.yaml")).expect("created");
    snapshot(&scene, "a_network_that_can_not_be_read", &scene.error("info folder.yaml"));
    let run = scene.train("--epochs 1");
    std::fs::remove_file(run.join("summary.json")).expect("removed");
    std::fs::create_dir(run.join("summary.json")).expect("created");
    let outcome = scene.run("compare exp/latest");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    snapshot(&scene, "a_summary_that_can_not_be_read", &outcome.stderr);
}

#[test]
fn a_run_that_is_over() {
    let scene = Scene::new();
    scene.train("");
    let outcome = scene.run("train --resume exp/latest");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    snapshot(&scene, "a_run_that_is_over", &outcome.stderr);
}

#[test]
fn class_names_that_are_too_few() {
    let scene = Scene::new();
    scene.train("");
    scene.write("names.txt", "red\ngreen\n");
    let outcome = scene.run(
        "predict --model tiny.yaml --weights exp/latest/best.safetensors --classes-file names.txt photos/test",
    );
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    snapshot(&scene, "class_names_that_are_too_few", &outcome.stderr);
}
