//! A second engine that knows only what was saved.

use std::path::Path;

use elimnet_engine::{Device, Engine, Images, Matrix};

use super::error::TrainError;
use crate::model::load_model;

/// Runs the network as it is in a model file: proves that the file is what was trained, and evaluates it in the end.
pub(crate) struct Judge {
    engine: Box<dyn Engine>,
}

impl Judge {
    /// The network in the model file `path`, on `device`.
    pub(crate) fn of(device: &dyn Device, path: &Path) -> Result<Self, TrainError> {
        let model = load_model(path)?;
        let mut engine = device.load(&model.card.network)?;
        engine.set_tensors(&model.tensors)?;
        Ok(Self { engine })
    }

    /// Checks that the file's network has exactly these logits, bit for bit.
    pub(crate) fn confirm(
        &mut self,
        path: &Path,
        images: &Images,
        logits: &Matrix,
    ) -> Result<(), TrainError> {
        let found = self.engine.infer(images)?;
        let bits =
            |matrix: &Matrix| -> Vec<u32> { matrix.values.iter().map(|value| value.to_bits()).collect() };
        if bits(&found) == bits(logits) {
            return Ok(());
        }
        Err(TrainError::ReadBack { path: path.to_owned() })
    }

    pub(crate) fn engine(&mut self) -> &mut dyn Engine {
        &mut *self.engine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Preprocessing;
    use crate::model::{ModelCard, Provenance, save_model};
    use crate::train::initial_tensors;
    use elimnet_arch::zoo;
    use elimnet_cpu::CpuDevice;

    #[test]
    fn a_file_that_computes_something_else_is_refused() {
        let network = zoo::resnet18(2).cut_after(1);
        let tensors = initial_tensors(&network, 1);
        let card = ModelCard {
            network: network.clone(),
            cut: Some("layer1.0".to_owned()),
            classes: vec!["a".to_owned(), "b".to_owned()],
            preprocessing: Preprocessing::new(16),
            weights_from: Provenance::Scratch,
            metrics: Default::default(),
            seed: 1,
            tool_version: "0".to_owned(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        save_model(&path, &card, &tensors).unwrap();

        let device = CpuDevice::new(1);
        let mut engine = device.load(&network).unwrap();
        engine.set_tensors(&tensors).unwrap();
        let pixels = (0..2 * 16 * 16 * 3).map(|i| (i % 7) as f32 - 3.0).collect();
        let images = Images::new(2, 16, 16, 3, pixels);
        let mut logits = engine.infer(&images).unwrap();
        let mut judge = Judge::of(&device, &path).unwrap();
        judge.confirm(&path, &images, &logits).unwrap();

        let last = logits.values.last_mut().unwrap();
        *last = f32::from_bits(last.to_bits() ^ 1);
        match judge.confirm(&path, &images, &logits) {
            Err(TrainError::ReadBack { path: named }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
    }
}
