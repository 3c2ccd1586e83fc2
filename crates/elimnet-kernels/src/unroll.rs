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
    /// From a window to the next in the target, whole steps; what the runs don't fill is set to zero.
    pub(crate) padded: usize,
}

/// Runs that a window of a single step may be made of, to be put together in registers: those of the stems, 3 x 3 of 3 channels.
const MOST_RUNS: usize = 3;

impl Kernel for Unroll<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match Step::new(self.runs, self.length, self.padded) {
            Some(step) => step.fill(self),
            None => self.copy_runs(0),
        }
    }
}

impl Unroll<'_> {
    /// Windows from `first` on.
    #[inline(always)]
    fn copy_runs(self, first: usize) {
        let Self { source, distance, windows, runs, length, target, padded } = self;
        let depth = runs.len() * length;
        let whole = length.next_multiple_of(STEP);
        let furthest = runs.iter().max().map_or(0, |run| run + whole);
        for window in first..windows {
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

/// How a window of a single step is put together: the step is loaded from each run, as far before it as its values are from the
/// step's beginning, and of what was loaded the values that are the run's are taken.
struct Step {
    /// Where it is loaded from; runs that there are not take nothing.
    starts: [usize; MOST_RUNS],
    /// All bits of the values that are taken.
    masks: [[u16; STEP]; MOST_RUNS],
}

impl Step {
    /// None for other windows, and where it would be loaded from before the window.
    fn new(runs: &[usize], length: usize, padded: usize) -> Option<Self> {
        if padded != STEP || runs.len() > MOST_RUNS {
            return None;
        }
        let mut step = Self { starts: [0; MOST_RUNS], masks: [[0; STEP]; MOST_RUNS] };
        for (index, run) in runs.iter().enumerate() {
            step.starts[index] = run.checked_sub(index * length)?;
            step.masks[index][index * length..][..length].fill(u16::MAX);
        }
        Some(step)
    }

    #[inline(always)]
    fn fill(&self, unroll: Unroll<'_>) {
        let Unroll { source, distance, windows, .. } = unroll;
        let furthest = self.starts.iter().max().map_or(0, |start| start + STEP);
        // Behind the last windows there may be less than a step.
        let count = source.len().checked_sub(furthest).map_or(0, |rest| rest / distance + 1).min(windows);
        let (targets, _) = unroll.target.as_chunks_mut::<STEP>();
        for (window, target) in targets[..count].iter_mut().enumerate() {
            let source = &source[window * distance..][..furthest];
            let mut bits = [0; STEP];
            for run in 0..MOST_RUNS {
                let values = &source[self.starts[run]..][..STEP];
                for (lane, bits) in bits.iter_mut().enumerate() {
                    *bits |= values[lane].to_bits() & self.masks[run][lane];
                }
            }
            *target = bits.map(Bf16::from_bits);
        }
        unroll.copy_runs(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn windows_are_their_runs_and_zeros() {
        // One run, two, three, more; out of order; so near to each other that a step would begin before the window.
        let cases: [(&[usize], usize, usize); 8] = [
            (&[0], 27, 1),
            (&[0, 70], 16, 5),
            (&[0, 100, 50], 9, 6),
            (&[0, 150, 300, 450, 75, 225, 375], 21, 6),
            (&[0, 20, 40, 60, 80], 5, 2),
            (&[0, 4, 8], 3, 3),
            (&[0, 2, 4], 3, 3),
            (&[0, 90], 48, 16),
        ];
        for (runs, length, distance) in cases {
            let (windows, padded) = (9, (runs.len() * length).next_multiple_of(STEP));
            let end = (windows - 1) * distance + runs.iter().max().unwrap() + length;
            let source: Vec<_> = (0..end).map(|value| Bf16::from_bits(1 + value as u16)).collect();
            for isa in Isa::available() {
                let mut target = vec![Bf16::from_bits(u16::MAX); windows * padded];
                isa.run(Unroll {
                    source: &source,
                    distance,
                    windows,
                    runs,
                    length,
                    target: &mut target,
                    padded,
                });
                let actual: Vec<u16> = target.iter().map(|value| value.to_bits()).collect();
                let expected = (0..windows).flat_map(|window| {
                    let values = runs.iter().flat_map(move |run| (0..length).map(move |value| run + value));
                    let bits = values.map(move |place| 1 + (window * distance + place) as u16);
                    bits.chain(std::iter::repeat(0)).take(padded)
                });
                assert_eq!(actual, expected.collect::<Vec<_>>(), "{isa} {runs:?} of {length}");
            }
        }
    }
}
