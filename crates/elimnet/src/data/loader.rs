//! Batches for training and evaluation, made on worker threads ahead of who needs them.
//!
//! A batch is one task, workers take them in order, and at most `workers + 1` are in the making or waiting, which bounds
//! the memory. What a batch holds is a pure function of (seed, epoch, position): the number of workers, their timing and
//! which epochs ran before change nothing, and an epoch can be entered at any batch.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use elimnet_engine::Images;

use super::batches::Batches;
use super::dataset::worker_count;
use super::error::DataError;
use super::image::Image;
use super::policy::Policy;
use super::prepared::PreparedCache;
use super::preprocessing::{Normaliser, Preprocessing};
use super::resize::Scaler;
use super::sample::Sample;
use super::split::Split;
use crate::random::{Purpose, Random};

/// How batches are made.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// What happens to each image.
    pub policy: Policy,
    /// Size, resize filter and normalisation.
    pub preprocessing: Preprocessing,
    /// Images in a batch.
    pub batch_size: usize,
    /// Decides the order of shuffled epochs and what the policy draws.
    pub seed: u64,
    /// Threads that decode and augment; one a core where it is 0.
    pub workers: usize,
    /// Bytes of padded and resized images of files to keep.
    pub cache_bytes: usize,
    /// Whether a last batch that is not full is left out.
    pub drop_last: bool,
}

impl LoaderOptions {
    /// Batches of 32 for `policy`, all cores, a cache of 1 GiB, no batch left out.
    pub fn new(policy: Policy, preprocessing: Preprocessing) -> Self {
        Self {
            policy,
            preprocessing,
            batch_size: 32,
            seed: 0,
            workers: 0,
            cache_bytes: 1 << 30,
            drop_last: false,
        }
    }
}

/// The order of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As the split has them.
    Sequential,
    /// Another permutation each epoch.
    Shuffled,
}

/// Images and their labels.
///
/// # Shapes
/// `images` is `[n, image_size, image_size, 3]`; the others have `n` entries.
#[derive(Clone, Debug)]
pub struct LabeledBatch {
    /// Normalised pixels.
    pub images: Images,
    /// Class of each image.
    pub labels: Vec<usize>,
    /// Index of each image in its split.
    pub indices: Vec<usize>,
    spare: Arc<SpareBuffers>,
}

impl PartialEq for LabeledBatch {
    fn eq(&self, other: &Self) -> bool {
        (&self.images, &self.labels, &self.indices) == (&other.images, &other.labels, &other.indices)
    }
}

impl Drop for LabeledBatch {
    fn drop(&mut self) {
        self.spare.put(std::mem::take(&mut self.images.pixels));
    }
}

/// The pixels' memory of batches that are gone, for those to come: fresh pages take their time, and an epoch needs none.
#[derive(Debug)]
struct SpareBuffers {
    buffers: Mutex<Vec<Vec<f32>>>,
    /// How many are kept: as many as there are batches at once.
    most: usize,
}

impl SpareBuffers {
    /// An empty buffer with room for so many values.
    fn take(&self, length: usize) -> Vec<f32> {
        let mut buffer = self.lock().pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(length);
        buffer
    }

    fn put(&self, buffer: Vec<f32>) {
        let mut spare = self.lock();
        if spare.len() < self.most {
            spare.push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the batches of a split, epoch after epoch.
#[derive(Debug)]
pub struct Loader {
    recipe: Arc<Recipe>,
    waited: Arc<AtomicU64>,
}

impl Loader {
    /// A loader of the samples of `split`.
    ///
    /// # Panics
    /// If the batch size is zero.
    pub fn new(split: &Split, options: LoaderOptions) -> Self {
        assert!(options.batch_size > 0, "a batch has at least one image");
        Self { recipe: Arc::new(Recipe::new(split.samples.clone(), options)), waited: Arc::default() }
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        let (samples, batch_size) = (self.recipe.samples.len(), self.recipe.options.batch_size);
        if self.recipe.options.drop_last { samples / batch_size } else { samples.div_ceil(batch_size) }
    }

    /// Images in an epoch.
    pub fn images(&self) -> usize {
        self.recipe.samples.len().min(self.batches() * self.recipe.options.batch_size)
    }

    /// The batches of an epoch. Workers begin at once; dropping the iterator stops them.
    pub fn epoch(&self, epoch: u64, order: Order) -> Batches {
        self.epoch_from(epoch, order, 0)
    }

    /// The batches of an epoch from number `first_batch` on, the same ones as if those before had been asked for.
    pub fn epoch_from(&self, epoch: u64, order: Order, first_batch: usize) -> Batches {
        let plan =
            Plan { epoch, order: self.recipe.order(epoch, order), batches: first_batch..self.batches() };
        let workers = worker_count(self.recipe.options.workers).min(plan.batches.len());
        Batches::start(Arc::clone(&self.recipe), plan, workers, Arc::clone(&self.waited))
    }

    /// How long callers have waited for batches since the loader was made.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }
}

/// What an epoch consists of.
#[derive(Debug)]
pub(super) struct Plan {
    epoch: u64,
    order: Vec<usize>,
    /// Numbers of the batches to make.
    pub(super) batches: Range<usize>,
}

/// Everything that decides what is in a batch.
pub(super) struct Recipe {
    samples: Vec<Sample>,
    options: LoaderOptions,
    normaliser: Normaliser,
    cache: PreparedCache,
    spare: Arc<SpareBuffers>,
}

impl std::fmt::Debug for Recipe {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Recipe")
            .field("samples", &self.samples.len())
            .field("options", &self.options)
            .finish()
    }
}

impl Recipe {
    fn new(samples: Vec<Sample>, options: LoaderOptions) -> Self {
        let cache = PreparedCache::new(samples.len(), options.cache_bytes);
        let most = worker_count(options.workers) + 2;
        let spare = Arc::new(SpareBuffers { buffers: Mutex::default(), most });
        Self { samples, normaliser: options.preprocessing.normaliser(), cache, spare, options }
    }

    fn order(&self, epoch: u64, order: Order) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..self.samples.len()).collect();
        if order == Order::Shuffled {
            Random::new(self.options.seed, Purpose::Order, [epoch, 0]).shuffle(&mut indices);
        }
        indices
    }

    /// Makes batch `number` of an epoch.
    pub(super) fn batch(
        &self,
        plan: &Plan,
        number: usize,
        scaler: &mut Scaler,
    ) -> Result<LabeledBatch, DataError> {
        let (size, side) = (self.options.batch_size, self.options.preprocessing.image_size);
        let indices = plan.order[number * size..((number + 1) * size).min(plan.order.len())].to_vec();
        let mut pixels = self.spare.take(indices.len() * side * side * 3);
        for &index in &indices {
            self.append(plan.epoch, index, scaler, &mut pixels)?;
        }
        let labels = indices.iter().map(|&index| self.samples[index].label).collect();
        let images = Images::new(indices.len(), side, side, 3, pixels);
        Ok(LabeledBatch { images, labels, indices, spare: Arc::clone(&self.spare) })
    }

    /// Appends the pixels of a sample as an epoch sees it.
    fn append(
        &self,
        epoch: u64,
        index: usize,
        scaler: &mut Scaler,
        pixels: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        let LoaderOptions { policy, preprocessing, seed, .. } = &self.options;
        let prepared = self.prepared(index, scaler)?;
        let mut random = Random::new(*seed, Purpose::Augment, [epoch, index as u64]);
        let (image, facing) = policy.vary(&prepared, preprocessing, &mut random, scaler);
        self.normaliser.append(&image, facing, pixels);
        Ok(())
    }

    fn prepared(&self, index: usize, scaler: &mut Scaler) -> Result<Arc<Image>, DataError> {
        if let Some(image) = self.cache.get(index) {
            return Ok(Arc::clone(image));
        }
        let sample = &self.samples[index];
        let LoaderOptions { policy, preprocessing, .. } = &self.options;
        let image = sample.load()?;
        let prepared = Arc::new(policy.prepare(&image, preprocessing, scaler));
        if sample.path().is_some() {
            self.cache.keep(index, &prepared);
        }
        Ok(prepared)
    }
}
