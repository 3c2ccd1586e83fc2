//! The images that a network is most wrong about: where to look for wrong labels, and for what it can't see.

use serde::{Deserialize, Serialize};

use super::Prediction;
use crate::data::{DataError, Split, THUMBNAIL};
use crate::train::log_softmax;

/// An image that was taken for something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Name of the image: its path below the data set's root.
    pub file: String,
    /// The class that it has.
    pub truth: String,
    /// The class that it was taken for.
    pub predicted: String,
    /// Probability that the network gave to `predicted`, 0..1.
    pub probability: f64,
    /// Probability that it gave to `truth`.
    pub truth_probability: f64,
    /// A small picture of it, as a `data:` URL.
    pub thumbnail: String,
}

/// Collects the most confident mistakes of an evaluation.
#[derive(Clone, Debug)]
pub struct MistakeCollector {
    limit: usize,
    /// The most confident first.
    found: Vec<Wrong>,
}

#[derive(Clone, Debug)]
struct Wrong {
    index: usize,
    predicted: usize,
    probability: f64,
    truth_probability: f64,
}

impl MistakeCollector {
    /// Keeps at most `limit` of them.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, found: Vec::new() }
    }

    /// Looks at what was said about one image.
    pub fn add(&mut self, prediction: &Prediction) {
        let &Prediction { index, label, predicted, ref logits } = prediction;
        if label == predicted {
            return;
        }
        let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
        let log_probabilities = log_softmax(&logits);
        let probability = log_probabilities[predicted].exp();
        // Equally confident ones in the order of the split.
        let place = self.found.partition_point(|found| found.probability >= probability);
        if probability.is_nan() || place >= self.limit {
            return;
        }
        self.found.truncate(self.limit - 1);
        let truth_probability = log_probabilities[label].exp();
        self.found.insert(place, Wrong { index, predicted, probability, truth_probability });
    }

    /// Names them and makes their pictures; `split` is what was evaluated.
    ///
    /// # Errors
    /// If an image can't be read any more.
    pub fn finish(&self, split: &Split, classes: &[String]) -> Result<Vec<Mistake>, DataError> {
        let mistake = |wrong: &Wrong| {
            let sample = &split.samples[wrong.index];
            Ok(Mistake {
                file: sample.name().to_owned(),
                truth: classes[sample.label].clone(),
                predicted: classes[wrong.predicted].clone(),
                probability: wrong.probability,
                truth_probability: wrong.truth_probability,
                thumbnail: sample.load_with(THUMBNAIL)?.thumbnail(),
            })
        };
        self.found.iter().map(mistake).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Image, Sample, Source};

    fn prediction(index: usize, label: usize, logits: [f32; 2]) -> Prediction {
        let predicted = usize::from(logits[1] > logits[0]);
        Prediction { index, label, predicted, logits: logits.to_vec() }
    }

    #[test]
    fn the_most_confident_come_first_and_right_ones_never() {
        let mut collector = MistakeCollector::new(3);
        for (index, label, logits) in [
            (0, 0, [0.0, 1.0]),
            (1, 1, [0.0, 9.0]),
            (2, 0, [0.0, 3.0]),
            (3, 1, [2.0, 0.0]),
            (4, 1, [2.0, 0.0]),
            (5, 1, [f32::NAN, 0.0]),
        ] {
            collector.add(&prediction(index, label, logits));
        }
        let image = Arc::new(Image::filled(2, 2, [9; 3]));
        let labels = [0, 1, 0, 1, 1, 1];
        let samples = labels.iter().enumerate().map(|(index, &label)| {
            Sample::new(&format!("test/{index}"), Source::Pixels(Arc::clone(&image)), label)
        });
        let split = Split { samples: samples.collect() };
        let classes = ["cat", "dog"].map(str::to_owned);
        let found = collector.finish(&split, &classes).unwrap();
        let files: Vec<&str> = found.iter().map(|mistake| mistake.file.as_str()).collect();
        assert_eq!(files, ["test/2", "test/3", "test/4"]);
        assert_eq!((found[0].truth.as_str(), found[0].predicted.as_str()), ("cat", "dog"));
        let expected = 1.0 / (1.0 + (-3f64).exp());
        assert!((found[0].probability - expected).abs() < 1e-12, "{}", found[0].probability);
        assert!((found[0].truth_probability - (1.0 - expected)).abs() < 1e-12);
    }
}
