//! `logits.json` and `features.safetensors`: eval-mode outputs of torchvision's networks with formula weights.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Tensor, json, tensors};

/// Logits of every network and every cut.
#[derive(Clone, Debug, Deserialize)]
pub struct LogitGoldens {
    /// Classes of every head.
    pub classes: usize,
    /// Images in the batch: `formula::images(batch, 3, size)`.
    pub batch: usize,
    /// By family.
    pub families: BTreeMap<String, Vec<Logits>>,
}

impl LogitGoldens {
    /// Reads the golden file.
    ///
    /// # Panics
    /// If it is missing or malformed.
    #[must_use]
    pub fn read() -> Self {
        json("logits.json")
    }
}

/// Logits of one network or cut at one image size.
#[derive(Clone, Debug, Deserialize)]
pub struct Logits {
    /// The torchvision module after which the network is cut; `None` is torchvision's whole network.
    pub cut: Option<String>,
    /// Whether a stage ends at the cut; true for the whole network.
    pub stage: bool,
    /// Height and width of the images.
    pub size: usize,
    /// `[batch, classes]`, computed in f64.
    pub logits: Vec<f32>,
    /// How far torch's own f32 is from it: the largest difference over the largest logit.
    pub torch_f32_distance: f64,
}

/// The mean over height and width after every block, `[batch, channels]`, by `family/block`
/// (`resnet18/layer1.0`), of the uncut networks at 64x64.
///
/// # Panics
/// If the golden file is missing or malformed.
#[must_use]
pub fn block_features() -> BTreeMap<String, Tensor> {
    tensors("features.safetensors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Facts;

    #[test]
    fn every_cut_has_finite_logits_that_depend_on_the_image() {
        let (goldens, facts) = (LogitGoldens::read(), Facts::read());
        for (family, rows) in &goldens.families {
            let cuts = rows.iter().filter(|row| row.size == 64).count();
            assert_eq!(cuts, facts.families[family].cuts.len() + 1, "{family}");
            for row in rows {
                let (first, second) = row.logits.split_at(goldens.classes);
                assert_eq!(second.len(), goldens.classes);
                let largest = row.logits.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                let apart = first.iter().zip(second).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart > 0.01 * largest, "{family} {:?}: {apart} of {largest}", row.cut);
            }
        }
    }

    #[test]
    fn every_block_has_features_of_its_channels() {
        let features = block_features();
        for (family, facts) in Facts::read().families {
            for cut in facts.cuts {
                let found = &features[&format!("{family}/{}", cut.name)];
                assert_eq!(found.shape, [2, cut.out_channels], "{family} {}", cut.name);
            }
        }
    }
}
