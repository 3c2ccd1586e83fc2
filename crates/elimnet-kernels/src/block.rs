//! Blocks of 32 x 32 sums of products, and their epilogue.

use crate::activation::{Activation, Function, with_function};
use crate::element::Element;
use crate::epilogue::PartMoments;
use crate::isa::Isa;
use crate::simd::{Kernel, Simd};

/// Rows and columns of a block of sums.
pub(crate) const BLOCK: usize = 32;

/// Sums of a block, row-major.
pub(crate) type Sums = [f32; BLOCK * BLOCK];

/// Where rows of sums go.
pub(crate) struct FinishBlock<'a, 'm, O> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Of these columns.
    pub(crate) bias: Option<&'a [f32]>,
    /// From the first value on.
    pub(crate) shortcut: Option<&'a [O]>,
    pub(crate) shortcut_pixel: usize,
    /// Of these columns; the sums so far.
    pub(crate) part: Option<PartMoments<'m>>,
    /// From the first value on.
    pub(crate) output: &'a mut [O],
    pub(crate) pixel: usize,
}

/// `output = activation(sums + bias + shortcut)`, and the moments of `sums + bias`; rows of sums are `BLOCK` apart.
pub(crate) fn finish<O: Element>(
    isa: Isa,
    activation: Activation,
    sums: &[f32],
    block: FinishBlock<'_, '_, O>,
) {
    with_function!(activation, function => isa.run(FinishKernel { function, sums, block }));
}

struct FinishKernel<'a, 'm, O, F> {
    function: F,
    sums: &'a [f32],
    block: FinishBlock<'a, 'm, O>,
}

/// Registers that a row is taken in at once: of bf16 in AVX-512, or of f32 in AVX2, a whole line of the cache.
const GROUP: usize = 2;

impl<O: Element, F: Function> Kernel for FinishKernel<'_, '_, O, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut column = 0;
        while column + GROUP * S::LANES <= self.block.columns {
            self.finish_columns::<S, GROUP>(simd, column, GROUP * S::LANES);
            column += GROUP * S::LANES;
        }
        while column < self.block.columns {
            let width = S::LANES.min(self.block.columns - column);
            self.finish_columns::<S, 1>(simd, column, width);
            column += width;
        }
    }
}

impl<O: Element, F: Function> FinishKernel<'_, '_, O, F> {
    /// All rows of `width` columns, row by row: `N` registers, the last of which may be filled in part.
    #[inline(always)]
    fn finish_columns<S: Simd, const N: usize>(&mut self, simd: S, first: usize, width: usize) {
        // No closures here: they are not always compiled with the wide registers.
        let Self { function, sums, block } = self;
        let mut bias = [simd.splat(0.0); N];
        if let Some(values) = block.bias {
            for (bias, values) in bias.iter_mut().zip(values[first..first + width].chunks(S::LANES)) {
                *bias = simd.load_partial(values);
            }
        }
        let (sums, _) = sums.as_chunks::<BLOCK>();
        let mut moments = match &mut block.part {
            Some(part) => {
                let mut pivot = [simd.splat(0.0); N];
                for (index, pivot) in pivot.iter_mut().enumerate() {
                    *pivot = simd.add(simd.load(&sums[0][first + index * S::LANES..]), bias[index]);
                }
                Some(part.resume(simd, first..first + width, pivot))
            }
            None => None,
        };
        // Where the next block of rows goes is asked for: lines so far apart are not seen coming. Its last rows may not be there.
        let next_end = (BLOCK + block.rows - 1) * block.pixel + first + width;
        let ahead = if next_end <= block.output.len() { BLOCK * block.pixel } else { 0 };
        for (row, sums) in sums[..block.rows].iter().enumerate() {
            let sums = &sums[first..][..N * S::LANES];
            let output = &mut block.output[row * block.pixel + first..];
            simd.prefetch(&output[ahead..][..width]);
            let mut values = [simd.splat(0.0); N];
            for (index, value) in values.iter_mut().enumerate() {
                *value = simd.add(simd.load(&sums[index * S::LANES..]), bias[index]);
            }
            if let Some(moments) = &mut moments {
                moments.add(simd, values);
            }
            if let Some(shortcut) = block.shortcut {
                let shortcut = &shortcut[row * block.shortcut_pixel + first..][..width];
                for (value, shortcut) in values.iter_mut().zip(shortcut.chunks(S::LANES)) {
                    *value = simd.add(*value, simd.load_element(shortcut));
                }
            }
            for (value, output) in values.into_iter().zip(output[..width].chunks_mut(S::LANES)) {
                simd.store_element(function.value::<S, O>(simd, value), output);
            }
        }
        if let (Some(part), Some(moments)) = (&mut block.part, moments) {
            part.keep(simd, first..first + width, moments);
        }
    }
}
