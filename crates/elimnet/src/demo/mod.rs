//! The main job on pictures that it draws itself: pretrain, eliminate, fine-tune, compare.
//!
//! A backbone learns many classes (shapes by textures). A smaller task has few pictures of shapes it has never seen.
//! For that task the backbone is fine-tuned whole and cut at several depths, and a network as small as one of the cuts is
//! trained from scratch. Nothing is stored: every number is measured here and now.

mod draw;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use elimnet_arch::{Network, yaml};
use elimnet_engine::{Device, Engine, EngineError, Images};

use draw::{Shape, Texture, picture};

use crate::data::{Dataset, LabeledImage, Policy, Preprocessing};
use crate::model::{ModelError, Provenance, load_model};
use crate::random::{Purpose, Random};
use crate::train::{
    Job, NewRun, Observer, OptimizerConfig, Outcome, Setup, StartingTensors, Summary, TrainConfig,
    TrainError, fit,
};
use crate::weights::{Checkpoint, Format, Tensor};

/// The backbone, in the language of model files: four stages of a plain convolution and two residual ones.
const BACKBONE: &str = "
input_channel: 3
depth_multiple: 1.0
width_multiple: 1.0
backbone:
  - [1, Conv, [24, 3, 2]]
  - [2, ConvResidual, [24, 3]]
  - [1, Conv, [48, 3, 2]]
  - [2, ConvResidual, [48, 3]]
  - [1, Conv, [96, 3, 2]]
  - [2, ConvResidual, [96, 3]]
  - [1, Conv, [192, 3, 2]]
  - [2, ConvResidual, [192, 3]]
  - [1, GlobalAvgPool, []]
  - [1, Flatten, []]
  - [1, Linear, [6]]
";

/// Where the backbone is cut: within its last stage, and at the ends of the two below.
const CUTS: [&str; 3] = ["model.6", "96", "48"];

/// The cut whose network is trained from scratch too.
const TWIN: &str = "96";

/// Side of the pictures.
const IMAGE_SIZE: usize = 48;

/// How much is drawn and trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// Seed of the pictures and the trainings.
    pub seed: u64,
    /// Pictures of each class for pretraining.
    pub pretraining_pictures: usize,
    /// Passes over them.
    pub pretraining_epochs: usize,
    /// Pictures of each class to fine-tune with.
    pub pictures: usize,
    /// Passes over those.
    pub epochs: usize,
}

impl DemoOptions {
    /// The main job in full: under five minutes on two cores.
    pub fn full() -> Self {
        Self { seed: 0, pretraining_pictures: 150, pretraining_epochs: 8, pictures: 40, epochs: 20 }
    }

    /// A short form for a quick check; its backbone has hardly learned anything.
    pub fn quick() -> Self {
        Self { pretraining_pictures: 20, pretraining_epochs: 3, epochs: 6, ..Self::full() }
    }
}

/// One line of the comparison.
#[derive(Clone, Debug)]
pub struct DemoRow {
    /// What it is, for people.
    pub title: String,
    /// What was measured.
    pub summary: Summary,
    /// Median time to classify one picture, alone.
    pub inference: Duration,
}

/// What happens, as it happens.
#[derive(Clone, Copy, Debug)]
pub enum DemoEvent<'a> {
    /// The pictures of a task were drawn.
    Drawn {
        /// What the task is.
        task: &'a str,
        /// Number of classes.
        classes: usize,
        /// Number of pictures, all splits together.
        pictures: usize,
    },
    /// A training starts.
    Training {
        /// What is trained.
        title: &'a str,
        /// The network.
        network: &'a Network,
    },
    /// The speed of the trained networks is measured.
    Timing,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A trained network could not be read back.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A network could not be timed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

/// Runs the job under `directory`, which gets the runs' folders; `observe` makes the observer of each training.
///
/// # Errors
/// If the directory can't be written.
pub fn run(
    device: &dyn Device,
    options: &DemoOptions,
    directory: &Path,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
    events: &mut dyn FnMut(DemoEvent<'_>),
) -> Result<Vec<DemoRow>, DemoError> {
    let pretraining = pretraining_task(options);
    events(drawn("pretraining", &pretraining));
    let task = small_task(options);
    events(drawn("the small task", &task));
    let backbone = backbone();
    let mut bench = Bench { device, options, directory, interrupt, observer, events, runs: 0 };

    let many = backbone.clone().with_classes(pretraining.classes.len());
    let start = StartingTensors::scratch(&many, options.seed);
    let (path, _) =
        bench.train("backbone, pretrained", many, &pretraining, &start, options.pretraining_epochs)?;
    let pretrained = checkpoint(&path)?;

    let mut rows = Vec::new();
    let mut candidates = vec![("pretrained, uncut".to_owned(), backbone.clone(), true)];
    candidates.extend(
        CUTS.iter().map(|cut| (format!("pretrained, cut @{cut}"), cut_backbone(&backbone, cut), true)),
    );
    candidates.push((format!("from scratch, as @{TWIN}"), cut_backbone(&backbone, TWIN), false));
    for (title, network, from_pretrained) in candidates {
        let network = network.with_classes(task.classes.len());
        let start = match from_pretrained {
            true => StartingTensors::pretrained(&network, &kept(&pretrained, &network), &path, options.seed)
                .map_err(TrainError::from)?,
            false => StartingTensors::scratch(&network, options.seed),
        };
        let (best, summary) = bench.train(&title, network, &task, &start, options.epochs)?;
        rows.push((title, best, summary));
    }
    (bench.events)(DemoEvent::Timing);
    time_all(device, rows)
}

fn drawn<'a>(task: &'a str, dataset: &Dataset) -> DemoEvent<'a> {
    let pictures = dataset.splits().iter().map(|(_, split)| split.len()).sum();
    DemoEvent::Drawn { task, classes: dataset.classes.len(), pictures }
}

/// The whole backbone.
fn backbone() -> Network {
    let file = yaml::parse(BACKBONE, "demo.yaml").expect("the demo's own network is well formed");
    Network { name: "demo".to_owned(), ..file.network }
}

fn cut_backbone(backbone: &Network, cut: &str) -> Network {
    backbone.cut_at(cut).expect("the demo's own cuts exist")
}

/// Every seen shape in every texture: a class each.
fn pretraining_task(options: &DemoOptions) -> Dataset {
    let classes: Vec<(Shape, Vec<Texture>)> =
        Shape::SEEN.iter().flat_map(|&shape| Texture::ALL.map(|texture| (shape, vec![texture]))).collect();
    let names =
        classes.iter().map(|(shape, textures)| format!("{}-{:?}", shape.name(), textures[0]).to_lowercase());
    let train = options.pretraining_pictures;
    draw_task(names.collect(), &classes, [train, train.div_ceil(10), 0], options.seed, 0)
}

/// The unseen shapes; texture says nothing about them.
fn small_task(options: &DemoOptions) -> Dataset {
    let classes = Shape::UNSEEN.map(|shape| (shape, Texture::ALL.to_vec()));
    let names = Shape::UNSEEN.map(Shape::name).to_vec();
    draw_task(names, &classes, [options.pictures, options.pictures, 100], options.seed, 1)
}

/// Draws `counts` pictures of each class for training, validation and test.
fn draw_task(
    names: Vec<String>,
    classes: &[(Shape, Vec<Texture>)],
    counts: [usize; 3],
    seed: u64,
    task: u64,
) -> Dataset {
    let splits = [0, 1, 2].map(|split| {
        let labels = (0..classes.len()).flat_map(|label| std::iter::repeat_n(label, counts[split]));
        let pictures = labels.enumerate().map(|(index, label)| {
            let mut random = Random::new(seed, Purpose::Draw, [task * 3 + split as u64, index as u64]);
            let (shape, textures) = &classes[label];
            let texture = textures[random.below(textures.len())];
            LabeledImage { image: picture(*shape, texture, IMAGE_SIZE, &mut random), label }
        });
        pictures.collect()
    });
    Dataset::from_images(names, splits)
}

/// What all trainings of the demo share.
struct Bench<'a> {
    device: &'a dyn Device,
    options: &'a DemoOptions,
    directory: &'a Path,
    interrupt: &'a AtomicBool,
    observer: &'a mut dyn Observer,
    events: &'a mut dyn FnMut(DemoEvent<'_>),
    runs: usize,
}

impl Bench<'_> {
    /// Trains; gives the best weights' file and the summary.
    fn train(
        &mut self,
        title: &str,
        network: Network,
        dataset: &Dataset,
        start: &StartingTensors,
        epochs: usize,
    ) -> Result<(PathBuf, Summary), DemoError> {
        (self.events)(DemoEvent::Training { title, network: &network });
        self.runs += 1;
        let place = NewRun {
            root: self.directory.to_owned(),
            name: format!("demo-{}", self.runs),
            time: SystemTime::now(),
            attachments: Vec::new(),
        };
        let job = Job {
            setup: self.setup(network, epochs),
            dataset,
            device: self.device,
            observer: &mut *self.observer,
            interrupt: self.interrupt,
        };
        match fit(job, start, &place)? {
            Outcome::Finished { run, summary } => Ok((run.best(), *summary)),
            Outcome::Interrupted { .. } => Err(DemoError::Interrupted),
        }
    }

    fn setup(&self, network: Network, epochs: usize) -> Setup {
        let config = TrainConfig {
            epochs,
            batch_size: 32,
            learning_rate: 2e-3,
            optimizer: OptimizerConfig::adamw(),
            weight_decay: 0.01,
            seed: self.options.seed,
            ..TrainConfig::default()
        };
        Setup {
            network,
            cut: None,
            preprocessing: Preprocessing::new(IMAGE_SIZE),
            augment_train: Policy::SimpleAugmentTest,
            augment_test: Policy::SimpleAugmentTest,
            weights_from: Provenance::Scratch,
            config,
        }
    }
}

/// The trained tensors as a checkpoint.
fn checkpoint(path: &Path) -> Result<Checkpoint, DemoError> {
    let tensors = load_model(path)?.tensors.into_iter();
    let tensors = tensors.map(|tensor| (tensor.name, Tensor { shape: tensor.shape, values: tensor.values }));
    Ok(Checkpoint { tensors: tensors.collect(), metadata: Default::default(), format: Format::Safetensors })
}

/// What of the checkpoint the network has a place for.
fn kept(checkpoint: &Checkpoint, network: &Network) -> Checkpoint {
    let mut kept = checkpoint.clone();
    let names: std::collections::HashSet<String> =
        network.tensors().into_iter().map(|tensor| tensor.name).collect();
    kept.tensors.retain(|name, _| names.contains(name));
    kept
}

/// Rounds of the timing; all networks take turns, so that a slow moment hits them alike.
const ROUNDS: usize = 41;

fn time_all(
    device: &dyn Device,
    trained: Vec<(String, PathBuf, Summary)>,
) -> Result<Vec<DemoRow>, DemoError> {
    let image = Images::new(1, IMAGE_SIZE, IMAGE_SIZE, 3, vec![0.5; IMAGE_SIZE * IMAGE_SIZE * 3]);
    let mut engines = Vec::new();
    for (_, path, _) in &trained {
        let model = load_model(path)?;
        let mut engine = device.load(&model.card.network)?;
        engine.set_tensors(&model.tensors)?;
        engines.push(engine);
    }
    let mut times = vec![Vec::with_capacity(ROUNDS); engines.len()];
    for _ in 0..ROUNDS {
        for (engine, times) in engines.iter_mut().zip(&mut times) {
            times.push(time_one(engine.as_mut(), &image)?);
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let rows = trained.into_iter().zip(times);
    Ok(rows
        .map(|((title, _, summary), times)| DemoRow { title, summary, inference: median(times) })
        .collect())
}

fn time_one(engine: &mut dyn Engine, image: &Images) -> Result<Duration, DemoError> {
    let started = Instant::now();
    engine.infer(image)?;
    Ok(started.elapsed())
}
