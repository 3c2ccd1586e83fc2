//! The zoo against what torchvision says about the same networks.

use elimnet_arch::{Network, Op, zoo};
use elimnet_testing::golden::{Facts, FamilyFacts};

fn families() -> Vec<(Network, FamilyFacts)> {
    let mut facts = Facts::read().families;
    assert_eq!(facts.len(), zoo::NAMES.len());
    let family = |name: &str| {
        let network = zoo::by_name(name, 1000).unwrap_or_else(|| panic!("the zoo has no {name}"));
        (network, facts.remove(name).unwrap_or_else(|| panic!("no facts about {name}")))
    };
    zoo::NAMES.map(family).into()
}

/// Names and shapes, sorted: a state dict is loaded by name.
fn state(network: &Network) -> Vec<(String, Vec<usize>)> {
    let mut state: Vec<_> = network.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
    state.sort();
    state
}

#[test]
fn state_dicts_agree_name_by_name() {
    for (network, mut facts) in families() {
        facts.state_1000.sort();
        assert_eq!(state(&network), facts.state_1000, "{}", network.name);
    }
}

#[test]
fn parameters_modules_and_multiply_adds_agree() {
    for (network, facts) in families() {
        let input = network.input_shape(224);
        let six = network.clone().with_classes(6);
        let ours = [
            network.module_count() as u64,
            network.parameters() as u64,
            six.parameters() as u64,
            network.multiply_adds(input).expect("224 pixels fit"),
            six.multiply_adds(input).expect("224 pixels fit"),
        ];
        let theirs = [
            facts.modules as u64,
            facts.parameters_1000,
            facts.parameters_6,
            facts.multiply_adds_1000,
            facts.multiply_adds_6,
        ];
        assert_eq!(ours, theirs, "{}", network.name);
        assert_eq!(network.classifier, facts.head, "{}", network.name);
    }
}

#[test]
fn batch_norm_settings_agree() {
    for (network, facts) in families() {
        let norms: Vec<_> = network
            .layers()
            .filter_map(|(_, layer)| match &layer.op {
                Op::BatchNorm(norm) => Some((norm.eps, norm.momentum)),
                _ => None,
            })
            .collect();
        match facts.batch_norm {
            Some(theirs) => {
                let theirs = (theirs.eps as f32, theirs.momentum as f32);
                assert!(norms.iter().all(|&ours| ours == theirs), "{}", network.name);
            }
            None => assert!(norms.is_empty(), "{}", network.name),
        }
    }
}

#[test]
fn cuts_have_torchvisions_names_shapes_and_costs() {
    for (network, facts) in families() {
        let network = network.with_classes(6);
        let input = network.input_shape(224);
        let costs = network.costs(input).expect("224 pixels fit");
        let ours: Vec<_> = network
            .cuts(input)
            .expect("224 pixels fit")
            .into_iter()
            .map(|cut| {
                let output = costs[cut.index].output;
                let spatial = [output.height, output.width];
                (cut.name, cut.out_channels, spatial, cut.parameters as u64, cut.multiply_adds)
            })
            .collect();
        let theirs: Vec<_> = facts
            .cuts
            .iter()
            .map(|cut| {
                let spatial = cut.spatial_at_224;
                (cut.name.clone(), cut.out_channels, spatial, cut.parameters_6, cut.multiply_adds_6)
            })
            .collect();
        assert_eq!(ours, theirs, "{}", network.name);
    }
}

#[test]
fn a_cut_network_is_torchvisions_with_the_later_blocks_removed() {
    for (network, facts) in families() {
        let network = network.with_classes(6);
        let whole = state(&network);
        for cut in &facts.cuts {
            let short = network.cut_at(&cut.name).expect("the cut exists");
            let name = &short.name;
            short.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
            let counts = (short.parameters() as u64, short.module_count(), short.tensors().len());
            assert_eq!(counts, (cut.parameters_6, cut.modules, cut.state_entries), "{name}");
            let head = short.classifier_tensors();
            let kept = state(&short).into_iter().filter(|(name, _)| !head.contains(name));
            assert!(kept.into_iter().all(|entry| whole.binary_search(&entry).is_ok()), "{name}");
        }
    }
}

#[test]
fn the_totals_of_the_seed_come_out() {
    let parameters = |name: &str, cut: &str| {
        zoo::by_name(name, 6).expect("in the zoo").cut_at(cut).expect("the cut exists").parameters()
    };
    for (name, cut, expected) in [
        ("efficientnet_b0", "features.8", 4_015_234),
        ("resnet18", "layer4.1", 11_179_590),
        ("resnet18", "128", 683_846),
    ] {
        assert_eq!(parameters(name, cut), expected, "{name}@{cut}");
    }
}

#[test]
fn dropout_sits_where_torchvision_has_it() {
    let dropouts = |name: &str| -> Vec<(String, f32)> {
        let network = zoo::by_name(name, 6).expect("in the zoo");
        let dropout = |layer: &elimnet_arch::Layer| match layer.op {
            Op::Dropout { probability } | Op::StochasticDepth { probability } => {
                Some((layer.path.clone().expect("a module"), probability))
            }
            _ => None,
        };
        network.layers().filter_map(|(_, layer)| dropout(layer)).collect()
    };
    for (name, expected) in [
        ("resnet18", vec![]),
        ("mobilenet_v3_large", vec![("classifier.2", 0.2)]),
        ("mobilenet_v3_small", vec![("classifier.2", 0.2)]),
        ("mobilenet_v2", vec![("classifier.0", 0.2)]),
        ("mnasnet1_0", vec![("classifier.0", 0.2)]),
        ("vgg11", vec![("classifier.2", 0.5), ("classifier.5", 0.5)]),
        (
            "efficientnet_b0",
            vec![
                ("features.2.1.stochastic_depth", 0.025),
                ("features.3.1.stochastic_depth", 0.05),
                ("features.4.1.stochastic_depth", 0.075),
                ("features.4.2.stochastic_depth", 0.0875),
                ("features.5.1.stochastic_depth", 0.1125),
                ("features.5.2.stochastic_depth", 0.125),
                ("features.6.1.stochastic_depth", 0.15),
                ("features.6.2.stochastic_depth", 0.1625),
                ("features.6.3.stochastic_depth", 0.175),
                ("classifier.0", 0.2),
            ],
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(path, p)| (path.to_owned(), p as f32)).collect();
        assert_eq!(dropouts(name), expected, "{name}");
    }
}
