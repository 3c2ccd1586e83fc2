//! The CPU engine: compiles a [`Network`] into a plan over the kernels and runs it, forwards and backwards.
//!
//! - `plan`: network to steps; a convolution takes the batch norm, shortcut and activation behind it into its step.
//! - `arena`, `slabs`: the memory of a pass, planned before its first step.
//! - `inference`, `stages`: folded, packed, in pieces that stay in cache.
//! - `margin`: which images bf16 leaves undecided.
//! - `schedule`, `training`, `forward`, `backward`: a training step.
//! - `optimizer`: the update and the running average.
//!
//! Pixels are channels last, f32 or bf16. Results do not depend on the number of threads: the kernels split their work by
//! the data's size alone and add partial sums in a fixed order.

mod arena;
mod backward;
mod engine;
mod fold;
mod forward;
mod geometry;
mod inference;
mod margin;
mod optimizer;
mod parameters;
mod passes;
mod plan;
mod schedule;
mod slabs;
mod stages;
mod training;

use std::sync::{Arc, Mutex, TryLockError};

use elimnet_arch::Network;
use elimnet_engine::{Device, Engine, EngineError, Precision};

pub use elimnet_kernels::{Isa, UnavailableIsa};
pub use engine::CpuEngine;

/// The processor, with a pool of threads.
#[derive(Clone, Debug)]
pub struct CpuDevice {
    pool: Arc<rayon::ThreadPool>,
    /// Held while the pool is a team: two would wait for each other's threads.
    team: Arc<Mutex<()>>,
    isa: Isa,
    precision: Precision,
}

impl CpuDevice {
    /// A device of `threads` threads (0: as many as the machine has cores) and the best instruction set that is there,
    /// which stores f32.
    ///
    /// # Panics
    /// If the operating system refuses the threads.
    pub fn new(threads: usize) -> Self {
        Self::with_isa(threads, Isa::detect())
    }

    /// The same where the instruction set may come from the environment.
    ///
    /// # Errors
    /// If it asks for one that the machine lacks.
    /// # Panics
    /// If the operating system refuses the threads.
    pub fn try_new(threads: usize) -> Result<Self, UnavailableIsa> {
        Ok(Self::with_isa(threads, Isa::try_detect()?))
    }

    /// The same with a chosen instruction set.
    ///
    /// # Panics
    /// If the operating system refuses the threads.
    pub fn with_isa(threads: usize, isa: Isa) -> Self {
        let name = |index| format!("elimnet-{index}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
        Self {
            pool: Arc::new(pool.expect("the operating system starts threads")),
            team: Arc::default(),
            isa,
            precision: Precision::F32,
        }
    }

    /// The same device, storing activations as `precision`. Every instruction set can do both; see
    /// [`CpuDevice::fastest_precision`] for which is worth it.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// bf16 where the processor computes with it, else f32.
    pub fn fastest_precision(&self) -> Precision {
        match self.isa.name() {
            "avx512bf16" | "amx" => Precision::Bf16,
            _ => Precision::F32,
        }
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

    /// Runs `work` once on each thread, with the thread's number.
    pub(crate) fn on_every_thread(&self, work: impl Fn(usize) + Sync) {
        self.pool.broadcast(|context| work(context.index()));
    }

    /// Bytes that the threads keep for kernels' calls.
    fn kept_bytes(&self) -> usize {
        self.pool.broadcast(|_| elimnet_kernels::kept_bytes()).into_iter().sum()
    }

    /// Runs `work`, its loops on all threads.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let _only = match self.team.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return self.pool.install(work),
        };
        elimnet_kernels::with_team(&self.pool, work)
    }
}

impl Device for CpuDevice {
    fn name(&self) -> &str {
        "cpu"
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn load(&self, network: &Network) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(self.engine(network)))
    }
}
