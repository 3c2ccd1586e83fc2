//! What is on the disk, and when.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use elimnet::model::load_model;
use elimnet::train::{Job, Observer, RunDirectory, Started, StartingTensors, StepReport, TrainError, fit};
use serde_json::Value;

use crate::scene::{best, config, dataset, device, finished, last, network, place, resume_for, setup, train};

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_finished_run_has_its_files_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let (run, _) = train(root.path(), &dataset(6, 0), config());
    let expected = [
        "best.safetensors",
        "data.yml",
        "last",
        "metrics.jsonl",
        "mistakes.json",
        "run.json",
        "split.json",
        "summary.json",
    ];
    assert_eq!(names(run.path()), expected);
    assert_eq!(names(&run.last()), ["checkpoint.safetensors"]);
    assert_eq!(names(root.path()), ["2000-02-29_00-00-00_tiny", "latest"]);
    let latest = RunDirectory::open(root.path().join("latest")).unwrap();
    assert_eq!(latest.record().unwrap(), run.record().unwrap());
    assert_eq!(run.attachment("data.yml").unwrap().as_deref(), Some("DATASET: colours\n"));
    assert_eq!(run.split_names().unwrap(), dataset(6, 0).split_names());
}

#[test]
fn the_summary_keeps_its_contract() {
    let root = tempfile::tempdir().unwrap();
    let (run, summary) = train(root.path(), &dataset(6, 0), config());
    let text = std::fs::read_to_string(run.path().join("summary.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let expected = [
        "model",
        "parameters",
        "layers",
        "multiply_adds",
        "image_size",
        "classes",
        "epochs",
        "best_epoch",
        "seed",
        "train",
        "validation",
        "test",
        "seconds",
        "images_per_second",
        "data_wait_share",
        "precision",
        "memory_bytes",
    ];
    assert_eq!(keys(&json), expected);
    assert_eq!(keys(&json["train"]), ["loss", "accuracy", "macro_f1"]);
    assert_eq!(keys(&json["test"]), ["loss", "accuracy", "macro_f1", "per_class", "confusion"]);
    assert_eq!(keys(&json["test"]["per_class"]), ["red", "green", "blue"]);
    assert_eq!(keys(&json["test"]["per_class"]["red"]), ["precision", "recall", "f1", "support"]);
    assert_eq!(json["test"]["confusion"].as_array().unwrap().len(), 3);
    assert_eq!(json["classes"][1], "green");
    assert!(json["seconds"].as_f64().unwrap() > 0.0 && json["images_per_second"].as_f64().unwrap() > 0.0);
    assert!((0.0..=1.0).contains(&json["data_wait_share"].as_f64().unwrap()));
    assert_eq!(run.summary().unwrap(), Some(summary));
}

#[test]
fn the_best_model_describes_itself() {
    let root = tempfile::tempdir().unwrap();
    let (run, summary) = train(root.path(), &dataset(6, 0), config());
    let model = load_model(&run.best()).unwrap();
    assert_eq!(model.card.network, network());
    assert_eq!(model.card.classes, ["red", "green", "blue"]);
    assert_eq!(model.card.metrics["validation.loss"], summary.validation.loss);
    assert_eq!(model.card.seed, 3);
}

/// Blocks the place of `best.safetensors` once the training has begun: a disk that refuses one file.
struct Saboteur {
    steps: usize,
    run: std::path::PathBuf,
}

impl Observer for Saboteur {
    fn started(&mut self, started: &Started<'_>) {
        self.run = started.run.expect("a run").to_owned();
    }

    fn step(&mut self, _: &StepReport) {
        self.steps += 1;
        if self.steps == 4 {
            let _ = std::fs::remove_file(self.run.join("best.safetensors"));
            std::fs::create_dir_all(self.run.join("best.safetensors/in the way")).unwrap();
        }
    }
}

#[test]
fn a_disk_that_refuses_leaves_the_last_checkpoint() {
    let (root, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = dataset(8, 0); // three steps an epoch
    let start = StartingTensors::scratch(&network(), config().seed);
    let mut saboteur = Saboteur { steps: 0, run: Default::default() };
    let device = device();
    let job = Job {
        setup: setup(config()),
        dataset: &data,
        device: &device,
        observer: &mut saboteur,
        interrupt: &AtomicBool::new(false),
    };
    let error = fit(job, &start, &place(root.path())).unwrap_err();
    let message = format!("{error} {:?}", error);
    assert!(message.contains("best.safetensors"), "the path is named: {message}");
    let run = RunDirectory::open(root.path().join("latest")).unwrap();
    assert_eq!(names(&run.last()), ["checkpoint.safetensors"]);
    assert!(!names(run.path()).iter().any(|name| name.ends_with(".part")), "{:?}", names(run.path()));
    assert!(run.summary().unwrap().is_none());
    // With the obstacle gone, the run goes on to where it would have come.
    std::fs::remove_dir_all(run.best()).unwrap();
    let (run, _) = finished(resume_for(run, &data, config(), None));
    let (expected, _) = train(whole.path(), &data, config());
    assert!(last(&run) == last(&expected) && best(&run) == best(&expected));
}

#[test]
fn a_place_that_can_not_be_written_is_named_and_stays_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("exp");
    std::fs::write(&file, "a file").unwrap();
    let error = crate::scene::train_for(&file, &dataset(4, 0), config(), None).unwrap_err();
    assert!(error.to_string().contains("exp"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"a file");
}

#[test]
fn a_damaged_record_or_checkpoint_is_named() {
    let root = tempfile::tempdir().unwrap();
    let data = dataset(6, 0);
    let stopped = crate::scene::train_for(root.path(), &data, config(), Some(2));
    let (run, ..) = crate::scene::interrupted(stopped);
    let checkpoint = run.last().join("checkpoint.safetensors");
    let whole = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &whole[..whole.len() / 2]).unwrap();
    let error = resume_for(run.clone(), &data, config(), None).unwrap_err();
    assert!(matches!(error, TrainError::Weights(_)), "{error}");
    assert!(error.to_string().contains("checkpoint.safetensors"), "{error}");
    std::fs::write(run.path().join("run.json"), "{").unwrap();
    let error = resume_for(run, &data, config(), None).unwrap_err();
    assert!(matches!(error, TrainError::Damaged { .. }), "{error}");
}
