//! That a training learns, and that each setting does what it says.

use elimnet::train::{
    CheckpointEvery, Schedule, Select, StartingTensors, TrainConfig, TrainError, initial_tensors,
};
use elimnet_engine::NamedTensor;

use crate::scene::{best, config, dataset, history, last, network, place, setup, train, train_for};

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn values<'a>(tensors: &'a [NamedTensor], name: &str) -> &'a [f32] {
    &tensors.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("no {name}")).values
}

#[test]
fn colours_are_learnt() {
    let root = temporary();
    let (run, summary) = train(root.path(), &dataset(20, 0), TrainConfig { epochs: 12, ..config() });
    let test = summary.test.expect("there are test images");
    assert!(test.accuracy > 0.99 && test.macro_f1 > 0.99 && test.loss < 0.3, "{test:?}");
    assert_eq!(test.per_class.keys().collect::<Vec<_>>(), ["red", "green", "blue"]);
    let losses: Vec<f64> = history(&run).iter().filter_map(|record| Some(record.train?.loss)).collect();
    assert!(losses.len() == 12 && losses[11] < 0.5 * losses[0], "{losses:?}");
    assert_eq!((summary.epochs, summary.seed, summary.parameters), (12, 3, network().parameters()));
}

#[test]
fn a_frozen_prefix_stays_bit_for_bit() {
    let root = temporary();
    let config = TrainConfig { freeze_until: Some("stem".to_owned()), ..config() };
    let (run, _) = train(root.path(), &dataset(6, 0), config.clone());
    let (before, after) = (initial_tensors(&network(), config.seed), best(&run));
    for name in ["stem.weight", "stem.bias"] {
        assert_eq!(values(&before, name), values(&after, name), "{name}");
    }
    for name in ["mix.weight", "fc.weight"] {
        assert_ne!(values(&before, name), values(&after, name), "{name}");
    }
}

#[test]
fn the_head_warms_up_alone() {
    let root = temporary();
    let config = TrainConfig { epochs: 2, head_warmup_epochs: 1, ..config() };
    let data = dataset(6, 0);
    let steps = data.train.len().div_ceil(config.batch_size);
    let before = initial_tensors(&network(), config.seed);
    let stopped = train_for(root.path(), &data, config.clone(), Some(steps - 1));
    let (run, epochs, _) = crate::scene::interrupted(stopped);
    assert_eq!(epochs, 0);
    let bits = |tensor: &NamedTensor| tensor.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for (name, found) in last(&run) {
        let Some(name) = name.strip_prefix("model.") else { continue };
        let initial = before.iter().find(|tensor| tensor.name == name).expect("the same tensors");
        let is_statistic =
            ["running_mean", "running_var", "num_batches_tracked"].iter().any(|s| name.ends_with(s));
        let moves = name.starts_with("fc") || is_statistic;
        assert_eq!(bits(initial) == found, !moves, "{name}");
    }
}

#[test]
fn training_ends_when_nothing_gets_better() {
    let root = temporary();
    // At this rate nothing moves, nor do the statistics of frozen blocks: no epoch is better than the first.
    let config = TrainConfig {
        epochs: 20,
        freeze_until: Some("mix".to_owned()),
        learning_rate: 1e-30,
        schedule: Schedule::Constant,
        patience: Some(3),
        ..config()
    };
    let (run, summary) = train(root.path(), &dataset(4, 0), config);
    let best: Vec<bool> = history(&run).iter().map(|record| record.best).collect();
    assert_eq!((summary.epochs, best), (4, vec![true, false, false, false]));
}

#[test]
fn the_average_is_what_is_validated_and_saved() {
    let root = temporary();
    let config = TrainConfig { epochs: 1, average_decay: Some(0.5), ..config() };
    let (run, _) = train(root.path(), &dataset(6, 0), config);
    let saved = best(&run);
    let bits = |prefix: &str| {
        let name = format!("{prefix}fc.weight");
        last(&run).into_iter().find(|(found, _)| *found == name).expect("the checkpoint has it").1
    };
    let saved: Vec<u32> = values(&saved, "fc.weight").iter().map(|v| v.to_bits()).collect();
    assert_eq!(saved, bits("optimizer.average."));
    assert_ne!(saved, bits("model."), "the average is not the current state");
}

#[test]
fn a_last_batch_of_one_image_is_left_out() {
    let root = temporary();
    // 25 images in batches of 8.
    let (run, _) = train(root.path(), &dataset(8, 1), TrainConfig { epochs: 1, ..config() });
    let state = elimnet::weights::read_checkpoint(run.last().join("checkpoint.safetensors")).unwrap();
    assert_eq!(state.metadata["elimnet.steps"], "3");
}

#[test]
fn the_measure_decides_which_epoch_is_best() {
    let root = temporary();
    for select in [Select::ValidationLoss, Select::MacroF1] {
        let (run, summary) =
            train(root.path(), &dataset(6, 0), TrainConfig { epochs: 6, select, ..config() });
        let history = history(&run);
        let best = history.iter().rfind(|record| record.best).expect("the first epoch is the best at first");
        for other in &history {
            match select {
                Select::ValidationLoss => assert!(best.validation.loss <= other.validation.loss),
                Select::MacroF1 => assert!(best.validation.macro_f1 >= other.validation.macro_f1),
            }
        }
        assert_eq!(summary.validation, best.validation);
    }
}

#[test]
fn workers_and_checkpoints_change_nothing() {
    let data = dataset(8, 2);
    let trained = |workers, checkpoint_every| {
        let root = temporary();
        let (run, _) = train(root.path(), &data, TrainConfig { workers, checkpoint_every, ..config() });
        last(&run)
    };
    let expected = trained(Some(1), CheckpointEvery::Epoch);
    assert!(expected == trained(Some(3), CheckpointEvery::Steps(1)));
}

#[test]
fn a_training_that_blows_up_says_where() {
    let root = temporary();
    let config = TrainConfig { learning_rate: 1e30, ..config() };
    match train_for(root.path(), &dataset(6, 0), config, None) {
        Err(error @ TrainError::NotFinite { .. }) => {
            let message = error.to_string();
            assert!(message.contains("is not finite in epoch 1, step"), "{message}");
            assert!(error.hint().is_some_and(|hint| hint.contains("learning rate")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_can_not_be_trained_leaves_nothing_behind() {
    use std::sync::atomic::AtomicBool;
    let small = dataset(6, 0);
    let no_validation = {
        let mut data = dataset(6, 0);
        data.validation.samples.clear();
        data
    };
    let other_classes = {
        let mut data = dataset(6, 0);
        data.classes.push("grey".to_owned());
        data
    };
    let bad_setting = TrainConfig { epochs: 0, ..config() };
    let bad_cut = TrainConfig { freeze_until: Some("top".to_owned()), ..config() };
    for (data, config, expected) in [
        (&no_validation, config(), "there are no validation images"),
        (&other_classes, config(), "network `tiny` has 3 outputs, but the data have 4 classes"),
        (&small, bad_setting, "epochs is 0, expected more than 0"),
        (&small, bad_cut, "`tiny` has no cut `top`; it has stem@8, mix@8"),
    ] {
        let root = temporary();
        let device = crate::scene::device();
        let job = elimnet::train::Job {
            setup: setup(config),
            dataset: data,
            device: &device,
            observer: &mut (),
            interrupt: &AtomicBool::new(false),
        };
        let start = StartingTensors::scratch(&network(), 0);
        let error = elimnet::train::fit(job, &start, &place(root.path())).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "{expected}");
    }
}

#[test]
fn one_value_a_channel_is_refused() {
    use std::sync::atomic::AtomicBool;
    let device = crate::scene::device();
    let data = dataset(4, 0);
    let message = |batch_size, image_size, freeze_until: Option<&str>| {
        let root = temporary();
        let freeze_until = freeze_until.map(str::to_owned);
        let mut setup = setup(TrainConfig { epochs: 1, batch_size, freeze_until, ..config() });
        setup.preprocessing.image_size = image_size;
        let interrupt = AtomicBool::new(false);
        let job = elimnet::train::Job {
            setup,
            dataset: &data,
            device: &device,
            observer: &mut (),
            interrupt: &interrupt,
        };
        let start = StartingTensors::scratch(&network(), 0);
        elimnet::train::fit(job, &start, &place(root.path())).map(drop).map_err(|error| error.to_string())
    };
    let refused =
        "batch normalisation in block `mix` sees one pixel of each image, and a batch has one image";
    assert_eq!(message(1, 2, None), Err(refused.to_owned()));
    assert_eq!(message(1, 4, None), Ok(()), "four pixels are enough");
    assert_eq!(message(2, 2, None), Ok(()), "two images are enough");
    assert_eq!(message(1, 2, Some("mix")), Ok(()), "a frozen one needs no statistics");
}
