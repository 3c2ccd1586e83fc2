//! `yaml_modules.json`: nets in the YAML language, as a plain PyTorch reading of its modules has them.

use serde::Deserialize;

use super::json;
use crate::formula;

/// Nets that together use every module of the language.
#[derive(Clone, Debug, Deserialize)]
pub struct YamlModules {
    /// Classes of every head.
    pub classes: usize,
    /// Height and width of the images.
    pub size: usize,
    /// Images in the batch: `formula::images(batch, input_channels, size)`.
    pub batch: usize,
    /// Nets with logits.
    pub nets: Vec<YamlNet>,
    /// Nets on a trunk of torchvision's.
    pub pretrained_trunks: Vec<YamlTrunk>,
}

impl YamlModules {
    /// Reads the golden file.
    ///
    /// # Panics
    /// If it is missing or malformed.
    #[must_use]
    pub fn read() -> Self {
        json("yaml_modules.json")
    }
}

/// One net.
#[derive(Clone, Debug, Deserialize)]
pub struct YamlNet {
    /// What it is about.
    pub name: String,
    /// The file's text.
    pub yaml: String,
    /// Channels of the images.
    pub input_channels: usize,
    /// Trainable values.
    pub parameters: u64,
    /// Parameters and running statistics in order of construction: layers in the order in which they run, a
    /// squeeze-and-excitation where it stands; weight, bias, `running_mean`, `running_var` within a layer. Names are
    /// `t{index}.{kind}`; their values are `formula::tensor(name, shape)`.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// `[batch, classes]` in eval mode, computed in f64.
    pub logits: Vec<f32>,
    /// How far torch's own f32 is from it: the largest difference over the largest logit.
    pub torch_f32_distance: f64,
}

impl YamlNet {
    /// The values of tensor `index`, in C order of its shape.
    ///
    /// # Panics
    /// If there is no such tensor.
    #[must_use]
    pub fn values(&self, index: usize) -> Vec<f32> {
        let (name, shape) = &self.tensors[index];
        formula::tensor(name, shape)
    }
}

/// A net whose first row is a pretrained trunk; its logits are those of `logits.json`, here are its parameters.
#[derive(Clone, Debug, Deserialize)]
pub struct YamlTrunk {
    /// The file's text.
    pub yaml: String,
    /// Trainable values.
    pub parameters: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tensors_add_up_to_the_parameters() {
        for net in YamlModules::read().nets {
            let trainable = net.tensors.iter().filter(|(name, _)| !name.contains("running_"));
            let total: usize = trainable.map(|(_, shape)| shape.iter().product::<usize>()).sum();
            assert_eq!(total as u64, net.parameters, "{}", net.name);
            assert_eq!(net.values(0).len(), net.tensors[0].1.iter().product::<usize>());
        }
    }

    #[test]
    fn every_module_of_the_language_occurs() {
        let nets = YamlModules::read().nets;
        for module in [
            "Conv",
            "DWConv",
            "ConvResidual",
            "FixedConv",
            "Bottleneck",
            "InvertedResidualv2",
            "InvertedResidualv3",
            "MBConv",
            "MaxPool",
            "AvgPool",
            "GlobalAvgPool",
            "Flatten",
            "Linear",
        ] {
            assert!(nets.iter().any(|net| net.yaml.contains(&format!(", {module}, ["))), "{module}");
        }
    }

    /// The numbers that the design asks for.
    #[test]
    fn parameters_are_those_of_the_seed() {
        let goldens = YamlModules::read();
        let large = goldens.nets.iter().find(|net| net.name == "mobilenet_v3_large");
        assert_eq!(large.map(|net| net.parameters), Some(4_210_998));
        let trunks: Vec<u64> = goldens.pretrained_trunks.iter().map(|net| net.parameters).collect();
        assert_eq!(trunks, [909_414, 309_146, 4_015_234, 683_846, 11_179_590]);
    }
}
