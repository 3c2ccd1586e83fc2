//! What the engine's tests share: networks with formula weights, and images of the formula channels last.
#![allow(dead_code, reason = "each test uses its part")]

use elimnet_arch::Network;
use elimnet_cpu::{CpuDevice, CpuEngine, Isa};
use elimnet_engine::{Engine, Images, NamedTensor, Optimizer, Precision, Training};
use elimnet_testing::formula;

/// Both precisions.
pub(crate) const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// A way to compute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    isa: Isa,
    precision: Precision,
}

impl Way {
    /// In f32, and in bf16 on the machine and on stand-ins for the units that it may lack.
    pub(crate) fn all() -> Vec<Self> {
        let exact = Self { isa: Isa::detect(), precision: Precision::F32 };
        [exact].into_iter().chain(Self::bf16()).collect()
    }

    /// Those in bf16.
    pub(crate) fn bf16() -> Vec<Self> {
        let isas = [Isa::detect()].into_iter().chain(Isa::emulated());
        isas.map(|isa| Self { isa, precision: Precision::Bf16 }).collect()
    }

    /// An engine with formula weights.
    pub(crate) fn engine(self, network: &Network, threads: usize) -> CpuEngine {
        filled(CpuDevice::with_isa(threads, self.isa).with_precision(self.precision).engine(network))
    }
}

/// An engine with formula weights on so many threads.
pub(crate) fn engine_with(network: &Network, threads: usize, precision: Precision) -> CpuEngine {
    filled(CpuDevice::new(threads).with_precision(precision).engine(network))
}

/// An f32 engine with formula weights on two threads.
pub(crate) fn engine(network: &Network) -> CpuEngine {
    filled(CpuDevice::new(2).engine(network))
}

/// The same engine with formula weights.
pub(crate) fn filled(mut engine: CpuEngine) -> CpuEngine {
    let tensors: Vec<NamedTensor> = engine.network().tensors().into_iter().map(formula_tensor).collect();
    engine.set_tensors(&tensors).expect("the formula gives every tensor");
    engine
}

fn formula_tensor(spec: elimnet_arch::TensorSpec) -> NamedTensor {
    let values = formula::tensor(&spec.name, &spec.shape);
    NamedTensor { name: spec.name, shape: spec.shape, values }
}

/// `count` images of the formula.
pub(crate) fn images(count: usize, size: usize) -> Images {
    channels_last(&formula::images(count, 3, size), size)
}

/// `[n, 3, size, size]` to the engine's layout.
pub(crate) fn channels_last(pixels: &[f32], size: usize) -> Images {
    channels_last_of(pixels, size, 3)
}

/// `[n, channels, size, size]` to the engine's layout.
pub(crate) fn channels_last_of(pixels: &[f32], size: usize, channels: usize) -> Images {
    let plane = size * size;
    let count = pixels.len() / (channels * plane);
    let swapped = pixels.chunks_exact(channels * plane).flat_map(|image| {
        (0..plane).flat_map(move |pixel| (0..channels).map(move |channel| image[channel * plane + pixel]))
    });
    Images::new(count, size, size, channels, swapped.collect())
}

/// Training of everything with SGD.
pub(crate) fn sgd(network: &Network) -> Training {
    Training {
        optimizer: Optimizer::Sgd { nesterov: false },
        frozen_blocks: 0,
        groups: vec![0; network.all_blocks().count()],
        average_decay: None,
    }
}
