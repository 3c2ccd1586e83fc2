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
            Some(taps) => self.fill::<S, 1>(simd, taps),
            None => self.fill::<S, 0>(simd, &mut []),
        }
    }
}

impl<E: Element> MaxRow<'_, E> {
    /// With taps where `TAPS` is 1.
    #[inline(always)]
    fn fill<S: Simd, const TAPS: usize>(self, simd: S, taps: &mut [u8]) {
        let Self { pool, image, out_y, output, .. } = self;
        let whole = pool.channels / S::LANES * S::LANES;
        for out_x in 0..output.len() / pool.channels {
            let window = Window::new::<S>(pool, image, [out_y, out_x]);
            for first in (0..pool.channels).step_by(S::LANES) {
                let start = out_x * pool.channels;
                let place = start + first..start + pool.channels.min(first + S::LANES);
                let largest = if first < whole {
                    window.largest::<S, TAPS, true>(simd, first)
                } else {
                    window.largest::<S, TAPS, false>(simd, first)
                };
                simd.store_element(largest.value, &mut output[place.clone()]);
                largest.companions.iter().for_each(|tap| store_taps(simd, *tap, &mut taps[place.clone()]));
            }
        }
    }
}

/// The taps of an output position's window that are in the image.
pub(super) struct Window<'a, E> {
    rows: Range<usize>,
    columns: Range<usize>,
    /// In a row of all of them.
    row_taps: usize,
    /// From the first of them on.
    pixels: &'a [E],
    shape: Shape,
    /// Those registers of channels that are full.
    whole: Grid<'a, E>,
}

impl<'a, E: Element> Window<'a, E> {
    #[inline(always)]
    pub(super) fn new<S: Simd>(pool: &Pool2d, image: &'a [E], [out_y, out_x]: [usize; 2]) -> Self {
        let channels = pool.channels;
        let (rows, y) = taps_inside(pool, 0, out_y);
        let (columns, x) = taps_inside(pool, 1, out_x);
        let pixels = &image[(y * pool.in_width + x) * channels..];
        let row = pool.in_width * channels;
        let shape =
            Shape { rows: rows.len(), columns: columns.len(), row, column: channels, width: channels };
        let whole = Grid::new(pixels, Shape { width: channels / S::LANES * S::LANES, ..shape });
        Self { rows, columns, row_taps: pool.kernel[1], pixels, shape, whole }
    }

    /// The tap that is taken where no value is larger than another.
    #[inline(always)]
    pub(super) fn first_tap<S: Simd>(&self, simd: S) -> S::Vector {
        simd.splat((self.rows.start * self.row_taps + self.columns.start) as f32)
    }

    /// The values of a place, channels from `first` on, a full register where `WHOLE`.
    #[inline(always)]
    pub(super) fn load<S: Simd, const WHOLE: bool>(
        &self,
        simd: S,
        [row, column]: [usize; 2],
        first: usize,
    ) -> S::Vector {
        if WHOLE {
            return self.whole.load(simd, [row, column], first);
        }
        let pixel = row * self.shape.row + column * self.shape.column;
        simd.load_element(&self.pixels[pixel + first..pixel + self.shape.width])
    }

    /// Tap and values of each place, as [`Window::load`] gives them.
    #[inline(always)]
    pub(super) fn each<S: Simd, const WHOLE: bool>(
        &self,
        simd: S,
        first: usize,
        mut see: impl FnMut(S::Vector, S::Vector),
    ) {
        let Self { rows, columns, row_taps, .. } = self;
        for row in 0..rows.len() {
            for column in 0..columns.len() {
                let tap = (rows.start + row) * row_taps + columns.start + column;
                see(simd.splat(tap as f32), self.load::<S, WHOLE>(simd, [row, column], first));
            }
        }
    }

    /// The largest value of some channels, with its tap where `TAPS` is 1.
    #[inline(always)]
    fn largest<S: Simd, const TAPS: usize, const WHOLE: bool>(
        &self,
        simd: S,
        first: usize,
    ) -> Largest<S::Vector, TAPS> {
        let mut largest = Largest::new(simd, [self.first_tap(simd); TAPS]);
        self.each::<S, WHOLE>(simd, first, |tap, values| largest.meet(simd, values, [tap; TAPS]));
        largest
    }
}

/// The largest of some values, and what came with it; with what it is made of where all are minus infinity.
pub(super) struct Largest<V, const COMPANIONS: usize> {
    pub(super) value: V,
    pub(super) companions: [V; COMPANIONS],
}

impl<V: Copy, const COMPANIONS: usize> Largest<V, COMPANIONS> {
    #[inline(always)]
    pub(super) fn new<S: Simd<Vector = V>>(simd: S, companions: [V; COMPANIONS]) -> Self {
        Self { value: simd.splat(f32::NEG_INFINITY), companions }
    }

    #[inline(always)]
    pub(super) fn meet<S: Simd<Vector = V>>(&mut self, simd: S, value: V, companions: [V; COMPANIONS]) {
        for (old, new) in self.companions.iter_mut().zip(companions) {
            *old = of_larger(simd, self.value, value, *old, new);
        }
        // The second where one is NaN, and the first where that is.
        let larger = simd.maximum(self.value, value);
        self.value = simd.select_at_most(self.value, self.value, larger, self.value);
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
pub(super) fn store_taps<S: Simd>(simd: S, vector: S::Vector, taps: &mut [u8]) {
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
        let in_y = index % pool.in_height;
        isa.run(MaxGradientRow { pool, output_gradient, taps, in_y, input_gradient, then: Nothing });
    });
}

/// What becomes of the gradient of a maximum on its way to memory.
pub(super) trait Then: Copy {
    /// `gradient` is that of some channels of the row, `place` among its values, from channel `first` on.
    fn apply<S: Simd>(self, simd: S, gradient: S::Vector, place: Range<usize>, first: usize) -> S::Vector;
}

#[derive(Clone, Copy)]
struct Nothing;

impl Then for Nothing {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, gradient: S::Vector, _: Range<usize>, _: usize) -> S::Vector {
        gradient
    }
}

/// A row of an image; the output's gradient and the taps are those of the whole image.
pub(super) struct MaxGradientRow<'a, E, T> {
    pub(super) pool: &'a Pool2d,
    pub(super) output_gradient: &'a [E],
    pub(super) taps: &'a [u8],
    pub(super) in_y: usize,
    pub(super) input_gradient: &'a mut [E],
    pub(super) then: T,
}

impl<E: Element, T: Then> Kernel for MaxGradientRow<'_, E, T> {
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
            let pixel = in_x * pool.channels;
            for (index, gradient) in gradient.chunks_mut(GROUP * S::LANES).enumerate() {
                let first = index * GROUP * S::LANES;
                if gradient.len() == GROUP * S::LANES {
                    around.sum::<S, T, GROUP>(simd, pixel, first, self.then, gradient);
                } else {
                    for (index, gradient) in gradient.chunks_mut(S::LANES).enumerate() {
                        around.sum::<S, T, 1>(simd, pixel, first + index * S::LANES, self.then, gradient);
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
    /// which may be filled in part. `pixel` is where the position's channels begin in its row.
    #[inline(always)]
    fn sum<S: Simd, T: Then, const N: usize>(
        &self,
        simd: S,
        pixel: usize,
        first: usize,
        then: T,
        sums: &mut [E],
    ) {
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
        for (index, (sum, sums)) in registers.into_iter().zip(sums.chunks_mut(S::LANES)).enumerate() {
            let first = first + index * S::LANES;
            let place = pixel + first..pixel + first + sums.len();
            simd.store_element(then.apply(simd, sum, place, first), sums);
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
