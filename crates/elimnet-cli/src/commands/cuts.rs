//! `elimnet cuts`: the places where a network can be cut.

use anyhow::Context;
use elimnet_arch::Cut;
use serde::Serialize;

use crate::args::{CutsArgs, Format};
use crate::commands::subject::Subject;
use crate::output::{self, Align, Table, thousands};

/// What `--format json` prints; other tools rely on its fields.
#[derive(Debug, Serialize)]
struct CutRow<'a> {
    name: &'a str,
    index: usize,
    out_channels: usize,
    parameters: usize,
    multiply_adds: u64,
}

impl<'a> From<&'a Cut> for CutRow<'a> {
    fn from(cut: &'a Cut) -> Self {
        Self {
            name: &cut.name,
            index: cut.index,
            out_channels: cut.out_channels,
            parameters: cut.parameters,
            multiply_adds: cut.multiply_adds,
        }
    }
}

pub(crate) fn run(args: &CutsArgs) -> anyhow::Result<()> {
    let subject = Subject::find(&args.model, args.size.classes, args.size.image_size)?;
    let cuts = subject.network.cuts(subject.input()).with_context(|| subject.context())?;
    match args.format {
        Format::Json => output::json(&cuts.iter().map(CutRow::from).collect::<Vec<_>>()),
        Format::Text => Ok(output::text(&table(&cuts, &subject))?),
    }
}

fn table(cuts: &[Cut], subject: &Subject) -> String {
    let mut table = Table::new([
        ("cut", Align::Left),
        ("idx", Align::Right),
        ("out_channel", Align::Right),
        ("params", Align::Right),
        ("multiply-adds", Align::Right),
    ]);
    for cut in cuts {
        table.row([
            format!("{}@{}", subject.network.name, cut.name),
            cut.index.to_string(),
            cut.out_channels.to_string(),
            thousands(cut.parameters as u64),
            thousands(cut.multiply_adds),
        ]);
    }
    let note = format!(
        "parameters and multiply-adds with one Linear for {} classes, at {size}x{size}",
        subject.network.classes(),
        size = subject.image_size,
    );
    format!("{table}\n{note}\n")
}
