//! `elimnet evaluate`: how good a run is on a split.

use std::fmt::Write;

use elimnet::data::{DataConfig, Dataset, Detail, Loader, LoaderOptions, Order, Policy, Split};
use elimnet::evaluate::{Evaluation, evaluate};
use elimnet::model::{Model, load_model, model_file};
use elimnet::train::{RunDirectory, TestScores};
use elimnet_engine::Device;
use serde::Serialize;

use crate::args::{EvaluateArgs, Format, SplitName};
use crate::commands::train::{again, fresh, open_data, run_data};
use crate::device;
use crate::failure::hinted;
use crate::output::{self, Align, Table};

/// What `--format json` prints: the fields of `test` in `summary.json`, and which images they are about.
#[derive(Debug, Serialize)]
struct Report {
    split: &'static str,
    images: usize,
    #[serde(flatten)]
    scores: TestScores,
}

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    let device = device::open(&args.device)?;
    let model = load_model(&model_file(&args.run)?)?;
    let (dataset, policy) = images(args, model.card.preprocessing.detail())?;
    if dataset.classes != model.card.classes {
        return Err(hinted(
            format!(
                "the data have the classes {}, but the model knows {}",
                dataset.classes.join(", "),
                model.card.classes.join(", ")
            ),
            "class folders must have the names that the model was trained with",
        ));
    }
    let (name, split) = chosen(&dataset, args.split)?;
    let options = LoaderOptions {
        batch_size: args.batch_size as usize,
        workers: usize::from(args.device.threads),
        ..LoaderOptions::new(policy, model.card.preprocessing.clone())
    };
    let evaluation = measure(&model, &Loader::new(split, options), &device)?;
    let scores = TestScores::new(&evaluation, &dataset.classes);
    let report = Report { split: name, images: split.len(), scores };
    match args.format {
        Format::Json => output::json(&report),
        Format::Text => Ok(output::text(&report.text(&dataset.classes))?),
    }
}

/// The run's own data in its own splits, or other data.
fn images(args: &EvaluateArgs, detail: Detail) -> anyhow::Result<(Dataset, Policy)> {
    if let Some(data) = &args.data {
        let config = DataConfig::open(data)?;
        return Ok((open_data(&config, 0, &fresh(None, detail))?, config.augment_test));
    }
    let run = RunDirectory::open(fs_err::canonicalize(&args.run)?)?;
    let setup = run.record()?.setup;
    let dataset = open_data(&run_data(&run)?, setup.config.seed, &again(&run, detail)?)?;
    Ok((dataset, setup.augment_test))
}

fn chosen(dataset: &Dataset, split: SplitName) -> anyhow::Result<(&'static str, &Split)> {
    let [train, validation, test] = dataset.splits();
    let (name, split) = match split {
        SplitName::Train => train,
        SplitName::Validation => validation,
        SplitName::Test => test,
    };
    if split.is_empty() {
        return Err(hinted(format!("the data have no {name} images"), "choose another --split"));
    }
    Ok((name, split))
}

fn measure(model: &Model, loader: &Loader, device: &dyn Device) -> anyhow::Result<Evaluation> {
    let mut engine = device.load(&model.card.network)?;
    engine.set_tensors(&model.tensors)?;
    Ok(evaluate(engine.as_mut(), loader.epoch(0, Order::Sequential), |_| ())?)
}

impl Report {
    fn text(&self, classes: &[String]) -> String {
        let TestScores { loss, accuracy, macro_f1, per_class, confusion } = &self.scores;
        let mut text = format!(
            "{} images of the {} split\nloss {loss:.4}  accuracy {:.2}%  macro-F1 {macro_f1:.4}\n\n",
            self.images,
            self.split,
            accuracy * 100.0
        );
        let columns = ["precision", "recall", "F1", "images"].map(|name| (name, Align::Right));
        let mut table = Table::new(std::iter::once(("class", Align::Left)).chain(columns));
        for (class, metrics) in per_class {
            let share = |value: f64| format!("{value:.4}");
            let shares = [metrics.precision, metrics.recall, metrics.f1].map(share);
            let cells = std::iter::once(class.clone()).chain(shares);
            table.row(cells.chain([metrics.support.to_string()]));
        }
        text += &format!("{table}\nconfusion (rows: truth, columns: prediction, in the order above)\n");
        for (class, row) in classes.iter().zip(confusion.rows()) {
            let counts: Vec<String> = row.iter().map(|count| format!("{count:>5}")).collect();
            writeln!(text, "{} {class}", counts.join("")).expect("writing to a text does not fail");
        }
        text
    }
}
