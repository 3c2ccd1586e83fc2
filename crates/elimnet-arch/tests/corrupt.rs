//! Networks from files that lie: `validate` finds each kind of lie, and what it passes can be walked.

use elimnet_arch::{Conv2d, Linear, Network, NetworkError, Op, Padding, Pool2d, zoo};

fn network() -> Network {
    zoo::resnet18(10)
}

/// The network with another first layer.
fn with_op(op: Op) -> Network {
    let mut network = network();
    network.blocks[0].layers[0].op = op;
    network
}

fn conv() -> Conv2d {
    Conv2d::square(3, 64, 7, 2)
}

#[test]
fn numbers_out_of_range_name_block_layer_and_reason() {
    let pool = |kernel, stride| Op::MaxPool(Pool2d { kernel, stride, padding: Padding::same(0) });
    let huge = usize::MAX;
    for (op, reason) in [
        (Op::Conv2d(Conv2d { in_channels: 0, ..conv() }), "channels is [0, 64], expected 1 to 1048576"),
        (Op::Conv2d(Conv2d { kernel: [0, 3], ..conv() }), "kernel is [0, 3], expected 1 to 1048576"),
        (Op::Conv2d(Conv2d { stride: [1, 0], ..conv() }), "stride is [1, 0], expected 1 to 1048576"),
        (Op::Conv2d(Conv2d { groups: 0, ..conv() }), "groups is [0], expected 1 to 1048576"),
        (Op::Conv2d(Conv2d { groups: 2, ..conv() }), "2 groups do not divide 3 to 64 channels"),
        (
            Op::Conv2d(Conv2d { kernel: [1 << 20, 1 << 20], ..conv() }),
            "a weight of shape [64, 3, 1048576, 1048576] is too large",
        ),
        (
            Op::Linear(Linear { in_features: 1 << 20, out_features: huge, bias: true }),
            "features is [1048576, 18446744073709551615], expected 1 to 1048576",
        ),
        (pool([2, 0], [1, 1]), "kernel is [2, 0], expected 1 to 1048576"),
        (pool([2, 2], [0, 1]), "stride is [0, 1], expected 1 to 1048576"),
        (Op::AdaptiveAvgPool { height: 0, width: 1 }, "grid is [0, 1], expected 1 to 1048576"),
        (Op::Dropout { probability: 1.0 }, "probability is 1, expected 0 to below 1"),
        (Op::StochasticDepth { probability: f32::NAN }, "probability is NaN, expected 0 to below 1"),
    ] {
        let error = with_op(op).validate().expect_err(reason);
        assert_eq!(error.to_string(), format!("block `maxpool`, layer 0: {reason}"));
    }
}

#[test]
fn paddings_and_norms_are_checked() {
    let padding = Padding { left: usize::MAX, ..Padding::same(0) };
    let error = with_op(Op::Conv2d(conv().with_padding(padding))).validate().expect_err("a huge padding");
    assert!(error.to_string().contains("padding is [0, 18446744073709551615, 0, 0]"), "{error}");
    let mut network = network();
    let Op::BatchNorm(norm) = &mut network.blocks[0].layers[1].op else { panic!("layer 1 is the norm") };
    norm.momentum = f32::INFINITY;
    let error = network.validate().expect_err("an infinite momentum").to_string();
    assert_eq!(error, "block `maxpool`, layer 1: momentum is inf, expected 0 to 1");
}

#[test]
fn layers_read_what_exists() {
    for (layer, inputs) in [(0, vec![1]), (0, vec![usize::MAX]), (0, vec![]), (0, vec![0, 0]), (3, vec![4])] {
        let mut network = network();
        network.blocks[0].layers[layer].inputs.clone_from(&inputs);
        let expected = NetworkError::Inputs { block: "maxpool".to_owned(), layer, inputs };
        assert_eq!(network.validate(), Err(expected));
    }
}

#[test]
fn a_sum_takes_two_values() {
    let mut network = network();
    let sum =
        network.blocks[1].layers.iter().position(|layer| layer.op == Op::Add).expect("a residual block");
    network.blocks[1].layers[sum].inputs = vec![0];
    assert!(matches!(network.validate(), Err(NetworkError::Inputs { .. })));
}

#[test]
fn nothing_is_empty() {
    let mut without_trunk = network();
    without_trunk.blocks.clear();
    let mut without_head = network();
    without_head.head.clear();
    let mut without_layers = network();
    without_layers.blocks[2].layers.clear();
    for (network, part) in
        [(without_trunk, "trunk"), (without_head, "head"), (without_layers, "block `layer1.1`")]
    {
        let network = network.validate().expect_err(part);
        assert_eq!(network.to_string(), format!("network `resnet18` has an empty {part}"));
    }
}

#[test]
fn names_are_unique_and_tensors_have_one() {
    let mut twice = network();
    twice.blocks[1].layers[0].path = Some("conv1".to_owned());
    let error = twice.validate().expect_err("conv1 twice").to_string();
    assert_eq!(error, "network `resnet18` names tensor `conv1.weight` twice");

    let mut nameless = network();
    nameless.blocks[0].layers[0].path = None;
    let error = nameless.validate().expect_err("no path").to_string();
    assert_eq!(error, "block `maxpool`, layer 0: a layer with tensors has no path");

    let mut blocks = network();
    blocks.blocks[2].name = "layer1.0".to_owned();
    let error = blocks.validate().expect_err("layer1.0 twice").to_string();
    assert_eq!(error, "network `resnet18` has two blocks called `layer1.0`");
}

#[test]
fn a_head_makes_logits() {
    let mut network = network();
    network.head.truncate(2);
    let error = network.validate().expect_err("no Linear").to_string();
    assert_eq!(error, "network `resnet18` has no Linear or Conv in its head");
}

#[test]
fn parts_are_counted() {
    let mut network = network();
    let relu = network.blocks[0].layers[2].clone();
    network.blocks[0].layers.resize(5000, relu);
    let error = network.validate().expect_err("5000 layers").to_string();
    assert_eq!(error, "block `maxpool` has 5000 layers, expected at most 4096");
}

/// Valid by itself, absurd in sum: everything that walks it must give numbers or an error, not a panic.
#[test]
fn absurd_sizes_do_not_overflow() {
    let mut network = zoo::vgg11(10);
    let wide = Padding::same(1 << 20);
    for layer in network.blocks.iter_mut().flat_map(|block| &mut block.layers) {
        if let Op::Conv2d(conv) = &mut layer.op {
            conv.padding = wide;
        }
    }
    network.validate().expect("each layer by itself is in range");
    for size in [1, 224, usize::MAX / 2, usize::MAX] {
        let input = network.input_shape(size);
        let cuts = network.cuts(input).expect("fits");
        assert_eq!(cuts.len(), 8);
        assert!(network.multiply_adds(input).expect("fits") > 1 << 60);
        assert!(network.peak_activation_bytes(input).expect("fits") > 1 << 40);
        assert!(network.rows(input).is_ok());
    }
}
