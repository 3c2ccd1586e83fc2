//! Features that were computed before, and their scores: files for a backbone, its weights, the preparation and the images.
//!
//! The name of a file is a hash of everything that it depends on, the content of every image file and its label included,
//! so that nothing has to be compared and nothing can be out of date. A file that can't be read counts as absent.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use elimnet_arch::Network;
use elimnet_engine::{Matrix, NamedTensor};
use ring::digest::{Context, SHA256};

use super::features::{CutFeatures, Pictures};
use super::score::Scored;
use crate::data::{DataError, Sample};
use crate::weights::{Tensor, read_checkpoint, sha256_of_file, write_atomically, write_safetensors};

/// Changes whenever features may come out otherwise for the same input.
const VERSION: &str = "elimnet features 3";

/// A place for features on the disk.
#[derive(Clone, Debug)]
pub(crate) struct FeatureFile(PathBuf);

impl FeatureFile {
    /// The file in `folder` for the trunk of `network` with `tensors`, run on `device` over these pictures.
    pub(crate) fn new(
        folder: &Path,
        network: &Network,
        tensors: &[NamedTensor],
        pictures: &Pictures<'_>,
        hashes: &[String],
        cuts: &[usize],
        device: &str,
    ) -> Self {
        let mut context = Context::new(&SHA256);
        let mut add = |part: &[u8]| {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        };
        let json = |value: serde_json::Result<String>| value.expect("plain data is representable as JSON");
        add(VERSION.as_bytes());
        add(device.as_bytes());
        add(json(serde_json::to_string(&network.blocks)).as_bytes());
        add(json(serde_json::to_string(cuts)).as_bytes());
        add(json(serde_json::to_string(pictures.preprocessing)).as_bytes());
        add(json(serde_json::to_string(&pictures.policy)).as_bytes());
        let details = pictures.splits().map(|split| split.samples.first().map(|sample| sample.detail));
        add(format!("{details:?}").as_bytes());
        for tensor in trunk_tensors(network, tensors) {
            add(tensor.name.as_bytes());
            let bytes: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            add(&bytes);
        }
        for split in pictures.splits() {
            add(&split
                .samples
                .iter()
                .flat_map(|sample| (sample.label as u64).to_le_bytes())
                .collect::<Vec<_>>());
        }
        hashes.iter().for_each(|hash| add(hash.as_bytes()));
        Self(folder.join(format!("{}.safetensors", hexadecimal(context.finish().as_ref()))))
    }

    /// The features, if they are there and whole.
    pub(crate) fn read(&self, pictures: &Pictures<'_>, channels: &[usize]) -> Option<Vec<CutFeatures>> {
        let mut tensors = read_checkpoint(&self.0).ok()?.tensors;
        let [train_rows, validation_rows] = pictures.splits().map(crate::data::Split::len);
        let mut take = |split: &str, index: usize, rows: usize| {
            let Tensor { shape, values } = tensors.remove(&name(split, index))?;
            (shape == [rows, channels[index]]).then(|| Matrix::new(rows, channels[index], values))
        };
        let mut of_cut = |index| {
            let train = take("train", index, train_rows)?;
            Some(CutFeatures { train, validation: take("validation", index, validation_rows)? })
        };
        (0..channels.len()).map(&mut of_cut).collect()
    }

    /// The scores of these features, if they were kept with this seed.
    pub(crate) fn read_scores(&self, seed: u64) -> Option<Vec<Scored>> {
        serde_json::from_str(&fs_err::read_to_string(self.scores(seed)).ok()?).ok()
    }

    /// Keeps the scores.
    pub(crate) fn write_scores(&self, seed: u64, scores: &[Scored]) {
        let text = serde_json::to_string(scores).expect("scores are representable as JSON");
        let _ = write_atomically(&self.scores(seed), |writer| io::Write::write_all(writer, text.as_bytes()));
    }

    fn scores(&self, seed: u64) -> PathBuf {
        self.0.with_extension(format!("{seed}.json"))
    }

    /// Keeps the features. They are only ever a saving of time: a full disk is no reason to fail.
    pub(crate) fn write(&self, features: &[CutFeatures]) {
        let tensor = |matrix: &Matrix| Tensor {
            shape: vec![matrix.rows, matrix.columns],
            values: matrix.values.clone(),
        };
        let tensors: BTreeMap<String, Tensor> = features
            .iter()
            .enumerate()
            .flat_map(|(index, cut)| {
                [
                    (name("train", index), tensor(&cut.train)),
                    (name("validation", index), tensor(&cut.validation)),
                ]
            })
            .collect();
        let folder = self.0.parent().unwrap_or(Path::new(""));
        let _ = fs_err::create_dir_all(folder)
            .is_ok_and(|()| write_safetensors(&self.0, &tensors, &BTreeMap::new()).is_ok());
    }
}

fn name(split: &str, index: usize) -> String {
    format!("{split}.{index}")
}

fn trunk_tensors<'a>(
    network: &Network,
    tensors: &'a [NamedTensor],
) -> impl Iterator<Item = &'a NamedTensor> + use<'a> {
    let specs = network.tensors().into_iter();
    let trunk: std::collections::HashSet<String> =
        specs.filter(|spec| spec.block < network.blocks.len()).map(|spec| spec.name).collect();
    tensors.iter().filter(move |tensor| trunk.contains(&tensor.name))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes of the content of all images, training first, made on all cores.
pub(crate) fn image_hashes(pictures: &Pictures<'_>) -> Result<Vec<String>, DataError> {
    let samples: Vec<&Sample> = pictures.splits().iter().flat_map(|split| &split.samples).collect();
    let next = AtomicUsize::new(0);
    let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < samples.len());
    let work =
        || -> Vec<_> { std::iter::from_fn(claim).map(|index| (index, hash(samples[index]))).collect() };
    let workers = crate::data::worker_count(pictures.workers);
    let mut hashes = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().expect("hashing does not panic"))
            .collect::<Vec<_>>()
    });
    hashes.sort_by_key(|(index, _)| *index);
    hashes.into_iter().map(|(_, hash)| hash).collect()
}

fn hash(sample: &Sample) -> Result<String, DataError> {
    if let Some(path) = sample.path() {
        return sha256_of_file(path).map_err(|error: io::Error| DataError::Read(error));
    }
    let image = sample.load()?;
    let mut context = Context::new(&SHA256);
    context.update(&(image.width as u64).to_le_bytes());
    context.update(&image.rgb);
    Ok(hexadecimal(context.finish().as_ref()))
}
