//! That an interrupted and resumed training ends with the bits of one that was not.

use elimnet::data::Dataset;
use std::sync::atomic::{AtomicBool, Ordering};

use elimnet::train::{CheckpointEvery, EpochRecord, OptimizerConfig, RunDirectory, TrainConfig, TrainError};
use elimnet::train::{Job, Observer, Phase, StartingTensors, fit};

use crate::scene::{
    best, config, dataset, device, finished, history, interrupted, last, network, place, resume_for, setup,
    train, train_for,
};

/// What must be the same: bits of the last checkpoint, bits of the best model, all measurements but times.
pub(crate) type RunResult = (Vec<(String, Vec<u32>)>, Vec<Vec<u32>>, Vec<String>);

pub(crate) fn result(run: &RunDirectory) -> RunResult {
    let best = best(run).into_iter().map(|tensor| tensor.values.iter().map(|v| v.to_bits()).collect());
    let timeless = |record| {
        format!("{:?}", EpochRecord { seconds: 0.0, images_per_second: 0.0, data_wait_share: 0.0, ..record })
    };
    (last(run), best.collect(), history(run).into_iter().map(timeless).collect())
}

fn settings() -> TrainConfig {
    TrainConfig { average_decay: Some(0.9), label_smoothing: 0.1, ..config() }
}

fn data() -> Dataset {
    dataset(7, 2) // 23 images: 3 steps an epoch
}

fn uninterrupted(config: TrainConfig) -> RunResult {
    let root = tempfile::tempdir().unwrap();
    let (run, _) = train(root.path(), &data(), config);
    result(&run)
}

#[test]
fn a_run_that_was_interrupted_anywhere_ends_the_same() {
    let expected = uninterrupted(settings());
    for stop in 1..12 {
        let root = tempfile::tempdir().unwrap();
        let (run, epochs, steps) = interrupted(train_for(root.path(), &data(), settings(), Some(stop)));
        assert_eq!(epochs * 3 + steps, stop);
        let (run, summary) = finished(resume_for(run, &data(), settings(), None));
        assert!(result(&run) == expected, "interrupted after step {stop}");
        assert_eq!(summary.epochs, 4);
    }
}

#[test]
fn a_run_that_was_interrupted_all_the_time_ends_the_same() {
    let adamw = TrainConfig { optimizer: OptimizerConfig::adamw(), weight_decay: 0.01, ..settings() };
    for config in [settings(), adamw] {
        let expected = uninterrupted(config.clone());
        let root = tempfile::tempdir().unwrap();
        let (mut run, ..) = interrupted(train_for(root.path(), &data(), config.clone(), Some(1)));
        for _ in 1..11 {
            (run, ..) = interrupted(resume_for(run, &data(), config.clone(), Some(1)));
        }
        let (run, _) = finished(resume_for(run, &data(), config, None));
        assert!(result(&run) == expected);
    }
}

/// Interrupts as soon as a split is evaluated.
pub(crate) struct AtEvaluation<'a>(pub(crate) Phase, pub(crate) &'a AtomicBool);

impl Observer for AtEvaluation<'_> {
    fn evaluating(&mut self, phase: Phase, _: usize, _: usize) {
        if phase == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_run_that_was_interrupted_while_it_was_evaluated_ends_the_same() {
    let expected = uninterrupted(settings());
    for (phase, position) in [(Phase::Validation, (0, 3)), (Phase::Test, (4, 0))] {
        let root = tempfile::tempdir().unwrap();
        let (data, device, interrupt) = (data(), device(), AtomicBool::new(false));
        // The interrupt is seen before the second batch: there are 12 validation and 15 test images in batches of 8.
        let job = Job {
            setup: setup(settings()),
            dataset: &data,
            device: &device,
            observer: &mut AtEvaluation(phase, &interrupt),
            interrupt: &interrupt,
        };
        let start = StartingTensors::scratch(&network(), settings().seed);
        let (run, epochs, steps) = interrupted(fit(job, &start, &place(root.path())));
        assert_eq!((epochs, steps), position);
        let (run, _) = finished(resume_for(run, &data, settings(), None));
        assert!(result(&run) == expected, "{phase:?}");
    }
}

/// What `kill -9` leaves: the checkpoint of some earlier moment under files of a later one.
#[test]
fn an_older_checkpoint_under_newer_files_ends_the_same() {
    let config = TrainConfig { checkpoint_every: CheckpointEvery::Steps(2), ..settings() };
    let expected = uninterrupted(config.clone());
    let root = tempfile::tempdir().unwrap();
    let (run, ..) = interrupted(train_for(root.path(), &data(), config.clone(), Some(2)));
    let checkpoint = run.last().join("checkpoint.safetensors");
    let old = std::fs::read(&checkpoint).unwrap();
    let (run, ..) = interrupted(resume_for(run, &data(), config.clone(), Some(6)));
    std::fs::write(&checkpoint, old).unwrap();
    std::fs::write(run.last().join(".checkpoint.safetensors.1-0.part"), "half a checkpoint").unwrap();
    let (run, _) = finished(resume_for(run, &data(), config, None));
    assert!(result(&run) == expected);
}

#[test]
fn a_finished_run_says_so() {
    let root = tempfile::tempdir().unwrap();
    let (run, _) = train(root.path(), &data(), settings());
    let error = resume_for(run.clone(), &data(), settings(), None).unwrap_err();
    assert!(matches!(&error, TrainError::Finished { path } if path == run.path()), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("summary.json")));
}

#[test]
fn other_settings_or_data_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let (run, ..) = interrupted(train_for(root.path(), &data(), settings(), Some(2)));
    let before = last(&run);
    for (data, config, expected) in [
        (data(), TrainConfig { learning_rate: 0.2, ..settings() }, "learning_rate was 0.1 and is now 0.2"),
        (data(), TrainConfig { seed: 4, ..settings() }, "seed was 3 and is now 4"),
        (dataset(8, 0), settings(), "the data set was"),
    ] {
        let error = resume_for(run.clone(), &data, config, None).unwrap_err();
        assert!(matches!(error, TrainError::Differs { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(last(&run) == before, "the checkpoint is as it was");
    let workers = TrainConfig { workers: Some(1), ..settings() };
    finished(resume_for(run, &data(), workers, None));
}
