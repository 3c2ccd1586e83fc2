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

/// Rows of sums, and where they go.
pub(crate) struct FinishBlock<'a, 'm, O> {
    /// `BLOCK` apart.
    pub(crate) sums: &'a [f32],
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

/// `output = activation(sums + bias + shortcut)`, and the moments of `sums + bias`.
pub(crate) fn finish<O: Element>(isa: Isa, activation: Activation, block: FinishBlock<'_, '_, O>) {
    with_function!(activation, function => isa.run(FinishKernel { function, block }));
}

struct FinishKernel<'a, 'm, O, F> {
    function: F,
    block: FinishBlock<'a, 'm, O>,
}

impl<O: Element, F: Function> Kernel for FinishKernel<'_, '_, O, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { function, mut block } = self;
        for column in (0..block.columns).step_by(S::LANES) {
            let columns = column..block.columns.min(column + S::LANES);
            let bias = match block.bias {
                Some(bias) => simd.load_partial(&bias[columns.clone()]),
                None => simd.splat(0.0),
            };
            if let Some(part) = &mut block.part {
                part.add_rows(simd, columns.clone(), block.sums, BLOCK, block.rows, bias);
            }
            let width = columns.len();
            match block.shortcut {
                None => {
                    for row in 0..block.rows {
                        let value = simd.add(simd.load(&block.sums[row * BLOCK + column..]), bias);
                        let value = function.value::<S, O>(simd, value);
                        simd.store_element(value, &mut block.output[row * block.pixel + column..][..width]);
                    }
                }
                Some(shortcut) => {
                    for row in 0..block.rows {
                        let value = simd.add(simd.load(&block.sums[row * BLOCK + column..]), bias);
                        let shortcut = &shortcut[row * block.shortcut_pixel + column..][..width];
                        let value = simd.add(value, simd.load_element(shortcut));
                        let value = function.value::<S, O>(simd, value);
                        simd.store_element(value, &mut block.output[row * block.pixel + column..][..width]);
                    }
                }
            }
        }
    }
}
