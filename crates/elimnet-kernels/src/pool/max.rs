//! The largest value of each window, and its gradient.

use std::ops::Range;

use super::Pool2d;
use crate::element::Element;
use crate::isa::Isa;
use crate::simd::grid::{Grid, Shape};
use crate::simd::{Kernel, MAX_LANES, Simd};
use crate::threads;

/// Largest value of each window; padding does not count. `taps`, if given, gets where in the window it was, row by row,
/// for the gradient.
///
/// As in torch, the first of equal values is taken, and the last NaN where there is one.
///
/// # Shapes
/// See [`Pool2d`]; `taps` has the output's.
///
/// # Panics
/// If a length is not the product of its shape, the window has more than 256 pixels, or the padding is more
/// than half of it.
pub fn max_pool2d<E: Element>(
    isa: Isa,
    pool: &Pool2d,
    input: &[E],
    output: &mut [E],
    taps: Option<&mut [u8]>,
) {
    pool.check(input.len(), output.len());
    if let Some(taps) = &taps {
        assert_eq!(taps.len(), output.len(), "lengths of output and taps");
    }
    if output.is_empty() {
        return;
    }
    let (height, row) = (pool.out_height(), pool.out_width() * pool.channels);
    let image = pool.in_height * pool.in_width * pool.channels;
    let mut taps = taps.map(|taps| taps.chunks_mut(row));
    let rows = output.chunks_mut(row).map(|output| (output, taps.as_mut().and_then(Iterator::next)));
    threads::for_each(rows, &|index, (output, taps)| {
        let image = &input[index / height * image..][..image];
        isa.run(MaxRow { pool, image, out_y: index % height, output, taps });
    });
}

struct MaxRow<'a, E> {
    pool: &'a Pool2d,
    image: &'a [E],
    out_y: usize,
    output: &'a mut [E],
    taps: Option<&'a mut [u8]>,
}

impl<E: Element> Kernel for MaxRow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        match self.taps.take() {
            Some(taps) => self.fill::<S, true>(simd, taps),
            None => self.fill::<S, false>(simd, &mut []),
        }
    }
}

impl<E: Element> MaxRow<'_, E> {
    #[inline(always)]
    fn fill<S: Simd, const WITH_TAPS: bool>(self, simd: S, taps: &mut [u8]) {
        let Self { pool, image, out_y, output, .. } = self;
        let channels = pool.channels;
        let whole = channels / S::LANES * S::LANES;
        let (rows, y) = taps_inside(pool, 0, out_y);
        for out_x in 0..output.len() / channels {
            let (columns, x) = taps_inside(pool, 1, out_x);
            let window = Window { rows: rows.clone(), columns, row_taps: pool.kernel[1] };
            let image = &image[(y * pool.in_width + x) * channels..];
            let shape = |width| {
                let [rows, columns] = [window.rows.len(), window.columns.len()];
                Shape { rows, columns, row: pool.in_width * channels, column: channels, width }
            };
            let grid = Grid::new(image, shape(whole));
            for channel in (0..channels).step_by(S::LANES) {
                let place = out_x * channels + channel..out_x * channels + channels.min(channel + S::LANES);
                let [largest, tap] = if channel < whole {
                    window.largest::<S, WITH_TAPS>(simd, |place| grid.load(simd, place, channel))
                } else {
                    let shape = shape(channels);
                    window.largest::<S, WITH_TAPS>(simd, |[row, column]| {
                        let pixel = row * shape.row + column * shape.column;
                        simd.load_element(&image[pixel + channel..pixel + channels])
                    })
                };
                simd.store_element(largest, &mut output[place.clone()]);
                if WITH_TAPS {
                    store_taps(simd, tap, &mut taps[place]);
                }
            }
        }
    }
}

/// The taps of a window that are in the image.
struct Window {
    rows: Range<usize>,
    columns: Range<usize>,
    /// In a row of all of them.
    row_taps: usize,
}

impl Window {
    /// The largest of what `load` gives for each place, and its tap, if wanted.
    #[inline(always)]
    fn largest<S: Simd, const WITH_TAPS: bool>(
        &self,
        simd: S,
        load: impl Fn([usize; 2]) -> S::Vector,
    ) -> [S::Vector; 2] {
        let first_tap = self.rows.start * self.row_taps + self.columns.start;
        let mut largest = simd.splat(f32::NEG_INFINITY);
        let mut largest_tap = simd.splat(first_tap as f32);
        for row in 0..self.rows.len() {
            for column in 0..self.columns.len() {
                let value = load([row, column]);
                if WITH_TAPS {
                    let tap = simd.splat((first_tap + row * self.row_taps + column) as f32);
                    largest_tap = of_larger(simd, largest, value, largest_tap, tap);
                }
                // The second where one is NaN, and the first where that is.
                let larger = simd.maximum(largest, value);
                largest = simd.select_at_most(largest, largest, larger, largest);
            }
        }
        [largest, largest_tap]
    }
}

/// The taps of an output position's windows that are in the image along an axis, and the input position of the first.
#[inline(always)]
fn taps_inside(pool: &Pool2d, axis: usize, out: usize) -> (Range<usize>, usize) {
    let (start, padding) = (out * pool.stride[axis], pool.padding[axis]);
    let size = [pool.in_height, pool.in_width][axis];
    let first = padding.saturating_sub(start);
    (first..pool.kernel[axis].min(size + padding - start), start + first - padding)
}

/// `new` in the lanes where `value` is larger than `largest` or no number, else `old`.
#[inline(always)]
fn of_larger<S: Simd>(
    simd: S,
    largest: S::Vector,
    value: S::Vector,
    old: S::Vector,
    new: S::Vector,
) -> S::Vector {
    // No comparison with NaN holds, not even with itself.
    let among_numbers = simd.select_at_most(value, largest, old, new);
    let beside_nan = simd.select_at_most(value, value, old, new);
    simd.select_at_most(largest, largest, among_numbers, beside_nan)
}

#[inline(always)]
fn store_taps<S: Simd>(simd: S, vector: S::Vector, taps: &mut [u8]) {
    /// Added to a small whole number, it leaves it in the lowest bits.
    const ROUNDING: f32 = 8_388_608.0;
    let mut lanes = [0.0; MAX_LANES];
    simd.store(simd.add(vector, simd.splat(ROUNDING)), &mut lanes);
    for (tap, lane) in taps.iter_mut().zip(lanes) {
        *tap = lane.to_bits() as u8;
    }
}

/// Gradient with respect to the input of [`max_pool2d`]; overwrites it.
///
/// # Panics
/// As [`max_pool2d`].
pub fn max_pool2d_gradient<E: Element>(
    isa: Isa,
    pool: &Pool2d,
    output_gradient: &[E],
    taps: &[u8],
    input_gradient: &mut [E],
) {
    pool.check(input_gradient.len(), output_gradient.len());
    assert_eq!(taps.len(), output_gradient.len(), "lengths of output gradient and taps");
    if input_gradient.is_empty() {
        return;
    }
    let row = pool.in_width * pool.channels;
    let image = pool.out_height() * pool.out_width() * pool.channels;
    threads::for_each(input_gradient.chunks_mut(row), &|index, input_gradient| {
        let image = index / pool.in_height * image..(index / pool.in_height + 1) * image;
        let (output_gradient, taps) = (&output_gradient[image.clone()], &taps[image]);
        isa.run(MaxGradientRow { pool, output_gradient, taps, in_y: index % pool.in_height, input_gradient });
    });
}

struct MaxGradientRow<'a, E> {
    pool: &'a Pool2d,
    output_gradient: &'a [E],
    taps: &'a [u8],
    in_y: usize,
    input_gradient: &'a mut [E],
}

impl<E: Element> Kernel for MaxGradientRow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { pool, in_y, .. } = self;
        let (out_height, out_width) = (pool.out_height(), pool.out_width());
        let rows: Vec<_> = windows(pool, 0, in_y, out_height).collect();
        let mut seen = Vec::new();
        for (in_x, gradient) in self.input_gradient.chunks_exact_mut(pool.channels).enumerate() {
            seen.clear();
            for (tap_y, out_y) in &rows {
                for (tap_x, out_x) in windows(pool, 1, in_x, out_width) {
                    let tap = (tap_y * pool.kernel[1] + tap_x) as u8;
                    seen.push((tap, (out_y * out_width + out_x) * pool.channels));
                }
            }
            let around = Windows { seen: &seen, values: self.output_gradient, taps: self.taps };
            for (index, gradient) in gradient.chunks_mut(GROUP * S::LANES).enumerate() {
                let first = index * GROUP * S::LANES;
                if gradient.len() == GROUP * S::LANES {
                    around.sum::<S, GROUP>(simd, first, gradient);
                } else {
                    for (index, gradient) in gradient.chunks_mut(S::LANES).enumerate() {
                        around.sum::<S, 1>(simd, first + index * S::LANES, gradient);
                    }
                }
            }
        }
    }
}

/// Registers whose taps are compared at once.
const GROUP: usize = 2;

/// The windows that see a position: which tap they see it through, and their first channel.
struct Windows<'a, E> {
    seen: &'a [(u8, usize)],
    values: &'a [E],
    taps: &'a [u8],
}

impl<E: Element> Windows<'_, E> {
    /// Adds up the values of the channels from `first` on whose largest was at the position: `N` registers, the last of
    /// which may be filled in part.
    #[inline(always)]
    fn sum<S: Simd, const N: usize>(&self, simd: S, first: usize, sums: &mut [E]) {
        let zero = simd.splat(0.0);
        let mut registers = [zero; N];
        for (tap, start) in self.seen {
            let channels = start + first..start + first + sums.len();
            let (values, taps) = (&self.values[channels.clone()], &self.taps[channels]);
            let is_largest = equals(*tap, taps, N * S::LANES);
            for (index, (sum, values)) in registers.iter_mut().zip(values.chunks(S::LANES)).enumerate() {
                let is_largest = simd.load(&is_largest[index * S::LANES..]);
                let value = simd.select_below(zero, is_largest, simd.load_element(values), zero);
                *sum = simd.add(*sum, value);
            }
        }
        for (sum, sums) in registers.into_iter().zip(sums.chunks_mut(S::LANES)) {
            simd.store_element(sum, sums);
        }
    }
}

/// 1 for each of the taps that is `tap`, else 0. Where there are `whole` of them, the loop has a known length.
#[inline(always)]
fn equals(tap: u8, taps: &[u8], whole: usize) -> [f32; GROUP * MAX_LANES] {
    let mut lanes = [0.0; GROUP * MAX_LANES];
    if taps.len() == whole {
        for lane in 0..whole {
            lanes[lane] = f32::from(u8::from(taps[lane] == tap));
        }
    } else {
        for (lane, other) in lanes.iter_mut().zip(taps) {
            *lane = f32::from(u8::from(*other == tap));
        }
    }
    lanes
}

/// The taps through which the windows along an axis see position `at`, and those windows.
#[inline(always)]
fn windows(pool: &Pool2d, axis: usize, at: usize, windows: usize) -> impl Iterator<Item = (usize, usize)> {
    let (stride, padding) = (pool.stride[axis], pool.padding[axis]);
    (0..pool.kernel[axis]).rev().filter_map(move |tap| {
        let distance = (at + padding).checked_sub(tap)?;
        (distance % stride == 0 && distance / stride < windows).then_some((tap, distance / stride))
    })
}
