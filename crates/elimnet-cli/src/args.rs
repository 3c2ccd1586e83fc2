//! The command line as data. Declarations only: the doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Cut the top off a pretrained CNN, fine-tune the rest on your images, and measure what it is worth.
///
/// MODEL is a network of the zoo (resnet18), one that is cut (resnet18@layer2.1, resnet18@128), a YAML file, a model file (best.safetensors) or a run directory (exp/latest).
///
/// Results go to standard output, progress to standard error. The exit code is 0 for success, 1 where the answer is no (no network fits a budget), 2 for an error and 130 where a training was interrupted and can go on.
#[derive(Debug, Parser)]
#[command(name = "elimnet", version, max_term_width = 100, args_override_self = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Info(InfoArgs),
    Cuts(CutsArgs),
    Scan(ScanArgs),
    Eliminate(Box<EliminateArgs>),
    Train(Box<TrainArgs>),
    Predict(PredictArgs),
    Inference(InferenceArgs),
    Evaluate(EvaluateArgs),
    Bench(BenchArgs),
    Compare(CompareArgs),
    Report(ReportArgs),
    Weights(WeightsArgs),
    /// Print this reference as Markdown.
    #[command(hide = true)]
    Reference,
}

/// Show the main job on pictures drawn for it: pretrain, cut, fine-tune, compare.
///
/// Draws pictures of shapes, pretrains a small backbone on 32 classes of them, and fine-tunes it, whole and cut at several depths, for 6 other shapes with few pictures; trains a network as small as one of the cuts from scratch; prints what it measured. Needs no network and no files, and writes to a temporary folder only. Under five minutes on two cores.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// A short form of a few seconds a training, to see that everything works.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Seed of the pictures and the trainings.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// Show what a network is made of and what it costs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet info resnet18 --classes 6
  elimnet info configs/model/efficientnet_b0_elim_3.yaml --image-size 128
  elimnet info exp/latest --format json")]
pub(crate) struct InfoArgs {
    /// Network of the zoo, NAME@CUT, YAML file, model file or run directory.
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// List the places where a network can be cut.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet cuts efficientnet_b0 --classes 6
  elimnet cuts resnet18 --format json

A cut is addressed behind an @: by its name (resnet18@layer2.1), its index (resnet18@#4) or its
output channels (resnet18@128, the deepest that has as many).")]
pub(crate) struct CutsArgs {
    /// Network of the zoo, NAME@CUT, YAML file, model file or run directory.
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct SizeArgs {
    /// Number of classes [default: the model's own; 1000 for the zoo].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) classes: Option<u32>,
    /// Side of the images in pixels [default: the model's own, or 224].
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) image_size: Option<u32>,
}

/// Score every cut of pretrained backbones on your images, from one pass over them.
///
/// Runs each backbone once, frozen, over the training and validation images, and judges the features after every block with a linear probe (and nearest neighbours and class means): what a network that ends there can be expected to do, beside its parameters, multiply-adds, file size, memory and measured latency. Nothing is trained unless --anchors asks for it. Features are kept, so that scanning the same images again takes a moment; test images are not looked at. Writes scan.json into the output folder. JSON is a line for each backbone and image size.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet scan photos/ --backbone efficientnet_b0
  elimnet scan photos/ --backbone resnet18,mobilenet_v3_large --image-size 224,160,128
  elimnet scan photos/ --backbone resnet18 --weights resnet18.pth --anchors 3 --format json")]
pub(crate) struct ScanArgs {
    /// Data YAML, or a folder ROOT/CLASS/*.jpg or ROOT/{train,val,test}/CLASS/*.jpg.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) candidates: CandidateArgs,
    /// Short fine-tunes at so many depths, which correct what probes can't see: fine-tuning lifts shallow cuts more.
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) anchors: u32,
    /// Folder for scan.json.
    #[arg(long, value_name = "DIR", default_value = "scan")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Find the cut that is worth having under a budget, fine-tune it, and prove it.
///
/// Scans every cut, keeps what fits the budget, corrects the probes by short fine-tunes at a few depths, fine-tunes the most promising for longer and longer while the worse half drops out, and trains the winner in full: an ordinary run, with elimination.json and scan.json in it. The uncut network and the static baseline (the deepest cut that fits) are trained alike to compare with: differences come with 95 % intervals over the same test images, and what lies inside the noise is not called a gain. Without a budget the highest macro-F1 wins; with --max-f1-drop the fastest that keeps it. Exit code 1 where nothing fits.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet eliminate photos/ --backbone efficientnet_b0 --max-params 1M
  elimnet eliminate photos/ --max-latency-ms 5 --image-size 224,160 --seeds 3
  elimnet eliminate photos/ --backbone resnet18 --max-f1-drop 0.01 --distill --format json")]
pub(crate) struct EliminateArgs {
    /// Data YAML, or a folder ROOT/CLASS/*.jpg or ROOT/{train,val,test}/CLASS/*.jpg.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) candidates: CandidateArgs,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
    /// Choose from these cuts alone, named as in a scan's table, several with commas between [default: all].
    #[arg(long, value_name = "CUT,...", value_delimiter = ',')]
    pub(crate) cuts: Vec<String>,
    /// Epochs of the full fine-tunes [default: the data YAML's, or 20].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: Option<u32>,
    /// Short fine-tunes at so many depths, which correct what probes can't see: fine-tuning lifts shallow cuts more.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) anchors: u32,
    /// Most candidates that are fine-tuned for a short time to find the winner among them.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) finalists: u32,
    /// Let the winner imitate the fine-tuned uncut network, too.
    #[arg(long)]
    pub(crate) distill: bool,
    /// Seeds of the full fine-tunes, from --seed on; more make the intervals honest about chance in training.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) seeds: u32,
    /// Do not train the uncut network and the baseline to compare with.
    #[arg(long)]
    pub(crate) no_proof: bool,
    /// Folder of all runs.
    #[arg(long, value_name = "DIR", default_value = "exp")]
    pub(crate) output: PathBuf,
    /// Also write event files that TensorBoard reads, into the run directories.
    #[arg(long)]
    pub(crate) tensorboard: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// What the winner may cost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Budget")]
pub(crate) struct BudgetArgs {
    /// Most parameters, such as 1M or 250k.
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_params: Option<String>,
    /// Longest time for one image alone, measured on this machine.
    #[arg(long, value_name = "MS")]
    pub(crate) max_latency_ms: Option<f64>,
    /// Largest model file, in millions of bytes.
    #[arg(long, value_name = "MB")]
    pub(crate) max_mb: Option<f64>,
    /// How much lower than the uncut network's the macro-F1 may be; the fastest that keeps it wins.
    #[arg(long, value_name = "F1")]
    pub(crate) max_f1_drop: Option<f64>,
}

/// Which networks are considered, and on which images.
#[derive(Debug, Args)]
pub(crate) struct CandidateArgs {
    /// Networks to cut: of the zoo, YAML files, model files or run directories, several with commas between.
    #[arg(
        long,
        value_name = "MODEL,...",
        value_delimiter = ',',
        default_value = "resnet18,efficientnet_b0,mobilenet_v3_large"
    )]
    pub(crate) backbone: Vec<String>,
    /// Their weights: a .pth or .safetensors FILE, `imagenet` or `none`; one for all or one for each [default: imagenet for the zoo, what the file says for YAML, its own for a model file].
    #[arg(long, value_name = "FILE|imagenet|none,...", value_delimiter = ',')]
    pub(crate) weights: Vec<String>,
    /// Sides of the images in pixels, several with commas between [default: the data YAML's, or 224].
    #[arg(long, value_name = "PIXELS,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) image_size: Vec<u32>,
    /// Consider dropping one of the inner residual blocks, too; a pass for each.
    #[arg(long)]
    pub(crate) drop_blocks: bool,
    /// Consider a fresh convolution in the place of what is cut off, too, written conv:OUTxKERNEL; several with commas between.
    #[arg(long, value_name = "TAIL,...", value_delimiter = ',')]
    pub(crate) tail: Vec<String>,
    /// Epochs of each short fine-tune.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) anchor_epochs: u32,
    /// Images a step of fine-tuning [default: the data YAML's, or 64].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch_size: Option<u32>,
    /// Highest learning rate of fine-tuning [default: the data YAML's, or 0.01].
    #[arg(long, value_name = "RATE")]
    pub(crate) learning_rate: Option<f64>,
    /// Augmentation of the training images, a policy by name [default: the data YAML's, or simple_augment_train].
    #[arg(long, value_name = "POLICY")]
    pub(crate) augment: Option<String>,
    /// Share of the images to validate on, where the data have no split of their own [default: the data YAML's, or 0.15].
    #[arg(long, value_name = "SHARE")]
    pub(crate) validation_ratio: Option<f32>,
    /// Share of the image files that may be broken; they are left out and named [default: 0.05].
    #[arg(long, value_name = "SHARE")]
    pub(crate) tolerate: Option<f64>,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Threads that decode images and fit probes [default: one a core]. Does not change the result.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// Neither look for features of an earlier scan nor keep those of this one.
    #[arg(long)]
    pub(crate) no_cache: bool,
}

/// Train a network on labelled images: fine-tune a pretrained one, cut or not, or start from scratch.
///
/// What is not given here comes from the data YAML (image size, batch size, epochs, learning rate, augmentation), else from the defaults below. Leaves a run directory behind with the best model, the last checkpoint, all results and a page to look at (report.html). Ctrl-C writes a checkpoint and says how to go on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet train --model resnet18@layer2.1 --data photos/ --image-size 128
  elimnet train --model configs/model/resnet18_elim_2.yaml --data configs/data/trashnet.yaml
  elimnet train --model resnet18@128 --data photos/ --weights resnet18.pth --learning-rate 0.02
  elimnet train --resume exp/latest")]
pub(crate) struct TrainArgs {
    /// Network of the zoo, NAME@CUT, YAML file, model file or run directory.
    #[arg(long, required_unless_present = "resume")]
    pub(crate) model: Option<String>,
    /// Data YAML, or a folder ROOT/CLASS/*.jpg or ROOT/{train,val,test}/CLASS/*.jpg.
    #[arg(long, value_name = "YAML|DIR", required_unless_present = "resume")]
    pub(crate) data: Option<PathBuf>,
    /// Weights to start from: a .pth or .safetensors FILE, `imagenet` (found in the cache or downloaded), or `none` (from scratch) [default: imagenet for the zoo, what the file says for YAML, its own for a model file].
    #[arg(long, value_name = "FILE|imagenet|none")]
    pub(crate) weights: Option<String>,
    /// What the classifier starts from [default: fresh].
    #[arg(long, value_enum)]
    pub(crate) head: Option<HeadName>,
    /// Go on with an interrupted run, to the result that it would have had.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "data", "weights", "name", "output"])]
    pub(crate) resume: Option<PathBuf>,
    /// Folder of all runs.
    #[arg(long, value_name = "DIR", default_value = "exp")]
    pub(crate) output: PathBuf,
    /// Last part of the run's name [default: the network's name].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Also write event files that TensorBoard reads, into the run directory.
    #[arg(long)]
    pub(crate) tensorboard: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Settings of a training.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Recipe")]
#[group(id = "recipe", multiple = true, conflicts_with = "resume")]
pub(crate) struct RecipeArgs {
    /// Passes over the training images [default: the data YAML's, or 20].
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<usize>,
    /// Images a step [default: the data YAML's, or 64].
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    /// Side of the images in pixels [default: the data YAML's, or 224].
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) image_size: Option<u32>,
    /// Share of the images to validate on, where the data have no split of their own [default: the data YAML's, or 0.15].
    #[arg(long, value_name = "SHARE")]
    pub(crate) validation_ratio: Option<f32>,
    /// Share of the image files that may be broken; they are left out and named [default: 0.05].
    #[arg(long, value_name = "SHARE")]
    pub(crate) tolerate: Option<f64>,
    /// Augmentation of the training images, a policy by name [default: the data YAML's, or simple_augment_train].
    #[arg(long, value_name = "POLICY")]
    pub(crate) augment: Option<String>,
    /// Highest learning rate [default: the data YAML's, or 0.01].
    #[arg(long, value_name = "RATE")]
    pub(crate) learning_rate: Option<f64>,
    /// How the learning rate moves [default: one-cycle].
    #[arg(long, value_enum)]
    pub(crate) schedule: Option<ScheduleName>,
    /// Share of the steps on which the rate goes up [default: 0.05].
    #[arg(long, value_name = "SHARE")]
    pub(crate) warmup: Option<f64>,
    /// Update rule [default: sgd].
    #[arg(long, value_enum)]
    pub(crate) optimizer: Option<OptimizerName>,
    /// Nesterov's form of SGD's momentum.
    #[arg(long)]
    pub(crate) nesterov: bool,
    /// Momentum of SGD, beta1 of AdamW, for schedules other than one-cycle [default: 0.9].
    #[arg(long, value_name = "SHARE")]
    pub(crate) momentum: Option<f64>,
    /// L2 penalty of SGD, decoupled decay of AdamW [default: 0].
    #[arg(long, value_name = "RATE")]
    pub(crate) weight_decay: Option<f64>,
    /// Share of every target that is spread over all classes [default: 0].
    #[arg(long, value_name = "SHARE")]
    pub(crate) label_smoothing: Option<f32>,
    /// Logit adjustment for rare classes, of this strength [default: none].
    #[arg(long, value_name = "TAU")]
    pub(crate) logit_adjustment: Option<f32>,
    /// Validate and save a running average of the weights, with this decay a step [default: none].
    #[arg(long, value_name = "DECAY")]
    pub(crate) ema: Option<f32>,
    /// Leave everything up to and with this cut as it is.
    #[arg(long, value_name = "CUT")]
    pub(crate) freeze_until: Option<String>,
    /// Epochs at the start in which only the head learns [default: 0].
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) head_warmup: Option<usize>,
    /// Learning rate of the trunk's last block over that of the head [default: 1].
    #[arg(long, value_name = "FACTOR")]
    pub(crate) trunk_rate: Option<f64>,
    /// Learning rate of each block over that of the block above it [default: 1].
    #[arg(long, value_name = "FACTOR")]
    pub(crate) layer_decay: Option<f64>,
    /// Stop after as many epochs without a better one; the start is no epoch [default: never].
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) patience: Option<usize>,
    /// Largest norm of all gradients together [default: none].
    #[arg(long, value_name = "NORM")]
    pub(crate) clip_norm: Option<f32>,
    /// What makes an epoch the best [default: loss].
    #[arg(long, value_enum)]
    pub(crate) select: Option<SelectName>,
    /// Seed of everything that is drawn [default: 0].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Threads that decode images [default: one a core]. Does not change the result.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Memory for decoded images, in MiB [default: 1024]. Does not change the result.
    #[arg(long, value_name = "MIB")]
    pub(crate) cache: Option<usize>,
    /// Minutes between checkpoints inside an epoch, or steps with an `s` behind (`50s`) [default: 10]. Does not change the result.
    #[arg(long, value_name = "MINUTES|STEPSs")]
    pub(crate) checkpoint_every: Option<String>,
}

/// What the classifier starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HeadName {
    /// The weights, where they have one for these classes, else random numbers.
    Fresh,
    /// A logistic probe, fitted to the frozen features of the training images first; better where epochs or images are few.
    Probe,
}

/// How the learning rate moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScheduleName {
    /// Up and down once, the momentum the other way round.
    OneCycle,
    /// Up a line, down half a cosine.
    Cosine,
    /// The same from first to last.
    Constant,
}

/// The update rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimizerName {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay.
    Adamw,
}

/// The measure of the best epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SelectName {
    /// Lowest validation loss.
    Loss,
    /// Highest validation macro-F1.
    #[value(name = "macro_f1", alias = "macro-f1")]
    MacroF1,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Threads that compute, and decode images where there is no --workers; 0 for one a core. Does not change the result.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub(crate) threads: u16,
    /// What activations are stored as; auto is bf16 where the processor computes with it (AVX512_BF16, AMX), else f32 [default: auto; with --resume the run's].
    #[arg(long, value_enum)]
    pub(crate) precision: Option<PrecisionName>,
}

/// Type of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionName {
    /// The faster one.
    Auto,
    /// 32 bits.
    F32,
    /// bfloat16, with sums, weights and statistics in f32; where two classes are too close to call, the image is classified in f32.
    Bf16,
}

/// Classify images.
///
/// JSON lines have `file`, `class`, `probability`, `probabilities` by class name and `logits`. A file that is no image is an error, but the others are still classified.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet predict exp/latest new/*.jpg
  elimnet predict best.safetensors photos/ --format csv --top-k 3
  elimnet predict --model resnet18 --weights resnet18-f37072fd.pth cat.jpg --top-k 5")]
pub(crate) struct PredictArgs {
    /// Run directory or model file, then image files, folders and globs; with --model images only.
    #[arg(required = true, value_name = "RUN|FILE.safetensors|IMAGES")]
    pub(crate) paths: Vec<String>,
    /// A network that is not a model file, to use with --weights as it is.
    #[arg(long, requires = "weights")]
    pub(crate) model: Option<String>,
    /// Its weights: a .pth or .safetensors FILE, or `imagenet`.
    #[arg(long, value_name = "FILE|imagenet", requires = "model")]
    pub(crate) weights: Option<String>,
    /// Names of its classes, one a line [default: numbers].
    #[arg(long, value_name = "FILE", requires = "model")]
    pub(crate) classes_file: Option<PathBuf>,
    /// Side of the images in pixels [default: 224].
    #[arg(long, value_name = "PIXELS", requires = "model", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) image_size: Option<u32>,
    /// How many classes to show for each image (text and CSV).
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top_k: u32,
    /// Images at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch_size: u32,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// How to print the predictions.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: PredictionFormat,
}

/// Classify a whole folder, and record how long it took.
///
/// Writes a prediction for every image to --output and the times to RUN/inference.json, where `compare` finds them. Where the images lie in folders named after classes, accuracy and macro-F1 are given too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet inference --model-dir exp/latest --img-root photos/test
  elimnet inference --model_dir exp/latest --img_root photos/test --output predictions.json")]
pub(crate) struct InferenceArgs {
    /// Run directory or model file.
    #[arg(long, visible_alias = "model_dir", value_name = "RUN")]
    pub(crate) model_dir: String,
    /// Folder of images.
    #[arg(long, visible_alias = "img_root", value_name = "DIR")]
    pub(crate) img_root: PathBuf,
    /// File for the predictions, .csv or .json (lines) [default: predictions.csv in the run directory].
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Images at once.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch_size: u32,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// How to print the summary.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Measure how good a run is on one of its splits, or on other data.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet evaluate exp/latest --split test
  elimnet evaluate exp/latest --split validation --format json
  elimnet evaluate best.safetensors --data other_photos/ --split train")]
pub(crate) struct EvaluateArgs {
    /// Run directory; with --data a model file will do.
    pub(crate) run: PathBuf,
    /// Which images.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) split: SplitName,
    /// Other data: a data YAML or a folder with the same classes.
    #[arg(long, value_name = "YAML|DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Images at once.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch_size: u32,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SplitName {
    /// What was trained on.
    Train,
    /// What the best epoch was chosen by.
    #[value(alias = "val")]
    Validation,
    /// What nothing was chosen by.
    #[default]
    Test,
}

/// Measure how fast a network runs, on random images.
///
/// Warms up, then gives the median and the 95th percentile of the times of one batch. JSON lines have `model`, `device`, `precision`, `batch_size`, `image_size`, `mode`, `median_ms`, `p95_ms`, `images_per_second` and `memory_bytes`; with --profile also `blocks`, each with `block`, `module`, `output`, `share`, `multiply_adds`, and `median_ms` and `tflops` or, with --train, `forward_ms` and `backward_ms`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet bench efficientnet_b0@80 --batch-size 1,32
  elimnet bench resnet18 --batch-size 1 --profile
  elimnet bench resnet18 --batch-size 32 --train --profile
  elimnet bench exp/latest --train --format json")]
pub(crate) struct BenchArgs {
    /// Network of the zoo, NAME@CUT, YAML file, model file or run directory.
    pub(crate) model: String,
    /// Images at once, several with commas between.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,32", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch_size: Vec<u32>,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// Measure training steps (forward, backward, update) instead of inference.
    #[arg(long)]
    pub(crate) train: bool,
    /// Show how long each block takes, with its multiply-adds; with --train the forward and the backward pass of each.
    #[arg(long)]
    pub(crate) profile: bool,
    /// Seconds to measure for, for each batch size.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(crate) seconds: f64,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Compare runs in the seed's tables: parameters, layers, losses, F1, times.
///
/// Times are those that `elimnet inference` recorded in the runs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet compare exp/2026-*
  elimnet compare exp/uncut exp/elim_2 exp/scratch --format json")]
pub(crate) struct CompareArgs {
    /// Run directories.
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TableFormat,
}

/// Write a page about a run, or one that joins several: results, charts, mistakes, and how to get them again.
///
/// The page is one HTML file that needs nothing else. A training writes its own at its end; here it is written anew, with the times that `elimnet inference` has recorded since, or for several runs side by side. Prints where it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet report exp/latest
  elimnet report exp/2026-* --output comparison.html")]
pub(crate) struct ReportArgs {
    /// Run directories, and folders that `elimnet scan` wrote.
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// File to write [default: report.html, in the run directory for one run, else here].
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// List the pretrained weights that are known by name, or fetch some.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet weights
  elimnet weights fetch resnet18 efficientnet_b0

The cache is the folder $ELIMNET_CACHE, else elimnet in the user's cache folder.")]
pub(crate) struct WeightsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<WeightsAction>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WeightsAction {
    /// List them and where they are (the default).
    List,
    /// Find them on this machine or download them.
    Fetch {
        /// Names of networks of the zoo.
        #[arg(required = true, value_name = "NAME")]
        networks: Vec<String>,
    },
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; its fields are stable.
    Json,
}

/// Form of predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PredictionFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
    /// A line of cells an image.
    Csv,
}

/// Form of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// Tables to paste.
    #[default]
    Markdown,
    /// For programs; its fields are stable.
    Json,
}
