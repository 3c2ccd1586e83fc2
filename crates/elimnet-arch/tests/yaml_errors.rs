//! Every way for a model file to be wrong, and what the user reads about it.

use elimnet_arch::yaml::{self, YamlError};

const HEAD: &str = "  - [1, GlobalAvgPool, []]\n  - [1, Flatten, []]\n  - [1, Linear, [6]]\n";

fn error(text: &str) -> YamlError {
    match yaml::parse(text, "dir/net.yaml") {
        Err(error) => error,
        Ok(_) => panic!("expected an error of\n{text}"),
    }
}

/// The message about a row that stands on line 5, the second of the table.
fn row(row: &str) -> String {
    error(&with_row(row)).to_string()
}

fn with_row(row: &str) -> String {
    format!("input_channel: 3\nbackbone:\n  # comment\n  - [1, Conv, [16, 3]]\n  - {row}\n{HEAD}")
}

#[test]
fn rows_are_named_with_file_line_module_and_argument() {
    for (wrong, message) in [
        ("[1, Cnov, [16, 3]]", "dir/net.yaml:5: row 1 (Cnov): there is no such module"),
        (
            "[1, Conv, [16]]",
            "dir/net.yaml:5: row 1 (Conv): 1 arguments, expected out, kernel, [stride, padding, groups, activation]",
        ),
        (
            "[1, InvertedResidualv2, [16, 6, 1, 1]]",
            "dir/net.yaml:5: row 1 (InvertedResidualv2): 4 arguments, expected c, t, s",
        ),
        ("[1, Flatten, [1]]", "dir/net.yaml:5: row 1 (Flatten): 1 arguments, expected none"),
        (
            "[1, Conv, [16, three]]",
            "dir/net.yaml:5: row 1 (Conv): argument 2 (kernel) is \"three\", expected a whole number from 1 to 1048576",
        ),
        (
            "[1, Conv, [16, 3, 0]]",
            "dir/net.yaml:5: row 1 (Conv): argument 3 (stride) is 0, expected a whole number from 1 to 1048576",
        ),
        (
            "[1, Conv, [16, 3, 1, -1]]",
            "dir/net.yaml:5: row 1 (Conv): argument 4 (padding) is -1, expected a whole number from 0 to 1048576",
        ),
        (
            "[1, Conv, [16, 3, 1, null, 5]]",
            "dir/net.yaml:5: row 1 (Conv): argument 5 (groups) is 5, expected a divisor of 16 input and 16 output channels",
        ),
        (
            "[1, Conv, [16, 3, 1, null, 1, Mish]]",
            "dir/net.yaml:5: row 1 (Conv): argument 6 (activation) is \"Mish\", expected ReLU, ReLU6, HardSwish, HardSigmoid, Swish (SiLU), Sigmoid, Softmax, GELU or null",
        ),
        (
            "[1, InvertedResidualv3, [3, 0, 16, 0, 0, 1]]",
            "dir/net.yaml:5: row 1 (InvertedResidualv3): argument 2 (t) is 0, expected a number above 0, at most 1048576",
        ),
        (
            "[1, InvertedResidualv3, [3, 1, 16, 2, 0, 1]]",
            "dir/net.yaml:5: row 1 (InvertedResidualv3): argument 4 (SE) is 2, expected True, False, 1 or 0",
        ),
        (
            "[1, InvertedResidualv2, [16, 0.01, 1]]",
            "dir/net.yaml:5: row 1 (InvertedResidualv2): argument 2 (t) is 0.01, expected enough for a channel out of 16",
        ),
        (
            "[1, MBConv, [1.3, 16, 1, 3]]",
            "dir/net.yaml:5: row 1 (MBConv): argument 1 (t) is 1.3, expected a factor that makes a whole number of 16 channels",
        ),
        (
            "[1, Bottleneck, [16, True, 3]]",
            "dir/net.yaml:5: row 1 (Bottleneck): argument 3 (groups) is 3, expected a divisor of 8 input and 16 output channels",
        ),
        (
            "[1, Bottleneck, [16, True, 1, 0.01]]",
            "dir/net.yaml:5: row 1 (Bottleneck): argument 4 (expansion) is 0.01, expected enough for a channel out of 16",
        ),
        (
            "[1, MaxPool, [3, 2, 2]]",
            "dir/net.yaml:5: row 1 (MaxPool): argument 3 (padding) is 2, expected at most half of the kernel of 3",
        ),
        (
            "[1, Resnet18, [512]]",
            "dir/net.yaml:5: row 1 (Resnet18): a pretrained trunk must be the first row",
        ),
        ("[2, GlobalAvgPool, []]", "dir/net.yaml:5: row 1 (GlobalAvgPool): can't be repeated"),
        (
            "[0, Conv, [16, 3]]",
            "dir/net.yaml:5: the repeat of row 1 is 0, expected a whole number from 1 to 1000",
        ),
        ("[1, Conv]", "dir/net.yaml:5: row 1 is a list of 2, expected [repeat, module, [arguments]]"),
        ("Conv", "dir/net.yaml:5: row 1 is \"Conv\", expected [repeat, module, [arguments]]"),
        ("[1, 2, []]", "dir/net.yaml:5: the module of row 1 is 2, expected a name"),
        ("[1, Conv, 16]", "dir/net.yaml:5: the third item of row 1 is 16, expected a list of arguments"),
        (
            "[1, Conv, [16, [3, 3]]]",
            "dir/net.yaml:5: argument 2 of row 1 (Conv) is a list of 2, expected a number, a name, True, False or null",
        ),
        (
            "[1, Linear, [1048576]]\n  - [1, GlobalAvgPool, [1024]]\n  - [1, Flatten, []]",
            "dir/net.yaml:7: row 3 (Flatten): makes 1099511627776 channels, expected at most 1048576",
        ),
    ] {
        assert_eq!(row(wrong), message);
    }
}

#[test]
fn trunks_say_where_they_can_be_cut() {
    let text =
        |row: &str, channels: usize| format!("input_channel: {channels}\nbackbone:\n  - {row}\n{HEAD}");
    let message = error(&text("[1, Resnet18, [100]]", 3)).to_string();
    assert!(
        message.starts_with(
            "dir/net.yaml:3: row 0 (Resnet18): argument 1 (out) is 100, expected one of 512, 256, 128, 64 or \"maxpool\""
        ),
        "{message}"
    );
    assert!(error(&text("[1, Resnet18, [layer9.0]]", 3)).to_string().contains("is \"layer9.0\""));
    assert_eq!(
        error(&text("[1, VGG11, [512]]", 1)).to_string(),
        "dir/net.yaml:3: row 0 (VGG11): takes images of 3 channels, not of 1"
    );
}

#[test]
fn files_that_are_no_table_are_refused() {
    for (text, message) in [
        ("", "dir/net.yaml:1: the file is null, expected a mapping with `input_channel` and `backbone`"),
        (
            "- 1\n",
            "dir/net.yaml:1: the file is a list of 1, expected a mapping with `input_channel` and `backbone`",
        ),
        ("backbone: []\n", "dir/net.yaml: key `input_channel` is missing"),
        ("input_channel: 3\n", "dir/net.yaml: key `backbone` is missing"),
        (
            "input_channel: three\nbackbone: []\n",
            "dir/net.yaml:1: key `input_channel` is \"three\", expected a whole number from 1 to 1024",
        ),
        (
            "input_channel: 3\nbackbone: []\n",
            "dir/net.yaml:2: key `backbone` is a list of 0, expected a list of [repeat, module, [arguments]]",
        ),
        (
            "input_channel: 3\nwidth_multiple: 0\nbackbone: []\n",
            "dir/net.yaml:2: key `width_multiple` is 0, expected a number above 0, at most 1000",
        ),
        (
            "input_channel: 3\ndepth_multiple: high\nbackbone: []\n",
            "dir/net.yaml:2: key `depth_multiple` is \"high\", expected a number above 0, at most 1000",
        ),
        (
            "input_channel: 3\nbackbone:\n  - [1, Conv, [16, 3]]\n",
            "dir/net.yaml: no GlobalAvgPool, Flatten or Linear after the last convolution or pooling over pixels: the table has no head",
        ),
        (
            "input_channel: 3\nbackbone:\n  - [1, GlobalAvgPool, []]\n  - [1, Linear, [6]]\n",
            "dir/net.yaml: nothing stands before the head",
        ),
        (
            "input_channel: 3\nbackbone:\n  - [1, Conv, [16, 3]]\n  - [1, GlobalAvgPool, []]\n",
            "dir/net.yaml: network `net` has no Linear or Conv in its head",
        ),
        (
            "input_channel: 3\ndepth_multiple: 1000\nbackbone:\n  - [2, Conv, [16, 3]]\n",
            "dir/net.yaml:4: row 0 (Conv): 2000 repeats, expected at most 1000",
        ),
    ] {
        assert_eq!(error(text).to_string(), message);
    }
}

#[test]
fn text_that_is_not_yaml_is_refused_with_its_line() {
    let message = error("input_channel: 3\nbackbone: [1,\n").to_string();
    assert!(message.starts_with("dir/net.yaml:3: "), "{message}");
}

#[test]
fn too_many_blocks_are_refused_before_they_fill_the_memory() {
    let rows = "  - [1000, Conv, [16, 3]]\n".repeat(1000);
    let message = error(&format!("input_channel: 3\nbackbone:\n{rows}")).to_string();
    assert_eq!(message, "dir/net.yaml:7: row 4 (Conv): the network has more than 4096 blocks here");
}

#[test]
fn hints_name_the_module_that_was_meant() {
    let hint = |row: &str| error(&with_row(row)).hint();
    assert_eq!(hint("[1, Cnov, [16, 3]]"), Some("did you mean `Conv`?".to_owned()));
    let all = hint("[1, Transformer, []]").expect("a hint");
    assert!(all.starts_with("the modules are Conv, DWConv,") && all.ends_with("VGG11"), "{all}");
    assert_eq!(hint("[1, Conv, []]"), None);
}
