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
    fn all<E: Element>(&self, element: &str) {
        for (side, channels) in SHAPES {
            println!("{element} {side}x{side}x{channels}");
            self.norms::<E>(Images { batch: BATCH, pixels: side * side, channels });
        }
    }

    /// Prints the rate of a kernel that moves `arrays` activations of `length` values.
    fn line<E>(&self, name: &str, length: usize, arrays: f64, run: impl FnMut()) {
        if name.contains(&self.filter) {
            let rate = arrays * (length * size_of::<E>()) as f64 / best_seconds(run) / 1e9;
            println!("  {name:<36} {rate:>6.1} ({:>3.0} %)", 100.0 * rate / self.copy);
        }
    }

    fn norms<E: Element>(&self, images: Images) {
        let isa = self.isa;
        let (length, channels) = (images.batch * images.pixels * images.channels, images.channels);
        let [y, shortcut, mut z, mut d_y] = [(); 4].map(|()| noise::<E>(length));
        let [mean, inverse_std, weight, bias] = [(); 4].map(|()| noise::<f32>(channels));
        let [mut d_weight, mut d_bias] = [(); 2].map(|()| noise::<f32>(channels));
        let norm = BatchNorm { mean: &mean, inverse_std: &inverse_std, weight: &weight };
        let fused = |activation| NormActivation { norm, bias: &bias, activation };
        self.line::<E>("batch statistics", length, 1.0, || {
            batch_statistics(isa, &y, &mut d_weight, &mut d_bias)
        });
        for activation in [Activation::Relu, Activation::Silu] {
            let fused = fused(activation);
            self.line::<E>(&format!("normalize {activation:?}"), length, 2.0, || {
                normalize_activate(isa, &fused, &y, None, &mut z);
            });
            self.line::<E>(&format!("normalize {activation:?} shortcut"), length, 3.0, || {
                normalize_activate(isa, &fused, &y, Some(&shortcut), &mut z);
            });
            self.line::<E>(&format!("normalize {activation:?} backward"), length, 5.0, || {
                let gradients = NormGradients { weight: &mut d_weight, bias: &mut d_bias };
                norm_activation_backward(isa, &fused, &y, &mut z, gradients);
            });
            self.line::<E>(&format!("normalize {activation:?} shortcut backward"), length, 7.0, || {
                let gradients = NormGradients { weight: &mut d_weight, bias: &mut d_bias };
                norm_shortcut_activation_backward(isa, &fused, &y, &shortcut, &mut z, &mut d_y, gradients);
            });
        }
        let [mut means, scale] = [(); 2].map(|()| noise::<f32>(images.batch * channels));
        self.line::<E>("normalize Silu pool", length, 2.0, || {
            normalize_activate_pool(isa, images, &fused(Activation::Silu), &y, Some(&mut z), &mut means);
        });
        self.line::<E>("scale channels", length, 2.0, || scale_channels(isa, images, &y, &scale, &mut z));
        self.line::<E>("add assign", length, 3.0, || add_assign(isa, &mut z, &y));
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

fn noise<E: Element>(count: usize) -> Vec<E> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        E::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}
