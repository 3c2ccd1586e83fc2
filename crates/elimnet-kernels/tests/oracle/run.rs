//! Inputs, and every way to run a kernel.

use elimnet_kernels::{Isa, with_team};

/// SplitMix64's step.
pub(crate) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Pseudo-random numbers (SplitMix64), the same on every machine.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Integers from −3 to 3: sums of up to a million products of two are exact in f32, in any order.
    pub(crate) fn integers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() % 7) as f32 - 3.0).collect()
    }

    /// Uniform in −1..1.
    pub(crate) fn reals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }
}

pub(crate) fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// More than one, and as few as an interpreter needs.
const SEVERAL: usize = if cfg!(miri) { 2 } else { 3 };

/// Runs `kernel` on every instruction set, those that are emulated too, on one and on three threads and on a team of three; checks that the thread count
/// changes no bit, and gives what each instruction set made, by name.
pub(crate) fn on_every_isa(kernel: impl Fn(Isa) -> Vec<f32> + Sync) -> Vec<(&'static str, Vec<f32>)> {
    let pools =
        [1, SEVERAL].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    Isa::available()
        .into_iter()
        .chain(Isa::emulated())
        .map(|isa| {
            let [one, three] = pools.each_ref().map(|pool| pool.install(|| kernel(isa)));
            let team = with_team(&pools[1], || kernel(isa));
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(bits(&one) == bits(&three), "{isa}: three threads change the result");
            assert!(bits(&one) == bits(&team), "{isa}: a team changes the result");
            (isa.name(), one)
        })
        .collect()
}
