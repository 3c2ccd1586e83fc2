//! The pretrained network that everything is made of.

use std::collections::HashMap;

use elimnet_arch::Network;
use elimnet_engine::NamedTensor;

use super::probe::LinearHead;
use crate::model::Provenance;
use crate::train::{Head, StartingTensors, initial_tensors};

/// A network with its pretrained tensors, as many outputs as the data have classes.
#[derive(Clone, Debug)]
pub struct Backbone {
    /// What the user calls it.
    pub name: String,
    /// The uncut network.
    pub network: Network,
    /// Its tensors; those of the classifier need not be pretrained.
    pub tensors: Vec<NamedTensor>,
    /// What the weights were.
    pub weights_from: Provenance,
}

impl Backbone {
    /// The whole trunk with the small head of a cut network on it; `None` where there is no trunk.
    #[must_use]
    pub fn trunk(&self) -> Option<Network> {
        Some(self.network.cut_after(self.network.blocks.len().checked_sub(1)?))
    }

    /// Tensors to start `network` from, one that was made of this backbone: the trunk's from here, the classifier from `head`
    /// where its shape is right, and from the seed what neither has: a fresh convolution, a classifier without a probe.
    #[must_use]
    pub fn start(&self, network: &Network, head: Option<&LinearHead>, seed: u64) -> StartingTensors {
        start(&self.tensors, network, head, seed)
    }
}

/// As [`Backbone::start`], with the trunk's tensors from `trunk`.
pub(super) fn start(
    trunk: &[NamedTensor],
    network: &Network,
    head: Option<&LinearHead>,
    seed: u64,
) -> StartingTensors {
    let own: HashMap<&str, &NamedTensor> =
        trunk.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let classifier = network.classifier_tensors();
    let specs = network.tensors();
    let shapes = || specs.iter().filter(|spec| classifier.contains(&spec.name)).map(|spec| &spec.shape[..]);
    let head = head.filter(|head| shapes().any(|shape| shape == [head.weight.rows, head.weight.columns]));
    let mut fresh = Vec::new();
    let choose = |mut tensor: NamedTensor| {
        let is_head = classifier.contains(&tensor.name);
        let values = match is_head {
            true => head.and_then(|head| head.tensor(&tensor)),
            false => own
                .get(tensor.name.as_str())
                .filter(|own| own.shape == tensor.shape)
                .map(|own| own.values.clone()),
        };
        match values {
            Some(values) => tensor.values = values,
            None if tensor.name.ends_with("num_batches_tracked") => {}
            None => fresh.push(tensor.name.clone()),
        }
        tensor
    };
    let tensors = initial_tensors(network, seed).into_iter().map(choose).collect();
    let drawn = fresh.iter().any(|name| classifier.contains(name));
    StartingTensors { tensors, fresh, head: if drawn { Head::Fresh } else { Head::Probe }, rival: None }
}

impl LinearHead {
    /// The numbers for a classifier's tensor, if it has the shape of one of this head's.
    pub(super) fn tensor(&self, tensor: &NamedTensor) -> Option<Vec<f32>> {
        match tensor.shape[..] {
            [classes, channels] if (classes, channels) == (self.weight.rows, self.weight.columns) => {
                Some(self.weight.values.clone())
            }
            [classes] if classes == self.bias.len() => Some(self.bias.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elimnet_arch::{Tail, zoo};
    use elimnet_engine::Matrix;

    fn backbone() -> Backbone {
        let network = zoo::resnet18(3);
        let tensors = initial_tensors(&network, 9);
        Backbone { name: "resnet18".to_owned(), network, tensors, weights_from: Provenance::Scratch }
    }

    fn named<'a>(start: &'a StartingTensors, name: &str) -> &'a NamedTensor {
        start.tensors.iter().find(|tensor| tensor.name == name).expect("a tensor of that name")
    }

    #[test]
    fn a_cut_network_starts_from_the_trunk_and_the_probe() {
        let backbone = backbone();
        let cut = backbone.network.cut_at("layer1.1").unwrap();
        let head = LinearHead { weight: Matrix::new(3, 64, vec![0.5; 192]), bias: vec![1.0, 2.0, 3.0] };
        let start = backbone.start(&cut, Some(&head), 0);
        assert_eq!((start.fresh.len(), start.head), (0, Head::Probe));
        assert_eq!(named(&start, "fc.weight").values, vec![0.5; 192]);
        assert_eq!(named(&start, "fc.bias").values, [1.0, 2.0, 3.0]);
        let own = backbone.tensors.iter().find(|tensor| tensor.name == "layer1.1.conv2.weight").unwrap();
        assert_eq!(named(&start, "layer1.1.conv2.weight"), own);
        let names: Vec<String> = cut.tensors().into_iter().map(|spec| spec.name).collect();
        assert!(start.tensors.iter().map(|tensor| &tensor.name).eq(&names));
    }

    #[test]
    fn what_neither_has_is_fresh() {
        let backbone = backbone();
        let tail: Tail = "conv:32x1".parse().unwrap();
        let network = backbone.network.cut_at("layer1.1").unwrap().with_tail(&tail);
        let head = LinearHead { weight: Matrix::new(3, 64, vec![0.5; 192]), bias: vec![0.0; 3] };
        let StartingTensors { fresh, head, .. } = backbone.start(&network, Some(&head), 0);
        assert_eq!(head, Head::Fresh);
        let classifier = ["fc.weight", "fc.bias"].map(str::to_owned);
        assert!(classifier.iter().all(|name| fresh.contains(name)), "the probe has another width: {fresh:?}");
        assert!(fresh.iter().any(|name| name.starts_with("tail.0.")), "{fresh:?}");
        assert!(!fresh.iter().any(|name| name.starts_with("layer")), "{fresh:?}");
    }
}
