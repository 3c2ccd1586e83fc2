//! `elimnet info`: the seed's table of a network, and its sum.

use anyhow::Context;
use elimnet_arch::{Argument, Row};
use serde::Serialize;

use crate::args::{Format, InfoArgs};
use crate::commands::subject::Subject;
use crate::output::{self, Align, Table, thousands};

/// What `--format json` prints; other tools rely on its fields.
#[derive(Debug, Serialize)]
struct Info {
    name: String,
    parameters: usize,
    layers: usize,
    multiply_adds: u64,
    image_size: usize,
    classes: usize,
    blocks: Vec<Row>,
}

pub(crate) fn run(args: &InfoArgs) -> anyhow::Result<()> {
    let subject = Subject::find(&args.model, args.size.classes, args.size.image_size)?;
    let info = Info::new(&subject)?;
    match args.format {
        Format::Json => output::json(&info),
        Format::Text => Ok(output::text(&text(&info, &subject)?)?),
    }
}

impl Info {
    fn new(subject: &Subject) -> anyhow::Result<Self> {
        let network = &subject.network;
        let blocks = network.rows(subject.input()).with_context(|| subject.context())?;
        Ok(Self {
            name: network.name.clone(),
            parameters: network.parameters(),
            layers: network.module_count(),
            multiply_adds: network.multiply_adds(subject.input())?,
            image_size: subject.image_size,
            classes: network.classes(),
            blocks,
        })
    }
}

fn text(info: &Info, subject: &Subject) -> anyhow::Result<String> {
    let mut table = Table::new([
        ("idx", Align::Right),
        ("n", Align::Right),
        ("params", Align::Right),
        ("module", Align::Left),
        ("arguments", Align::Left),
        ("in_channel", Align::Right),
        ("out_channel", Align::Right),
        ("output", Align::Left),
        ("multiply-adds", Align::Right),
    ]);
    for row in &info.blocks {
        let arguments: Vec<String> = row.arguments.iter().map(Argument::to_string).collect();
        let [channels, height, width] = row.output_shape;
        table.row([
            row.index.to_string(),
            row.repeat.to_string(),
            thousands(row.parameters as u64),
            row.module.clone(),
            format!("[{}]", arguments.join(", ")),
            row.in_channels.to_string(),
            row.out_channels.to_string(),
            format!("{channels}x{height}x{width}"),
            thousands(row.multiply_adds),
        ]);
    }
    Ok(format!("{table}\n{}", summary(info, subject)?))
}

fn summary(info: &Info, subject: &Subject) -> anyhow::Result<String> {
    let peak = subject.network.peak_activation_bytes(subject.input())?;
    let mut lines = vec![
        format!("model            {}", info.name),
        format!("parameters       {}", thousands(info.parameters as u64)),
        format!("layers           {} (torch modules)", info.layers),
        format!(
            "multiply-adds    {} at {size}x{size}",
            thousands(info.multiply_adds),
            size = info.image_size
        ),
        format!("peak activations {} KiB for one image (f32)", thousands(peak.div_ceil(1024) as u64)),
        format!("classes          {}", info.classes),
    ];
    if let Some(card) = &subject.card {
        lines.push(format!("class names      {}", card.classes.join(", ")));
        lines.push(format!("weights from     {}", card.weights_from));
        lines.push(format!("trained by       elimnet {}, seed {}", card.tool_version, card.seed));
        let metrics = card.metrics.iter().map(|(name, value)| format!("{name:<19} {value:.4}"));
        lines.extend(metrics);
    }
    Ok(lines.join("\n") + "\n")
}
