//! That a training never ends below a start that already knows something.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use elimnet::train::{Head, Job, Phase, RunDirectory, StartingTensors, Summary, TrainConfig, fit};

use crate::resuming::{AtEvaluation, result};
use crate::scene::{
    best, config, dataset, device, finished, history, interrupted, place, resume_for, setup, train,
    train_from,
};

/// Trained weights, what they came to, and a rate that ruins them.
fn good_start() -> (StartingTensors, Summary, TrainConfig) {
    let root = tempfile::tempdir().unwrap();
    let (run, summary) = train(root.path(), &dataset(7, 2), TrainConfig { epochs: 12, ..config() });
    let start = StartingTensors { tensors: best(&run), fresh: Vec::new(), head: Head::Kept, rival: None };
    (start, summary, TrainConfig { learning_rate: 30.0, average_decay: Some(0.5), ..config() })
}

fn train_to_end(start: &StartingTensors, root: &Path, config: TrainConfig) -> (RunDirectory, Summary) {
    finished(train_from(start, root, &dataset(7, 2), config, None))
}

#[test]
fn a_start_that_no_epoch_beats_is_kept() {
    let (start, before, config) = good_start();
    let root = tempfile::tempdir().unwrap();
    let (run, summary) = train_to_end(&start, root.path(), config);
    assert_eq!(best(&run), start.tensors);
    assert_eq!((summary.best_epoch, summary.epochs, summary.train), (Some(0), 4, None));
    assert_eq!((&summary.validation, &summary.test), (&before.validation, &before.test));
    let epochs: Vec<_> = history(&run).iter().map(|record| (record.epoch, record.best)).collect();
    assert_eq!(epochs, [(0, true), (1, false), (2, false), (3, false), (4, false)]);
    assert!(history(&run)[1..].iter().all(|record| record.validation.loss > before.validation.loss));
}

#[test]
fn an_epoch_that_beats_the_start_is_kept() {
    let (start, before, config) = good_start();
    let root = tempfile::tempdir().unwrap();
    let (_, summary) = train_to_end(&start, root.path(), TrainConfig { learning_rate: 0.1, ..config });
    assert!(summary.best_epoch > Some(0) && summary.train.is_some(), "{:?}", summary.best_epoch);
    assert!(summary.validation.loss < before.validation.loss);
}

#[test]
fn a_start_that_was_interrupted_anywhere_ends_the_same() {
    let (start, _, config) = good_start();
    let whole = tempfile::tempdir().unwrap();
    let expected = result(&train_to_end(&start, whole.path(), config.clone()).0);
    let data = dataset(7, 2);
    for stop in 1..12 {
        let root = tempfile::tempdir().unwrap();
        let (run, ..) = interrupted(train_from(&start, root.path(), &data, config.clone(), Some(stop)));
        let (run, _) = finished(resume_for(run, &data, config.clone(), None));
        assert!(result(&run) == expected, "interrupted after step {stop}");
    }
    let (root, device, interrupt) = (tempfile::tempdir().unwrap(), device(), AtomicBool::new(false));
    let job = Job {
        setup: setup(config.clone()),
        dataset: &data,
        device: &device,
        observer: &mut AtEvaluation(Phase::Validation, &interrupt),
        interrupt: &interrupt,
    };
    let (run, epochs, steps) = interrupted(fit(job, &start, &place(root.path())));
    assert_eq!((epochs, steps, history(&run).len()), (0, 0, 0), "while the start was validated");
    let (run, _) = finished(resume_for(run, &data, config, None));
    assert!(result(&run) == expected);
}

/// A start and its rival, of which one knows nothing; and what the other came to.
fn rivals(is_start_good: bool) -> (StartingTensors, Summary, TrainConfig) {
    let (good, before, config) = good_start();
    let poor = StartingTensors::scratch(&setup(config.clone()).network, 1).tensors;
    let (tensors, rival) = if is_start_good { (good.tensors, poor) } else { (poor, good.tensors) };
    (StartingTensors { tensors, fresh: Vec::new(), head: Head::Probe, rival: Some(rival) }, before, config)
}

#[test]
fn the_better_of_a_start_and_its_rival_is_kept() {
    for is_start_good in [true, false] {
        let (start, before, config) = rivals(is_start_good);
        let root = tempfile::tempdir().unwrap();
        let (run, summary) = train_to_end(&start, root.path(), config);
        let good = if is_start_good { start.tensors } else { start.rival.unwrap() };
        assert_eq!(best(&run), good, "the start is good: {is_start_good}");
        assert_eq!(summary.best_epoch, Some(0));
        assert_eq!((&summary.validation, &summary.test), (&before.validation, &before.test));
    }
}

#[test]
fn it_is_the_start_that_is_trained() {
    let (start, _, config) = rivals(false);
    let data = dataset(7, 2);
    let [alone, beside] = [None, start.rival.clone()].map(|rival| {
        let (start, root) = (StartingTensors { rival, ..start.clone() }, tempfile::tempdir().unwrap());
        let config = TrainConfig { learning_rate: 0.1, ..config.clone() };
        let history = history(&train_to_end(&start, root.path(), config).0);
        history[1..].iter().map(|record| record.validation).collect::<Vec<_>>()
    });
    assert_eq!(alone, beside);
    let root = tempfile::tempdir().unwrap();
    let expected = result(&train_to_end(&start, root.path(), config.clone()).0);
    for stop in [1, 5] {
        let root = tempfile::tempdir().unwrap();
        let (run, ..) = interrupted(train_from(&start, root.path(), &data, config.clone(), Some(stop)));
        let (run, _) = finished(resume_for(run, &data, config.clone(), None));
        assert!(result(&run) == expected, "interrupted after step {stop}");
    }
}

#[test]
fn a_fresh_head_is_not_validated() {
    let (start, _, config) = good_start();
    let fresh = StartingTensors { head: Head::Fresh, ..start };
    let root = tempfile::tempdir().unwrap();
    let (run, summary) = train_to_end(&fresh, root.path(), config);
    let epochs: Vec<usize> = history(&run).iter().map(|record| record.epoch).collect();
    assert_eq!(epochs, [1, 2, 3, 4]);
    assert!(summary.best_epoch >= Some(1) && summary.train.is_some());
    assert_ne!(best(&run), fresh.tensors);
}

#[test]
fn runs_from_before_still_read() {
    let (start, _, config) = good_start();
    let root = tempfile::tempdir().unwrap();
    let (run, _) = train_to_end(&StartingTensors { head: Head::Fresh, ..start }, root.path(), config);
    for (file, field) in [("run.json", "\"head\": \"fresh\""), ("summary.json", "\"best_epoch\": ")] {
        let path = run.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let (found, kept): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains(field));
        assert_eq!(found.len(), 1, "{file}: {text}");
        std::fs::write(&path, kept.join("\n")).unwrap();
    }
    assert_eq!(run.record().unwrap().head, Head::Fresh);
    assert_eq!(run.summary().unwrap().unwrap().best_epoch, None);
}
