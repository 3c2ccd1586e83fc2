//! A prepared inference pass: batch norms folded, filters packed once, what follows a convolution done while its sums are
//! in cache, every value at its planned place.

use std::ops::Range;
use std::time::{Duration, Instant};

use elimnet_arch::Activation;
use elimnet_kernels::{Epilogue, Isa, Kernels, PackedFilter};

use crate::arena::{Arena, BufferId, Lifetime};
use crate::fold::{fold_conv, scale_shift};
use crate::geometry::{Geometry, kernel_activation, transpose_samples};
use crate::parameters::Parameters;
use crate::plan::{ConvStep, Kind, Plan, Step, ValueId};
use crate::slabs::{Kept, Placement, Places, Slabs};

/// A plan with its weights and the places of its values.
#[derive(Debug)]
pub(crate) struct Prepared<E> {
    pub(crate) isa: Isa,
    pub(crate) plan: Plan,
    steps: Vec<Weights<E>>,
    pub(crate) placement: Placement,
    /// By step: room for the elements of a vector that is multiplied.
    narrowed: Vec<Option<BufferId>>,
}

/// What a step multiplies with.
#[derive(Debug)]
enum Weights<E> {
    Nothing,
    Pixels { filter: PackedFilter<E>, bias: Option<Vec<f32>> },
    Vector { filter: PackedFilter<f32>, bias: Option<Vec<f32>> },
    Linear { filter: PackedFilter<E>, bias: Option<Vec<f32>> },
    ScaleShift { scale: Vec<f32>, shift: Vec<f32> },
}

/// What wants to see values as they are computed.
pub(crate) struct Watch<'a> {
    /// Which averages are wanted; those of values of other plans among them.
    pub(crate) captures: &'a mut [Capture],
    /// Number of this plan among those of the captures.
    pub(crate) stage: usize,
    /// Which rows of the captures are these images'.
    pub(crate) images: Range<usize>,
    /// Time of each block, added up.
    pub(crate) times: Option<&'a mut [Duration]>,
}

/// Averages of a value over its pixels.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    /// Number of the plan that has the value.
    pub(crate) stage: usize,
    pub(crate) value: ValueId,
    pub(crate) channels: usize,
    /// `[images, channels]`
    pub(crate) rows: Vec<f32>,
}

impl<E: Kernels> Prepared<E> {
    /// Folds, packs and places.
    pub(crate) fn new(isa: Isa, plan: Plan, parameters: &Parameters) -> Self {
        let geometry = Geometry { plan: &plan, count: 1 };
        let steps = plan.steps.iter().map(|step| weights(isa, geometry, step, parameters)).collect();
        let (placement, narrowed) = placement(&plan);
        Self { isa, plan, steps, placement, narrowed }
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        let floats = |values: &[f32]| size_of_val(values);
        let bias = |bias: &Option<Vec<f32>>| bias.as_deref().map_or(0, floats);
        let bytes = |weights: &Weights<E>| match weights {
            Weights::Nothing => 0,
            Weights::Pixels { filter, bias: values } | Weights::Linear { filter, bias: values } => {
                filter.bytes() + bias(values)
            }
            Weights::Vector { filter, bias: values } => filter.bytes() + bias(values),
            Weights::ScaleShift { scale, shift } => floats(scale) + floats(shift),
        };
        self.steps.iter().map(bytes).sum()
    }

    fn places(&self, count: usize) -> Places<'_> {
        Places { placement: &self.placement, count }
    }

    /// Where the input of `count` images goes.
    pub(crate) fn input<'s>(&self, slabs: &'s mut Slabs<E>, count: usize) -> &'s mut [E] {
        slabs.reserve(&self.placement, count);
        slabs.pixels.write(self.places(count).pixels(0))
    }

    /// The output of the last run as elements.
    pub(crate) fn write_elements(&self, slabs: &Slabs<E>, count: usize, target: &mut [E]) {
        let (output, places) = (self.plan.output(), self.places(count));
        match self.plan.kept(output) {
            Kept::Pixels => target.copy_from_slice(slabs.pixels.read(places.pixels(output))),
            Kept::Vector => {
                E::narrow(self.isa, slabs.vectors.read(places.vector(output)), target);
            }
        }
    }

    /// The output of the last run as f32.
    pub(crate) fn write_floats(&self, slabs: &Slabs<E>, count: usize, target: &mut [f32]) {
        let (output, places) = (self.plan.output(), self.places(count));
        match self.plan.kept(output) {
            Kept::Pixels => E::widen(self.isa, slabs.pixels.read(places.pixels(output)), target),
            Kept::Vector => target.copy_from_slice(slabs.vectors.read(places.vector(output))),
        }
    }

    /// Runs on the `count` images that were written to [`Prepared::input`].
    pub(crate) fn run(&self, slabs: &mut Slabs<E>, count: usize, watch: &mut Watch<'_>) {
        let geometry = Geometry { plan: &self.plan, count };
        for (index, (step, weights)) in self.plan.steps.iter().zip(&self.steps).enumerate() {
            let began = watch.times.is_some().then(Instant::now);
            self.step(geometry, index, step, weights, slabs);
            self.capture(geometry, step.output, slabs, watch);
            if let (Some(times), Some(began)) = (&mut watch.times, began) {
                times[step.block] += began.elapsed();
            }
        }
    }

    fn capture(&self, geometry: Geometry<'_>, value: ValueId, slabs: &Slabs<E>, watch: &mut Watch<'_>) {
        let (places, images, stage) = (self.places(geometry.count), geometry.images(value), watch.stage);
        let is_wanted = |capture: &&mut Capture| capture.stage == stage && capture.value == value;
        for Capture { channels, rows, .. } in watch.captures.iter_mut().filter(is_wanted) {
            let rows = &mut rows[watch.images.start * *channels..watch.images.end * *channels];
            match self.plan.kept(value) {
                Kept::Pixels => {
                    E::global_avg_pool(self.isa, images, slabs.pixels.read(places.pixels(value)), rows);
                }
                Kept::Vector => {
                    f32::global_avg_pool(self.isa, images, slabs.vectors.read(places.vector(value)), rows);
                }
            }
        }
    }

    fn step(
        &self,
        geometry: Geometry<'_>,
        index: usize,
        step: &Step,
        weights: &Weights<E>,
        slabs: &mut Slabs<E>,
    ) {
        let (isa, places) = (self.isa, self.places(geometry.count));
        let kept = self.plan.kept(step.inputs[0]);
        let call = Call { isa, geometry, places, kept, step };
        match (&step.kind, weights) {
            (Kind::Conv(conv), Weights::Linear { filter, bias }) => {
                call.linear(conv.activation, filter, bias.as_deref(), self.narrowed[index], slabs);
            }
            (Kind::Conv(conv), Weights::Pixels { filter, bias }) => {
                call.convolve(conv, filter, bias.as_deref(), &mut slabs.pixels);
            }
            (Kind::Conv(conv), Weights::Vector { filter, bias }) => {
                call.convolve(conv, filter, bias.as_deref(), &mut slabs.vectors);
            }
            (Kind::Linear { .. }, Weights::Linear { filter, bias }) => {
                call.linear(Activation::Identity, filter, bias.as_deref(), self.narrowed[index], slabs);
            }
            (Kind::GlobalAvgPool, _) => call.global_avg_pool(slabs),
            (Kind::Scale, _) => call.scale(slabs),
            (Kind::MaxPool(pool), _) => {
                let (pool, Slabs { pixels, vectors }) = (geometry.pool(step, pool), slabs);
                match kept {
                    Kept::Pixels => call.map(pixels, |x, y| E::max_pool2d(isa, &pool, x, y, None)),
                    Kept::Vector => call.map(vectors, |x, y| f32::max_pool2d(isa, &pool, x, y, None)),
                }
            }
            _ => match kept {
                Kept::Pixels => call.elementwise(weights, &mut slabs.pixels),
                Kept::Vector => call.elementwise(weights, &mut slabs.vectors),
            },
        }
    }
}

/// One step, about to run.
#[derive(Clone, Copy)]
struct Call<'a> {
    isa: Isa,
    geometry: Geometry<'a>,
    places: Places<'a>,
    /// How its first input is kept.
    kept: Kept,
    step: &'a Step,
}

impl Call<'_> {
    /// From the first input to the output, in one arena.
    fn map<A: Kernels>(&self, arena: &mut Arena<A>, compute: impl FnOnce(&[A], &mut [A])) {
        let place = |value| self.places.of(self.kept, value);
        let ([output], others) = arena.split([place(self.step.output)]);
        compute(others.read(place(self.step.inputs[0])), output);
    }

    fn convolve<A: Kernels>(
        &self,
        conv: &ConvStep,
        filter: &PackedFilter<A>,
        bias: Option<&[f32]>,
        arena: &mut Arena<A>,
    ) {
        let place = |value| self.places.of(self.kept, value);
        let ([output], others) = arena.split([place(self.step.output)]);
        let input = others.read(place(self.step.inputs[0]));
        let epilogue = Epilogue {
            bias,
            shortcut: conv.shortcut.then(|| others.read(place(self.step.inputs[1]))),
            activation: kernel_activation(conv.activation),
            moments: None,
        };
        A::conv2d(self.isa, &self.geometry.conv(self.step, &conv.conv), input, filter, epilogue, output);
    }

    /// Linear layers multiply elements and give a vector.
    fn linear<E: Kernels>(
        &self,
        activation: Activation,
        filter: &PackedFilter<E>,
        bias: Option<&[f32]>,
        narrowed: Option<BufferId>,
        slabs: &mut Slabs<E>,
    ) {
        let Slabs { pixels, vectors, .. } = slabs;
        let output = self.places.vector(self.step.output);
        let input = match narrowed {
            Some(buffer) => {
                let place = self.places.pixels(buffer);
                let input = vectors.read(self.places.vector(self.step.inputs[0]));
                E::narrow(self.isa, input, pixels.write(place.clone()));
                place
            }
            None => self.places.pixels(self.step.inputs[0]),
        };
        let epilogue = Epilogue { bias, activation: kernel_activation(activation), ..Epilogue::default() };
        let sizes = self.geometry.linear(self.step);
        E::linear(self.isa, &sizes, pixels.read(input), filter, epilogue, vectors.write(output));
    }

    fn global_avg_pool<E: Kernels>(&self, slabs: &mut Slabs<E>) {
        let images = self.geometry.images(self.step.inputs[0]);
        match self.kept {
            Kept::Pixels => {
                let input = slabs.pixels.read(self.places.pixels(self.step.inputs[0]));
                let output = slabs.vectors.write(self.places.vector(self.step.output));
                E::global_avg_pool(self.isa, images, input, output);
            }
            Kept::Vector => self.map(&mut slabs.vectors, |x, y| {
                f32::global_avg_pool(self.isa, images, x, y);
            }),
        }
    }

    fn scale<E: Kernels>(&self, slabs: &mut Slabs<E>) {
        let images = self.geometry.images(self.step.inputs[0]);
        let scale = self.places.vector(self.step.inputs[1]);
        match self.kept {
            Kept::Pixels => {
                let scale = slabs.vectors.read(scale);
                self.map(&mut slabs.pixels, |x, y| E::scale_channels(self.isa, images, x, scale, y));
            }
            Kept::Vector => {
                let ([output], others) = slabs.vectors.split([self.places.vector(self.step.output)]);
                let input = others.read(self.places.vector(self.step.inputs[0]));
                f32::scale_channels(self.isa, images, input, others.read(scale), output);
            }
        }
    }

    /// Steps whose inputs and output are in one arena.
    fn elementwise<A: Kernels, E>(&self, weights: &Weights<E>, arena: &mut Arena<A>) {
        let (isa, geometry, step) = (self.isa, self.geometry, self.step);
        let shape = geometry.shape(step.inputs[0]);
        match (&step.kind, weights) {
            (Kind::Norm(_), Weights::ScaleShift { scale, shift }) => {
                self.map(arena, |x, y| A::scale_shift(isa, x, scale, shift, y));
            }
            (Kind::Activation(Activation::Softmax), _) => {
                self.map(arena, |x, y| A::softmax(isa, shape.channels, x, y));
            }
            (Kind::Activation(activation), _) => {
                self.map(arena, |x, y| A::activate(isa, kernel_activation(*activation), x, y));
            }
            (Kind::AvgPool(pool), _) => {
                self.map(arena, |x, y| A::avg_pool2d(isa, &geometry.pool(step, pool), x, y));
            }
            (Kind::AdaptiveAvgPool, _) => {
                self.map(arena, |x, y| A::adaptive_avg_pool2d(&geometry.adaptive_pool(step), x, y));
            }
            (Kind::Flatten, _) => {
                self.map(arena, |x, y| transpose_samples(x, y, shape.pixels(), shape.channels));
            }
            (Kind::Add, _) => {
                let place = |value| self.places.of(self.kept, value);
                let ([output], others) = arena.split([place(step.output)]);
                let [left, right] = [0, 1].map(|input| others.read(place(step.inputs[input])));
                A::add(isa, left, right, output);
            }
            (kind, _) => unreachable!("{kind:?} is not a step of an inference plan, or has its own function"),
        }
    }
}

fn weights<E: Kernels>(isa: Isa, geometry: Geometry<'_>, step: &Step, parameters: &Parameters) -> Weights<E> {
    match &step.kind {
        Kind::Conv(conv) => {
            let shape = geometry.conv(step, &conv.conv);
            let (weight, bias) = fold_conv(conv, parameters);
            match geometry.plan.kept(step.inputs[0]) {
                Kept::Pixels => {
                    Weights::Pixels { filter: PackedFilter::winograd_forward(isa, &shape, &weight), bias }
                }
                Kept::Vector if is_linear(geometry.plan, step) => {
                    let filter = PackedFilter::linear(isa, &geometry.linear(step), &weight);
                    Weights::Linear { filter, bias }
                }
                Kept::Vector => {
                    Weights::Vector { filter: PackedFilter::winograd_forward(isa, &shape, &weight), bias }
                }
            }
        }
        &Kind::Linear { weight, bias } => Weights::Linear {
            filter: PackedFilter::linear(isa, &geometry.linear(step), &parameters.values[weight]),
            bias: bias.map(|bias| parameters.values[bias].clone()),
        },
        Kind::Norm(norm) => {
            let (scale, shift) = scale_shift(norm, parameters);
            Weights::ScaleShift { scale, shift }
        }
        _ => Weights::Nothing,
    }
}

/// Whether a step is a linear layer, be it called a convolution, as in squeeze-and-excitation. Its weights, which have one row
/// an image to meet, are kept as elements: half as much to read.
fn is_linear(plan: &Plan, step: &Step) -> bool {
    let is_pixel = |value: ValueId| plan.shapes[value].pixels() == 1;
    match &step.kind {
        Kind::Linear { .. } => true,
        Kind::Conv(ConvStep { conv, shortcut, .. }) => {
            let is_plain = conv.kernel == [1, 1] && conv.groups == 1 && !shortcut;
            is_plain
                && plan.kept(step.inputs[0]) == Kept::Vector
                && is_pixel(step.inputs[0])
                && is_pixel(step.output)
        }
        _ => false,
    }
}

/// Places of the values, and of the narrowed inputs of linear layers, by step.
fn placement(plan: &Plan) -> (Placement, Vec<Option<BufferId>>) {
    let end = plan.steps.len() + 1;
    let mut buffers: Vec<(Kept, Lifetime)> = (0..plan.shapes.len())
        .map(|value| {
            let last = if plan.last_reader[value] == usize::MAX { end } else { plan.last_reader[value] + 1 };
            (plan.kept(value), Lifetime { len: plan.shapes[value].len(), first: 0, last })
        })
        .collect();
    let mut narrowed = vec![None; plan.steps.len()];
    for (index, step) in plan.steps.iter().enumerate() {
        buffers[step.output].1.first = index + 1;
        buffers[step.output].1.last = buffers[step.output].1.last.max(index + 1);
        if is_linear(plan, step) && plan.kept(step.inputs[0]) == Kept::Vector {
            narrowed[index] = Some(buffers.len());
            let len = plan.shapes[step.inputs[0]].len();
            buffers.push((Kept::Pixels, Lifetime { len, first: index + 1, last: index + 1 }));
        }
    }
    (Placement::new(&buffers), narrowed)
}
