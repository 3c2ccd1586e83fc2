//! The rows that people and other tools see.

use elimnet_arch::yaml;

const NET: &str = "input_channel: 3
backbone:
  - [1, Conv, [16, 3, 2, null, 1, null]]
  - [3, InvertedResidualv2, [24, 6, 2]]
  - [1, GlobalAvgPool, []]
  - [1, Flatten, []]
  - [1, Linear, [6]]
";

#[test]
fn repeats_are_one_row() {
    let network = yaml::parse(NET, "net.yaml").expect("valid").network;
    let rows = network.rows(network.input_shape(32)).expect("fits");
    let short: Vec<_> = rows.iter().map(|row| (row.index, row.repeat, row.module.as_str())).collect();
    assert_eq!(
        short,
        [
            (0, 1, "Conv"),
            (1, 3, "InvertedResidualv2"),
            (2, 1, "GlobalAvgPool"),
            (3, 1, "Flatten"),
            (4, 1, "Linear")
        ]
    );
    assert_eq!(rows.iter().map(|row| row.parameters).sum::<usize>(), network.parameters());
    let adds: u64 = rows.iter().map(|row| row.multiply_adds).sum();
    assert_eq!(adds, network.multiply_adds(network.input_shape(32)).expect("fits"));
}

#[test]
fn a_row_that_was_cut_in_the_middle_shows_what_is_left() {
    let network = yaml::parse(NET, "net.yaml").expect("valid").network.cut_at("model.1.1").expect("exists");
    let rows = network.rows(network.input_shape(32)).expect("fits");
    let row = &rows[1];
    assert_eq!((row.repeat, row.in_channels, row.out_channels, row.output_shape), (2, 16, 24, [24, 8, 8]));
    assert_eq!(rows.len(), 5);
}

/// The contract of `info --format json`.
#[test]
fn rows_are_stable_json() {
    let network = yaml::parse(NET, "net.yaml").expect("valid").network;
    let rows = network.rows(network.input_shape(32)).expect("fits");
    let row = serde_json::to_string(&rows[0]).expect("can be written");
    assert_eq!(
        row,
        r#"{"index":0,"repeat":1,"module":"Conv","arguments":[16,3,2,null,1,null],"parameters":464,"multiply_adds":110592,"in_channels":3,"out_channels":16,"output_shape":[16,16,16]}"#
    );
}
