//! `elimnet scan`: every cut of pretrained backbones, scored from one pass over the images.

mod chart;
mod subject;
mod table;

use std::io::Write;
use std::path::Path;

use elimnet::report::{ENVIRONMENT_FILE, SCAN_FILE};
use elimnet::scan::{AnchorOptions, Place, Recipe, ScanError, ScanEvent, ScanRecord, correct, scan};
use elimnet::weights::write_atomically;

use super::train::interrupt_flag;
use super::train::watch::Watch;
use super::{Ending, report};
use crate::args::{Format, ScanArgs};
use crate::device;
use crate::failure::hinted;
use crate::output;
use crate::progress::{Progress, say};
pub(crate) use subject::Subject;
pub(crate) use table::{bytes, latency};

pub(crate) fn run(args: &ScanArgs) -> anyhow::Result<Ending> {
    match scan_all(args) {
        Err(error) if matches!(error.downcast_ref(), Some(ScanError::Interrupted)) => {
            say("interrupted; what was scanned is kept, and scanning again goes on from there");
            Ok(Ending::Interrupted)
        }
        outcome => outcome.map(|()| Ending::Done),
    }
}

fn scan_all(args: &ScanArgs) -> anyhow::Result<()> {
    check_output(&args.output)?;
    let device = device::open(&args.device)?;
    let subject = Subject::find(&args.data, &args.candidates, None)?;
    let interrupt = interrupt_flag()?;
    let anchors =
        AnchorOptions { count: args.anchors as usize, epochs: args.candidates.anchor_epochs as usize };
    let mut teller = Teller::new();
    let mut records = Vec::new();
    for (backbone, options) in subject.pairs() {
        let mut events = |event: ScanEvent<'_>| teller.tell(event);
        let mut place =
            Place { dataset: &subject.dataset, device: &device, events: &mut events, interrupt: &interrupt };
        let mut scan = scan(backbone, &options, &mut place)?;
        if anchors.count > 0 {
            let mut watch = Watch::quiet();
            let mut recipe = Recipe {
                config: subject.config.clone(),
                augment_train: subject.data.augment_train,
                attachments: Vec::new(),
                observer: &mut watch,
            };
            correct(&mut scan, backbone, &options, anchors, &|_| true, &mut recipe, &mut place)?;
        }
        teller.clear();
        match args.format {
            Format::Json => output::json_line(&scan.record)?,
            Format::Text => show(&scan.record)?,
        }
        records.push(scan.record);
    }
    write_record(&args.output, SCAN_FILE, &records)?;
    say(&format!("wrote     {}", args.output.join(SCAN_FILE).display()));
    write_record(&args.output, ENVIRONMENT_FILE, &device::environment(&device))?;
    report::write_own(&args.output);
    Ok(())
}

fn show(record: &ScanRecord) -> anyhow::Result<()> {
    let text = format!("{}\n{}\n", table::text(record), chart::draw(record, chart::width()));
    // Colours only on a terminal, and never with NO_COLOR.
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Fails early where results could not be written in the end.
pub(crate) fn check_output(folder: &Path) -> anyhow::Result<()> {
    if !folder.exists() || folder.is_dir() {
        return Ok(());
    }
    Err(hinted(format!("`{}` is a file", folder.display()), "name a folder with --output"))
}

/// Writes a record into a folder, which is made where it is missing; the file appears whole or not at all.
pub(crate) fn write_record(folder: &Path, name: &str, record: &impl serde::Serialize) -> anyhow::Result<()> {
    fs_err::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(record)? + "\n";
    Ok(write_atomically(&folder.join(name), |writer| writer.write_all(text.as_bytes()))?)
}

/// Tells what a scan does: a bar on a terminal, a line for each step everywhere.
pub(crate) struct Teller {
    progress: Progress,
}

impl Teller {
    pub(crate) fn new() -> Self {
        Self { progress: Progress::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.progress.clear();
    }

    pub(crate) fn tell(&mut self, event: ScanEvent<'_>) {
        if let ScanEvent::Pass { network, done, batches } = event {
            if done == 0 {
                self.progress.line(&format!("pass      {network} over all images"));
            }
            return self.progress.show(&format!("batches through {network}"), done as u64, batches as u64);
        }
        self.progress.clear();
        match event {
            ScanEvent::Kept { network } => say(&format!("pass      {network}: kept from an earlier scan")),
            ScanEvent::Probing { network, cuts } => say(&format!("probes    {network}: {cuts} cuts")),
            ScanEvent::Timing { network } => say(&format!("latency   {network}, block by block")),
            ScanEvent::Tuning { network, epochs, purpose } => {
                let plural = if epochs == 1 { "" } else { "s" };
                say(&format!("fine-tune {network} for {epochs} epoch{plural}: {purpose}"));
            }
            _ => {}
        }
    }
}
