//! Windows written out one after the other, padded with zeros to whole steps: for channels that don't fill them.

use crate::element::Bf16;
use crate::simd::tiles::STEP;
use crate::simd::{Kernel, Simd};

/// Rows of windows, each of some runs of values that lie side by side in the source.
pub(crate) struct Unroll<'a> {
    /// From the first window's first value on.
    pub(crate) source: &'a [Bf16],
    /// From a window to the next in the source.
    pub(crate) distance: usize,
    pub(crate) windows: usize,
    /// Where each run starts, from a window's first value on.
    pub(crate) runs: &'a [usize],
    /// Values of a run.
    pub(crate) length: usize,
    pub(crate) target: &'a mut [Bf16],
    /// From a window to the next in the target; what the runs don't fill is set to zero.
    pub(crate) padded: usize,
}

impl Kernel for Unroll<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { source, distance, windows, runs, length, target, padded } = self;
        let depth = runs.len() * length;
        let whole = length.next_multiple_of(STEP);
        let furthest = runs.iter().max().map_or(0, |run| run + whole);
        for window in 0..windows {
            let source = &source[window * distance..];
            let target = &mut target[window * padded..];
            let is_inside = source.len() >= furthest && target.len() >= depth - length + whole;
            for (index, run) in runs.iter().enumerate() {
                let source = &source[*run..];
                let target = &mut target[index * length..];
                // Whole registers: what is too much is written over by the next run, or set to zero below.
                if !is_inside {
                    target[..length].copy_from_slice(&source[..length]);
                } else if whole == STEP {
                    target[..STEP].copy_from_slice(&source[..STEP]);
                } else {
                    let (source, _) = source[..whole].as_chunks::<STEP>();
                    let (target, _) = target[..whole].as_chunks_mut::<STEP>();
                    for (target, source) in target.iter_mut().zip(source) {
                        *target = *source;
                    }
                }
            }
            for value in &mut target[depth..padded] {
                *value = Bf16::ZERO;
            }
        }
    }
}
