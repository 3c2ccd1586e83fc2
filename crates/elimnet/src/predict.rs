//! Using a trained network: image files in, class probabilities out.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use elimnet_arch::Network;
use elimnet_engine::{Device, Engine, EngineError, Images, NamedTensor};

use crate::bench::random_images;
use crate::data::{DecodeError, Image, Preprocessing, decode_file_with};
use crate::evaluate::largest;
use crate::model::Model;

/// A network on a device, with what turns images into its input and its output into class names.
pub struct Classifier {
    engine: Box<dyn Engine>,
    classes: Vec<String>,
    preprocessing: Preprocessing,
}

/// What the network says about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Index of the most probable class; the first of equals.
    pub class: usize,
    /// Softmax of the logits.
    pub probabilities: Vec<f32>,
    /// What the network put out.
    pub logits: Vec<f32>,
}

impl Classifier {
    /// Puts a model on a device.
    ///
    /// # Errors
    /// If the device can't run the network.
    pub fn new(model: &Model, device: &dyn Device) -> Result<Self, EngineError> {
        let card = &model.card;
        Self::from_parts(
            &card.network,
            &model.tensors,
            card.classes.clone(),
            card.preprocessing.clone(),
            device,
        )
    }

    /// Puts a network that has no card on a device.
    ///
    /// # Errors
    /// If the device can't run the network, or the tensors are not its own.
    /// # Panics
    /// If there is not one class name for each output.
    pub fn from_parts(
        network: &Network,
        tensors: &[NamedTensor],
        classes: Vec<String>,
        preprocessing: Preprocessing,
        device: &dyn Device,
    ) -> Result<Self, EngineError> {
        assert_eq!(classes.len(), network.classes(), "class names for the outputs of `{}`", network.name);
        network.shapes(network.input_shape(preprocessing.image_size))?;
        let mut engine = device.load(network)?;
        engine.set_tensors(tensors)?;
        Ok(Self { engine, classes, preprocessing })
    }

    /// Class names in the order of the logits.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How images are prepared.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Classifies images that were prepared with [`Preprocessing::apply`].
    ///
    /// # Errors
    /// If the engine fails.
    /// # Panics
    /// If an image has another length than the preprocessing gives.
    pub fn classify(&mut self, prepared: &[Vec<f32>]) -> Result<Vec<Prediction>, EngineError> {
        if prepared.is_empty() {
            return Ok(Vec::new());
        }
        let side = self.preprocessing.image_size;
        let images = Images::new(prepared.len(), side, side, 3, prepared.concat());
        let logits = self.engine.classify(&images)?;
        Ok(logits.iter_rows().map(Prediction::from_logits).collect())
    }

    /// Reads, decodes, prepares and classifies files in batches, and gives each file's outcome to `each`, in their order.
    /// Files are decoded on `workers` threads (0: one a core) while nothing else runs, so that [`Stopwatch`] is exact.
    ///
    /// # Errors
    /// If the engine or `each` fails. A file that is no image is an outcome, not an error.
    /// # Panics
    /// If `batch_size` is 0.
    pub fn classify_files<E: From<EngineError>>(
        &mut self,
        files: &[PathBuf],
        batch_size: usize,
        workers: usize,
        mut each: impl FnMut(&Path, Result<Prediction, DecodeError>) -> Result<(), E>,
    ) -> Result<Stopwatch, E> {
        let mut stopwatch = Stopwatch::default();
        for files in files.chunks(batch_size) {
            let detail = self.preprocessing.detail();
            let prepared = in_parallel(files, workers, |file| {
                Ok(self.preprocessing.apply(&decode_file_with(file, detail)?))
            });
            let (images, failures): (Vec<_>, Vec<_>) = prepared.into_iter().map(split).unzip();
            let images: Vec<Vec<f32>> = images.into_iter().flatten().collect();
            let mut predictions = stopwatch.time(|| self.classify(&images))?.into_iter();
            for (file, failure) in files.iter().zip(failures) {
                let outcome = failure.map_or_else(|| predictions.next().ok_or(DecodeError::Empty), Err);
                each(file, outcome)?;
            }
        }
        Ok(stopwatch)
    }

    /// Runs a few batches of random images, so that what is measured next is not the first use of anything.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn warm_up(&mut self, batch_size: usize) -> Result<(), EngineError> {
        let images = random_images(batch_size, self.preprocessing.image_size, 3);
        for _ in 0..2 {
            self.engine.infer(&images)?;
        }
        Ok(())
    }

    /// Classifies one decoded image.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn classify_image(&mut self, image: &Image) -> Result<Prediction, EngineError> {
        let mut predictions = self.classify(&[self.preprocessing.apply(image)])?;
        Ok(predictions.remove(0))
    }
}

/// Time that the network itself took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopwatch {
    /// By the clock.
    pub clock: Duration,
    /// Of the processor, all threads of this process together.
    pub processor: Duration,
}

impl Stopwatch {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (clock, processor) = (Instant::now(), ProcessTime::now());
        let result = work();
        self.clock += clock.elapsed();
        self.processor += processor.elapsed();
        result
    }
}

/// A result as two options, one of which is there.
fn split<T, E>(result: Result<T, E>) -> (Option<T>, Option<E>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    }
}

/// `work` on every item, in their order, on `workers` threads (0: one a core).
fn in_parallel<T: Sync, R: Send>(items: &[T], workers: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = if workers == 0 { cores } else { workers }.clamp(1, items.len().max(1));
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(index)
        {
            done.push((index, work(item)));
        }
        done
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(take)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<(usize, R)>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

impl Prediction {
    /// Softmax, in f64 inside.
    pub fn from_logits(logits: &[f32]) -> Self {
        let class = largest(logits);
        let highest = f64::from(logits.get(class).copied().unwrap_or(0.0));
        let exponentials: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        let probabilities = exponentials.iter().map(|value| (value / sum) as f32).collect();
        Self { class, probabilities, logits: logits.to_vec() }
    }

    /// Class indices from the most to the least probable; equals in their order.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.logits.len()).collect();
        order.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_softmax_of_the_logits() {
        let prediction = Prediction::from_logits(&[1.0, 3.0, 0.0]);
        assert_eq!(prediction.class, 1);
        let weights = [1f64.exp(), 3f64.exp(), 1.0];
        for (found, weight) in prediction.probabilities.iter().zip(weights) {
            let expected = weight / weights.iter().sum::<f64>();
            assert!((f64::from(*found) - expected).abs() < 1e-7, "{found} {expected}");
        }
        assert_eq!(prediction.ranking(), [1, 0, 2]);
    }

    #[test]
    fn work_is_done_once_an_item_and_in_order() {
        let items: Vec<usize> = (0..100).collect();
        for workers in [0, 1, 3, 200] {
            assert_eq!(
                in_parallel(&items, workers, |item| item * 2),
                (0..200).step_by(2).collect::<Vec<_>>()
            );
        }
        assert!(in_parallel(&[] as &[usize], 4, |item| *item).is_empty());
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let prediction = Prediction::from_logits(&[-3e38, 3e38]);
        assert_eq!((prediction.class, prediction.probabilities), (1, vec![0.0, 1.0]));
    }

    #[test]
    fn of_equals_the_first_wins() {
        let prediction = Prediction::from_logits(&[2.0, 5.0, 5.0]);
        assert_eq!((prediction.class, prediction.ranking()), (1, vec![1, 2, 0]));
    }
}
