//! Properties of elimination, for every network of the zoo and a network from a file.

use elimnet_arch::{EliminateError, Network, Tail, yaml, zoo};

const NET: &str = "input_channel: 3
backbone:
  - [1, Conv, [16, 3, 2]]
  - [3, MBConv, [6, 24, 2, 3]]
  - [2, Bottleneck, [32]]
  - [1, GlobalAvgPool, []]
  - [1, Flatten, []]
  - [1, Linear, [10]]
";

fn networks() -> Vec<Network> {
    let mut networks: Vec<_> =
        zoo::NAMES.iter().map(|name| zoo::by_name(name, 10).expect("in the zoo")).collect();
    networks.push(yaml::parse(NET, "net.yaml").expect("valid").network);
    networks
}

fn fits(network: &Network) {
    network.validate().unwrap_or_else(|error| panic!("{}: {error}", network.name));
    let shapes = network.shapes(network.input_shape(64));
    let shapes = shapes.unwrap_or_else(|error| panic!("{}: {error}", network.name));
    let output = shapes.last().and_then(|block| block.last()).expect("an output");
    assert_eq!((output.channels, output.pixels()), (10, 1), "{}", network.name);
}

#[test]
fn cutting_twice_is_cutting_once() {
    for network in networks() {
        for upper in 0..network.blocks.len() {
            let once = network.cut_after(upper);
            for lower in [0, upper / 2, upper] {
                assert_eq!(once.cut_after(lower), network.cut_after(lower), "{upper} then {lower}");
            }
        }
    }
}

#[test]
fn kept_blocks_are_identical_and_the_result_runs() {
    for network in networks() {
        for index in 0..network.blocks.len() {
            let cut = network.cut_after(index);
            assert_eq!(cut.blocks, network.blocks[..=index]);
            assert_eq!(cut.classes(), network.classes());
            assert_eq!(cut.pretrained_as, network.pretrained_as);
            fits(&cut);
        }
    }
}

#[test]
fn listed_costs_are_those_of_the_cut_network() {
    for network in networks() {
        let input = network.input_shape(64);
        for cut in network.cuts(input).expect("fits") {
            let short = network.cut_after(cut.index);
            assert_eq!(short.parameters(), cut.parameters, "{}", short.name);
            assert_eq!(short.multiply_adds(input).expect("fits"), cut.multiply_adds, "{}", short.name);
        }
    }
}

#[test]
fn every_address_of_a_cut_finds_it() {
    for network in networks() {
        let channels = network.out_channels();
        for cut in network.cuts(network.input_shape(64)).expect("fits") {
            assert_eq!(network.find_cut(&cut.name), Ok(cut.index));
            assert_eq!(network.find_cut(&format!("#{}", cut.index)), Ok(cut.index));
            let deepest = channels.iter().rposition(|&out| out == cut.out_channels).expect("has some");
            assert_eq!(network.find_cut(&cut.out_channels.to_string()), Ok(deepest));
        }
    }
}

#[test]
fn a_number_that_is_no_channel_count_is_an_index() {
    let network = zoo::resnet18(10);
    assert_eq!(network.find_cut("3"), Ok(3));
    assert_eq!(network.find_cut("128"), Ok(4));
    for address in ["layer5.0", "#9", "99", "", "#"] {
        let error = network.find_cut(address).expect_err(address);
        assert_eq!(
            error.to_string(),
            format!(
                "`resnet18` has no cut `{address}`; it has maxpool@64, layer1.0@64, layer1.1@64, layer2.0@128, \
                 layer2.1@128, layer3.0@256, layer3.1@256, layer4.0@512, layer4.1@512"
            )
        );
    }
}

#[test]
fn dropping_a_residual_block_leaves_the_others_as_they_are() {
    for network in networks() {
        let mut dropped = 0;
        for index in 0..network.blocks.len() {
            let Ok(shorter) = network.without_block(index) else { continue };
            dropped += 1;
            let others = network.blocks.iter().enumerate().filter(|(other, _)| *other != index);
            assert!(shorter.blocks.iter().eq(others.map(|(_, block)| block)), "{}", shorter.name);
            assert_eq!(shorter.parameters() + network.blocks[index].parameters(), network.parameters());
            fits(&shorter);
        }
        let expected = match network.name.as_str() {
            "resnet18" => 5,
            "efficientnet_b0" => 9,
            "mobilenet_v3_large" => 10,
            "mobilenet_v3_small" => 6,
            "mobilenet_v2" | "mnasnet1_0" => 10,
            "vgg11" => 0,
            // Two repeats of the MBConv, and the Bottleneck that keeps its input's channels.
            _ => 3,
        };
        assert_eq!(dropped, expected, "{}", network.name);
    }
}

#[test]
fn the_order_of_dropping_does_not_matter() {
    let network = zoo::efficientnet_b0(10).cut_at("112").expect("exists");
    let (low, high) = (
        network.find_cut("features.3.1").expect("exists"),
        network.find_cut("features.5.1").expect("exists"),
    );
    let one = network.without_block(high).and_then(|network| network.without_block(low)).expect("residual");
    let other =
        network.without_block(low).and_then(|network| network.without_block(high - 1)).expect("residual");
    assert_eq!(one.blocks, other.blocks);
    assert_eq!(one.name, "efficientnet_b0~features.5.1~features.3.1@features.5.2");
}

#[test]
fn blocks_that_change_the_shape_cannot_be_dropped() {
    let network = zoo::resnet18(10);
    for (index, block) in [(0, "maxpool"), (3, "layer2.0"), (99, "#99")] {
        let error = EliminateError::NotRemovable { network: "resnet18".to_owned(), block: block.to_owned() };
        assert_eq!(network.without_block(index), Err(error));
    }
}

#[test]
fn a_tail_stands_between_trunk_and_head() {
    let tail = Tail { out_channels: 48, kernel: 3 };
    for network in networks() {
        let cut = network.cut_after(network.blocks.len() / 2);
        let longer = cut.with_tail(&tail).with_tail(&tail);
        fits(&longer);
        let (fresh, kept) = (&longer.blocks[cut.blocks.len()..], &longer.blocks[..cut.blocks.len()]);
        assert_eq!(kept, cut.blocks);
        assert_eq!(fresh.iter().map(|block| block.name.as_str()).collect::<Vec<_>>(), ["tail.0", "tail.1"]);
        assert_eq!(fresh[1].parameters(), 48 * 48 * 9 + 2 * 48);
        let tensors: Vec<_> = longer.tensors().into_iter().map(|tensor| tensor.name).collect();
        assert!(tensors.contains(&"tail.0.conv.weight".to_owned()), "{tensors:?}");
        assert_eq!(longer.cut_after(cut.blocks.len() - 1), cut);
    }
}

#[test]
fn tails_are_written_as_they_are_read() {
    for text in ["conv:256x3", "conv:1x1"] {
        assert_eq!(text.parse::<Tail>().expect("a tail").to_string(), text);
    }
    for text in [
        "conv",
        "conv:256",
        "conv:0x3",
        "conv:256x0",
        "conv:256x3x3",
        "256x3",
        "conv:99999999x3",
        "conv:8x64",
    ] {
        let error = text.parse::<Tail>().expect_err(text);
        assert_eq!(error, EliminateError::UnknownTail { tail: text.to_owned() });
    }
}
