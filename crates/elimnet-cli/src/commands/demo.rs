//! `elimnet demo`: the main job on pictures that it draws itself.

use elimnet::demo::{DemoEvent, DemoOptions, DemoRow};
use std::time::{Duration, Instant};

use elimnet::train::{EpochRecord, Observer, Scores, Started, StepReport, Summary};

use super::train::interrupt_flag;
use crate::args::DemoArgs;
use crate::device;
use crate::output::{self, Align, Table, thousands};
use crate::progress::{Progress, say};

pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let options = if args.quick { DemoOptions::quick() } else { DemoOptions::full() };
    let options = DemoOptions { seed: args.seed, ..options };
    let device = device::open(&args.device)?;
    let interrupt = interrupt_flag()?;
    let directory = tempfile::Builder::new().prefix("elimnet-demo-").tempdir()?;
    let mut watch = BriefWatch::new();
    let rows = elimnet::demo::run(&device, &options, directory.path(), &interrupt, &mut watch, &mut tell)?;
    output::text(&table(&rows))?;
    if args.quick {
        say("This was the short form: its backbone has hardly learned anything. Without --quick it has.");
    }
    Ok(())
}

/// A bar on a terminal, a line now and then everywhere.
struct BriefWatch {
    progress: Progress,
    epochs: usize,
    batches: usize,
    last_line: Instant,
}

impl BriefWatch {
    fn new() -> Self {
        Self { progress: Progress::new(), epochs: 0, batches: 0, last_line: Instant::now() }
    }
}

impl Observer for BriefWatch {
    fn started(&mut self, started: &Started<'_>) {
        (self.epochs, self.batches) = (started.epochs, started.batches);
    }

    fn step(&mut self, step: &StepReport) {
        let what = format!(
            "epoch {}/{}  loss {:.3}  {:.0} images/s",
            step.epoch, self.epochs, step.loss, step.images_per_second
        );
        self.progress.show(&what, step.batch as u64, self.batches as u64);
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.progress.clear();
        if self.last_line.elapsed() > Duration::from_secs(8) {
            self.last_line = Instant::now();
            say(&format!(
                "          epoch {}/{}: validation accuracy {:.1}%, {:.0} images/s",
                record.epoch,
                self.epochs,
                record.validation.accuracy * 100.0,
                record.images_per_second
            ));
        }
    }

    fn finished(&mut self, summary: &Summary) {
        self.progress.clear();
        let accuracy = summary.validation.accuracy * 100.0;
        say(&format!("          validation accuracy {accuracy:.1}% after {:.0} s", summary.seconds));
    }
}

fn tell(event: DemoEvent<'_>) {
    match event {
        DemoEvent::Drawn { task, classes, pictures } => {
            say(&format!("drawn     {pictures} pictures of {classes} classes for {task}"))
        }
        DemoEvent::Training { title, network } => say(&format!(
            "training  {title}: {} parameters, {} classes",
            thousands(network.parameters() as u64),
            network.classes()
        )),
        DemoEvent::Timing => say("timing    all networks in turns, one picture at a time"),
    }
}

/// The seed's table: size, losses, accuracies, F1, time.
fn table(rows: &[DemoRow]) -> String {
    let columns = ["parameters", "layers", "train", "validation", "test F1", "ms per picture"];
    let columns = columns.map(|name| (name, Align::Right));
    let mut table = Table::new([("network", Align::Left)].into_iter().chain(columns));
    for row in rows {
        let summary = &row.summary;
        table.row([
            row.title.clone(),
            thousands(summary.parameters as u64),
            summary.layers.to_string(),
            summary.train.as_ref().map_or_else(|| "-".to_owned(), scores),
            scores(&summary.validation),
            summary.test.as_ref().map_or_else(|| "-".to_owned(), |test| format!("{:.3}", test.macro_f1)),
            format!("{:.2}", row.inference.as_secs_f64() * 1e3),
        ]);
    }
    table.to_string()
}

/// Loss, accuracy, macro-F1.
fn scores(scores: &Scores) -> String {
    format!("{:.3} / {:.1}% / {:.3}", scores.loss, scores.accuracy * 100.0, scores.macro_f1)
}
