//! `torchvision_facts.json`: names, shapes and costs of torchvision's networks.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json;

/// What torchvision says about every family.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    /// By name: `resnet18`, `efficientnet_b0`, ...
    pub families: BTreeMap<String, FamilyFacts>,
}

impl Facts {
    /// Reads the golden file.
    ///
    /// # Panics
    /// If it is missing or malformed.
    #[must_use]
    pub fn read() -> Self {
        json("torchvision_facts.json")
    }
}

/// One network.
#[derive(Clone, Debug, Deserialize)]
pub struct FamilyFacts {
    /// Name of the last linear layer: `fc`, `classifier.1`, ...
    pub head: String,
    /// `len(list(model.modules()))` of the uncut network, itself included.
    pub modules: usize,
    /// Parameters with 1000 classes.
    pub parameters_1000: u64,
    /// Parameters with 6 classes.
    pub parameters_6: u64,
    /// Multiply-adds of convolutions and linears for one 224x224 image, 1000 classes; biases not counted.
    pub multiply_adds_1000: u64,
    /// The same with 6 classes.
    pub multiply_adds_6: u64,
    /// The settings of its batch norms, all alike; VGG has none.
    pub batch_norm: Option<BatchNorm>,
    /// Names and shapes of the state dict with 1000 classes, in its order.
    pub state_1000: Vec<(String, Vec<usize>)>,
    /// Every cut, from the stem to the whole trunk.
    pub cuts: Vec<CutFacts>,
}

/// Settings of a family's batch norms.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f64,
}

/// A network cut after a block: trunk, global average pool, one linear of 6 classes.
#[derive(Clone, Debug, Deserialize)]
pub struct CutFacts {
    /// The torchvision module after which it is cut.
    pub name: String,
    /// Whether a stage ends here: the next block changes channels or resolution (VGG: the block ends with a max-pool).
    pub stage: bool,
    /// Channels of the trunk's output.
    pub out_channels: usize,
    /// Height and width of the trunk's output for a 224x224 image.
    pub spatial_at_224: [usize; 2],
    /// Parameters of the trunk alone.
    pub trunk_parameters: u64,
    /// Parameters with the head of 6 classes.
    pub parameters_6: u64,
    /// Torch modules, counted as in [`FamilyFacts::modules`], of torchvision's model with the later blocks removed, its
    /// pool (where it is a module) and the last linear kept; no dropout, no other linears.
    pub modules: usize,
    /// Multiply-adds at 224x224 with the head of 6 classes.
    pub multiply_adds_6: u64,
    /// Entries of its state dict, `num_batches_tracked` included.
    pub state_entries: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_totals_that_torchvision_documents() {
        let facts = Facts::read();
        for (family, parameters) in [
            ("resnet18", 11_689_512),
            ("efficientnet_b0", 5_288_548),
            ("mobilenet_v3_large", 5_483_032),
            ("mobilenet_v3_small", 2_542_856),
            ("mobilenet_v2", 3_504_872),
            ("mnasnet1_0", 4_383_312),
            ("vgg11", 132_863_336),
        ] {
            assert_eq!(facts.families[family].parameters_1000, parameters, "{family}");
        }
    }

    #[test]
    fn the_state_dict_shapes_add_up_to_the_parameters() {
        for (family, facts) in Facts::read().families {
            let is_parameter =
                |name: &str| !name.contains("running_") && !name.ends_with("num_batches_tracked");
            let total: usize = facts
                .state_1000
                .iter()
                .filter(|(name, _)| is_parameter(name))
                .map(|(_, shape)| shape.iter().product::<usize>())
                .sum();
            assert_eq!(total as u64, facts.parameters_1000, "{family}");
        }
    }

    #[test]
    fn the_last_cut_of_a_family_with_one_linear_is_the_whole_network() {
        let facts = Facts::read();
        for family in ["resnet18", "efficientnet_b0", "mobilenet_v2", "mnasnet1_0"] {
            let family = &facts.families[family];
            let last = family.cuts.last().expect("at least one cut");
            assert_eq!(
                (last.parameters_6, last.multiply_adds_6),
                (family.parameters_6, family.multiply_adds_6)
            );
        }
    }
}
