//! Pooled features of all cuts at once: one pass of the whole backbone, image by image, none of which is kept.

use std::sync::atomic::{AtomicBool, Ordering};

use elimnet_engine::{Engine, Matrix};

use super::error::ScanError;
use crate::data::{Dataset, Loader, LoaderOptions, Order, Policy, Preprocessing, Split};

/// Features of the training and validation images after one block.
///
/// # Shapes
/// `[images, out_channels]`, the images in the order of their split.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CutFeatures {
    pub(crate) train: Matrix,
    pub(crate) validation: Matrix,
}

/// The images of a scan and how they become the network's input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pictures<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) preprocessing: &'a Preprocessing,
    pub(crate) policy: Policy,
    pub(crate) batch_size: usize,
    pub(crate) workers: usize,
}

impl Pictures<'_> {
    pub(crate) fn splits(&self) -> [&Split; 2] {
        [&self.dataset.train, &self.dataset.validation]
    }

    pub(crate) fn loader(&self, split: &Split) -> Loader {
        let options = LoaderOptions::new(self.policy, self.preprocessing.clone());
        let (batch_size, workers) = (self.batch_size, self.workers);
        // Every image is wanted once: nothing to keep.
        Loader::new(split, LoaderOptions { batch_size, workers, cache_bytes: 0, ..options })
    }

    fn batches(&self) -> usize {
        self.splits().iter().map(|split| split.len().div_ceil(self.batch_size)).sum()
    }
}

/// Runs the network over the images; tells `progress` how many of how many batches are done.
pub(crate) fn collect(
    engine: &mut dyn Engine,
    cuts: &[usize],
    pictures: &Pictures<'_>,
    interrupt: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<CutFeatures>, ScanError> {
    let total = pictures.batches();
    let mut done = 0;
    let mut of_split = |split: &Split| -> Result<Vec<Matrix>, ScanError> {
        let mut features: Vec<Matrix> = vec![Matrix::default(); cuts.len()];
        for batch in pictures.loader(split).epoch(0, Order::Sequential) {
            if interrupt.load(Ordering::Relaxed) {
                return Err(ScanError::Interrupted);
            }
            progress(done, total);
            let rows = engine.features(&batch?.images, cuts)?;
            features.iter_mut().zip(rows).for_each(|(all, rows)| append(all, rows, split.len()));
            done += 1;
        }
        Ok(features)
    };
    let [train, validation] = pictures.splits();
    let (train, validation) = (of_split(train)?, of_split(validation)?);
    let pairs = train.into_iter().zip(validation);
    Ok(pairs.map(|(train, validation)| CutFeatures { train, validation }).collect())
}

pub(super) fn append(all: &mut Matrix, rows: Matrix, expected_rows: usize) {
    if all.rows == 0 {
        all.columns = rows.columns;
        all.values.reserve_exact(rows.columns * expected_rows);
    }
    all.rows += rows.rows;
    all.values.extend(rows.values);
}

/// Labels of a split, in its order.
pub(crate) fn labels(split: &Split) -> Vec<usize> {
    split.samples.iter().map(|sample| sample.label).collect()
}
