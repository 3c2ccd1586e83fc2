//! GFLOP/s of the convolutions of resnet18 and efficientnet_b0 (batch 32), three passes each, and GB/s of
//! what memory bounds.
//!
//! `cargo run --release -p elimnet-kernels --example throughput -- [threads]`; `ELIMNET_ISA` picks the
//! instruction set.
#![allow(clippy::print_stdout)] // what this program is for

use std::time::Instant;

use elimnet_kernels::{
    Activation, BatchNorm, Conv2d, Epilogue, Isa, PackedFilter, Padding, activate, activation_gradient, add,
    batch_norm_backward, batch_statistics, conv2d, conv2d_input_gradient, conv2d_weight_gradient, normalize,
};

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
    pool.install(|| [24, 96, 672].into_iter().for_each(|channels| measure_passes(isa, channels)));
}

/// Passes over 32 MiB of activations; counts each array that is read or written once.
fn measure_passes(isa: Isa, channels: usize) {
    let length = (8 << 20) / channels * channels;
    let [x, dy, mut y] = [(); 3].map(|()| noise(length));
    let [mean, inverse_std, weight, bias, mut d_weight, mut d_bias] = [(); 6].map(|()| noise(channels));
    let norm = BatchNorm { mean: &mean, inverse_std: &inverse_std, weight: &weight };
    let report = |name: &str, arrays: usize, seconds: f64| {
        println!(
            "{name:<26} {channels:>4} channels {:>7.1} GB/s",
            (arrays * length * 4) as f64 / seconds / 1e9
        );
    };
    report("add", 3, best_seconds(|| add(isa, &x, &dy, &mut y)));
    for kind in [Activation::Relu, Activation::HardSwish, Activation::Silu, Activation::Gelu] {
        report(&format!("{kind:?}"), 2, best_seconds(|| activate(isa, kind, &x, &mut y)));
        let gradient = best_seconds(|| activation_gradient(isa, kind, &x, &dy, &mut y));
        report(&format!("{kind:?} gradient"), 3, gradient);
    }
    let statistics = best_seconds(|| batch_statistics(isa, &x, &mut d_weight, &mut d_bias));
    report("batch statistics", 1, statistics);
    let normalized = best_seconds(|| normalize(isa, &x, &mean, &inverse_std, &weight, &bias, &mut y));
    report("normalize", 2, normalized);
    let backward =
        best_seconds(|| batch_norm_backward(isa, norm, &x, &dy, &mut y, &mut d_weight, &mut d_bias));
    report("batch norm backward", 5, backward);
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
    let filter = PackedFilter::<f32>::forward(isa, &conv, &weight);
    let forward = best_seconds(|| conv2d(isa, &conv, &input, &filter, Epilogue::default(), &mut output));
    let filter = PackedFilter::<f32>::input_gradient(isa, &conv, &weight);
    let backward = best_seconds(|| conv2d_input_gradient(isa, &conv, &output, &filter, &mut input));
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
