//! That a network learns from another one.

use elimnet::data::{Dataset, Split};
use elimnet::train::{Distillation, TrainConfig, TrainError};

use crate::scene::{best, config, dataset, finished, last, resume_for, train, train_for};

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The data with every label one further: what the teacher never heard of.
fn mislabelled(dataset: &Dataset) -> Dataset {
    let mut other = dataset.clone();
    for split in [&mut other.train, &mut other.validation] {
        let Split { samples } = split;
        samples.iter_mut().for_each(|sample| sample.label = (sample.label + 1) % 3);
    }
    other
}

fn distilled(teacher: std::path::PathBuf, weight: f64) -> TrainConfig {
    let distillation = Some(Distillation { weight, ..Distillation::of(teacher) });
    TrainConfig { epochs: 12, distillation, ..config() }
}

#[test]
fn a_pupil_that_only_imitates_knows_what_the_teacher_knows() {
    let (root, data) = (temporary(), dataset(20, 0));
    let (teacher, _) = train(root.path(), &data, TrainConfig { epochs: 12, ..config() });
    let wrong = mislabelled(&data);
    // The labels are wrong, so the best epoch by them is the first: what counts is what the last one does.
    let accuracy = |weight: f64| {
        let (run, _) = train(root.path(), &wrong, distilled(teacher.best(), weight));
        let text = std::fs::read_to_string(run.path().join("metrics.jsonl")).expect("metrics are there");
        let line: serde_json::Value =
            serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        line["validation"]["accuracy"].as_f64().expect("a number")
    };
    assert!(accuracy(1.0) < 0.2, "the pupil took the labels' word over the teacher's: {}", accuracy(1.0));
    assert!(accuracy(0.0) > 0.9, "without weight the teacher changed something: {}", accuracy(0.0));
}

#[test]
fn a_resumed_pupil_ends_as_one_that_was_not_interrupted() {
    let (root, data) = (temporary(), dataset(6, 0));
    let (teacher, _) = train(root.path(), &data, TrainConfig { epochs: 2, ..config() });
    let config = TrainConfig { epochs: 3, ..distilled(teacher.best(), 0.5) };
    let (whole, _) = train(root.path(), &data, config.clone());
    let (half, _, _) = crate::scene::interrupted(train_for(root.path(), &data, config.clone(), Some(4)));
    let (resumed, _) = finished(resume_for(half, &data, config, None));
    assert_eq!(best(&whole), best(&resumed));
    assert!(last(&whole) == last(&resumed));
}

#[test]
fn a_teacher_of_other_classes_is_refused() {
    let (root, data) = (temporary(), dataset(6, 0));
    let (teacher, _) = train(root.path(), &data, TrainConfig { epochs: 1, ..config() });
    let mut other = data.clone();
    other.classes[0] = "crimson".to_owned();
    let refused = train_for(root.path(), &other, distilled(teacher.best(), 0.5), None);
    let error = refused.expect_err("other classes");
    assert!(matches!(error, TrainError::Teacher { .. }), "{error:?}");
    assert!(error.to_string().contains("knows the classes red, green, blue"), "{error}");
    let missing = train_for(root.path(), &data, distilled("missing.safetensors".into(), 0.5), None);
    assert!(matches!(missing, Err(TrainError::Model(_))), "{missing:?}");
}
