//! Inference in pieces that stay in cache.
//!
//! Low blocks have large images and small filters, high blocks the reverse. So the blocks are cut into stages: the low ones
//! run an image at a time, the high ones several, as many as fit into the cache with the stage's own peak. A batch is split
//! into pieces that go through all stages on one thread each, without a barrier between layers; a single piece is split
//! inside its layers instead. Where a batch is split changes no result.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use elimnet_arch::{Network, Shape, ShapeError};
use elimnet_engine::Matrix;
use elimnet_kernels::Kernels;

use crate::CpuDevice;
use crate::inference::{Prepared, Watch};
use crate::parameters::Parameters;
use crate::plan::{Mode, Plan, ValueId};
use crate::slabs::{Kept, Slabs};

/// Bytes of activations that a stage may keep in cache: half of the level 2 cache of today's server cores.
const CACHE: usize = 1 << 20;

/// Most images of a piece: the filters of the highest blocks are then read once for so many.
const MOST_IMAGES: usize = 16;

/// Consecutive blocks, prepared for inference.
#[derive(Debug)]
pub(crate) struct Staged<E> {
    pub(crate) input: Shape,
    stages: Vec<Stage<E>>,
}

#[derive(Debug)]
struct Stage<E> {
    blocks: Range<usize>,
    prepared: Prepared<E>,
    /// Images at once.
    images: usize,
}

/// The memory of one thread, by stage.
#[derive(Debug, Default)]
pub(crate) struct Workspace<E> {
    slabs: Vec<Slabs<E>>,
}

impl<E: Kernels> Workspace<E> {
    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.slabs.iter().map(Slabs::bytes).sum()
    }
}

/// Where the output goes.
pub(crate) enum Target<'a, E> {
    Floats(&'a mut [f32]),
    Elements(&'a mut [E]),
}

/// What is asked of a run beside its output.
#[derive(Default)]
pub(crate) struct Extras<'a> {
    /// Blocks whose output is to be averaged over its pixels.
    pub(crate) cuts: &'a [usize],
    /// Time of each block of the network, to be added to.
    pub(crate) times: Option<&'a mut [Duration]>,
}

impl<E: Kernels> Staged<E> {
    /// Prepares `blocks` of `network` for images of shape `input`.
    pub(crate) fn new(
        device: &CpuDevice,
        network: &Network,
        blocks: Range<usize>,
        input: Shape,
        parameters: &Parameters,
    ) -> Result<Self, ShapeError> {
        let whole = Plan::new(network, blocks.clone(), input, Mode::Inference)?;
        let mut stages: Vec<Stage<E>> = Vec::new();
        for (range, images) in cut(&whole, blocks, images_by_block::<E>(&whole)) {
            let plan = Plan::new(network, range.clone(), input, Mode::Inference)?;
            let prepared = device.run(|| Prepared::new(device.isa(), plan, parameters));
            stages.push(Stage { blocks: range, prepared, images });
        }
        Ok(Self { input, stages })
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.stages.iter().map(|stage| stage.prepared.bytes()).sum()
    }

    /// Shape of what comes out.
    pub(crate) fn output(&self) -> Shape {
        let plan = &self.last().prepared.plan;
        plan.shapes[plan.output()]
    }

    fn last(&self) -> &Stage<E> {
        &self.stages[self.stages.len() - 1]
    }

    /// Runs on images; gives the averages of [`Extras::cuts`].
    pub(crate) fn run(
        &self,
        device: &CpuDevice,
        workspaces: &mut Vec<Mutex<Workspace<E>>>,
        pixels: &[f32],
        target: Target<'_, E>,
        extras: Extras<'_>,
    ) -> Vec<Matrix> {
        let count = pixels.len() / self.input.len().max(1);
        let most = self.last().images.min(count.div_ceil(device.threads())).max(1);
        let pieces = count.div_ceil(most).max(1);
        let images = count.div_ceil(pieces).max(1);
        let pieces = count.div_ceil(images);
        workspaces.resize_with(device.threads().max(1), Mutex::default);
        let work = Mutex::new(self.pieces(pixels, target, images));
        let done = Mutex::new(Vec::new());
        let total_times = Mutex::new(extras.times);
        let worker = |thread: usize| {
            let mut workspace = lock(&workspaces[thread]);
            workspace.slabs.resize_with(self.stages.len(), Slabs::default);
            let with_times = lock(&total_times).is_some();
            let mut times = with_times.then(|| vec![Duration::ZERO; self.last().blocks.end]);
            loop {
                let next = lock(&work).next();
                let Some(piece) = next else { break };
                let index = piece.index;
                let features = self.run_piece(piece, &mut workspace, extras.cuts, times.as_deref_mut());
                if !extras.cuts.is_empty() {
                    lock(&done).push((index, features));
                }
            }
            if let (Some(total), Some(times)) = (&mut *lock(&total_times), times) {
                add_times(total, &times, pieces.min(device.threads()));
            }
        };
        match pieces {
            0 | 1 => device.run(|| worker(0)),
            _ => device.on_every_thread(worker),
        }
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.in_order(done, extras.cuts, count)
    }

    fn pieces<'a>(
        &self,
        pixels: &'a [f32],
        target: Target<'a, E>,
        images: usize,
    ) -> impl Iterator<Item = Piece<'a, E>> + use<'a, E> {
        let (input, output) = (self.input.len().max(1) * images, self.output().len().max(1) * images);
        let (floats, elements) = match target {
            Target::Floats(values) => (values, &mut [][..]),
            Target::Elements(values) => (&mut [][..], values),
        };
        let floats = floats.chunks_mut(output).map(Target::Floats);
        let targets = floats.chain(elements.chunks_mut(output).map(Target::Elements));
        let pieces = pixels.chunks(input).zip(targets).enumerate();
        pieces.map(|(index, (pixels, target))| Piece { index, pixels, target })
    }

    fn run_piece(
        &self,
        piece: Piece<'_, E>,
        workspace: &mut Workspace<E>,
        cuts: &[usize],
        times: Option<&mut [Duration]>,
    ) -> Vec<Vec<f32>> {
        let count = piece.pixels.len() / self.input.len().max(1);
        let captures = cuts.iter().map(|&cut| self.capture(cut, count)).collect();
        let mut pass = StagedPass { staged: self, captures, times };
        let last = self.stages.len() - 1;
        pass.run(&mut workspace.slabs, last, piece.pixels, 0..count);
        let (prepared, slabs) = (&self.stages[last].prepared, &workspace.slabs[last]);
        match piece.target {
            Target::Floats(target) => prepared.write_floats(slabs, count, target),
            Target::Elements(target) => prepared.write_elements(slabs, count, target),
        }
        pass.captures.into_iter().map(|capture| capture.rows).collect()
    }

    fn capture(&self, cut: usize, count: usize) -> Capture {
        let holds = |stage: &Stage<E>| stage.blocks.contains(&cut);
        let stage = self.stages.iter().position(holds).expect("the cut is one of the blocks");
        let plan = &self.stages[stage].prepared.plan;
        let value = plan.block_outputs[cut - self.stages[stage].blocks.start];
        let channels = plan.shapes[value].channels;
        Capture { stage, value, channels, rows: vec![0.0; count * channels] }
    }

    /// One matrix a cut from the rows of the pieces.
    fn in_order(&self, mut done: Vec<(usize, Vec<Vec<f32>>)>, cuts: &[usize], count: usize) -> Vec<Matrix> {
        done.sort_by_key(|(index, _)| *index);
        let matrix = |position: usize| {
            let rows = done.iter().flat_map(|(_, features)| &features[position]).copied().collect();
            Matrix::new(count, self.capture(cuts[position], 0).channels, rows)
        };
        (0..cuts.len()).map(matrix).collect()
    }
}

/// Some images on their way through all stages.
struct Piece<'a, E> {
    index: usize,
    pixels: &'a [f32],
    target: Target<'a, E>,
}

/// Averages of a value, for all images of a piece.
struct Capture {
    stage: usize,
    value: ValueId,
    channels: usize,
    rows: Vec<f32>,
}

struct StagedPass<'a, E> {
    staged: &'a Staged<E>,
    captures: Vec<Capture>,
    times: Option<&'a mut [Duration]>,
}

impl<E: Kernels> StagedPass<'_, E> {
    /// Runs the stages up to `stage` on some images of the piece; `slabs` are theirs.
    fn run(&mut self, slabs: &mut [Slabs<E>], stage: usize, pixels: &[f32], images: Range<usize>) {
        let prepared = &self.staged.stages[stage].prepared;
        let image = self.staged.input.len().max(1);
        let (below, own) = slabs.split_at_mut(stage);
        if stage == 0 {
            let input = prepared.input(&mut own[0], images.len());
            E::narrow(prepared.isa, pixels, input);
        } else {
            let most = self.staged.stages[stage - 1].images;
            let len = prepared.plan.shapes[0].len();
            prepared.input(&mut own[0], images.len());
            for (part, pixels) in pixels.chunks(most * image).enumerate() {
                let count = pixels.len() / image;
                let first = part * most;
                self.run(below, stage - 1, pixels, images.start + first..images.start + first + count);
                let input = &mut prepared.input(&mut own[0], images.len())[first * len..][..count * len];
                self.staged.stages[stage - 1].prepared.write_elements(&below[stage - 1], count, input);
            }
        }
        let own_captures = self.captures.iter_mut().filter(|capture| capture.stage == stage);
        let captured = own_captures.map(|capture| {
            let rows = images.start * capture.channels..images.end * capture.channels;
            (capture.value, &mut capture.rows[rows])
        });
        let times = self.times.as_deref_mut();
        let mut watch = Watch { captured: captured.collect(), times };
        prepared.run(&mut own[0], images.len(), &mut watch);
    }
}

/// A thread's times, as shares of what went by on the clock.
fn add_times(total: &mut [Duration], times: &[Duration], busy: usize) {
    for (total, time) in total.iter_mut().zip(times) {
        *total += *time / busy.max(1) as u32;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Images that each block can take at once within [`CACHE`].
fn images_by_block<E: Kernels>(plan: &Plan) -> Vec<usize> {
    let mut bytes = vec![1; plan.block_outputs.len()];
    let first = plan.steps.first().map_or(0, |step| step.block);
    for step in &plan.steps {
        let values = step.inputs.iter().chain([&step.output]);
        let step_bytes = values.map(|&value| plan.shapes[value].len()).sum::<usize>() * size_of::<E>();
        let block = &mut bytes[step.block - first];
        *block = (*block).max(step_bytes);
    }
    bytes.iter().map(|bytes| (CACHE / bytes).clamp(1, MOST_IMAGES)).collect()
}

/// Cuts blocks where their numbers of images differ; the numbers only go up, by powers of two.
fn cut(plan: &Plan, blocks: Range<usize>, images: Vec<usize>) -> Vec<(Range<usize>, usize)> {
    let mut stages: Vec<(Range<usize>, usize)> = Vec::new();
    let mut least = MOST_IMAGES;
    for (position, &images) in images.iter().enumerate().rev() {
        least = least.min(1 << images.ilog2());
        let block = blocks.start + position;
        let is_cut = plan.kept(plan.block_outputs[position]) == Kept::Pixels;
        match stages.last_mut() {
            Some((range, last)) if *last == least || !is_cut => {
                range.start = block;
                *last = least.min(*last);
            }
            _ => stages.push((block..block + 1, least)),
        }
    }
    stages.reverse();
    stages
}

#[cfg(test)]
mod tests {
    use elimnet_arch::zoo;
    use elimnet_kernels::Bf16;

    use super::{MOST_IMAGES, cut, images_by_block};
    use crate::plan::{Mode, Plan};

    #[test]
    fn stages_cover_all_blocks_and_take_more_images_each() {
        for name in zoo::NAMES {
            let network = zoo::by_name(name, 10).unwrap();
            let blocks = 0..network.all_blocks().count();
            let plan =
                Plan::new(&network, blocks.clone(), network.input_shape(224), Mode::Inference).unwrap();
            let stages = cut(&plan, blocks.clone(), images_by_block::<Bf16>(&plan));
            assert_eq!(
                stages.iter().flat_map(|(range, _)| range.clone()).collect::<Vec<_>>(),
                blocks.collect::<Vec<_>>()
            );
            assert!(stages.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name}");
            assert!(stages.iter().all(|(_, images)| (1..=MOST_IMAGES).contains(images)), "{name}");
        }
    }
}
