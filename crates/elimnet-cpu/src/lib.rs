//! The CPU engine: compiles a [`Network`] into a plan over the kernels and runs it, forwards and backwards.
//!
//! - `plan`: network to steps; a convolution takes the batch norm, shortcut and activation behind it into its step.
//! - `inference`: batch norm folded into the convolutions, values dropped as soon as they are read.
//! - `forward`, `backward`: a training step; values are kept, normalised ones recomputed.
//! - `optimizer`: the update and the running average.
//!
//! Everything is f32 and channels last. Results do not depend on the number of threads: the kernels split their work
//! by the data's size alone and add partial sums in a fixed order.

mod backward;
mod buffers;
mod dropout;
mod engine;
mod forward;
mod inference;
mod optimizer;
mod parameters;
mod plan;

use std::sync::Arc;

use elimnet_arch::Network;
use elimnet_engine::{Device, Engine, EngineError};
use elimnet_kernels::Isa;

pub use engine::CpuEngine;

/// The processor, with a pool of threads.
#[derive(Clone, Debug)]
pub struct CpuDevice {
    pool: Arc<rayon::ThreadPool>,
    isa: Isa,
}

impl CpuDevice {
    /// A device of `threads` threads (0: as many as the machine has cores) and the best instruction set that is there.
    ///
    /// # Panics
    /// If the operating system refuses the threads.
    pub fn new(threads: usize) -> Self {
        Self::with_isa(threads, Isa::detect())
    }

    /// The same with a chosen instruction set.
    ///
    /// # Panics
    /// If the operating system refuses the threads.
    pub fn with_isa(threads: usize, isa: Isa) -> Self {
        let name = |index| format!("elimnet-{index}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
        Self { pool: Arc::new(pool.expect("the operating system starts threads")), isa }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The instruction set that the kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// [`Device::load`] with the concrete type.
    pub fn engine(&self, network: &Network) -> CpuEngine {
        CpuEngine::new(self.clone(), network.clone())
    }

    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }
}

impl Device for CpuDevice {
    fn name(&self) -> &str {
        "cpu"
    }

    fn load(&self, network: &Network) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(self.engine(network)))
    }
}
