//! The data, the network and the job that all tests share.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use elimnet::data::{Dataset, Image, LabeledImage, Policy, Preprocessing};
use elimnet::model::Provenance;
use elimnet::train::{
    EpochRecord, Job, NewRun, Observer, Outcome, RunDirectory, Schedule, Setup, StartingTensors, StepReport,
    Summary, TrainConfig, TrainError, fit, resume,
};
use elimnet_arch::{Activation, BatchNorm, BlockBuilder, Conv2d, Network, Op, Value, zoo};
use elimnet_cpu::CpuDevice;
use elimnet_engine::NamedTensor;

pub(crate) const CLASSES: usize = 3;

pub(crate) fn device() -> CpuDevice {
    CpuDevice::new(2)
}

/// `stem`, a convolution; `mix`, one with batch normalisation and dropout; pooling and `fc`.
pub(crate) fn network() -> Network {
    let mut stem = BlockBuilder::new("stem", "Conv");
    let x = stem.conv("stem", Conv2d::square(3, 8, 1, 1).with_bias(), Value::INPUT);
    stem.activation("stem_relu", Activation::Relu, x);
    let mut mix = BlockBuilder::new("mix", "Conv");
    let x = mix.conv("mix", Conv2d::square(8, 8, 3, 2), Value::INPUT);
    let x = mix.batch_norm("norm", BatchNorm { channels: 8, eps: 1e-5, momentum: 0.1 }, x);
    let x = mix.activation("mix_relu", Activation::Relu, x);
    mix.module("dropout", Op::Dropout { probability: 0.1 }, x);
    let blocks = vec![stem.build(), mix.build()];
    let with_head = Network { blocks, pretrained_as: None, ..zoo::resnet18(CLASSES) }.cut_after(1);
    Network { name: "tiny".to_owned(), ..with_head }
}

/// Pictures of `images` x three colours, speckled; `odd` more of the first colour.
pub(crate) fn dataset(images: usize, odd: usize) -> Dataset {
    let picture = |label: usize, number: usize| {
        let mut rgb = vec![40; 8 * 8 * 3];
        for (at, value) in rgb.iter_mut().enumerate() {
            let speckle = (at * 31 + number * 17) % 23;
            *value = speckle as u8 * 4 + if at % 3 == label { 120 } else { 0 };
        }
        LabeledImage { image: Image::new(8, 8, rgb), label }
    };
    let split = |count: usize, first: usize| -> Vec<LabeledImage> {
        (0..count).flat_map(|n| (0..CLASSES).map(move |label| picture(label, first + n))).collect()
    };
    let mut train = split(images, 0);
    train.extend((0..odd).map(|number| picture(0, 1000 + number)));
    let classes = ["red", "green", "blue"].map(str::to_owned).to_vec();
    Dataset::from_images(classes, [train, split(4, 100), split(5, 200)])
}

pub(crate) fn config() -> TrainConfig {
    TrainConfig {
        epochs: 4,
        batch_size: 8,
        learning_rate: 0.1,
        seed: 3,
        workers: Some(2),
        schedule: Schedule::default(),
        ..TrainConfig::default()
    }
}

pub(crate) fn setup(config: TrainConfig) -> Setup {
    Setup {
        network: network(),
        cut: None,
        preprocessing: Preprocessing::new(8),
        augment_train: Policy::SimpleAugmentTrain,
        augment_test: Policy::SimpleAugmentTest,
        weights_from: Provenance::Scratch,
        config,
    }
}

pub(crate) fn place(root: &Path) -> NewRun {
    NewRun {
        root: root.to_owned(),
        name: "tiny".to_owned(),
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400),
        attachments: vec![("data.yml".to_owned(), "DATASET: colours\n".to_owned())],
    }
}

/// Interrupts after so many steps of this session, or never.
pub(crate) struct Stopper<'a> {
    pub(crate) interrupt: &'a AtomicBool,
    pub(crate) steps_left: Option<usize>,
}

impl Observer for Stopper<'_> {
    fn step(&mut self, _: &StepReport) {
        self.steps_left = self.steps_left.map(|left| left.saturating_sub(1));
        if self.steps_left == Some(0) {
            self.interrupt.store(true, Ordering::Relaxed);
        }
    }
}

/// A training from scratch under `root`, interrupted after `steps`.
pub(crate) fn train_for(
    root: &Path,
    dataset: &Dataset,
    config: TrainConfig,
    steps: Option<usize>,
) -> Result<Outcome, TrainError> {
    let start = StartingTensors::scratch(&network(), config.seed);
    train_from(&start, root, dataset, config, steps)
}

/// A training from `start`, interrupted after `steps`.
pub(crate) fn train_from(
    start: &StartingTensors,
    root: &Path,
    dataset: &Dataset,
    config: TrainConfig,
    steps: Option<usize>,
) -> Result<Outcome, TrainError> {
    let interrupt = AtomicBool::new(false);
    let mut observer = Stopper { interrupt: &interrupt, steps_left: steps };
    let device = device();
    let setup = setup(config);
    let job = Job { setup, dataset, device: &device, observer: &mut observer, interrupt: &interrupt };
    fit(job, start, &place(root))
}

/// Goes on with `run`, interrupted after `steps`.
pub(crate) fn resume_for(
    run: RunDirectory,
    dataset: &Dataset,
    config: TrainConfig,
    steps: Option<usize>,
) -> Result<Outcome, TrainError> {
    let interrupt = AtomicBool::new(false);
    let mut observer = Stopper { interrupt: &interrupt, steps_left: steps };
    let device = device();
    let setup = setup(config);
    let job = Job { setup, dataset, device: &device, observer: &mut observer, interrupt: &interrupt };
    resume(job, run)
}

/// A training from scratch to its end.
pub(crate) fn train(root: &Path, dataset: &Dataset, config: TrainConfig) -> (RunDirectory, Summary) {
    finished(train_for(root, dataset, config, None))
}

#[track_caller]
pub(crate) fn finished(outcome: Result<Outcome, TrainError>) -> (RunDirectory, Summary) {
    match outcome {
        Ok(Outcome::Finished { run, summary }) => (run, *summary),
        other => panic!("not finished: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn interrupted(outcome: Result<Outcome, TrainError>) -> (RunDirectory, usize, usize) {
    match outcome {
        Ok(Outcome::Interrupted { run, epochs, steps }) => (run, epochs, steps),
        other => panic!("not interrupted: {other:?}"),
    }
}

/// Tensors of the best model.
pub(crate) fn best(run: &RunDirectory) -> Vec<NamedTensor> {
    elimnet::model::load_model(&run.best()).expect("the best model is there").tensors
}

/// The lines of `metrics.jsonl`.
pub(crate) fn history(run: &RunDirectory) -> Vec<EpochRecord> {
    run.metrics().expect("metrics are there")
}

/// Bits of all tensors of the last checkpoint, the optimizer's included.
pub(crate) fn last(run: &RunDirectory) -> Vec<(String, Vec<u32>)> {
    let path = run.last().join("checkpoint.safetensors");
    let checkpoint = elimnet::weights::read_checkpoint(path).expect("a checkpoint is there");
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    checkpoint.tensors.into_iter().map(|(name, tensor)| (name, bits(tensor.values))).collect()
}
