//! The checkpoint that a training goes on from.
//!
//! One file, `last/checkpoint.safetensors`: what has to agree is renamed into place at once. Tensors and the optimizer's
//! memory are its tensors, the position is JSON in its metadata.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use elimnet_arch::Network;
use elimnet_engine::{Engine, NamedTensor, OptimizerState};

use super::error::TrainError;
use super::progress::Progress;
use crate::weights::{Tensor, read_checkpoint, write_safetensors};

const FILE: &str = "checkpoint.safetensors";
const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";
const STEPS: &str = "elimnet.steps";
const PROGRESS: &str = "elimnet.progress";

/// Everything that changes during a training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// The network's tensors as the last step left them, in any order.
    pub(crate) tensors: Vec<NamedTensor>,
    pub(crate) optimizer: OptimizerState,
    pub(crate) progress: Progress,
}

impl Snapshot {
    /// Of an engine that trains.
    pub(crate) fn of(engine: &dyn Engine, progress: &Progress) -> Self {
        Self { tensors: engine.tensors(), optimizer: engine.optimizer_state(), progress: progress.clone() }
    }

    /// Puts the tensors into the network's order.
    pub(crate) fn sort(&mut self, network: &Network) {
        let specs = network.tensors();
        let order: HashMap<&str, usize> =
            specs.iter().enumerate().map(|(at, spec)| (spec.name.as_str(), at)).collect();
        // What the network does not have goes last, for the engine to refuse.
        self.tensors.sort_by_key(|tensor| order.get(tensor.name.as_str()).copied().unwrap_or(usize::MAX));
    }

    /// Consumed, so that no second copy of all tensors is made.
    pub(crate) fn write(self, folder: &Path) -> Result<(), TrainError> {
        let model = self.tensors.into_iter().map(|tensor| entry(MODEL, tensor));
        let optimizer = self.optimizer.tensors.into_iter().map(|tensor| entry(OPTIMIZER, tensor));
        let progress = serde_json::to_string(&self.progress).expect("progress is representable as JSON");
        let metadata = BTreeMap::from([
            (STEPS.to_owned(), self.optimizer.steps.to_string()),
            (PROGRESS.to_owned(), progress),
        ]);
        Ok(write_safetensors(folder.join(FILE), &model.chain(optimizer).collect(), &metadata)?)
    }

    pub(crate) fn read(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(FILE);
        let checkpoint = read_checkpoint(&path)?;
        let text = |key: &str| match checkpoint.metadata.get(key) {
            Some(text) => Ok(text),
            None => Err(TrainError::NotACheckpoint { path: path.clone(), missing: key.to_owned() }),
        };
        let damaged = |source| TrainError::Damaged { path: path.clone(), source };
        let progress = serde_json::from_str(text(PROGRESS)?).map_err(damaged)?;
        let steps = serde_json::from_str(text(STEPS)?).map_err(damaged)?;
        let (mut tensors, mut optimizer) = (Vec::new(), Vec::new());
        for (name, Tensor { shape, values }) in checkpoint.tensors {
            if let Some(name) = name.strip_prefix(MODEL) {
                tensors.push(NamedTensor { name: name.to_owned(), shape, values });
            } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
                optimizer.push(NamedTensor { name: name.to_owned(), shape, values });
            }
        }
        Ok(Self { tensors, optimizer: OptimizerState { steps, tensors: optimizer }, progress })
    }
}

fn entry(prefix: &str, NamedTensor { name, shape, values }: NamedTensor) -> (String, Tensor) {
    (format!("{prefix}{name}"), Tensor { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, values: &[f32]) -> NamedTensor {
        NamedTensor { name: name.to_owned(), shape: vec![values.len()], values: values.to_vec() }
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            tensors: vec![tensor("fc.bias", &[0.1, -0.0]), tensor("fc.weight", &[f32::MIN_POSITIVE / 2.0])],
            optimizer: OptimizerState { steps: u64::MAX, tensors: vec![tensor("momentum.fc.bias", &[3.0])] },
            progress: Progress::new(2),
        }
    }

    #[test]
    fn what_is_written_is_read_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        snapshot().write(folder.path()).unwrap();
        let read = Snapshot::read(folder.path()).unwrap();
        assert_eq!(read, snapshot());
        let bits = |snapshot: &Snapshot| -> Vec<u32> {
            snapshot.tensors.iter().flat_map(|tensor| tensor.values.iter().map(|v| v.to_bits())).collect()
        };
        assert_eq!(bits(&read), bits(&snapshot()));
    }

    #[test]
    fn a_model_file_is_not_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let tensors = BTreeMap::from([("a".to_owned(), Tensor { shape: vec![1], values: vec![0.0] })]);
        write_safetensors(folder.path().join(FILE), &tensors, &BTreeMap::new()).unwrap();
        let error = Snapshot::read(folder.path()).unwrap_err();
        assert!(
            matches!(&error, TrainError::NotACheckpoint { missing, .. } if missing == PROGRESS),
            "{error}"
        );
    }
}
