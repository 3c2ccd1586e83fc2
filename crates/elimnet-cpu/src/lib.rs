//! The CPU engine: compiles a [`Network`] into a plan over the kernels and runs it, forwards and backwards.
//!
//! - `plan`: network to steps; a convolution takes the batch norm, shortcut and activation behind it into its step.
//! - `arena`, `slabs`: the memory of a pass, planned before its first step.
//! - `inference`, `stages`: folded, packed, in pieces that stay in cache.
//! - `schedule`, `training`, `forward`, `backward`: a training step.
//! - `optimizer`: the update and the running average.
//!
//! Pixels are channels last, f32 or bf16. Results do not depend on the number of threads: the kernels split their work by
//! the data's size alone and add partial sums in a fixed order.

mod arena;
mod backward;
mod dropout;
mod engine;
mod fold;
mod forward;
mod geometry;
mod inference;
mod optimizer;
mod parameters;
mod passes;
mod plan;
mod schedule;
mod slabs;
mod stages;
mod training;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use elimnet_arch::Network;
use elimnet_engine::{Device, Engine, EngineError, Precision};
use elimnet_kernels::Isa;

pub use elimnet_kernels::UnavailableIsa;
pub use engine::CpuEngine;

/// The processor, with a pool of threads.
#[derive(Clone, Debug)]
pub struct CpuDevice {
    pool: Arc<rayon::ThreadPool>,
    /// Held while threads are kept awake: two callers would wait for each other's threads.
    awake: Arc<Mutex<()>>,
    isa: Isa,
    precision: Precision,
}

/// Looks for work between two of which a waiting thread lets its core rest.
const PAUSES: usize = 4;

/// How long to wait for a thread to wake up.
const WAKING: Duration = Duration::from_micros(200);

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
            awake: Arc::default(),
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

    /// bf16 where the instruction set computes with it, else f32.
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
    pub(crate) fn on_every_thread<T: Send>(&self, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        self.pool.broadcast(|context| work(context.index()))
    }

    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// As [`CpuDevice::run`], while the other threads keep looking for a share of it: for layers that are done before a sleeping
    /// thread has woken up (some 30 µs).
    pub(crate) fn run_awake<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Ok(_only) = self.awake.try_lock() else { return self.run(work) };
        let watch = Watch::default();
        self.pool.install(|| {
            let own = rayon::current_thread_index();
            rayon::scope(|scope| {
                scope.spawn_broadcast(|_, context| {
                    if Some(context.index()) != own {
                        watch.keep();
                    }
                });
                watch.begin(self.threads() - 1);
                let _until = EndOnDrop(&watch);
                work()
            })
        })
    }
}

/// Threads that are kept awake while some work lasts.
#[derive(Default)]
struct Watch {
    awake: AtomicUsize,
    has_begun: AtomicBool,
    has_ended: AtomicBool,
}

impl Watch {
    /// Waits for the others to wake up, a while. Those that come later go back to sleep: they may have come from the middle of a
    /// share of the work, waiting for another thread, and watching there would keep that share from ever being done.
    fn begin(&self, others: usize) {
        let start = Instant::now();
        while self.awake.load(Ordering::Acquire) < others && start.elapsed() < WAKING {
            std::hint::spin_loop();
        }
        self.has_begun.store(true, Ordering::Release);
    }

    fn keep(&self) {
        if self.has_begun.load(Ordering::Acquire) {
            return;
        }
        self.awake.fetch_add(1, Ordering::AcqRel);
        while !self.has_ended.load(Ordering::Acquire) {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                (0..PAUSES).for_each(|_| std::hint::spin_loop());
            }
        }
    }
}

/// Ends the watch also where the work panics.
struct EndOnDrop<'a>(&'a Watch);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Release);
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
