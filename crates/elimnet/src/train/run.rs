//! The run directory: everything that a run is, was and came to.
//!
//! ```text
//! exp/2026-11-22_15-39-32_resnet18@layer2.1/
//!     run.json            network, classes, preprocessing, settings: what a continuation must share
//!     split.json          which image is in which split
//!     model.yml data.yml  what the caller attached
//!     last/               everything a resume needs
//!     metrics.jsonl       a line an epoch, and one for the start where it was validated
//!     best.safetensors    the best epoch's model, self-describing
//!     mistakes.json       test images that the best model is most wrong about, with small pictures
//!     summary.json        the result; there once the run is over
//!     report.html         all of it as a page
//! exp/latest              the newest run
//! ```
//!
//! Every file is written beside its place, synced and renamed, and a new run gets its name only when it can be
//! resumed: whatever a kill leaves behind is either whole or hidden.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use elimnet_engine::Precision;
use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::Difference;
use super::error::TrainError;
use super::job::Setup;
use super::progress::EpochRecord;
use super::snapshot::Snapshot;
use super::start::Head;
use super::summary::Summary;
use crate::data::SplitNames;
use crate::evaluate::Mistake;
use crate::weights::write_atomically;

const RECORD: &str = "run.json";
const SPLIT: &str = "split.json";
const SUMMARY: &str = "summary.json";
const METRICS: &str = "metrics.jsonl";
const MISTAKES: &str = "mistakes.json";
const LATEST: &str = "latest";

/// What a run is: all that a continuation must share, and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Network, preprocessing and settings.
    pub setup: Setup,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// [`Dataset::fingerprint`](crate::data::Dataset::fingerprint) in hexadecimal.
    pub data_fingerprint: String,
    /// Tensors that were drawn from the seed although the weights came from a file.
    pub fresh: Vec<String>,
    /// Where the classifier came from; runs that do not say it did not validate their start.
    #[serde(default)]
    pub head: Head,
    /// Name of the device.
    pub device: String,
    /// Type that it stored activations as, `f32` or `bf16`.
    #[serde(default = "f32_name")]
    pub precision: String,
    /// Version of elimnet.
    pub tool_version: String,
}

impl RunRecord {
    /// What of `self` is not as `before`, as far as it decides the result.
    #[must_use]
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        let (now, then) = (&self.setup, &before.setup);
        let same_name = now.network.name == then.network.name;
        let compared = [
            ("the network", then.network.name.clone(), now.network.name.clone()),
            ("the classes", before.classes.join(", "), self.classes.join(", ")),
            ("the preprocessing", to_json(&then.preprocessing), to_json(&now.preprocessing)),
            ("the augmentation", to_json(&then.augment_train), to_json(&now.augment_train)),
            ("the test policy", to_json(&then.augment_test), to_json(&now.augment_test)),
            ("the precision", before.precision.clone(), self.precision.clone()),
            ("the data set", before.data_fingerprint.clone(), self.data_fingerprint.clone()),
        ];
        let compared = compared.into_iter().filter(|(_, before, now)| before != now);
        let mut differences = now.config.differences(&then.config);
        differences.extend(compared.map(|(setting, before, now)| Difference {
            setting: setting.to_owned(),
            before,
            now,
        }));
        if now.network != then.network && same_name {
            differences.push(Difference {
                setting: "a layer of the network".to_owned(),
                before: "as in run.json".to_owned(),
                now: "another".to_owned(),
            });
        }
        differences
    }
}

/// What runs that say no precision were made with.
pub(super) fn f32_name() -> String {
    Precision::F32.name().to_owned()
}

/// Where a new run is put.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The folder of all runs, `exp`; made where it is missing.
    pub root: PathBuf,
    /// Last part of the run's name.
    pub name: String,
    /// When it starts: first part of its name, in UTC.
    pub time: SystemTime,
    /// Files to put into it as they are: name and text (`model.yml`, `data.yml`).
    pub attachments: Vec<(String, String)>,
}

/// The directory of a run that can be resumed or is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Opens a run.
    ///
    /// # Errors
    /// [`TrainError::NotARun`] where there is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TrainError> {
        let path = path.into();
        if path.join(RECORD).is_file() {
            return Ok(Self { path });
        }
        Err(TrainError::NotARun { path, missing: RECORD })
    }

    /// Makes the directory of a new run, its first checkpoint in it, and points `latest` to it.
    ///
    /// # Errors
    /// If something can't be written; then there is no such run.
    pub(crate) fn create(
        place: &NewRun,
        record: &RunRecord,
        split: &SplitNames,
        snapshot: Snapshot,
    ) -> Result<Self, TrainError> {
        fs::create_dir_all(&place.root)?;
        let (hidden, path) = free_names(place);
        fs::create_dir(&hidden)?;
        let made = fill(&hidden, place, record, split, snapshot)
            .and_then(|()| Ok(fs::rename(&hidden, &path)?))
            .and_then(|()| point_latest(&place.root, &path));
        if let Err(error) = made {
            let _ = fs::remove_dir_all(&hidden);
            return Err(error);
        }
        Ok(Self { path })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Points `latest` beside the run to it.
    ///
    /// # Errors
    /// If the link can't be made.
    pub fn make_latest(&self) -> Result<(), TrainError> {
        self.path.parent().map_or(Ok(()), |root| point_latest(root, &self.path))
    }

    /// The best model so far: a self-describing file.
    #[must_use]
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// The folder of the last checkpoint.
    #[must_use]
    pub fn last(&self) -> PathBuf {
        self.path.join("last")
    }

    /// What the run is.
    ///
    /// # Errors
    /// If the file can't be read or understood.
    pub fn record(&self) -> Result<RunRecord, TrainError> {
        read_json(&self.path.join(RECORD))
    }

    /// Which image is in which split, to open the same data set again.
    ///
    /// # Errors
    /// If the file can't be read or understood.
    pub fn split_names(&self) -> Result<SplitNames, TrainError> {
        read_json(&self.path.join(SPLIT))
    }

    /// The result, where the run is over.
    ///
    /// # Errors
    /// If the file can't be read or understood.
    pub fn summary(&self) -> Result<Option<Summary>, TrainError> {
        let path = self.path.join(SUMMARY);
        if !path.exists() {
            return Ok(None);
        }
        read_json(&path).map(Some)
    }

    /// The epochs that are complete; before them the start, where it was validated.
    ///
    /// # Errors
    /// If the file can't be read or understood.
    pub fn metrics(&self) -> Result<Vec<EpochRecord>, TrainError> {
        let path = self.path.join(METRICS);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let damaged = |source| TrainError::Damaged { path: path.clone(), source };
        fs::read_to_string(&path)?.lines().map(|line| serde_json::from_str(line).map_err(damaged)).collect()
    }

    /// The test images that the best model is most wrong about; nothing where the run kept none.
    ///
    /// # Errors
    /// If the file can't be read or understood.
    pub fn mistakes(&self) -> Result<Option<Vec<Mistake>>, TrainError> {
        let path = self.path.join(MISTAKES);
        if !path.exists() {
            return Ok(None);
        }
        read_json(&path).map(Some)
    }

    /// A file that the caller attached, where there is one.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn attachment(&self, name: &str) -> Result<Option<String>, TrainError> {
        let path = self.path.join(name);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(fs::read_to_string(path)?))
    }

    /// The last checkpoint.
    ///
    /// # Errors
    /// If it can't be read or understood.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, TrainError> {
        Snapshot::read(&self.last())
    }

    pub(crate) fn write_snapshot(&self, snapshot: Snapshot) -> Result<(), TrainError> {
        snapshot.write(&self.last())
    }

    pub(crate) fn write_metrics(&self, history: &[EpochRecord]) -> Result<(), TrainError> {
        let mut lines = String::new();
        for record in history {
            lines.push_str(&to_json(record));
            lines.push('\n');
        }
        write_text(&self.path.join(METRICS), &lines)
    }

    pub(crate) fn write_mistakes(&self, mistakes: &[Mistake]) -> Result<(), TrainError> {
        write_text(&self.path.join(MISTAKES), &to_pretty_json(&mistakes))
    }

    pub(crate) fn write_summary(&self, summary: &Summary) -> Result<(), TrainError> {
        write_text(&self.path.join(SUMMARY), &to_pretty_json(summary))
    }
}

fn fill(
    folder: &Path,
    place: &NewRun,
    record: &RunRecord,
    split: &SplitNames,
    snapshot: Snapshot,
) -> Result<(), TrainError> {
    for (name, text) in &place.attachments {
        write_text(&folder.join(name), text)?;
    }
    write_text(&folder.join(RECORD), &to_pretty_json(record))?;
    write_text(&folder.join(SPLIT), &to_json(split))?;
    fs::create_dir(folder.join("last"))?;
    snapshot.write(&folder.join("last"))
}

/// A hidden name to build the run under, and the name that it gets; neither exists.
fn free_names(place: &NewRun) -> (PathBuf, PathBuf) {
    let name: String = place.name.chars().map(|c| if "/\\ :".contains(c) { '-' } else { c }).collect();
    let stem = format!("{}_{name}", utc(place.time));
    let mut number = 1;
    loop {
        let name = if number == 1 { stem.clone() } else { format!("{stem}_{number}") };
        let (hidden, path) = (place.root.join(format!(".{name}.part")), place.root.join(name));
        if !path.exists() && !hidden.exists() {
            return (hidden, path);
        }
        number += 1;
    }
}

/// Replaces the link `latest` at once.
fn point_latest(root: &Path, run: &Path) -> Result<(), TrainError> {
    let Some(name) = run.file_name() else { return Ok(()) };
    let temporary = root.join(format!(".{LATEST}.{}.part", std::process::id()));
    let _ = fs::remove_file(&temporary);
    #[cfg(unix)]
    fs::os::unix::fs::symlink(name, &temporary)?;
    #[cfg(windows)]
    fs::os::windows::fs::symlink_dir(name, &temporary)?;
    let renamed = fs::rename(&temporary, root.join(LATEST));
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    Ok(renamed?)
}

/// `2026-11-22_15-39-32`.
///
/// # Source
/// Howard Hinnant, *chrono-compatible low-level date algorithms*, `civil_from_days`.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}_{hour:02}-{minute:02}-{second:02}")
}

fn write_text(path: &Path, text: &str) -> Result<(), TrainError> {
    use std::io::Write;
    Ok(write_atomically(path, |writer| writer.write_all(text.as_bytes()))?)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = fs::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|source| TrainError::Damaged { path: path.to_owned(), source })
}

/// # Panics
/// Never: records have text keys and are representable as JSON.
fn to_json(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("records are representable as JSON")
}

fn to_pretty_json(record: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(record).expect("records are representable as JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_time_in_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01_00-00-00"),
            (951_782_399, "2000-02-28_23-59-59"),
            (951_782_400, "2000-02-29_00-00-00"),
            (1_795_361_972, "2026-11-22_15-39-32"),
            (4_107_542_400, "2100-03-01_00-00-00"),
        ] {
            assert_eq!(utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_name_is_never_taken_twice_and_stays_one_folder() {
        let root = tempfile::tempdir().unwrap();
        let place = NewRun {
            root: root.path().to_owned(),
            name: "a/b c".to_owned(),
            time: SystemTime::UNIX_EPOCH,
            attachments: Vec::new(),
        };
        let (_, first) = free_names(&place);
        assert_eq!(first, root.path().join("1970-01-01_00-00-00_a-b-c"));
        fs::create_dir(&first).unwrap();
        assert_eq!(free_names(&place).1, root.path().join("1970-01-01_00-00-00_a-b-c_2"));
    }

    #[test]
    #[cfg(unix)]
    fn latest_moves_to_the_newest_run() {
        let root = tempfile::tempdir().unwrap();
        for name in ["first", "second"] {
            fs::create_dir(root.path().join(name)).unwrap();
            point_latest(root.path(), &root.path().join(name)).unwrap();
            assert_eq!(fs::read_link(root.path().join(LATEST)).unwrap(), Path::new(name));
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3, "nothing temporary is left");
    }

    #[test]
    fn a_folder_without_a_record_is_not_a_run() {
        let root = tempfile::tempdir().unwrap();
        let error = RunDirectory::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("is not a run directory: it has no `run.json`"), "{error}");
    }
}
