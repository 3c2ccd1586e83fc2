//! The forward pass of a training step.

use std::time::Instant;

use elimnet_arch::Activation;
use elimnet_engine::PassTimes;
use elimnet_kernels::{
    self as kernels, BatchNorm, Epilogue, Isa, Kernels, Moments, NormActivation, NormMaxPool, Shortcut,
};

use crate::arena::Arena;
use crate::geometry::{Geometry, kernel_activation, transpose_samples};
use crate::parameters::Parameters;
use crate::plan::{ConvStep, Kind, NormStep, Plan, Step, StochasticDepth};
use crate::schedule::{MaxPooled, Schedule, keeps_convolved};
use crate::slabs::{Kept, Places, Slabs};
use crate::training::{Filters, Pair, State, TrainingPass};

impl<E: Kernels> TrainingPass<E> {
    /// Runs on the `count` images that were written to [`TrainingPass::input`]; updates the running statistics.
    pub(crate) fn forward(&mut self, count: usize, randomness: u64, parameters: &mut Parameters) {
        self.pack(parameters);
        (self.count, self.randomness) = (count, randomness);
        let Self { isa, plan, schedule, filters, states, slabs, times, .. } = self;
        times.fill(PassTimes::default());
        for (index, step) in plan.steps.iter().enumerate() {
            let began = Instant::now();
            let call = Call::new(*isa, plan, schedule, count, randomness, index, step);
            call.forward(&filters[index], &mut states[index], slabs, parameters);
            if let Some(norm) = step.norm() {
                let rows = count * plan.shapes[step.output].pixels();
                follow_statistics(parameters, norm, &mut states[index], rows);
            }
            match call.kept {
                Kept::Pixels if schedule.pooled[index].is_some() => {
                    call.finish_pooled(&states[index], slabs, parameters);
                }
                Kept::Pixels => match schedule.maxima[index] {
                    Some(maxima) => {
                        call.finish_maxima(maxima, &mut states[index], &mut slabs.pixels, parameters)
                    }
                    None => call.finish(&states[index], &mut slabs.pixels, parameters),
                },
                Kept::Vector => call.finish(&states[index], &mut slabs.vectors, parameters),
            }
            times[step.block].forward += began.elapsed();
        }
    }

    /// The output of the forward pass.
    pub(crate) fn logits(&self, target: &mut [f32]) {
        let places = Places { placement: &self.schedule.placement, count: self.count };
        let output = self.plan.output();
        match self.plan.kept(output) {
            Kept::Pixels => E::widen(self.isa, self.slabs.pixels.read(places.pixels(output)), target),
            Kept::Vector => target.copy_from_slice(self.slabs.vectors.read(places.vector(output))),
        }
    }
}

/// One step of a training pass, about to run.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) isa: Isa,
    pub(crate) geometry: Geometry<'a>,
    pub(crate) schedule: &'a Schedule,
    pub(crate) places: Places<'a>,
    pub(crate) randomness: u64,
    pub(crate) index: usize,
    pub(crate) step: &'a Step,
    /// How its first input is kept.
    pub(crate) kept: Kept,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        isa: Isa,
        plan: &'a Plan,
        schedule: &'a Schedule,
        count: usize,
        randomness: u64,
        index: usize,
        step: &'a Step,
    ) -> Self {
        Self {
            isa,
            geometry: Geometry { plan, count },
            schedule,
            places: Places { placement: &schedule.placement, count },
            randomness,
            index,
            step,
            kept: plan.kept(step.inputs[0]),
        }
    }
}

impl Call<'_> {
    fn forward<E: Kernels>(
        &self,
        filters: &Filters<E>,
        state: &mut State,
        slabs: &mut Slabs<E>,
        parameters: &Parameters,
    ) {
        let Slabs { pixels, vectors, .. } = slabs;
        match (&self.step.kind, filters) {
            (Kind::Conv(conv), Filters::Pixels(pair)) => self.convolve(conv, pair, state, pixels, parameters),
            (Kind::Conv(conv), Filters::Vector(pair)) => {
                self.convolve(conv, pair, state, vectors, parameters)
            }
            (&Kind::Linear { bias, .. }, filters) => {
                let bias = bias.map(|bias| &parameters.values[bias][..]);
                self.linear(filters, bias, slabs);
            }
            (Kind::GlobalAvgPool | Kind::MaxPool(_), _) if self.is_done_before() => {}
            (Kind::GlobalAvgPool, _) => self.global_avg_pool(slabs),
            (Kind::Scale, _) => self.scale(slabs),
            _ => match self.kept {
                Kept::Pixels => self.elementwise(state, pixels),
                Kept::Vector => self.elementwise(state, vectors),
            },
        }
    }

    /// Whether the step is a pooling that was done with the convolution before it.
    fn is_done_before(&self) -> bool {
        let Schedule { pooled, maxima, .. } = self.schedule;
        let maxima = maxima.iter().flatten().map(|maxima| maxima.pool);
        pooled.iter().flatten().copied().chain(maxima).any(|pool| pool == self.index)
    }

    /// From the first input to the output, in one arena.
    fn map<A: Kernels>(&self, arena: &mut Arena<A>, compute: impl FnOnce(&[A], &mut [A])) {
        let place = |value| self.places.of(self.kept, value);
        let ([output], others) = arena.split([place(self.step.output)]);
        compute(others.read(place(self.step.inputs[0])), output);
    }

    /// The convolution with what can be done while its sums are in cache: all, or bias and statistics.
    fn convolve<A: Kernels>(
        &self,
        conv: &ConvStep,
        pair: &Pair<A>,
        state: &mut State,
        arena: &mut Arena<A>,
        parameters: &Parameters,
    ) {
        let place = |value| self.places.of(self.kept, value);
        let target = self.schedule.convolved[self.index].unwrap_or(self.step.output);
        let ([output], others) = arena.split([place(target)]);
        let is_whole = !keeps_convolved(conv);
        let moments = conv.norm.is_some().then(|| {
            let State { mean, inverse_std: variance, .. } = state;
            Moments { mean, variance }
        });
        let epilogue = Epilogue {
            bias: conv.bias.map(|bias| &parameters.values[bias][..]),
            shortcut: (is_whole && conv.shortcut).then(|| others.read(place(self.step.inputs[1]))),
            activation: if is_whole {
                kernel_activation(conv.activation)
            } else {
                kernels::Activation::Identity
            },
            moments,
        };
        if let Some(StochasticDepth { probability, stream }) = conv.depth {
            state.factors.resize(self.geometry.count, 0.0);
            let seed = kernels::dropout_seed(self.randomness, stream);
            kernels::dropout_factors(&mut state.factors, probability, seed);
        }
        let input = others.read(place(self.step.inputs[0]));
        let shape = self.geometry.conv(self.step, &conv.conv);
        A::conv2d(self.isa, &shape, input, &pair.forward, epilogue, output);
    }

    /// What needs the batch's statistics, or was kept apart.
    fn finish<A: Kernels>(&self, state: &State, arena: &mut Arena<A>, parameters: &Parameters) {
        match &self.step.kind {
            Kind::Conv(conv) => self.finish_conv(conv, state, arena, parameters),
            Kind::Norm(norm) => self.map(arena, |x, y| {
                let fused = norm_activation(norm, Activation::Identity, state, parameters);
                A::normalize_activate(self.isa, &fused, x, None, y);
            }),
            _ => {}
        }
    }

    /// The same where the output is pooled over all its pixels, with the pooling.
    fn finish_pooled<E: Kernels>(&self, state: &State, slabs: &mut Slabs<E>, parameters: &Parameters) {
        let (Kind::Conv(conv), Some(pool), Some(convolved)) =
            (&self.step.kind, self.schedule.pooled[self.index], self.schedule.convolved[self.index])
        else {
            unreachable!("only a convolution is pooled in its own step")
        };
        let Some(norm) = &conv.norm else { unreachable!("it has a batch norm") };
        let value = self.step.output;
        let (images, steps) = (self.geometry.images(value), &self.geometry.plan.steps);
        let means = slabs.vectors.write(self.places.vector(steps[pool].output));
        let ([output], others) = slabs.pixels.split([self.places.pixels(value)]);
        let output = (!self.schedule.is_idle[value]).then_some(output);
        let fused = norm_activation(norm, conv.activation, state, parameters);
        let convolved = others.read(self.places.pixels(convolved));
        E::normalize_activate_pool(self.isa, images, &fused, convolved, output, means);
    }

    /// The same where maxima of the output are all that is wanted.
    fn finish_maxima<A: Kernels>(
        &self,
        maxima: MaxPooled,
        state: &mut State,
        arena: &mut Arena<A>,
        parameters: &Parameters,
    ) {
        let pooling = &self.geometry.plan.steps[maxima.pool];
        let mut taps = std::mem::take(&mut state.taps);
        let place = |buffer| self.places.of(self.kept, buffer);
        let ([z, inputs], others) = arena.split([place(pooling.output), place(maxima.inputs)]);
        taps.resize(z.len(), 0);
        let fused = self.max_pool(maxima, state, parameters);
        let convolved = self.schedule.convolved[self.index].expect("a batch norm's input is kept");
        A::normalize_relu_max_pool2d(self.isa, &fused, others.read(place(convolved)), z, inputs, &mut taps);
        state.taps = taps;
    }

    /// Batch norm and max pooling of a convolution's step.
    pub(crate) fn max_pool<'a>(
        &self,
        maxima: MaxPooled,
        state: &'a State,
        parameters: &'a Parameters,
    ) -> NormMaxPool<'a> {
        let pooling = &self.geometry.plan.steps[maxima.pool];
        let (Some(norm), Kind::MaxPool(pool)) = (self.step.norm(), &pooling.kind) else {
            unreachable!("a convolution with batch norm, and a max pooling")
        };
        let NormActivation { norm, bias, .. } = norm_activation(norm, Activation::Relu, state, parameters);
        NormMaxPool { norm, bias, pool: self.geometry.pool(pooling, pool) }
    }

    /// From what the convolution put out to what leaves its step.
    fn finish_conv<A: Kernels>(
        &self,
        conv: &ConvStep,
        state: &State,
        arena: &mut Arena<A>,
        parameters: &Parameters,
    ) {
        let Some(convolved) = self.schedule.convolved[self.index] else { return };
        let place = |buffer| self.places.of(self.kept, buffer);
        let Some(norm) = &conv.norm else {
            let shortcut = conv.shortcut.then(|| place(self.step.inputs[1]));
            if let Some(shortcut) = shortcut {
                let ([convolved], others) = arena.split([place(convolved)]);
                A::add_assign(self.isa, convolved, others.read(shortcut));
            }
            let ([output], others) = arena.split([place(self.step.output)]);
            let activation = kernel_activation(conv.activation);
            return A::activate(self.isa, activation, others.read(place(convolved)), output);
        };
        let ([output], others) = arena.split([place(self.step.output)]);
        let shortcut = conv.shortcut.then(|| others.read(place(self.step.inputs[1])));
        let shortcut = shortcut.map(|values| Shortcut { values, depth: state.depth() });
        let fused = norm_activation(norm, conv.activation, state, parameters);
        A::normalize_activate(self.isa, &fused, others.read(place(convolved)), shortcut, output);
    }

    fn linear<E: Kernels>(&self, filters: &Filters<E>, bias: Option<&[f32]>, slabs: &mut Slabs<E>) {
        let (sizes, epilogue) = (self.geometry.linear(self.step), Epilogue { bias, ..Epilogue::default() });
        let output = self.places.vector(self.step.output);
        let input = self.places.of(self.kept, self.step.inputs[0]);
        match filters {
            Filters::Pixels(pair) => {
                let (input, output) = (slabs.pixels.read(input), slabs.vectors.write(output));
                E::linear(self.isa, &sizes, input, &pair.forward, epilogue, output);
            }
            Filters::Vector(pair) => {
                let ([output], others) = slabs.vectors.split([output]);
                f32::linear(self.isa, &sizes, others.read(input), &pair.forward, epilogue, output);
            }
            Filters::Nothing => unreachable!("a linear layer has a weight"),
        }
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
    fn elementwise<A: Kernels>(&self, state: &mut State, arena: &mut Arena<A>) {
        let (isa, geometry, step) = (self.isa, self.geometry, self.step);
        let shape = geometry.shape(step.inputs[0]);
        match &step.kind {
            Kind::Norm(_) => {
                let input = arena.read(self.places.of(self.kept, step.inputs[0]));
                A::batch_statistics(isa, input, &mut state.mean, &mut state.inverse_std);
            }
            Kind::Activation(Activation::Softmax) => {
                self.map(arena, |x, y| A::softmax(isa, shape.channels, x, y));
            }
            Kind::Activation(activation) => {
                self.map(arena, |x, y| A::activate(isa, kernel_activation(*activation), x, y));
            }
            Kind::MaxPool(pool) => self.map(arena, |x, y| {
                state.taps.resize(y.len(), 0);
                A::max_pool2d(isa, &geometry.pool(step, pool), x, y, Some(&mut state.taps));
            }),
            Kind::AvgPool(pool) => {
                self.map(arena, |x, y| A::avg_pool2d(isa, &geometry.pool(step, pool), x, y));
            }
            Kind::AdaptiveAvgPool => {
                self.map(arena, |x, y| A::adaptive_avg_pool2d(&geometry.adaptive_pool(step), x, y));
            }
            Kind::Flatten => {
                self.map(arena, |x, y| transpose_samples(x, y, shape.pixels(), shape.channels));
            }
            Kind::Add => {
                let place = |value| self.places.of(self.kept, value);
                let ([output], others) = arena.split([place(step.output)]);
                let [left, right] = [0, 1].map(|input| others.read(place(step.inputs[input])));
                A::add(isa, left, right, output);
            }
            Kind::Dropout { .. } | Kind::StochasticDepth(_) => self.map(arena, |x, y| {
                y.copy_from_slice(x);
                self.drop(y);
            }),
            kind => unreachable!("{kind:?} has a function of its own"),
        }
    }

    /// Applies dropout or stochastic depth, to activations or to their gradients.
    pub(crate) fn drop<A: Kernels>(&self, values: &mut [A]) {
        let sample = self.geometry.shape(self.step.output).len();
        let (probability, stream, group) = match self.step.kind {
            Kind::Dropout { probability, stream } => (probability, stream, 1),
            Kind::StochasticDepth(StochasticDepth { probability, stream }) => (probability, stream, sample),
            _ => return,
        };
        kernels::dropout(values, probability, kernels::dropout_seed(self.randomness, stream), group);
    }
}

/// What the fused kernels need of a batch norm and the activation behind it.
pub(crate) fn norm_activation<'a>(
    norm: &NormStep,
    activation: Activation,
    state: &'a State,
    parameters: &'a Parameters,
) -> NormActivation<'a> {
    NormActivation {
        norm: BatchNorm {
            mean: &state.mean,
            inverse_std: &state.inverse_std,
            weight: &parameters.values[norm.weight],
        },
        bias: &parameters.values[norm.weight + 1],
        activation: kernel_activation(activation),
    }
}

/// Lets the running statistics follow those of a batch (torch's rule: the running variance takes the unbiased one), then
/// turns the batch's variance, which stands in its place, into one over the standard deviation.
fn follow_statistics(parameters: &mut Parameters, norm: &NormStep, state: &mut State, rows: usize) {
    let momentum = norm.norm.momentum;
    let unbiased = rows as f32 / (rows - 1) as f32;
    let follow = |running: &mut [f32], batch: &[f32], factor: f32| {
        for (running, batch) in running.iter_mut().zip(batch) {
            *running += momentum * (batch * factor - *running);
        }
    };
    follow(&mut parameters.values[norm.weight + 2], &state.mean, 1.0);
    follow(&mut parameters.values[norm.weight + 3], &state.inverse_std, unbiased);
    parameters.values[norm.weight + 4][0] += 1.0;
    for variance in &mut state.inverse_std {
        *variance = (1.0 / (f64::from(*variance) + f64::from(norm.norm.eps)).sqrt()) as f32;
    }
}
