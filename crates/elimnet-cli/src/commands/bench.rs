//! `elimnet bench`: how fast a network runs.

use std::time::Duration;

use elimnet::bench::{BenchConfig, BenchResult, Mode, bench};
use elimnet::model;
use elimnet::train::initial_tensors;
use elimnet_engine::NamedTensor;

use crate::args::{BenchArgs, Format};
use crate::commands::subject::Subject;
use crate::device;
use crate::failure::hinted;
use crate::output::{self, Align, Table};
use crate::progress::say;

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let device = device::open(&args.device)?;
    let duration = Duration::try_from_secs_f64(args.seconds).map_err(|_| {
        hinted(format!("--seconds is {}, expected 0 or more", args.seconds), "try --seconds 2")
    })?;
    let subject = Subject::find(&args.model, args.size.classes, args.size.image_size)?;
    let tensors = tensors(&args.model, &subject)?;
    let mode = if args.train { Mode::Train } else { Mode::Infer };
    let mut results = Vec::new();
    for &batch_size in &args.batch_size {
        let config =
            BenchConfig { duration, ..BenchConfig::new(mode, batch_size as usize, subject.image_size) };
        if args.format == Format::Text {
            say(&format!("measuring {} with batches of {batch_size}", subject.network.name));
        }
        let result = bench(&subject.network, &tensors, &device, &config)?;
        if args.format == Format::Json {
            output::json_line(&result)?;
        }
        results.push(result);
    }
    if args.format == Format::Text {
        output::text(&table(&results, device.threads()))?;
    }
    Ok(())
}

/// The model's own tensors where it has some of its network's shapes; random ones are as fast.
fn tensors(text: &str, subject: &Subject) -> anyhow::Result<Vec<NamedTensor>> {
    let own = model::resolve(text)?.model()?.filter(|model| model.card.network == subject.network);
    Ok(own.map_or_else(|| initial_tensors(&subject.network, 0), |model| model.tensors))
}

fn table(results: &[BenchResult], threads: usize) -> String {
    let mut table = Table::new([
        ("mode", Align::Left),
        ("batch", Align::Right),
        ("image", Align::Right),
        ("median ms", Align::Right),
        ("p95 ms", Align::Right),
        ("images/s", Align::Right),
    ]);
    for result in results {
        table.row([
            if result.mode == Mode::Train { "train" } else { "infer" }.to_owned(),
            result.batch_size.to_string(),
            result.image_size.to_string(),
            format!("{:.3}", result.median_ms),
            format!("{:.3}", result.p95_ms),
            format!("{:.1}", result.images_per_second),
        ]);
    }
    let about = results.first().map(|result| {
        format!("{} on {} ({threads} threads), {}\n", result.model, result.device, result.precision)
    });
    format!("{}{table}", about.unwrap_or_default())
}
