//! `elimnet inference`: predictions for a whole folder, and the seed's timing record.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use elimnet::evaluate::Confusion;
use elimnet::model::{ModelBase, resolve};
use elimnet::predict::Classifier;
use elimnet::report::{TIMING_FILE, Timing};
use elimnet::weights::write_atomically;
use elimnet_cpu::CpuDevice;
use elimnet_engine::Device;
use serde::Serialize;

use crate::args::{Format, InferenceArgs, PredictionFormat};
use crate::commands::Ending;
use crate::commands::predict::{Writer, ending, failure, find_files, open_model};
use crate::device;
use crate::failure::hinted;
use crate::output;
use crate::progress::Progress;

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    model_dir: &'a str,
    img_root: &'a Path,
    predictions: &'a Path,
    images: usize,
    unreadable: usize,
    /// Of the images that lie in a folder named after a class; nothing where none does.
    #[serde(flatten)]
    scores: Option<Scores>,
    timing: Timing,
}

#[derive(Debug, Serialize)]
struct Scores {
    labelled: u64,
    accuracy: f64,
    macro_f1: f64,
}

pub(crate) fn run(args: &InferenceArgs) -> anyhow::Result<Ending> {
    let device = device::open(&args.device)?;
    let mut classifier = open_model(&args.model_dir, &device)?;
    let files = find_files(&[args.img_root.to_string_lossy().into_owned()])?;
    let (run, output, format) = destination(args)?;
    let pass = Pass::over(&mut classifier, &files, args, format)?;
    if pass.unreadable == files.len() {
        return Err(hinted("none of the files is an image that can be read", "see the errors above"));
    }
    write_atomically(&output, |file| file.write_all(&pass.predictions))?;
    let images = files.len() - pass.unreadable;
    let timing = pass.timing(images, args, &device, classifier.preprocessing().image_size);
    if let Some(run) = run {
        let text = serde_json::to_string_pretty(&timing)? + "\n";
        write_atomically(&run.join(TIMING_FILE), |file| file.write_all(text.as_bytes()))?;
    }
    let summary = Summary {
        model_dir: &args.model_dir,
        img_root: &args.img_root,
        predictions: &output,
        images,
        unreadable: pass.unreadable,
        scores: Scores::of(&pass.confusion),
        timing,
    };
    match args.format {
        Format::Json => output::json(&summary)?,
        Format::Text => output::text(&summary.text())?,
    }
    Ok(ending(pass.unreadable, files.len()))
}

/// The run directory, where the model is one's; the file for the predictions; its form.
fn destination(args: &InferenceArgs) -> anyhow::Result<(Option<PathBuf>, PathBuf, PredictionFormat)> {
    let run = match resolve(&args.model_dir)?.base {
        ModelBase::Run { directory, .. } => Some(directory),
        _ => None,
    };
    let output = args.output.clone().or_else(|| Some(run.as_ref()?.join("predictions.csv")));
    let Some(output) = output else {
        return Err(hinted("a model file has no directory for predictions", "say where: --output FILE.csv"));
    };
    let format = match output.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => PredictionFormat::Csv,
        Some("json" | "jsonl") => PredictionFormat::Json,
        _ => {
            let message = format!("`{}` is neither a .csv nor a .json file", output.display());
            return Err(hinted(message, "end --output in .csv or .json"));
        }
    };
    Ok((run, output, format))
}

/// What one pass over the folder gave.
struct Pass {
    predictions: Vec<u8>,
    confusion: Confusion,
    unreadable: usize,
    cpu_seconds: f64,
    device_seconds: f64,
    total_seconds: f64,
}

impl Pass {
    fn over(
        classifier: &mut Classifier,
        files: &[PathBuf],
        args: &InferenceArgs,
        format: PredictionFormat,
    ) -> anyhow::Result<Self> {
        let classes = classifier.classes().to_vec();
        let batch_size = (args.batch_size as usize).min(files.len());
        classifier.warm_up(batch_size)?;
        let mut writer = Writer::new(Vec::new(), format, &classes, 1)?;
        let mut confusion = Confusion::new(classes.len());
        let (mut progress, mut unreadable, mut done) = (Progress::new(), 0, 0);
        let started = Instant::now();
        let workers = usize::from(args.device.threads);
        let stopwatch = classifier.classify_files(files, batch_size, workers, |file, outcome| {
            done += 1;
            progress.show("images", done, files.len() as u64);
            let prediction = match outcome {
                Ok(prediction) => prediction,
                Err(error) => {
                    progress.line(&failure(file, &error));
                    unreadable += 1;
                    return Ok(());
                }
            };
            let label = label(&args.img_root, file, &classes);
            if let Some(label) = label {
                confusion.add(label, prediction.class);
            }
            writer.write(file, &prediction, label.map(|label| classes[label].as_str()))
        })?;
        Ok(Self {
            predictions: writer.finish()?,
            confusion,
            unreadable,
            cpu_seconds: stopwatch.processor.as_secs_f64(),
            device_seconds: stopwatch.clock.as_secs_f64(),
            total_seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn timing(&self, images: usize, args: &InferenceArgs, device: &CpuDevice, image_size: usize) -> Timing {
        Timing {
            device: device.name().to_owned(),
            precision: Some(device.precision().name().to_owned()),
            threads: device.threads(),
            batch_size: args.batch_size as usize,
            image_size,
            images,
            cpu_seconds: self.cpu_seconds,
            device_seconds: self.device_seconds,
            seconds_per_image: self.device_seconds / images as f64,
            total_seconds: self.total_seconds,
        }
    }
}

/// The class that a file's folder directly below the root is named after.
fn label(root: &Path, file: &Path, classes: &[String]) -> Option<usize> {
    let below = file.strip_prefix(root).ok()?;
    let folder = below.parent()?.components().next()?;
    classes.iter().position(|class| folder.as_os_str() == class.as_str())
}

impl Scores {
    fn of(confusion: &Confusion) -> Option<Self> {
        (confusion.total() > 0).then(|| Self {
            labelled: confusion.total(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
        })
    }
}

impl Summary<'_> {
    fn text(&self) -> String {
        let Timing { device, precision, threads, batch_size, image_size, .. } = &self.timing;
        let precision = precision.as_deref().unwrap_or("f32");
        let mut lines = vec![
            format!("predictions    {}", self.predictions.display()),
            format!("images         {} ({} unreadable)", self.images, self.unreadable),
        ];
        if let Some(Scores { labelled, accuracy, macro_f1 }) = &self.scores {
            lines.push(format!("labelled       {labelled}"));
            lines.push(format!("accuracy       {:.2}%", accuracy * 100.0));
            lines.push(format!("macro-F1       {macro_f1:.4}"));
        }
        let size = format!("{image_size}x{image_size}");
        lines.extend([
            format!(
                "device         {device} ({precision}), {threads} threads, batches of {batch_size}, {size}"
            ),
            format!("CPU time       {:.3} s (the network, all threads)", self.timing.cpu_seconds),
            format!("device time    {:.3} s (the network, by the clock)", self.timing.device_seconds),
            format!("per image      {:.3} ms", self.timing.seconds_per_image * 1e3),
            format!("total          {:.3} s (with reading and preparing)", self.timing.total_seconds),
        ]);
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_folders_directly_below_the_root() {
        let classes = ["glass", "metal"].map(str::to_owned);
        let label = |file: &str| label(Path::new("photos/test"), Path::new(file), &classes);
        assert_eq!(label("photos/test/metal/a.jpg"), Some(1));
        assert_eq!(label("photos/test/glass/more/a.jpg"), Some(0));
        assert_eq!(label("photos/test/a.jpg"), None);
        assert_eq!(label("photos/test/other/metal/a.jpg"), None);
    }
}
