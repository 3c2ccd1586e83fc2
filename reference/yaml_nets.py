"""Nets in the YAML language that together use every module, argument and rounding rule of it."""

# name: (keys that differ from the defaults, rows); three rows of a head follow where a net has no Linear.
NETS = {
    "conv": (
        {},
        [
            "[1, Conv, [16, 3, 2]]",
            "[1, Conv, [24, 5]]",
            "[1, Conv, [24, 3, 2, 0]]",
            "[1, Conv, [32, 3, 1, 2, 8]]",
            '[1, Conv, [32, 1, 1, null, 1, "HardSwish"]]',
            "[1, Conv, [40, 3, 2, 1, 4, null]]",
        ],
    ),
    "conv_repeats": (
        {},
        [
            "[3, Conv, [24, 3, 2]]",
            "[2, Conv, [32, 5, 2, null, 4]]",
            "[2, FixedConv, [20, 3, 2]]",
        ],
    ),
    "depth_multiple_half": (
        {"depth_multiple": 0.5},
        [
            "[1, Conv, [16, 3, 2]]",
            "[3, Conv, [16, 3]]",
            "[4, ConvResidual, [16, 3]]",
            "[5, Conv, [24, 3]]",
            "[2, Conv, [24, 3, 2]]",
        ],
    ),
    "width_multiple_half": (
        {"width_multiple": 0.5},
        [
            "[1, Conv, [36, 3, 2]]",
            "[1, DWConv, [36, 3]]",
            "[1, FixedConv, [18, 1]]",
            "[1, InvertedResidualv3, [3, 3, 44, 1, 1, 2]]",
            "[1, MBConv, [6, 60, 1, 3]]",
            "[1, InvertedResidualv2, [84, 6, 2]]",
        ],
    ),
    "width_multiple_1_3": (
        {"width_multiple": 1.3},
        [
            "[1, Conv, [16, 3, 2]]",
            "[1, DWConv, [32, 3, 2]]",
            "[2, Bottleneck, [40]]",
            "[1, InvertedResidualv3, [5, 2.3, 24, 1, 0, 1]]",
            "[1, ConvResidual, [24, 3]]",
        ],
    ),
    "depthwise": (
        {},
        [
            "[1, Conv, [24, 3, 2]]",
            "[1, DWConv, [24, 3]]",
            '[1, DWConv, [32, 5, 2, null, "Swish"]]',
            "[2, DWConv, [48, 3]]",
            "[1, DWConv, [48, 3, 1, 0, null]]",
        ],
    ),
    "conv_residual": (
        {},
        [
            "[1, Conv, [16, 3, 2]]",
            "[3, ConvResidual, [16, 3]]",
            "[2, ConvResidual, [24, 3, 2]]",
            '[1, ConvResidual, [24, 5, 1, null, 3, "GELU"]]',
        ],
    ),
    "bottleneck": (
        {},
        [
            "[1, Conv, [16, 3, 2]]",
            "[1, Bottleneck, [16]]",
            "[3, Bottleneck, [32]]",
            "[1, MaxPool, [2]]",
            '[2, Bottleneck, [32, False, 2, 1.0, "SiLU"]]',
            '[1, Bottleneck, [32, True, 4, 0.25, "Hardswish"]]',
        ],
    ),
    "inverted_v2": (
        {},
        [
            "[1, Conv, [16, 3, 2]]",
            "[1, InvertedResidualv2, [16, 1, 1]]",
            "[3, InvertedResidualv2, [24, 6, 2]]",
            "[2, InvertedResidualv2, [32, 2.3, 1]]",
            "[1, InvertedResidualv2, [32, 1, 2]]",
        ],
    ),
    "inverted_v3": (
        {},
        [
            '[1, Conv, [16, 3, 2, null, 1, "HardSwish"]]',
            "[1, InvertedResidualv3, [3, 1, 16, 0, 0, 1]]",
            "[1, InvertedResidualv3, [3, 1, 16, 1, 1, 1]]",
            "[3, InvertedResidualv3, [5, 3, 40, 1, 0, 2]]",
            "[2, InvertedResidualv3, [3, 2.3, 40, 0, 1, 1]]",
            "[1, InvertedResidualv3, [5, 6, 56, 1, 1, 2]]",
            "[1, InvertedResidualv3, [3, 1.02, 56, 1, 0, 1]]",
        ],
    ),
    "mbconv": (
        {},
        [
            '[1, Conv, [16, 3, 2, null, 1, "Swish"]]',
            "[1, MBConv, [1, 16, 1, 3]]",
            "[2, MBConv, [6, 24, 2, 5]]",
            "[2, MBConv, [6, 40, 2, 3]]",
            "[1, MBConv, [4, 40, 1, 5]]",
            "[1, MBConv, [1, 48, 2, 5]]",
        ],
    ),
    "pools": (
        {},
        [
            "[1, Conv, [16, 3]]",
            "[1, MaxPool, [3, 2, 1]]",
            "[1, Conv, [24, 3]]",
            "[1, AvgPool, [2]]",
            "[2, MaxPool, [2, 2]]",
            "[1, GlobalAvgPool, []]",
            "[1, Flatten, []]",
            '[1, Linear, [32, "HardSigmoid"]]',
            "[1, Linear, [6]]",
        ],
    ),
    "activations": (
        {},
        [
            '[1, Conv, [16, 3, 2, null, 1, "ReLU6"]]',
            '[1, Conv, [16, 3, 1, null, 1, "Hardswish"]]',
            '[1, Conv, [16, 3, 1, null, 1, "HardSigmoid"]]',
            '[1, Conv, [16, 3, 2, null, 1, "Swish"]]',
            '[1, Conv, [16, 3, 1, null, 1, "SiLU"]]',
            '[1, Conv, [16, 3, 1, null, 1, "Sigmoid"]]',
            '[1, Conv, [16, 3, 1, null, 1, "GELU"]]',
        ],
    ),
    "one_channel_softmax": (
        {"input_channel": 1},
        [
            "[1, Conv, [8, 3, 2]]",
            "[1, GlobalAvgPool, []]",
            "[1, Conv, [24, 1, 1]]",
            "[1, Flatten, []]",
            '[1, Linear, [6, "Softmax"]]',
        ],
    ),
    "mobilenet_v3_large": (
        {},
        [
            '[1, Conv, [16, 3, 2, null, 1, "HardSwish"]]',
            "[1, InvertedResidualv3, [3, 1, 16, 0, 0, 1]]",
            "[1, InvertedResidualv3, [3, 4, 24, 0, 0, 2]]",
            "[1, InvertedResidualv3, [3, 3, 24, 0, 0, 1]]",
            "[1, InvertedResidualv3, [5, 3, 40, 1, 0, 2]]",
            "[1, InvertedResidualv3, [5, 3, 40, 1, 0, 1]]",
            "[1, InvertedResidualv3, [5, 3, 40, 1, 0, 1]]",
            "[1, InvertedResidualv3, [3, 6, 80, 0, 1, 2]]",
            "[1, InvertedResidualv3, [3, 2.5, 80, 0, 1, 1]]",
            "[1, InvertedResidualv3, [3, 2.3, 80, 0, 1, 1]]",
            "[1, InvertedResidualv3, [3, 2.3, 80, 0, 1, 1]]",
            "[1, InvertedResidualv3, [3, 6, 112, 1, 1, 1]]",
            "[1, InvertedResidualv3, [3, 6, 112, 1, 1, 1]]",
            "[1, InvertedResidualv3, [5, 6, 160, 1, 1, 2]]",
            "[1, InvertedResidualv3, [5, 6, 160, 1, 1, 1]]",
            "[1, InvertedResidualv3, [5, 6, 160, 1, 1, 1]]",
            "[1, Conv, [960, 1, 1]]",
            "[1, GlobalAvgPool, []]",
            "[1, Conv, [1280, 1, 1]]",
            "[1, Flatten, []]",
            "[1, Linear, [6]]",
        ],
    ),
}

HEAD = ["[1, GlobalAvgPool, []]", "[1, Flatten, []]", "[1, Linear, [6]]"]
