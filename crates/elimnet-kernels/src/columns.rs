//! One pass over arrays of `[batch, pixels, channels]`: a function of the values at each place, of parameters
//! by channel, or by channel of each image, and sums over the pixels.
//!
//! Memory sets the pace of all these kernels, so each array is read in its order, once. Four rows go together:
//! they share the loads of the parameters and of the sums, which stay in the nearest cache. Few channels make
//! short rows; several are then folded into one, with the parameters repeated, so that the inner loop stays
//! long and registers are full.

use std::ops::Range;

use crate::element::Element;
use crate::elementwise::Images;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::{CACHE_LINE, Kernel, MAX_LANES, Simd};
use crate::threads;

/// Length that folded rows have at least.
const FOLDED_LENGTH: usize = 128;
/// Rows that go together.
const ROWS: usize = 4;
/// Bytes of each array, at least, between what is computed and what is asked for in the second-level cache: four rows of several
/// arrays at once are more than the machine's own prefetching follows (`benchmarks/LOG.md`, 2026-11-29).
const AHEAD: usize = 4096;
/// Values of each array that a task takes, at least and at most; tasks in between when that makes `TASKS`.
const TASK_VALUES: [usize; 2] = [8 * 1024, 64 * 1024];
const TASKS: usize = 64;

/// Rows that are folded into one: no less than fill `FOLDED_LENGTH`, and a whole number of registers.
fn fold(channels: usize) -> usize {
    let step = MAX_LANES / greatest_common_divisor(channels, MAX_LANES);
    FOLDED_LENGTH.div_ceil(channels * step) * step
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Values in a task: whole folded rows, by the size of the problem alone.
pub(crate) fn task_length(channels: usize, values: usize) -> usize {
    let row = fold(channels) * channels;
    let wanted = (values / TASKS).clamp(TASK_VALUES[0], TASK_VALUES[1]);
    (wanted / row).max(2 * ROWS) * row
}

pub(crate) fn check_rows<E>(values: &[E], channels: usize) {
    assert!(channels > 0, "no channels");
    assert_eq!(values.len() % channels, 0, "{} values in rows of {channels}", values.len());
}

/// What a pass computes at each place.
///
/// `PARAMETERS` rows of parameters, `INPUTS` arrays that are read, `OUTPUTS` that are written, `SUMS` by channel.
pub(crate) trait Pointwise<
    const PARAMETERS: usize,
    const INPUTS: usize,
    const OUTPUTS: usize,
    const SUMS: usize,
>: Copy + Sync
{
    /// Whether what the outputs hold before is read too; otherwise `old` is zeros.
    const READS_OUTPUTS: bool = false;

    /// New values of the outputs; adds to `sums`.
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        parameters: [S::Vector; PARAMETERS],
        inputs: [S::Vector; INPUTS],
        old: [S::Vector; OUTPUTS],
        sums: &mut [S::Vector; SUMS],
    ) -> [S::Vector; OUTPUTS];
}

/// `parameters` once for each folded row; one set for all images or one for each.
pub(crate) fn folded(channels: usize, parameters: &[f32]) -> Scratch {
    let mut folded = Scratch::new(parameters.len() * fold(channels));
    let rows = folded.chunks_exact_mut(fold(channels) * channels);
    for (row, set) in rows.zip(parameters.chunks_exact(channels)) {
        row.chunks_exact_mut(channels).for_each(|values| values.copy_from_slice(set));
    }
    folded
}

/// Runs `function` over all places; gives the sums, `[batch, channels]`: within a task in f32, over the tasks
/// of an image, in order, in f64.
///
/// Parameters are `[channels]`, or `[batch, channels]` where each image has its own.
pub(crate) fn sweep<
    E: Element,
    F: Pointwise<PARAMETERS, INPUTS, OUTPUTS, SUMS>,
    const PARAMETERS: usize,
    const INPUTS: usize,
    const OUTPUTS: usize,
    const SUMS: usize,
>(
    isa: Isa,
    images: Images,
    function: F,
    parameters: [&[f32]; PARAMETERS],
    inputs: [&[E]; INPUTS],
    outputs: [&mut [E]; OUTPUTS],
) -> [Scratch<f64>; SUMS] {
    let run = |length: usize,
               parameters: [&[f32]; PARAMETERS],
               inputs: [&[E]; INPUTS],
               outputs: [&mut [E]; OUTPUTS],
               sums: &mut [f32]| {
        isa.run(Rows { channels: images.channels, length, function, parameters, inputs, outputs, sums });
    };
    run_tasks(images, parameters, inputs, outputs, &run)
}

/// A task, from its length, parameters, inputs, outputs, and where its sums go.
type Task<'t, E, const P: usize, const I: usize, const O: usize> =
    dyn Fn(usize, [&[f32]; P], [&[E]; I], [&mut [E]; O], &mut [f32]) + Sync + 't;

/// What [`sweep`] does around its tasks, compiled once for all functions.
fn run_tasks<E: Element, const P: usize, const I: usize, const O: usize, const SUMS: usize>(
    images: Images,
    parameters: [&[f32]; P],
    inputs: [&[E]; I],
    outputs: [&mut [E]; O],
    run: &Task<'_, E, P, I, O>,
) -> [Scratch<f64>; SUMS] {
    let channels = images.channels;
    let mut sums = std::array::from_fn(|_| Scratch::filled(images.batch * channels, 0.0));
    if images.is_empty() {
        return sums;
    }
    let tables = parameters.map(|values| Table::new(channels, values));
    let cut = Cut::new(images);
    let mut parts = Scratch::new(cut.tasks() * SUMS * channels);
    let (mut outputs, mut rest) = (outputs, &mut parts[..]);
    let tasks = (0..cut.tasks()).map(|task| {
        let place = cut.place(task);
        let length = place.values.len();
        let outputs =
            outputs.each_mut().map(|output| output.split_off_mut(..length).expect("outputs as long"));
        (place, outputs, rest.split_off_mut(..SUMS * channels).expect("sums of every task"))
    });
    threads::for_each(tasks, &|_, (place, outputs, sums)| {
        let parameters = tables.each_ref().map(|table| table.of_image(place.image));
        let inputs = inputs.map(|values| &values[place.values.clone()]);
        run(place.values.len(), parameters, inputs, outputs, sums);
    });
    for (task, part) in parts.chunks_exact((SUMS * channels).max(1)).enumerate() {
        let image = cut.place(task).image;
        for (sums, part) in sums.iter_mut().zip(part.chunks_exact(channels)) {
            let sums = &mut sums[image * channels..][..channels];
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += f64::from(*part));
        }
    }
    sums
}

/// Parameters once for each folded row: one set for all images or one for each.
struct Table {
    values: Scratch,
    row: usize,
}

impl Table {
    fn new(channels: usize, parameters: &[f32]) -> Self {
        let row = fold(channels) * channels;
        Self { values: folded(channels, parameters), row }
    }

    fn of_image(&self, image: usize) -> &[f32] {
        let image = if self.values.len() == self.row { 0 } else { image };
        &self.values[image * self.row..][..self.row]
    }
}

/// How images are cut into tasks.
#[derive(Clone, Copy)]
struct Cut {
    images: Images,
    /// Values of a task; the last one of an image has what is left.
    step: usize,
}

/// Where a task works.
struct Place {
    image: usize,
    values: Range<usize>,
}

impl Cut {
    fn new(images: Images) -> Self {
        Self { images, step: task_length(images.channels, images.batch * images.image_length()) }
    }

    fn of_image(self) -> usize {
        self.images.image_length().div_ceil(self.step)
    }

    fn tasks(self) -> usize {
        self.images.batch * self.of_image()
    }

    fn place(self, task: usize) -> Place {
        let (image, length) = (task / self.of_image(), self.images.image_length());
        let start = task % self.of_image() * self.step;
        let end = length.min(start + self.step);
        Place { image, values: image * length + start..image * length + end }
    }
}

/// One task of a pass, on one thread.
pub(crate) struct Rows<'a, E, F, const P: usize, const I: usize, const O: usize, const SUMS: usize> {
    pub(crate) channels: usize,
    /// Values in each array.
    pub(crate) length: usize,
    pub(crate) function: F,
    /// As [`folded`] makes them.
    pub(crate) parameters: [&'a [f32]; P],
    pub(crate) inputs: [&'a [E]; I],
    pub(crate) outputs: [&'a mut [E]; O],
    /// `[SUMS, channels]`, overwritten.
    pub(crate) sums: &'a mut [f32],
}

impl<E: Element, F, const P: usize, const I: usize, const O: usize, const SUMS: usize> Kernel
    for Rows<'_, E, F, P, I, O, SUMS>
where
    F: Pointwise<P, I, O, SUMS>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let row = fold(self.channels) * self.channels;
        let ahead = (AHEAD / size_of::<E>()).next_multiple_of(ROWS * row);
        let mut sums = Scratch::filled(SUMS * row, 0.0);
        let mut start = 0;
        while start + ROWS * row <= self.length {
            // Folded rows are whole registers: only the last of all can be shorter.
            for column in (0..row).step_by(S::LANES) {
                if (column * size_of::<E>()).is_multiple_of(CACHE_LINE) {
                    self.prefetch(simd, start + ahead + column, row);
                }
                self.register::<S, ROWS>(simd, start, row, column..column + S::LANES, &mut sums);
            }
            start += ROWS * row;
        }
        while start < self.length {
            let length = row.min(self.length - start);
            for column in (0..length).step_by(S::LANES) {
                let columns = column..length.min(column + S::LANES);
                self.register::<S, 1>(simd, start, length, columns, &mut sums);
            }
            start += length;
        }
        unfold(self.channels, row, &sums, self.sums);
    }
}

impl<E: Element, F, const P: usize, const I: usize, const O: usize, const SUMS: usize>
    Rows<'_, E, F, P, I, O, SUMS>
where
    F: Pointwise<P, I, O, SUMS>,
{
    /// Asks for a line of each of `ROWS` rows of `length` values, the first from `start` on, there or not.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, start: usize, length: usize) {
        for row in 0..ROWS {
            let place = start + row * length;
            for input in &self.inputs {
                simd.prefetch_line(input.as_ptr().wrapping_add(place));
            }
            for output in &self.outputs {
                simd.prefetch_line(output.as_ptr().wrapping_add(place));
            }
        }
    }

    /// One register's columns of `COUNT` rows of `length` values from `start` on.
    ///
    /// Loops over indices: `array::map` and closures are functions of their own, which the compiler did not
    /// inline, and without that they have no wide registers (ten times slower).
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    fn register<S: Simd, const COUNT: usize>(
        &mut self,
        simd: S,
        start: usize,
        length: usize,
        columns: Range<usize>,
        sums: &mut [f32],
    ) {
        let zero = simd.splat(0.0);
        let stride = sums.len() / SUMS.max(1);
        let (mut parameters, mut block) = ([zero; P], [zero; SUMS]);
        for index in 0..P {
            parameters[index] = simd.load_partial(&self.parameters[index][columns.start..columns.end]);
        }
        for index in 0..SUMS {
            block[index] = simd.load_partial(&sums[index * stride..][columns.start..columns.end]);
        }
        for row in 0..COUNT {
            let at = start + row * length;
            let (mut inputs, mut old) = ([zero; I], [zero; O]);
            for index in 0..I {
                inputs[index] = simd.load_element(&self.inputs[index][at..][columns.start..columns.end]);
            }
            if F::READS_OUTPUTS {
                for index in 0..O {
                    old[index] = simd.load_element(&self.outputs[index][at..][columns.start..columns.end]);
                }
            }
            let new = self.function.apply::<S, E>(simd, parameters, inputs, old, &mut block);
            for index in 0..O {
                simd.store_element(new[index], &mut self.outputs[index][at..][columns.start..columns.end]);
            }
        }
        for index in 0..SUMS {
            simd.store_partial(block[index], &mut sums[index * stride..][columns.start..columns.end]);
        }
    }
}

/// Overwrites `sums` by channel with those of folded rows of `row` values.
fn unfold(channels: usize, row: usize, folded: &[f32], sums: &mut [f32]) {
    for (folded, sums) in folded.chunks_exact(row).zip(sums.chunks_exact_mut(channels)) {
        let (first, others) = folded.split_at(channels);
        sums.copy_from_slice(first);
        for other in others.chunks_exact(channels) {
            sums.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sum;

impl Pointwise<0, 1, 0, 1> for Sum {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        _: [S::Vector; 0],
        [x]: [S::Vector; 1],
        _: [S::Vector; 0],
        [sum]: &mut [S::Vector; 1],
    ) -> [S::Vector; 0] {
        *sum = simd.add(*sum, x);
        []
    }
}

/// Sum of each channel over all rows: the gradient of a bias.
///
/// # Shapes
/// `x` `[rows, channels]`, `sums` `[channels]`.
///
/// # Panics
/// If the length of `sums` is zero or does not divide that of `x`.
pub fn column_sums<E: Element>(isa: Isa, x: &[E], sums: &mut [f32]) {
    check_rows(x, sums.len());
    let [total] = sweep(isa, Images::rows(x, sums.len()), Sum, [], [x], []);
    for (sum, total) in sums.iter_mut().zip(&*total) {
        *sum = *total as f32;
    }
}
