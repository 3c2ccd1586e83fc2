//! Initial tensors: torchvision's rules per family, torch's defaults for everything else.
//!
//! Every tensor is a function of the seed and its own name, so that a fresh head is the same whatever trunk it sits on
//! and adding a block changes no other tensor.

use elimnet_arch::{Network, Op, TensorKind, TensorSpec};
use elimnet_engine::NamedTensor;

use crate::random::Random;

/// All tensors of `network` for a training from scratch: random weights, running statistics of mean 0 and variance 1.
///
/// ```
/// use elimnet::train::initial_tensors;
/// use elimnet_arch::zoo;
///
/// let tensors = initial_tensors(&zoo::resnet18(6), 1);
/// assert_eq!(tensors.len(), 122);
/// assert_eq!(tensors, initial_tensors(&zoo::resnet18(6), 1));
/// ```
///
/// # Source
/// The constructors of `torchvision.models.{resnet, efficientnet, mobilenetv2, mobilenetv3, mnasnet, vgg}` 0.2x, and
/// `reset_parameters` of `torch.nn.{Conv2d, Linear, BatchNorm2d}` for networks that are none of these.
#[must_use]
pub fn initial_tensors(network: &Network, seed: u64) -> Vec<NamedTensor> {
    let rules = Rules::of(network);
    network.tensors().iter().map(|spec| rules.tensor(network, spec, seed)).collect()
}

/// One tensor of [`initial_tensors`].
pub(super) fn initial_tensor(network: &Network, spec: &TensorSpec, seed: u64) -> NamedTensor {
    Rules::of(network).tensor(network, spec, seed)
}

/// How random numbers become weights.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Normal with standard deviation `sqrt(2 / fan_out)` (He et al., 2015).
    KaimingNormalFanOut,
    /// Uniform within `±sqrt(3 / fan_out)` (the gain of a sigmoid is 1).
    KaimingUniformFanOutSigmoid,
    /// Uniform within `±1 / sqrt(fan_out)`.
    UniformFanOut,
    /// Uniform within `±1 / sqrt(fan_in)`: torch's default, `kaiming_uniform_(a=sqrt(5))`.
    UniformFanIn,
    /// Normal with standard deviation 0.01.
    Normal001,
    /// Zeros.
    Zero,
}

#[derive(Clone, Copy, Debug)]
struct LayerRules {
    weight: Rule,
    bias: Rule,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    conv: LayerRules,
    linear: LayerRules,
}

impl Rules {
    fn of(network: &Network) -> Self {
        let default = LayerRules { weight: Rule::UniformFanIn, bias: Rule::UniformFanIn };
        let Some(family) = network.pretrained_as.as_deref() else {
            return Self { conv: default, linear: default };
        };
        let linear = |weight| LayerRules { weight, bias: Rule::Zero };
        let linear = match family.split(['_', '1']).next().unwrap_or(family) {
            "resnet" => default,
            "efficientnet" => linear(Rule::UniformFanOut),
            "mnasnet" => linear(Rule::KaimingUniformFanOutSigmoid),
            "mobilenet" | "vgg" => linear(Rule::Normal001),
            _ => return Self { conv: default, linear: default },
        };
        Self { conv: LayerRules { weight: Rule::KaimingNormalFanOut, bias: Rule::Zero }, linear }
    }

    fn tensor(self, network: &Network, spec: &TensorSpec, seed: u64) -> NamedTensor {
        let values = match spec.kind {
            TensorKind::NormWeight | TensorKind::RunningVariance => vec![1.0; spec.len()],
            TensorKind::NormBias | TensorKind::RunningMean | TensorKind::BatchesTracked => {
                vec![0.0; spec.len()]
            }
            TensorKind::ConvWeight | TensorKind::LinearWeight | TensorKind::Bias => {
                let (rules, fans) = self.of_layer(network, spec);
                let rule = if spec.kind == TensorKind::Bias { rules.bias } else { rules.weight };
                draw(rule, fans, spec.len(), Random::named(seed, &spec.name))
            }
        };
        NamedTensor { name: spec.name.clone(), shape: spec.shape.clone(), values }
    }

    fn of_layer(self, network: &Network, spec: &TensorSpec) -> (LayerRules, Fans) {
        let block = network.all_blocks().nth(spec.block);
        match block.and_then(|block| block.layers.get(spec.layer)).map(|layer| &layer.op) {
            Some(Op::Conv2d(conv)) => {
                let window = conv.kernel[0] * conv.kernel[1];
                // torch does not divide the outgoing connections by the groups.
                let incoming = conv.in_channels / conv.groups * window;
                (self.conv, Fans { incoming, outgoing: conv.out_channels * window })
            }
            Some(Op::Linear(linear)) => {
                (self.linear, Fans { incoming: linear.in_features, outgoing: linear.out_features })
            }
            other => unreachable!("only convolutions and linear layers have such a tensor, not {other:?}"),
        }
    }
}

/// Connections of a weight: into one output, out of one input.
#[derive(Clone, Copy, Debug)]
struct Fans {
    incoming: usize,
    outgoing: usize,
}

fn draw(rule: Rule, fans: Fans, len: usize, mut random: Random) -> Vec<f32> {
    let incoming = fans.incoming.max(1) as f64;
    let outgoing = fans.outgoing.max(1) as f64;
    let mut uniform = |bound: f64| fill(len, || (2.0 * random.unit() - 1.0) * bound);
    match rule {
        Rule::KaimingUniformFanOutSigmoid => uniform((3.0 / outgoing).sqrt()),
        Rule::UniformFanOut => uniform(1.0 / outgoing.sqrt()),
        Rule::UniformFanIn => uniform(1.0 / incoming.sqrt()),
        Rule::KaimingNormalFanOut => fill(len, || random.normal() * (2.0 / outgoing).sqrt()),
        Rule::Normal001 => fill(len, || random.normal() * 0.01),
        Rule::Zero => vec![0.0; len],
    }
}

fn fill(len: usize, mut value: impl FnMut() -> f64) -> Vec<f32> {
    (0..len).map(|_| value() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use elimnet_arch::zoo;

    fn family(name: &str) -> Network {
        Network { pretrained_as: Some(name.to_owned()), ..zoo::resnet18(10) }
    }

    fn tensor(network: &Network, name: &str) -> NamedTensor {
        let specs = network.tensors();
        let spec = specs.iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("no {name}"));
        initial_tensor(network, spec, 7)
    }

    fn standard_deviation(values: &[f32]) -> f64 {
        let square: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
        (square / values.len() as f64).sqrt()
    }

    fn largest(values: &[f32]) -> f64 {
        values.iter().map(|&value| f64::from(value).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn convolutions_of_the_families_are_kaiming_normal_over_the_outputs() {
        let weight = tensor(&zoo::resnet18(10), "layer4.0.downsample.0.weight"); // 512 x 256 x 1 x 1
        let expected = (2.0_f64 / 512.0).sqrt();
        assert!((standard_deviation(&weight.values) / expected - 1.0).abs() < 0.02);
        assert!(largest(&weight.values) > 3.5 * expected, "normal, not uniform");
    }

    /// For 512 to 10 features: standard deviation and, for uniform ones, the bound.
    #[test]
    fn classifiers_follow_their_family() {
        let by_outputs = 1.0 / 10f64.sqrt();
        for (name, deviation, bound) in [
            ("resnet18", 1.0 / (3.0 * 512.0_f64).sqrt(), Some(1.0 / 512f64.sqrt())),
            ("efficientnet_b0", by_outputs / 3f64.sqrt(), Some(by_outputs)),
            ("mnasnet1_0", by_outputs, Some(by_outputs * 3f64.sqrt())),
            ("mobilenet_v2", 0.01, None),
            ("mobilenet_v3_small", 0.01, None),
            ("vgg11", 0.01, None),
        ] {
            let weight = tensor(&family(name), "fc.weight").values;
            let found = standard_deviation(&weight);
            assert!((found / deviation - 1.0).abs() < 0.04, "{name}: {found}, not {deviation}");
            if let Some(bound) = bound {
                assert!((0.99 * bound..=bound * 1.000_001).contains(&largest(&weight)), "{name}");
            }
            let has_bias = largest(&tensor(&family(name), "fc.bias").values) > 0.0;
            assert_eq!(has_bias, name == "resnet18", "{name}");
        }
    }

    #[test]
    fn a_network_of_no_family_gets_the_defaults_of_torch() {
        let network = Network { pretrained_as: None, ..zoo::resnet18(10) };
        let weight = tensor(&network, "layer1.0.conv1.weight").values; // 64 x 64 x 3 x 3
        let bound = 1.0 / 576f64.sqrt();
        assert!((0.99 * bound..=bound * 1.000_001).contains(&largest(&weight)));
    }

    #[test]
    fn statistics_and_scales_start_neutral() {
        for tensor in initial_tensors(&zoo::resnet18(10), 7) {
            let expected = match tensor.name.rsplit('.').next() {
                Some("running_var") => 1.0,
                Some("running_mean" | "num_batches_tracked") => 0.0,
                Some("weight") if tensor.shape.len() == 1 => 1.0,
                Some("bias") if tensor.name.contains("bn") => 0.0,
                _ => continue,
            };
            assert!(tensor.values.iter().all(|&value| value == expected), "{}", tensor.name);
        }
    }

    #[test]
    fn a_tensor_depends_on_the_seed_and_its_own_name_alone() {
        let whole = zoo::resnet18(10);
        let cut = whole.cut_at("layer2.1").unwrap();
        let name = "layer2.0.conv1.weight";
        assert_eq!(tensor(&whole, name), tensor(&cut, name));
        let other_seed = initial_tensors(&whole, 8);
        let moved = other_seed.iter().find(|tensor| tensor.name == name).unwrap();
        assert_ne!(&tensor(&whole, name), moved);
    }

    #[test]
    fn names_and_shapes_are_those_of_the_network() {
        let network = zoo::resnet18(10);
        for (tensor, spec) in initial_tensors(&network, 0).iter().zip(network.tensors()) {
            assert_eq!((&tensor.name, &tensor.shape), (&spec.name, &spec.shape));
            assert_eq!(tensor.values.len(), spec.len(), "{}", spec.name);
        }
    }
}
