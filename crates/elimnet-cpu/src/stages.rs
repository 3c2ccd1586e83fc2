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
use crate::inference::{Capture, Prepared, Watch};
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
    /// Of the averages of a piece that are asked for.
    captures: Vec<Capture>,
}

impl<E: Kernels> Workspace<E> {
    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let captures = self.captures.iter().map(|capture| size_of_val(&capture.rows[..]));
        self.slabs.iter().map(Slabs::bytes).sum::<usize>() + captures.sum::<usize>()
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
        let mut features: Vec<Matrix> = extras.cuts.iter().map(|&cut| self.matrix(cut, count)).collect();
        let cuts = extras.cuts;
        let gathered = Mutex::new(&mut features);
        let total_times = Mutex::new(extras.times);
        let worker = |thread: usize| {
            let mut workspace = lock(&workspaces[thread]);
            workspace.slabs.resize_with(self.stages.len(), Slabs::default);
            let with_times = lock(&total_times).is_some();
            let mut times = with_times.then(|| vec![Duration::ZERO; self.last().blocks.end]);
            loop {
                let next = lock(&work).next();
                let Some(piece) = next else { break };
                let first = piece.index * images;
                self.run_piece(piece, &mut workspace, cuts, times.as_deref_mut());
                for (matrix, capture) in lock(&gathered).iter_mut().zip(&workspace.captures) {
                    let start = first * capture.channels;
                    matrix.values[start..start + capture.rows.len()].copy_from_slice(&capture.rows);
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
        features
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
    ) {
        let count = piece.pixels.len() / self.input.len().max(1);
        let Workspace { slabs, captures } = workspace;
        captures.resize_with(cuts.len(), Capture::default);
        for (capture, &cut) in captures.iter_mut().zip(cuts) {
            (capture.stage, capture.value, capture.channels) = self.captured(cut);
            capture.rows.resize(count * capture.channels, 0.0);
        }
        let last = self.stages.len() - 1;
        StagedPass { staged: self, captures, times }.run(slabs, last, piece.pixels, 0..count);
        let (prepared, slabs) = (&self.stages[last].prepared, &slabs[last]);
        match piece.target {
            Target::Floats(target) => prepared.write_floats(slabs, count, target),
            Target::Elements(target) => prepared.write_elements(slabs, count, target),
        }
    }

    /// Stage, value and channels of what leaves a block.
    fn captured(&self, cut: usize) -> (usize, ValueId, usize) {
        let holds = |stage: &Stage<E>| stage.blocks.contains(&cut);
        let stage = self.stages.iter().position(holds).expect("the cut is one of the blocks");
        let plan = &self.stages[stage].prepared.plan;
        let value = plan.block_outputs[cut - self.stages[stage].blocks.start];
        (stage, value, plan.shapes[value].channels)
    }

    /// Room for what leaves a block, averaged.
    fn matrix(&self, cut: usize, count: usize) -> Matrix {
        let (_, _, channels) = self.captured(cut);
        Matrix::new(count, channels, vec![0.0; count * channels])
    }
}

/// Some images on their way through all stages.
struct Piece<'a, E> {
    index: usize,
    pixels: &'a [f32],
    target: Target<'a, E>,
}

struct StagedPass<'a, E> {
    staged: &'a Staged<E>,
    captures: &'a mut [Capture],
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
        let times = self.times.as_deref_mut();
        let count = images.len();
        let mut watch = Watch { captures: self.captures, stage, images, times };
        prepared.run(&mut own[0], count, &mut watch);
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
