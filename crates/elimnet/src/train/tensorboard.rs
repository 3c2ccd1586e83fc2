//! TensorBoard event files: what `tensorboard --logdir exp` draws curves from.
//!
//! The format is small enough to write by hand: scalars of a protocol buffer in checksummed frames. A crate for it would
//! bring a protobuf runtime or a code generator at build time.
//!
//! A step is an epoch, 0 the start. Every session of a run writes a file of its own, which starts anew: a `START` at step 0
//! makes readers drop what earlier files said from there on, and all epochs before the restart follow. So the newest file
//! is complete, whatever was lost by a kill, and also where the first session wrote none.

mod event;
mod frame;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err::File;

use super::observer::{Observer, Started};
use super::progress::{EpochRecord, Scores};
use event::Event;

/// Writes an event file into the directory of the run that it watches, beside `metrics.jsonl`.
///
/// An observer can't fail, and a curve that can't be drawn is no reason to lose a training: after an error nothing more
/// is written, and [`TensorBoard::take_failure`] tells about it.
///
/// ```no_run
/// # fn train(observer: &mut dyn elimnet::train::Observer) {}
/// use elimnet::train::TensorBoard;
///
/// let mut watch = (); // whoever else watches
/// let mut both = (&mut watch, TensorBoard::new());
/// train(&mut both);
/// ```
#[derive(Debug, Default)]
pub struct TensorBoard {
    file: Option<File>,
    failure: Option<io::Error>,
}

impl TensorBoard {
    /// Opens its file once the training starts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What kept it from writing, if anything did.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn start(&mut self, run: &Path, history: &[EpochRecord], now: SystemTime) -> io::Result<()> {
        let mut file = File::create_new(free_name(run, now))?;
        let mut buffer = frame::framed(&Event::file_version(now).encode());
        buffer.extend(frame::framed(&Event::session_start(now, 0).encode()));
        // What is told again is dated back by how long it took.
        let mut ended: Duration = history.iter().map(|record| seconds(record.seconds)).sum();
        for record in history {
            ended = ended.saturating_sub(seconds(record.seconds));
            buffer.extend(framed_epoch(record, now.checked_sub(ended).unwrap_or(now)));
        }
        file.write_all(&buffer)?;
        self.file = Some(file);
        Ok(())
    }

    fn keep(&mut self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.file = None;
            self.failure.get_or_insert(error);
        }
    }
}

impl Observer for TensorBoard {
    fn started(&mut self, started: &Started<'_>) {
        self.file = None;
        if let Some(run) = started.run {
            let outcome = self.start(run, &started.progress.history, SystemTime::now());
            self.keep(outcome);
        }
    }

    fn epoch(&mut self, record: &EpochRecord) {
        let Some(file) = &mut self.file else { return };
        // One write an epoch, so that a reader finds whole frames.
        let outcome = file.write_all(&framed_epoch(record, SystemTime::now()));
        self.keep(outcome);
    }
}

/// `events.out.tfevents.<seconds>.<microseconds>.elimnet`: readers take files in the order of their names.
fn free_name(run: &Path, now: SystemTime) -> PathBuf {
    let mut time = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    loop {
        let (whole, part) = (time.as_secs(), time.subsec_micros());
        let path = run.join(format!("events.out.tfevents.{whole:010}.{part:06}.elimnet"));
        if !path.exists() {
            return path;
        }
        time += Duration::from_micros(1);
    }
}

fn framed_epoch(record: &EpochRecord, time: SystemTime) -> Vec<u8> {
    let EpochRecord { epoch, train, validation, learning_rate, images_per_second, .. } = record;
    let of = |split: &str, scores: &Scores| {
        [("loss", scores.loss), ("accuracy", scores.accuracy), ("macro_f1", scores.macro_f1)]
            .map(|(name, value)| (format!("{name}/{split}"), value))
    };
    let mut scalars = Vec::from(of("validation", validation));
    if let Some(train) = train {
        scalars.extend(of("train", train));
        scalars.push(("learning_rate".to_owned(), *learning_rate));
        scalars.push(("images_per_second".to_owned(), *images_per_second));
    }
    frame::framed(&Event::scalars(time, *epoch as u64, scalars).encode())
}

/// # Panics
/// Never: what is no duration is none.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests;
