//! A data set: found, checked by decoding every file once, and split.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::config::{DataConfig, DatasetKind};
use super::decode::Detail;
use super::error::{DataError, SkipKind, SkippedFile};
use super::found::Found;
use super::image::Image;
use super::sample::{Sample, Source};
use super::split::{self, Split, SplitNames};
use super::{cifar10, folder, idx};

/// Labelled images in three splits.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// Names of the classes; labels are their indices.
    pub classes: Vec<String>,
    /// What to learn from.
    pub train: Split,
    /// What to choose the best state and settings by. Never empty when opened from disk.
    pub validation: Split,
    /// What to judge by, once. Empty where the data have validation images but no test images of their own.
    pub test: Split,
    /// Files that are in no split, and why.
    pub skipped: Vec<SkippedFile>,
}

/// How a data set is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Whether every file is decoded to see whether it can be. Without, a broken file is an error when its turn comes.
    pub check: bool,
    /// Share of the image files, in 0..1, that may fail to decode before that is an error.
    pub tolerated: f64,
    /// How much of each file is decoded: what the largest network that will see the images needs
    /// ([`super::Preprocessing::detail`]).
    pub detail: Detail,
    /// Bytes of decoded images to keep in memory, so that they need not be decoded again. Where the budget ends, the
    /// remaining files are decoded each time.
    pub cache_bytes: usize,
    /// Threads to check with; one a core where it is 0.
    pub workers: usize,
    /// The splits of a former run, to have exactly them again.
    pub splits: Option<SplitNames>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            check: true,
            tolerated: 0.05,
            detail: Detail::Full,
            cache_bytes: 1 << 30,
            workers: 0,
            splits: None,
        }
    }
}

/// An image in memory with its class, for [`Dataset::from_images`].
#[derive(Clone, Debug)]
pub struct LabeledImage {
    /// The pixels.
    pub image: Image,
    /// Index of the class.
    pub label: usize,
}

impl Dataset {
    /// Finds, checks and splits the data that `config` names. `seed` decides what is drawn where the data have no
    /// splits of their own.
    ///
    /// # Errors
    /// If there are no data, a class is unknown or too small, files are broken, or too many can't be decoded.
    pub fn open(config: &DataConfig, seed: u64, options: &OpenOptions) -> Result<Self, DataError> {
        let mut found = find(config)?;
        if found.classes.len() < 2 {
            return Err(DataError::OneClass { found: found.classes.len() });
        }
        found.samples_mut().for_each(|sample| sample.detail = options.detail);
        if options.check {
            check(&mut found, options)?;
        }
        let (classes, mut skipped) = (found.classes.clone(), std::mem::take(&mut found.skipped));
        let [train, validation, test] = match &options.splits {
            Some(names) => split::restore(found, names)?,
            None => split::divide(found, config.validation_ratio, seed)?,
        };
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let dataset = Self { classes, train, validation, test, skipped };
        dataset.require_every_class()?;
        Ok(dataset)
    }

    /// A data set of images in memory, split as given: train, validation, test.
    ///
    /// # Panics
    /// If a label is not an index of `classes`.
    pub fn from_images(classes: Vec<String>, splits: [Vec<LabeledImage>; 3]) -> Self {
        let mut names = ["train", "validation", "test"].into_iter();
        let [train, validation, test] = splits.map(|images| {
            let split = names.next().expect("three splits have three names");
            let sample = |(index, image): (usize, LabeledImage)| {
                assert!(image.label < classes.len(), "label {} of {} classes", image.label, classes.len());
                let source = Source::Pixels(Arc::new(image.image));
                Sample::new(&format!("{split}/{index:05}"), source, image.label)
            };
            Split { samples: images.into_iter().enumerate().map(sample).collect() }
        });
        Self { classes, train, validation, test, skipped: Vec::new() }
    }

    /// Train, validation and test with their names.
    pub fn splits(&self) -> [(&'static str, &Split); 3] {
        [("train", &self.train), ("validation", &self.validation), ("test", &self.test)]
    }

    /// Number of training samples of each class: what logit adjustment needs.
    pub fn train_counts(&self) -> Vec<usize> {
        self.train.counts(self.classes.len())
    }

    /// Which sample is in which split, for [`OpenOptions::splits`].
    pub fn split_names(&self) -> SplitNames {
        let names = |split: &Split| split.samples.iter().map(|sample| sample.name().to_owned()).collect();
        SplitNames { train: names(&self.train), validation: names(&self.validation), test: names(&self.test) }
    }

    /// A number for the classes and for which sample with which label is where; pixels are not part of it. Equal
    /// fingerprints mean that a run can be resumed on this data set. 64-bit FNV-1a.
    pub fn fingerprint(&self) -> u64 {
        let classes = self.classes.iter().flat_map(|class| field(class));
        let samples = self.splits().into_iter().flat_map(|(name, split)| {
            let samples = split.samples.iter();
            field(name).chain(
                samples.flat_map(|sample| field(sample.name()).chain((sample.label as u64).to_le_bytes())),
            )
        });
        classes
            .chain(samples)
            .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
    }

    fn require_every_class(&self) -> Result<(), DataError> {
        let counts = self.train_counts();
        match counts.iter().position(|&count| count == 0) {
            Some(label) => Err(DataError::EmptyClass { class: self.classes[label].clone(), split: "train" }),
            None => Ok(()),
        }
    }
}

/// A string's bytes and an end that no UTF-8 text contains.
fn field(text: &str) -> impl Iterator<Item = u8> + '_ {
    text.bytes().chain([0xFF])
}

fn find(config: &DataConfig) -> Result<Found, DataError> {
    let path = &config.data_path;
    if !path.is_dir() {
        return Err(DataError::Missing { path: path.clone() });
    }
    match config.dataset {
        DatasetKind::Folder => folder::find(path),
        DatasetKind::FashionMnist => idx::find(path, idx::ClassNames::Fashion),
        DatasetKind::Mnist => idx::find(path, idx::ClassNames::Digits),
        DatasetKind::Cifar10 => cifar10::find(path),
    }
}

/// Decodes every file on all workers; keeps pixels while the budget lasts and takes out what can't be decoded.
fn check(found: &mut Found, options: &OpenOptions) -> Result<(), DataError> {
    let budget = AtomicUsize::new(options.cache_bytes);
    let mut undecodable = Vec::new();
    let mut total = 0;
    let splits = [Some(&mut found.train), found.validation.as_mut(), found.test.as_mut()];
    for samples in splits.into_iter().flatten() {
        total += samples.iter().filter(|sample| sample.path().is_some()).count();
        let outcomes = decode_all(samples, options.workers, &budget);
        let checked = std::mem::take(samples).into_iter().zip(outcomes);
        for (mut sample, outcome) in checked {
            match (outcome, sample.path()) {
                (Err(reason), Some(path)) => {
                    undecodable.push(SkippedFile {
                        path: path.to_owned(),
                        reason,
                        kind: SkipKind::Undecodable,
                    });
                }
                (kept, _) => {
                    sample.kept = kept.ok().flatten();
                    samples.push(sample);
                }
            }
        }
    }
    if undecodable.len() as f64 > options.tolerated * total as f64 {
        return Err(DataError::TooManyUndecodable { undecodable, total, tolerated: options.tolerated });
    }
    found.skipped.extend(undecodable);
    Ok(())
}

/// The pixels if there was room for them, or the reason why there are none.
type Outcome = Result<Option<Arc<Image>>, String>;

fn decode_all(samples: &[Sample], workers: usize, budget: &AtomicUsize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let mut all: Vec<Outcome> = samples.iter().map(|_| Ok(None)).collect();
    let results = thread::scope(|scope| {
        let handles: Vec<_> =
            (0..worker_count(workers)).map(|_| scope.spawn(|| indexed(samples, &next, budget))).collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().expect("decoders do not panic"))
            .collect::<Vec<_>>()
    });
    for (index, outcome) in results {
        all[index] = outcome;
    }
    all
}

fn indexed(samples: &[Sample], next: &AtomicUsize, budget: &AtomicUsize) -> Vec<(usize, Outcome)> {
    let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < samples.len());
    std::iter::from_fn(claim).map(|index| (index, outcome(&samples[index], budget))).collect()
}

fn outcome(sample: &Sample, budget: &AtomicUsize) -> Outcome {
    match sample.try_decode() {
        None => Ok(None),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(image)) => {
            let room = |left: usize| left.checked_sub(image.bytes());
            let fits = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
            Ok(fits.then(|| Arc::new(image)))
        }
    }
}

/// One a core where none is asked for.
pub(crate) fn worker_count(asked: usize) -> usize {
    if asked > 0 { asked } else { thread::available_parallelism().map_or(1, NonZero::get) }
}
