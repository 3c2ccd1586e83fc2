//! `elimnet train`: from MODEL and data to a run directory, or on with an interrupted run.

pub(crate) mod recipe;
pub(crate) mod start;
pub(crate) mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use anyhow::Context;
use elimnet::data::{DataConfig, Dataset, Detail, OpenOptions, Preprocessing};
use elimnet::model::{self, ModelBase, ModelSource, Provenance};
use elimnet::scan::{Place, ScanError, probe_head};
use elimnet::train::{Job, NewRun, Outcome, RunDirectory, Setup, Summary, TensorBoard, fit, resume};
use elimnet_arch::{Network, yaml};
use elimnet_cpu::CpuDevice;

use crate::args::{DeviceArgs, Format, HeadName, TrainArgs};
use crate::commands::{Ending, report};
use crate::device;
use crate::failure::hinted;
use crate::output;
use crate::progress::say;
use start::Located;
pub(crate) use start::checkpoint_file;
use watch::Watch;

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<Ending> {
    let outcome = match (&args.resume, &args.model, &args.data) {
        (Some(_), _, _) if args.head.is_some() => {
            let message = "--head does not go with --resume: the run has begun from its head";
            return Err(hinted(message, "leave --head out; `run.json` says what the head was"));
        }
        (Some(run), _, _) => go_on(args, run, &args.device),
        (None, Some(model), Some(data)) => begin(args, model, data, &device::open(&args.device)?),
        _ => return Err(hinted("nothing to train", "give --model and --data, or --resume RUN")),
    };
    if let Some(ScanError::Interrupted) = outcome.as_ref().err().and_then(|error| error.downcast_ref()) {
        say("interrupted before the first step; there is no run yet");
        return Ok(Ending::Interrupted);
    }
    match outcome? {
        Outcome::Finished { run, summary } => {
            report::write_own(run.path());
            show(&run, &summary, args.format)?;
            Ok(Ending::Done)
        }
        Outcome::Interrupted { run, epochs, steps } => {
            let run = run.path().display();
            say(&format!("interrupted after {epochs} epochs and {steps} steps; the checkpoint is written"));
            say(&format!("go on with: elimnet train --resume {run}"));
            Ok(Ending::Interrupted)
        }
    }
}

fn begin(args: &TrainArgs, model: &str, data: &Path, device: &CpuDevice) -> anyhow::Result<Outcome> {
    let source = model::resolve(model)?;
    let network = source.network()?;
    let mut data = recipe::data(DataConfig::open(data)?, &args.recipe)?;
    let config = recipe::training(&data, &args.recipe)?;
    check_image_size(&network, data.image_size)?;
    let weights = start::locate(&source, &network, args.weights.as_deref())?;
    let wants_probe = args.head == Some(HeadName::Probe);
    if wants_probe && weights == Located::Scratch {
        let message = "--head probe fits what pretrained features say, and there are no weights";
        return Err(hinted(
            message,
            "give some with --weights FILE or --weights imagenet, or leave --head out",
        ));
    }
    let preprocessing = Preprocessing::new(data.image_size);
    let dataset = open_data(&data, config.seed, &fresh(args.recipe.tolerate, preprocessing.detail()))?;
    let network = network.with_classes(dataset.classes.len());
    let start = weights.read(&source, &network, &dataset.classes, config.seed)?;
    // The run must be resumable from any directory.
    data.data_path = fs_err::canonicalize(&data.data_path)?;
    let model = model_yaml(&source, &network, start.weights_from != Provenance::Scratch)?;
    let mut attachments =
        vec![("data.yml".to_owned(), data.to_yaml()), device::environment(device).attachment()];
    attachments.extend(model.map(|text| ("model.yml".to_owned(), text)));
    let place = NewRun {
        root: args.output.clone(),
        name: args.name.clone().unwrap_or_else(|| network.name.clone()),
        time: SystemTime::now(),
        attachments,
    };
    let setup = Setup {
        cut: cut_name(&source, &network),
        network,
        preprocessing,
        augment_train: data.augment_train,
        augment_test: data.augment_test,
        weights_from: start.weights_from,
        config,
    };
    let (mut watch, interrupt) = (watchers(args), interrupt_flag()?);
    let mut tensors = start.tensors;
    if wants_probe {
        say(&format!("head      a probe of {} training images", dataset.train.len()));
        let here = Place { dataset: &dataset, device, events: &mut |_| {}, interrupt: &interrupt };
        tensors = probe_head(&setup, tensors, &here)?;
    }
    let job = Job { setup, dataset: &dataset, device, observer: &mut watch, interrupt: &interrupt };
    let outcome = fit(job, &tensors, &place);
    tell_failure(&mut watch.1);
    Ok(outcome?)
}

fn go_on(args: &TrainArgs, run: &Path, device: &DeviceArgs) -> anyhow::Result<Outcome> {
    let run = RunDirectory::open(fs_err::canonicalize(run)?)?;
    let record = run.record()?;
    let device = device::open_for(device, record.precision.parse()?)?;
    let setup = record.setup;
    let data = run_data(&run)?;
    let dataset = open_data(&data, setup.config.seed, &again(&run, setup.preprocessing.detail())?)?;
    let (mut watch, interrupt) = (watchers(args), interrupt_flag()?);
    let job = Job { setup, dataset: &dataset, device: &device, observer: &mut watch, interrupt: &interrupt };
    let outcome = resume(job, run);
    tell_failure(&mut watch.1);
    Ok(outcome?)
}

/// Who watches a training: the terminal, and TensorBoard where it is asked for.
fn watchers(args: &TrainArgs) -> (Watch, Option<TensorBoard>) {
    (Watch::new(), args.tensorboard.then(TensorBoard::new))
}

/// Says what kept TensorBoard's events from being written, if anything did.
pub(crate) fn tell_failure(board: &mut Option<TensorBoard>) {
    if let Some(failure) = board.as_mut().and_then(TensorBoard::take_failure) {
        say(&format!("warning   TensorBoard's events are not complete: {failure}"));
    }
}

/// The data configuration that a run keeps.
pub(crate) fn run_data(run: &RunDirectory) -> anyhow::Result<DataConfig> {
    let path = run.path().join("data.yml");
    DataConfig::open(&path).with_context(|| format!("the data of run `{}`", run.path().display()))
}

/// Options to open a data set for the first time.
pub(crate) fn fresh(tolerate: Option<f64>, detail: Detail) -> OpenOptions {
    let default = OpenOptions::default();
    OpenOptions { tolerated: tolerate.unwrap_or(default.tolerated), detail, ..default }
}

/// Options to open a run's data set again: what is missing now is in the saved splits, or was left out before.
pub(crate) fn again(run: &RunDirectory, detail: Detail) -> anyhow::Result<OpenOptions> {
    Ok(OpenOptions { splits: Some(run.split_names()?), tolerated: 1.0, detail, ..OpenOptions::default() })
}

/// Opens a data set and says what was found.
pub(crate) fn open_data(config: &DataConfig, seed: u64, options: &OpenOptions) -> anyhow::Result<Dataset> {
    let dataset = Dataset::open(config, seed, options)?;
    let [train, validation, test] = dataset.splits().map(|(_, split)| split.len());
    let classes = dataset.classes.len();
    say(&format!(
        "data      {}: {classes} classes, {train} images to train, {validation} to validate, {test} to test",
        config.name
    ));
    for file in &dataset.skipped {
        say(&format!("skipped   {file}"));
    }
    Ok(dataset)
}

/// Fails early, before weights are fetched and images decoded.
pub(crate) fn check_image_size(network: &Network, image_size: usize) -> anyhow::Result<()> {
    let context = || format!("`{}` with images of {image_size}x{image_size}", network.name);
    let fits = network.shapes(network.input_shape(image_size)).with_context(context);
    fits.map(drop)
}

/// Name of the last kept block, where the source was cut.
fn cut_name(source: &ModelSource, network: &Network) -> Option<String> {
    source.cut.as_ref().and(network.blocks.last()).map(|block| block.name.clone())
}

/// What `model.yml` holds: the YAML file as it is, or the cut network of the zoo as one. Other networks can't be said in
/// that language; `run.json` has every network in full.
fn model_yaml(source: &ModelSource, network: &Network, pretrained: bool) -> anyhow::Result<Option<String>> {
    match (&source.base, &source.cut) {
        (ModelBase::Yaml(path), None) => Ok(Some(fs_err::read_to_string(path)?)),
        _ => Ok(yaml::to_text(network, pretrained)),
    }
}

/// Two flags in one: the first Ctrl-C (or SIGTERM) asks for a checkpoint, the second ends the program at once.
pub(crate) fn interrupt_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

fn show(run: &RunDirectory, summary: &Summary, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(summary),
        Format::Text => Ok(output::text(&text(run.path(), summary))?),
    }
}

fn text(run: &Path, summary: &Summary) -> String {
    let line = |name: &str, loss: f64, accuracy: f64, macro_f1: f64| {
        format!("{name:<10} loss {loss:.4}  accuracy {:.2}%  macro-F1 {macro_f1:.4}\n", accuracy * 100.0)
    };
    let of = |name: &str, scores: &elimnet::train::Scores| {
        line(name, scores.loss, scores.accuracy, scores.macro_f1)
    };
    let best = summary.best_epoch.map(|epoch| {
        let start = if epoch == 0 { " (the start)" } else { "" };
        format!("best       epoch {epoch}{start}\n")
    });
    let test = summary.test.as_ref();
    format!(
        "run        {}\nepochs     {}\n{}{}{}{}",
        run.display(),
        summary.epochs,
        best.unwrap_or_default(),
        summary.train.as_ref().map(|train| of("train", train)).unwrap_or_default(),
        of("validation", &summary.validation),
        test.map(|test| line("test", test.loss, test.accuracy, test.macro_f1)).unwrap_or_default(),
    )
}
