//! The YAML language against a plain PyTorch reading of it.

use elimnet_arch::yaml::{self, ModelFile};
use elimnet_arch::{TensorKind, zoo};
use elimnet_testing::golden::YamlModules;

fn parse(text: &str) -> ModelFile {
    yaml::parse(text, "net.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A file with this backbone.
fn backbone(rows: &[&str]) -> String {
    let rows: String = rows.iter().map(|row| format!("  - {row}\n")).collect();
    format!("input_channel: 3\ndepth_multiple: 1.0\nwidth_multiple: 1.0\nbackbone:\n{rows}")
}

#[test]
fn every_module_has_pytorchs_tensors_in_its_order() {
    let goldens = YamlModules::read();
    for net in &goldens.nets {
        let network = parse(&net.yaml).network;
        let tensors = network.tensors();
        let ours: Vec<_> = tensors
            .iter()
            .filter(|tensor| tensor.kind != TensorKind::BatchesTracked)
            .map(|tensor| tensor.shape.clone())
            .collect();
        let theirs: Vec<_> = net.tensors.iter().map(|(_, shape)| shape.clone()).collect();
        assert_eq!(ours, theirs, "{}", net.name);
        assert_eq!(network.parameters() as u64, net.parameters, "{}", net.name);
        assert_eq!(network.classes(), goldens.classes, "{}", net.name);
        network.shapes(network.input_shape(goldens.size)).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn pretrained_trunks_have_torchvisions_parameters() {
    for trunk in YamlModules::read().pretrained_trunks {
        let file = parse(&trunk.yaml);
        assert_eq!(file.network.parameters() as u64, trunk.parameters, "{}", trunk.yaml);
        assert!(file.pretrained);
    }
}

#[test]
fn a_trunk_with_a_plain_head_is_the_cut_network_of_the_zoo() {
    for (row, family, cut) in [
        ("[1, Resnet18, [512, True]]", "resnet18", "layer4.1"),
        ("[1, Resnet18, [128]]", "resnet18", "layer2.1"),
        ("[1, Resnet18, [\"layer3.0\"]]", "resnet18", "layer3.0"),
        ("[1, EfficientNetB0, [80, True]]", "efficientnet_b0", "features.4.2"),
        ("[1, MobileNetV3, [112, True]]", "mobilenet_v3_large", "features.12"),
        ("[1, MobileNetV3Small, [48, True]]", "mobilenet_v3_small", "features.8"),
        ("[1, MobileNetV2, [1280, True]]", "mobilenet_v2", "features.18"),
        ("[1, MnasNet, [192, True]]", "mnasnet1_0", "layers.12.3"),
        ("[1, VGG11, [512, True]]", "vgg11", "features.15"),
        ("[1, VGG11, [256, True]]", "vgg11", "features.10"),
        ("[1, VGG11, [\"features.20\", True]]", "vgg11", "features.20"),
    ] {
        let text = backbone(&[row, "[1, GlobalAvgPool, []]", "[1, Flatten, []]", "[1, Linear, [6]]"]);
        let ours = parse(&text).network;
        let theirs = zoo::by_name(family, 6).expect("in the zoo").cut_at(cut).expect("the cut exists");
        assert_eq!(ours.blocks, theirs.blocks, "{row}");
        assert_eq!(ours.head, theirs.head, "{row}");
        assert_eq!(
            (ours.classifier.as_str(), ours.pretrained_as.as_deref()),
            (theirs.classifier.as_str(), Some(family)),
            "{row}"
        );
        assert_eq!(ours.module_count(), theirs.module_count(), "{row}");
    }
}

#[test]
fn what_is_written_of_a_cut_reads_as_the_same_network() {
    for name in zoo::NAMES {
        let network = zoo::by_name(name, 7).expect("in the zoo");
        for index in [0, network.blocks.len() / 2, network.blocks.len() - 1] {
            let cut = network.cut_after(index);
            for pretrained in [true, false] {
                let text = yaml::to_text(&cut, pretrained).expect("a cut of the zoo can be written");
                let file = parse(&text);
                assert_eq!((&file.network.blocks, &file.network.head), (&cut.blocks, &cut.head), "{text}");
                assert_eq!(file.pretrained, pretrained, "{text}");
            }
        }
    }
    assert_eq!(yaml::to_text(&zoo::vgg11(6), true), None, "its head can't be said in the language");
    assert_eq!(yaml::to_text(&parse(&backbone(&NET)).network, true), None, "no trunk of the zoo");
}

const NET: [&str; 6] = [
    "[1, Conv, [16, 3, 2, null, 1, null]]",
    "[2, InvertedResidualv3, [3, 4, 24, 1, 0, 2]]",
    "[1, MBConv, [6, 24, 2, 5]]",
    "[1, GlobalAvgPool, []]",
    "[1, Flatten, []]",
    "[1, Linear, [6]]",
];

#[test]
fn blocks_and_tensors_are_named_by_row_and_repeat() {
    let network = parse(&backbone(&NET)).network;
    let blocks: Vec<_> = network.all_blocks().map(|block| (block.name.as_str(), block.row)).collect();
    assert_eq!(
        blocks,
        [
            ("model.0", 0),
            ("model.1.0", 1),
            ("model.1.1", 1),
            ("model.2", 2),
            ("model.3", 3),
            ("model.4", 4),
            ("model.5", 5)
        ]
    );
    let names: Vec<_> = network.tensors().into_iter().map(|tensor| tensor.name).collect();
    for name in [
        "model.0.conv.weight",
        "model.0.bn.running_var",
        "model.1.0.conv.3.weight",
        "model.1.1.conv.5.fc2.bias",
        "model.2.conv.0.1.weight",
        "model.2.conv.2.fc1.weight",
        "model.5.linear.bias",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
    }
}

/// Counted by hand: root and `model`; Conv with its Identity 4; the Sequential of the repeats 1, each block 1, its `conv` 1, nine
/// layers and five in the SE; MBConv 1, `conv` 1, two padded convolutions of 5, SE of 6, convolution and norm; pool and
/// flatten; Linear with its Identity 3.
#[test]
fn modules_are_those_of_a_plain_pytorch_reading() {
    let modules = 2 + 4 + (1 + 2 * (2 + 9 + 5)) + (2 + 2 * 5 + 6 + 2) + 2 + 3;
    assert_eq!(parse(&backbone(&NET)).network.module_count(), modules);
}

#[test]
fn the_head_starts_after_the_last_look_at_neighbours() {
    let trunk = |rows: &[&str]| parse(&backbone(rows)).network.blocks.len();
    let pool_then_conv =
        ["[1, Conv, [16, 3]]", "[1, GlobalAvgPool, []]", "[1, Conv, [1000, 1, 1, null, 1, null]]"];
    assert_eq!(trunk(&pool_then_conv), 1);
    let grid = [
        "[1, Conv, [16, 3]]",
        "[1, GlobalAvgPool, [7]]",
        "[1, Conv, [16, 3]]",
        "[1, Flatten, []]",
        "[1, Linear, [6]]",
    ];
    // The convolution sees neighbours, so the pooling before it is not the head; nothing fixes 49 pixels after it but the grid.
    assert_eq!(trunk(&grid), 3);
    let network = parse(&backbone(&grid)).network;
    assert!(network.shapes(network.input_shape(32)).is_ok());
}

#[test]
fn extra_keys_are_kept_and_multiples_may_be_left_out() {
    let text = "INPUT_SIZE: [224, 224]\ninput_channel: 3\nbackbone:\n  - [1, Conv, [16, 3]]\n  - [1, GlobalAvgPool, []]\n  - [1, Linear, [6]]\n";
    let file = parse(text);
    let names: Vec<_> = file.keys.iter().map(|(name, node)| (name.as_str(), node.line)).collect();
    assert_eq!(names, [("INPUT_SIZE", 1), ("input_channel", 2), ("backbone", 4)]);
    assert_eq!(file.network.name, "net");
    assert!(!file.pretrained);
}

#[test]
fn another_number_of_classes_fits_heads_that_end_in_a_convolution() {
    let text =
        backbone(&["[1, Conv, [16, 3]]", "[1, GlobalAvgPool, []]", "[1, Conv, [1000, 1, 1, null, 1, null]]"]);
    let network = parse(&text).network.with_classes(6);
    network.validate().expect("valid");
    assert_eq!(network.classes(), 6);
    let shapes = network.shapes(network.input_shape(32)).expect("fits");
    assert_eq!(shapes.last().and_then(|block| block.last()).expect("an output").channels, 6);
}
