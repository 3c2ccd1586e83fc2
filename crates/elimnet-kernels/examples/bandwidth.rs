//! GB/s of the memory-bound kernels at shapes of efficientnet_b0 and resnet18 (batch 32), against a plain copy:
//! bytes that the algorithm must read and write, over the best time of several runs.
//!
//! `cargo run --release -p elimnet-kernels --example bandwidth -- [threads] [name part]`; `ELIMNET_ISA` picks
//! the instruction set.
#![allow(clippy::print_stdout)] // what this program is for

use std::time::Instant;

use elimnet_kernels::*;
use rayon::prelude::*;

const BATCH: usize = 32;
/// Side and channels: behind b0's first expansion, its depthwise, a late one, and resnet18's first stage.
const SHAPES: [(usize, usize); 4] = [(112, 96), (56, 144), (14, 672), (56, 64)];

/// Side, channels, kernel, stride of depthwise convolutions of b0.
const WINDOWS: [(usize, usize, usize, usize); 5] =
    [(112, 32, 3, 1), (112, 96, 3, 2), (56, 144, 3, 1), (28, 240, 5, 1), (14, 672, 5, 2)];

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |threads| threads.parse().expect("a number of threads"));
    let filter = std::env::args().nth(2).unwrap_or_default();
    let isa = Isa::detect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    let copy = pool.install(copy_rate);
    println!("{isa}, {threads} threads, batch {BATCH}; copy {copy:.1} GB/s; GB/s (share of copy)");
    let report = Report { isa, copy, filter };
    pool.install(|| {
        report.all::<Bf16>("bf16");
        report.all::<f32>("f32");
    });
}

fn copy_rate() -> f64 {
    let from = vec![1_u8; 256 << 20];
    let mut to = vec![0_u8; 256 << 20];
    let seconds = best_seconds(|| {
        to.par_chunks_mut(1 << 17)
            .zip(from.par_chunks(1 << 17))
            .for_each(|(to, from)| to.copy_from_slice(from));
    });
    2.0 * from.len() as f64 / seconds / 1e9
}

struct Report {
    isa: Isa,
    copy: f64,
    filter: String,
}

impl Report {
    fn all<E: Kernels>(&self, element: &str) {
        for (side, channels) in SHAPES {
            println!("{element} {side}x{side}x{channels}");
            self.norms::<E>(Images { batch: BATCH, pixels: side * side, channels });
        }
        for window in WINDOWS {
            println!("{element} depthwise {window:?}");
            self.depthwise::<E>(window);
        }
    }

    /// Prints the rate of a kernel that moves `arrays` activations of `length` values.
    fn line<E>(&self, name: &str, length: usize, arrays: f64, run: impl FnMut()) {
        if name.contains(&self.filter) {
            let rate = arrays * (length * size_of::<E>()) as f64 / best_seconds(run) / 1e9;
            println!("  {name:<36} {rate:>6.1} ({:>3.0} %)", 100.0 * rate / self.copy);
        }
    }

    fn norms<E: Kernels>(&self, images: Images) {
        let isa = self.isa;
        let (length, channels) = (images.batch * images.pixels * images.channels, images.channels);
        let [y, shortcut, mut z, mut d_y] = [(); 4].map(|()| noise::<E>(length));
        let [mean, inverse_std, weight, bias] = [(); 4].map(|()| noise::<f32>(channels));
        let [mut d_weight, mut d_bias] = [(); 2].map(|()| noise::<f32>(channels));
        let norm = BatchNorm { mean: &mean, inverse_std: &inverse_std, weight: &weight };
        let fused = |activation| NormActivation { norm, bias: &bias, activation };
        self.line::<E>("batch statistics", length, 1.0, || {
            E::batch_statistics(isa, &y, &mut d_weight, &mut d_bias)
        });
        for activation in [Activation::Relu, Activation::Silu] {
            let fused = fused(activation);
            self.line::<E>(&format!("normalize {activation:?}"), length, 2.0, || {
                E::normalize_activate(isa, &fused, &y, None, &mut z);
            });
            self.line::<E>(&format!("normalize {activation:?} shortcut"), length, 3.0, || {
                E::normalize_activate(isa, &fused, &y, Some(Shortcut::new(&shortcut)), &mut z);
            });
            self.line::<E>(&format!("normalize {activation:?} backward"), length, 5.0, || {
                let gradients = NormGradients { weight: &mut d_weight, bias: &mut d_bias };
                E::norm_activation_backward(isa, &fused, &y, &mut z, gradients);
            });
            self.line::<E>(&format!("normalize {activation:?} shortcut backward"), length, 7.0, || {
                let gradients = NormGradients { weight: &mut d_weight, bias: &mut d_bias };
                let shortcut = Shortcut::new(&shortcut);
                E::norm_shortcut_activation_backward(isa, &fused, &y, shortcut, &mut z, &mut d_y, gradients);
            });
        }
        let [mut means, scale] = [(); 2].map(|()| noise::<f32>(images.batch * channels));
        self.line::<E>("normalize Silu pool", length, 2.0, || {
            E::normalize_activate_pool(isa, images, &fused(Activation::Silu), &y, Some(&mut z), &mut means);
        });
        self.line::<E>("scale channels", length, 2.0, || E::scale_channels(isa, images, &y, &scale, &mut z));
        let fused = fused(Activation::Silu);
        self.line::<E>("excite backward", length, 5.0, || {
            let mut sums = ExciteSums::default();
            E::excite_backward_sums(isa, images, &fused, &y, &z, &mut sums);
            let gradients = NormGradients { weight: &mut d_weight, bias: &mut d_bias };
            E::excite_norm_backward(isa, images, &fused, &sums, &y, &scale, &scale, &mut z, gradients);
        });
        self.line::<E>("add assign", length, 3.0, || E::add_assign(isa, &mut z, &y));
    }
}

impl Report {
    fn depthwise<E: Kernels>(&self, (side, channels, kernel, stride): (usize, usize, usize, usize)) {
        let isa = self.isa;
        let conv = Conv2d {
            batch: BATCH,
            in_height: side,
            in_width: side,
            in_channels: channels,
            out_channels: channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding::same(kernel / 2),
            groups: channels,
        };
        let (mut x, weight, mut y) =
            (noise::<E>(conv.input_len()), noise(conv.weight_len()), noise::<E>(conv.output_len()));
        let [mut mean, mut variance] = [(); 2].map(|()| noise::<f32>(channels));
        let mut weight_gradient = noise::<f32>(conv.weight_len());
        let forward = PackedFilter::<E>::forward(isa, &conv, &weight);
        let backward = PackedFilter::<E>::input_gradient(isa, &conv, &weight);
        let values = conv.input_len() + conv.output_len();
        self.line::<E>("forward", values, 1.0, || {
            let moments = Some(Moments { mean: &mut mean, variance: &mut variance });
            let epilogue = Epilogue { moments, ..Epilogue::default() };
            E::conv2d(isa, &conv, &x, &forward, epilogue, &mut y);
        });
        self.line::<E>("forward Silu", values, 1.0, || {
            let epilogue = Epilogue { activation: Activation::Silu, ..Epilogue::default() };
            E::conv2d(isa, &conv, &x, &forward, epilogue, &mut y);
        });
        self.line::<E>("input gradient", values, 1.0, || {
            E::conv2d_input_gradient(isa, &conv, &y, &backward, &mut x);
        });
        self.line::<E>("weight gradient", values, 1.0, || {
            E::conv2d_weight_gradient(isa, &conv, &x, &y, &mut weight_gradient);
        });
    }
}

fn best_seconds(mut run: impl FnMut()) -> f64 {
    let seconds = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..4).map(seconds).fold(f64::INFINITY, f64::min)
}

fn noise<E: Kernels>(count: usize) -> Vec<E> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        E::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}
