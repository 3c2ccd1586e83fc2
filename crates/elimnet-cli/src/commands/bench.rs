//! `elimnet bench`: how fast a network runs.

use std::time::Duration;

use elimnet::bench::{
    BenchConfig, BenchResult, BlockTime, Mode, TrainingBlockTime, bench, profile, profile_training,
};
use elimnet::model;
use elimnet::train::initial_tensors;
use elimnet_engine::NamedTensor;
use serde::Serialize;

use crate::args::{BenchArgs, Format};
use crate::commands::subject::Subject;
use crate::device;
use crate::failure::hinted;
use crate::output::{self, Align, Table};
use crate::progress::say;

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    result: &'a BenchResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<&'a Profile>,
}

/// Times by block.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Profile {
    Inference(Vec<BlockTime>),
    Training(Vec<TrainingBlockTime>),
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let device = device::open(&args.device)?;
    let duration = Duration::try_from_secs_f64(args.seconds).map_err(|_| {
        hinted(format!("--seconds is {}, expected 0 or more", args.seconds), "try --seconds 2")
    })?;
    let subject = Subject::find(&args.model, args.size.classes, args.size.image_size)?;
    let tensors = tensors(&args.model, &subject)?;
    let mode = if args.train { Mode::Train } else { Mode::Infer };
    let (mut results, mut profiles) = (Vec::new(), Vec::new());
    for &batch_size in &args.batch_size {
        let config =
            BenchConfig { duration, ..BenchConfig::new(mode, batch_size as usize, subject.image_size) };
        if args.format == Format::Text {
            say(&format!("measuring {} with batches of {batch_size}", subject.network.name));
        }
        let result = bench(&subject.network, &tensors, &device, &config)?;
        let (network, tensors) = (&subject.network, &tensors[..]);
        let blocks = match (args.profile, mode) {
            (false, _) => None,
            (true, Mode::Infer) => Some(Profile::Inference(profile(network, tensors, &device, &config)?)),
            (true, Mode::Train) => {
                Some(Profile::Training(profile_training(network, tensors, &device, &config)?))
            }
        };
        if args.format == Format::Json {
            output::json_line(&Line { result: &result, blocks: blocks.as_ref() })?;
        }
        profiles.extend(blocks.map(|blocks| (batch_size, blocks)));
        results.push(result);
    }
    if args.format == Format::Text {
        output::text(&table(&results, device.threads()))?;
        for (batch_size, blocks) in &profiles {
            output::text(&format!("\nbatch {batch_size}, by block\n{}", blocks.table()))?;
        }
    }
    Ok(())
}

/// The model's own tensors where it has some of its network's shapes; random ones are as fast.
fn tensors(text: &str, subject: &Subject) -> anyhow::Result<Vec<NamedTensor>> {
    let own = model::resolve(text)?.model()?.filter(|model| model.card.network == subject.network);
    Ok(own.map_or_else(|| initial_tensors(&subject.network, 0), |model| model.tensors))
}

impl Profile {
    fn table(&self) -> Table {
        let names = ["block", "module", "output"].map(|name| (name, Align::Left));
        let numbers: &[&str] = match self {
            Self::Inference(_) => &["ms", "share", "M multiply-adds", "TFLOP/s"],
            Self::Training(_) => &["forward ms", "backward ms", "share", "M multiply-adds"],
        };
        let mut table = Table::new(names.into_iter().chain(numbers.iter().map(|name| (*name, Align::Right))));
        let share = |share: f64| format!("{:.1}%", share * 100.0);
        let millions = |multiply_adds: u64| format!("{:.2}", multiply_adds as f64 / 1e6);
        match self {
            Self::Inference(blocks) => blocks.iter().for_each(|row| {
                let numbers =
                    [format!("{:.3}", row.median_ms), share(row.share), millions(row.multiply_adds)];
                let names = [row.block.clone(), row.module.clone(), shape(row.output)];
                table.row(names.into_iter().chain(numbers).chain([format!("{:.3}", row.tflops)]));
            }),
            Self::Training(blocks) => blocks.iter().for_each(|row| {
                let times = [row.forward_ms, row.backward_ms].map(|time| format!("{time:.3}"));
                let names = [row.block.clone(), row.module.clone(), shape(row.output)];
                let numbers = [share(row.share), millions(row.multiply_adds)];
                table.row(names.into_iter().chain(times).chain(numbers));
            }),
        }
        table
    }
}

fn shape([channels, height, width]: [usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}

fn table(results: &[BenchResult], threads: usize) -> String {
    let mut table = Table::new([
        ("mode", Align::Left),
        ("batch", Align::Right),
        ("image", Align::Right),
        ("median ms", Align::Right),
        ("p95 ms", Align::Right),
        ("images/s", Align::Right),
        ("MiB", Align::Right),
    ]);
    for result in results {
        table.row([
            if result.mode == Mode::Train { "train" } else { "infer" }.to_owned(),
            result.batch_size.to_string(),
            result.image_size.to_string(),
            format!("{:.3}", result.median_ms),
            format!("{:.3}", result.p95_ms),
            format!("{:.1}", result.images_per_second),
            format!("{:.0}", result.memory_bytes as f64 / f64::from(1 << 20)),
        ]);
    }
    let about = results.first().map(|result| {
        format!("{} on {} ({threads} threads), {}\n", result.model, result.device, result.precision)
    });
    format!("{}{table}", about.unwrap_or_default())
}
