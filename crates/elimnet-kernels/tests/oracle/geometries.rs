//! Convolutions of every kind that the kernels tell apart, at the sizes where they do.

use elimnet_kernels::{Conv2d, Padding};

const ONE: Conv2d = Conv2d {
    batch: 1,
    in_height: 1,
    in_width: 1,
    in_channels: 1,
    out_channels: 1,
    kernel: [1, 1],
    stride: [1, 1],
    padding: Padding::same(0),
    groups: 1,
};

pub(crate) fn pointwise(pixels: usize, in_channels: usize, out_channels: usize) -> Conv2d {
    Conv2d { in_width: pixels, in_channels, out_channels, ..ONE }
}

pub(crate) fn square(
    batch: usize,
    side: usize,
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
) -> Conv2d {
    Conv2d {
        batch,
        in_height: side,
        in_width: side,
        in_channels: channels[0],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::same(kernel / 2),
        groups: 1,
    }
}

pub(crate) fn depthwise(batch: usize, side: usize, channels: usize, kernel: usize, stride: usize) -> Conv2d {
    Conv2d { groups: channels, ..square(batch, side, [channels; 2], kernel, stride) }
}

pub(crate) fn grouped(groups: usize, conv: Conv2d) -> Conv2d {
    Conv2d { groups, ..conv }
}

pub(crate) fn padded(top: usize, left: usize, bottom: usize, right: usize, conv: Conv2d) -> Conv2d {
    Conv2d { padding: Padding { top, left, bottom, right }, ..conv }
}

/// As few and as small as an interpreter needs them.
fn one_of_each_kind() -> Vec<Conv2d> {
    vec![
        pointwise(5, 3, 9),
        square(1, 4, [2, 3], 3, 1),
        square(1, 4, [2, 3], 3, 2),
        grouped(2, square(1, 3, [2, 2], 2, 1)),
        depthwise(1, 4, 9, 3, 1),
        depthwise(1, 5, 3, 5, 2),
    ]
}

pub(crate) fn cases() -> Vec<Conv2d> {
    if cfg!(miri) {
        return one_of_each_kind();
    }
    let mut cases = vec![ONE];
    // Pixels, channels in and out around the lanes (4, 8, 16), tiles (4, 6, 12 rows; 8, 16, 32 columns).
    for size in [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 65] {
        cases.extend([pointwise(size, 3, 5), pointwise(5, size, 7), pointwise(5, 6, size)]);
        cases.extend([depthwise(1, 3, size, 3, 1), depthwise(2, 5, size, 5, 2)]);
    }
    // Depths around one and two blocks of 256; few rows and many columns; many rows.
    for depth in [255, 256, 257, 511, 512, 513] {
        cases.push(pointwise(14, depth, 33));
    }
    cases.extend([
        pointwise(239, 9, 65),
        pointwise(241, 9, 130),
        pointwise(3000, 4, 20),
        pointwise(7, 30, 200),
    ]);
    for kernel in [2, 3, 5, 7] {
        for stride in [1, 2, 3] {
            cases.push(square(2, 9, [5, 6], kernel, stride));
            cases.push(square(1, 8, [3, 17], kernel, stride));
            cases.push(depthwise(1, 9, 19, kernel, stride));
            cases.push(depthwise(2, 8, 33, kernel, stride));
            cases.push(depthwise(1, 17, 3, kernel, stride));
        }
    }
    // Tiles of seven columns wholly inside the image, beside some that aren't.
    for kernel in [3, 5] {
        for stride in [1, 2] {
            cases.push(Conv2d { in_height: 11, ..depthwise(1, 29 * stride, 20, kernel, stride) });
            cases.push(padded(0, 1, 2, 3, depthwise(1, 16, 16, kernel, stride)));
        }
    }
    // Paddings with which gradients of stride 2 still go in tiles.
    cases.extend([
        padded(1, 1, 0, 2, depthwise(1, 11, 20, 3, 2)),
        padded(0, 2, 3, 1, depthwise(1, 9, 20, 5, 2)),
        padded(4, 0, 0, 3, depthwise(2, 12, 18, 5, 2)),
    ]);
    // Stride beyond the kernel: pixels that no window sees; all of them, where there is one and padding around it.
    cases.push(padded(1, 1, 1, 1, square(1, 1, [3, 4], 1, 2)));
    // Pixels that no window sees in every row, and few rows of more than a block of columns.
    cases.push(Conv2d { kernel: [4, 1], stride: [1, 3], ..padded(3, 0, 0, 0, square(3, 6, [42, 1], 1, 1)) });
    cases.extend([square(2, 7, [3, 4], 1, 2), square(1, 10, [2, 3], 2, 3), depthwise(2, 11, 5, 1, 3)]);
    // Padding that differs by side, exceeds the kernel, or is all that there is.
    cases.extend([
        padded(0, 1, 1, 0, square(2, 6, [3, 5], 3, 1)),
        padded(0, 0, 1, 1, square(2, 6, [3, 5], 3, 2)),
        padded(1, 2, 3, 0, square(1, 5, [4, 9], 5, 2)),
        padded(4, 5, 3, 4, square(1, 3, [2, 3], 3, 1)),
        padded(4, 5, 3, 4, square(1, 3, [2, 3], 3, 2)),
        padded(0, 0, 1, 1, depthwise(2, 8, 18, 3, 2)),
        padded(1, 1, 2, 2, depthwise(1, 8, 40, 5, 2)),
        padded(4, 5, 3, 4, depthwise(1, 3, 7, 3, 1)),
        padded(4, 5, 3, 4, depthwise(1, 3, 7, 3, 2)),
        padded(0, 0, 0, 0, square(3, 4, [5, 6], 4, 1)),
    ]);
    // Height and width apart.
    cases.push(Conv2d { in_height: 3, kernel: [3, 1], stride: [1, 2], ..square(2, 9, [4, 5], 3, 1) });
    cases.push(Conv2d { in_height: 13, kernel: [2, 5], stride: [3, 1], ..square(1, 6, [4, 5], 3, 1) });
    cases.push(Conv2d { in_height: 4, kernel: [1, 5], stride: [2, 1], ..depthwise(2, 9, 21, 5, 1) });
    // Groups, also with more outputs than inputs and the reverse.
    cases.extend([
        grouped(2, square(2, 6, [6, 8], 3, 1)),
        grouped(3, square(1, 7, [9, 3], 3, 2)),
        grouped(4, pointwise(9, 8, 40)),
        grouped(5, square(2, 5, [5, 10], 3, 1)),
        grouped(6, square(1, 5, [6, 18], 5, 2)),
        grouped(6, pointwise(50, 12, 6)),
    ]);
    // Layers of the zoo, small: the stem, a residual block, the last stage.
    cases.extend([
        square(2, 20, [3, 64], 7, 2),
        square(2, 18, [3, 32], 3, 2),
        square(1, 8, [64, 64], 3, 1),
        square(2, 4, [64, 128], 3, 2),
        square(8, 2, [96, 160], 3, 1),
        depthwise(2, 20, 96, 3, 2),
    ]);
    cases
}
