//! What must hold for every network of the zoo.

use std::collections::HashSet;

use elimnet_arch::{Network, TensorKind, zoo};

fn networks() -> Vec<Network> {
    zoo::NAMES.iter().map(|name| zoo::by_name(name, 10).expect("in the zoo")).collect()
}

#[test]
fn names_are_the_zoos_and_fit_their_weights() {
    for (network, name) in networks().into_iter().zip(zoo::NAMES) {
        assert_eq!(network.name, name);
        assert_eq!(network.pretrained_as.as_deref(), Some(name));
        network.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(zoo::by_name("resnet19", 10).is_none());
}

#[test]
fn logits_come_out_at_every_usual_size() {
    for network in networks() {
        for size in [32, 64, 97, 224] {
            let shapes = network.shapes(network.input_shape(size)).expect("fits");
            let output = shapes.last().and_then(|block| block.last()).expect("an output");
            assert_eq!((output.channels, output.height, output.width), (10, 1, 1), "{}", network.name);
        }
    }
}

#[test]
fn an_image_that_is_too_small_is_an_error() {
    let network = zoo::vgg11(10);
    let error =
        network.shapes(network.input_shape(16)).expect_err("five poolings leave nothing of 16 pixels");
    assert_eq!(
        error.to_string(),
        "block `features.20`: its window of 2 does not fit into [512, 1, 1] (with padding)"
    );
}

#[test]
fn costs_of_the_blocks_add_up_to_the_networks() {
    for network in networks() {
        let input = network.input_shape(224);
        let costs = network.costs(input).expect("fits");
        assert_eq!(costs.iter().map(|cost| cost.parameters).sum::<usize>(), network.parameters());
        let adds: u64 = costs.iter().map(|cost| cost.multiply_adds).sum();
        assert_eq!(adds, network.multiply_adds(input).expect("fits"));
        let of_tensors: usize = network
            .tensors()
            .iter()
            .filter(|tensor| tensor.kind.is_parameter())
            .map(elimnet_arch::TensorSpec::len)
            .sum();
        assert_eq!(of_tensors, network.parameters(), "{}", network.name);
    }
}

#[test]
fn tensors_blocks_and_rows_are_unique() {
    for network in networks() {
        let tensors = network.tensors();
        let names: HashSet<_> = tensors.iter().map(|tensor| &tensor.name).collect();
        assert_eq!(names.len(), tensors.len(), "{}", network.name);
        let blocks: HashSet<_> = network.all_blocks().map(|block| &block.name).collect();
        assert_eq!(blocks.len(), network.all_blocks().count(), "{}", network.name);
        let rows: Vec<_> = network.all_blocks().map(|block| block.row).collect();
        assert!(rows.iter().copied().eq(0..rows.len()), "{}: {rows:?}", network.name);
    }
}

#[test]
fn another_number_of_classes_changes_the_classifier_alone() {
    for network in networks() {
        let other = network.clone().with_classes(7);
        assert_eq!(other.classes(), 7);
        assert_eq!(other.blocks, network.blocks);
        let changed: Vec<_> = network
            .tensors()
            .into_iter()
            .zip(other.tensors())
            .filter(|(before, after)| before != after)
            .map(|(_, after)| after.name)
            .collect();
        assert_eq!(changed, other.classifier_tensors(), "{}", network.name);
        assert_eq!(changed, ["weight", "bias"].map(|kind| format!("{}.{kind}", network.classifier)));
    }
}

#[test]
fn batch_norms_have_five_tensors_and_three_are_not_trained() {
    let counted = |kind| {
        let tensors = zoo::resnet18(10).tensors();
        tensors.iter().filter(|tensor| tensor.kind == kind).count()
    };
    for kind in [TensorKind::NormWeight, TensorKind::RunningMean, TensorKind::BatchesTracked] {
        assert_eq!(counted(kind), 20, "{kind:?}");
    }
    assert!(TensorKind::NormWeight.is_parameter() && !TensorKind::RunningVariance.is_parameter());
}

#[test]
fn without_dropout_nothing_is_random() {
    for network in networks() {
        let quiet = network.clone().without_dropout();
        let probabilities = quiet.layers().filter_map(|(_, layer)| match layer.op {
            elimnet_arch::Op::Dropout { probability } | elimnet_arch::Op::StochasticDepth { probability } => {
                Some(probability)
            }
            _ => None,
        });
        assert!(probabilities.into_iter().all(|probability| probability == 0.0));
        assert_eq!(quiet.module_count(), network.module_count());
        assert_eq!(quiet.tensors(), network.tensors());
    }
}

/// Input, first activation and the convolution between them are the largest: ResNet's stem writes 64 x 112 x 112.
#[test]
fn peak_memory_is_where_the_largest_neighbours_are() {
    let network = zoo::resnet18(10);
    let stem = 64 * 112 * 112;
    assert_eq!(network.peak_activation_bytes(network.input_shape(224)).expect("fits"), 2 * stem * 4);
}

#[test]
fn networks_survive_a_file() {
    for network in networks() {
        let text = serde_json::to_string(&network).expect("can be written");
        let read: Network = serde_json::from_str(&text).expect("can be read");
        assert_eq!(read, network);
    }
}
