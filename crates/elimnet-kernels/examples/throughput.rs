//! TFLOP/s of the convolutions of resnet18 and efficientnet_b0, three passes each, in f32 and in bf16, each direct and by Winograd's
//! algorithm where that is faster.
//!
//! `cargo run --release -p elimnet-kernels --example throughput -- [threads] [batch] [part of a layer's name] [f32|bf16|f32-winograd|bf16-winograd]`;
//! `ELIMNET_ISA` picks the instruction set. Weights are packed before the clock starts, as in inference; the
//! forward pass gathers moments, as in training. Rates are also given as a share of what multiply-adds of that precision in registers
//! alone reach at that moment; Winograd's algorithm, whose rate is that of a direct convolution's products, can be above it.
#![allow(clippy::print_stdout)] // what this program is for

use std::time::Instant;

use elimnet_kernels::{
    Bf16, Conv2d, Element, Epilogue, Isa, Kernels, Moments, PackedFilter, Padding,
    multiply_bf16_in_registers, multiply_in_registers,
};

/// Name, side, input channels, output channels, kernel, stride, depthwise.
const LAYERS: [(&str, usize, usize, usize, usize, usize, bool); 20] = [
    ("resnet conv1", 224, 3, 64, 7, 2, false),
    ("resnet layer1", 56, 64, 64, 3, 1, false),
    ("resnet layer2.0", 56, 64, 128, 3, 2, false),
    ("resnet layer2.0 shortcut", 56, 64, 128, 1, 2, false),
    ("resnet layer2", 28, 128, 128, 3, 1, false),
    ("resnet layer3", 14, 256, 256, 3, 1, false),
    ("resnet layer4", 7, 512, 512, 3, 1, false),
    ("b0 stem", 224, 3, 32, 3, 2, false),
    ("b0 expand 16-96", 112, 16, 96, 1, 1, false),
    ("b0 project 96-24", 56, 96, 24, 1, 1, false),
    ("b0 expand 24-144", 56, 24, 144, 1, 1, false),
    ("b0 expand 40-240", 28, 40, 240, 1, 1, false),
    ("b0 expand 80-480", 14, 80, 480, 1, 1, false),
    ("b0 project 672-112", 14, 672, 112, 1, 1, false),
    ("b0 expand 192-1152", 7, 192, 1152, 1, 1, false),
    ("b0 depthwise 32", 112, 32, 32, 3, 1, true),
    ("b0 depthwise 96 /2", 112, 96, 96, 3, 2, true),
    ("b0 depthwise 144", 56, 144, 144, 3, 1, true),
    ("b0 depthwise 672 5x5", 14, 672, 672, 5, 1, true),
    ("b0 depthwise 1152", 7, 1152, 1152, 3, 1, true),
];

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments.get(index).map_or(default, |argument| argument.parse().expect("a number"))
    };
    let (threads, batch) = (number(0, 1), number(1, 32));
    let wanted = arguments.get(2).map_or("", String::as_str);
    let isa = Isa::detect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    println!("{isa}, {threads} threads, batch {batch}; TFLOP/s (milliseconds, share of the peak), best of 7");
    println!("{:<30} {:>20} {:>20} {:>20}", "layer", "forward", "input gradient", "weight gradient");
    let is_wanted = |element: &str| arguments.get(3).is_none_or(|wanted| wanted == element);
    for layer in LAYERS.iter().filter(|layer| layer.0.contains(wanted)) {
        let [peak_f32, peak_bf16] = [false, true].map(|is_bf16| peak(isa, is_bf16, &pool));
        pool.install(|| {
            if is_wanted("f32") {
                measure::<f32>(isa, batch, "f32", peak_f32, layer);
            }
            if is_wanted("bf16") {
                measure::<Bf16>(isa, batch, "bf16", peak_bf16, layer);
            }
            if is_wanted("f32-winograd") {
                measure::<f32>(isa, batch, "f32-winograd", peak_f32, layer);
            }
            if is_wanted("bf16-winograd") {
                measure::<Bf16>(isa, batch, "bf16-winograd", peak_bf16, layer);
            }
        });
    }
}

/// TFLOP/s in registers, on all threads at once; of f32 where no unit multiplies bf16.
fn peak(isa: Isa, is_bf16: bool, pool: &rayon::ThreadPool) -> f64 {
    const ROUNDS: usize = 1 << 21;
    let multiply = || {
        let bf16 = is_bf16.then(|| multiply_bf16_in_registers(isa, ROUNDS)).flatten();
        bf16.unwrap_or_else(|| multiply_in_registers(isa, ROUNDS))
    };
    let mut operations = 0;
    let seconds = best_seconds(|| operations = pool.broadcast(|_| multiply()).into_iter().sum());
    operations as f64 / seconds / 1e12
}

fn measure<E: Kernels>(
    isa: Isa,
    batch: usize,
    element: &str,
    peak: f64,
    layer: &(&str, usize, usize, usize, usize, usize, bool),
) {
    let &(name, side, in_channels, out_channels, kernel, stride, depthwise) = layer;
    let conv = Conv2d {
        batch,
        in_height: side,
        in_width: side,
        in_channels,
        out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::same(kernel / 2),
        groups: if depthwise { in_channels } else { 1 },
    };
    let mut input = Aligned::<E>::noise(conv.input_len());
    let mut output = Aligned::<E>::noise(conv.output_len());
    let mut weight = Aligned::<f32>::noise(conv.weight_len());
    let [mut mean, mut variance] = [(); 2].map(|()| vec![0.0; out_channels]);
    let is_winograd = element.ends_with("winograd");
    let pack = if is_winograd { PackedFilter::<E>::winograd_forward } else { PackedFilter::<E>::forward };
    let filter = pack(isa, &conv, weight.values());
    let forward = best_seconds(|| {
        let moments = Some(Moments { mean: &mut mean, variance: &mut variance });
        let epilogue = Epilogue { moments, ..Epilogue::default() };
        E::conv2d(isa, &conv, input.values(), &filter, epilogue, output.values_mut());
    });
    let pack = if is_winograd {
        PackedFilter::<E>::winograd_input_gradient
    } else {
        PackedFilter::<E>::input_gradient
    };
    let filter = pack(isa, &conv, weight.values());
    let backward = best_seconds(|| {
        E::conv2d_input_gradient(isa, &conv, output.values(), &filter, input.values_mut());
    });
    let weight_gradient = if is_winograd { E::winograd_weight_gradient } else { E::conv2d_weight_gradient };
    let weights = best_seconds(|| {
        weight_gradient(isa, &conv, input.values(), output.values(), weight.values_mut());
    });
    let rate = |seconds: f64| {
        let rate = 2.0 * conv.multiply_adds() as f64 / seconds / 1e12;
        format!("{rate:.3} ({:.2}, {:.0} %)", seconds * 1e3, rate / peak * 100.0)
    };
    let name = format!("{name} {element}");
    println!("{name:<30} {:>20} {:>20} {:>20}", rate(forward), rate(backward), rate(weights));
}

fn best_seconds(mut run: impl FnMut()) -> f64 {
    let seconds = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..7).map(seconds).fold(f64::INFINITY, f64::min)
}

/// Values that start on a cache line, as an engine would have them.
struct Aligned<E> {
    buffer: Vec<E>,
    first: usize,
    length: usize,
}

impl<E: Element> Aligned<E> {
    fn noise(length: usize) -> Self {
        let mut buffer = vec![E::ZERO; length + 32];
        let first = buffer.as_ptr().align_offset(64);
        let mut state = 1_u32;
        for value in &mut buffer {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = E::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0);
        }
        Self { buffer, first, length }
    }

    fn values(&self) -> &[E] {
        &self.buffer[self.first..][..self.length]
    }

    fn values_mut(&mut self) -> &mut [E] {
        &mut self.buffer[self.first..][..self.length]
    }
}
