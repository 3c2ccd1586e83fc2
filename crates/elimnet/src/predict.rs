//! Using a trained network: image files in, class probabilities out.

use elimnet_arch::Network;
use elimnet_engine::{Device, Engine, EngineError, Images, NamedTensor};

use crate::data::{Image, Preprocessing};
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
        let logits = self.engine.infer(&images)?;
        Ok(logits.iter_rows().map(Prediction::from_logits).collect())
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

impl Prediction {
    /// Softmax, in f64 inside.
    pub fn from_logits(logits: &[f32]) -> Self {
        let mut class = 0;
        for (index, &logit) in logits.iter().enumerate() {
            if logit > logits[class] {
                class = index;
            }
        }
        let largest = f64::from(logits.get(class).copied().unwrap_or(0.0));
        let exponentials: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).collect();
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
