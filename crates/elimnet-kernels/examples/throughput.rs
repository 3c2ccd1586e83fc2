//! GFLOP/s of the convolutions of resnet18 and efficientnet_b0 (batch 32), three passes each.
//!
//! `cargo run --release -p elimnet-kernels --example throughput -- [threads]`; `ELIMNET_ISA` picks the
//! instruction set.
#![allow(clippy::print_stdout)] // what this program is for

use std::time::Instant;

use elimnet_kernels::{Conv2d, Isa, Padding, conv2d, conv2d_input_gradient, conv2d_weight_gradient};

/// Name, side, input channels, output channels, kernel, stride, depthwise.
const LAYERS: [(&str, usize, usize, usize, usize, usize, bool); 14] = [
    ("resnet18@224 conv1", 224, 3, 64, 7, 2, false),
    ("resnet18@224 layer1", 56, 64, 64, 3, 1, false),
    ("resnet18@224 layer2.0", 56, 64, 128, 3, 2, false),
    ("resnet18@224 layer3", 14, 256, 256, 3, 1, false),
    ("resnet18@224 layer4", 7, 512, 512, 3, 1, false),
    ("resnet18@64 layer1", 16, 64, 64, 3, 1, false),
    ("resnet18@64 layer4", 2, 512, 512, 3, 1, false),
    ("b0@224 expand 16-96", 112, 16, 96, 1, 1, false),
    ("b0@224 project 144-24", 56, 144, 24, 1, 1, false),
    ("b0@224 expand 80-480", 14, 80, 480, 1, 1, false),
    ("b0@64 project 1152-192", 2, 1152, 192, 1, 1, false),
    ("b0@224 depthwise 96 /2", 112, 96, 96, 3, 2, true),
    ("b0@224 depthwise 144", 56, 144, 144, 3, 1, true),
    ("b0@224 depthwise 672 5x5", 14, 672, 672, 5, 1, true),
];

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |threads| threads.parse().expect("a number of threads"));
    let isa = Isa::detect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    println!("{isa}, {threads} threads; GFLOP/s (milliseconds), best of 5");
    println!("{:<26} {:>17} {:>17} {:>17}", "layer", "forward", "input gradient", "weight gradient");
    pool.install(|| LAYERS.iter().for_each(|layer| measure_layer(isa, layer)));
}

fn measure_layer(isa: Isa, layer: &(&str, usize, usize, usize, usize, usize, bool)) {
    let &(name, side, in_channels, out_channels, kernel, stride, depthwise) = layer;
    let conv = Conv2d {
        batch: 32,
        in_height: side,
        in_width: side,
        in_channels,
        out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::same(kernel / 2),
        groups: if depthwise { in_channels } else { 1 },
    };
    let (mut input, mut weight) = (noise(conv.input_len()), noise(conv.weight_len()));
    let mut output = noise(conv.output_len());
    let forward = best_seconds(|| conv2d(isa, &conv, &input, &weight, None, &mut output));
    let backward = best_seconds(|| conv2d_input_gradient(isa, &conv, &output, &weight, &mut input));
    let weights = best_seconds(|| conv2d_weight_gradient(isa, &conv, &input, &output, &mut weight));
    let rate = |seconds: f64| {
        format!("{:.1} ({:.2})", 2.0 * conv.multiply_adds() as f64 / seconds / 1e9, seconds * 1e3)
    };
    println!("{name:<26} {:>17} {:>17} {:>17}", rate(forward), rate(backward), rate(weights));
}

fn best_seconds(mut run: impl FnMut()) -> f64 {
    let seconds = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..5).map(seconds).fold(f64::INFINITY, f64::min)
}

fn noise(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
