//! The backward pass of a training step: steps in reverse, each turning the gradient of its output into those of its inputs
//! and tensors.

use std::ops::Range;
use std::time::Instant;

use elimnet_arch::Activation;
use elimnet_kernels::{ExciteSums, Kernels, Maxima, NormGradients, Shortcut};

use crate::arena::{Arena, BufferId};
use crate::forward::{Call, norm_activation};
use crate::geometry::{kernel_activation, transpose_samples};
use crate::parameters::Parameters;
use crate::plan::{ConvStep, Kind, NormStep};
use crate::schedule::{Excitation, Handing, MaxPooled, derivable_from_output};
use crate::slabs::{Kept, Places, Slabs};
use crate::training::{Filters, Pair, State, TrainingPass};

impl<E: Kernels> TrainingPass<E> {
    /// Turns the gradient of the logits into those of all tensors of the plan's steps, which are overwritten.
    pub(crate) fn backward(
        &mut self,
        logit_gradient: &[f32],
        parameters: &Parameters,
        gradients: &mut [Vec<f32>],
    ) {
        let Self { isa, plan, schedule, filters, states, excite_sums, slabs, times, .. } = self;
        let (count, randomness) = (self.count, self.randomness);
        let places = Places { placement: &schedule.placement, count };
        let output = plan.output();
        let Some(buffer) = schedule.gradients[output] else { return };
        match plan.kept(output) {
            Kept::Pixels => E::narrow(*isa, logit_gradient, slabs.pixels.write(places.pixels(buffer))),
            Kept::Vector => slabs.vectors.write(places.vector(buffer)).copy_from_slice(logit_gradient),
        }
        for (index, step) in plan.steps.iter().enumerate().rev() {
            let Some(own) = schedule.gradients[step.output] else { continue };
            let began = Instant::now();
            let call = Call::new(*isa, plan, schedule, count, randomness, index, step);
            let call = BackwardCall { call, own, states, parameters };
            match schedule.excitations[index] {
                Some(excitation) => call.excite(excitation, &filters[index], excite_sums, slabs, gradients),
                None => call.run(&filters[index], slabs, gradients),
            }
            times[step.block].backward += began.elapsed();
        }
    }
}

/// One step of the backward pass.
struct BackwardCall<'a> {
    call: Call<'a>,
    /// The gradient of the output.
    own: BufferId,
    /// By step.
    states: &'a [State],
    parameters: &'a Parameters,
}

impl BackwardCall<'_> {
    fn run<E: Kernels>(&self, filters: &Filters<E>, slabs: &mut Slabs<E>, gradients: &mut [Vec<f32>]) {
        let Slabs { pixels, vectors, .. } = slabs;
        match (&self.call.step.kind, filters) {
            (Kind::Conv(conv), Filters::Pixels(pair)) => self.conv(conv, pair, pixels, gradients),
            (Kind::Conv(conv), Filters::Vector(pair)) => self.conv(conv, pair, vectors, gradients),
            (&Kind::Linear { weight, bias }, filters) => self.linear(weight, bias, filters, slabs, gradients),
            (Kind::GlobalAvgPool, _) => self.global_avg_pool(slabs),
            (Kind::Scale, _) => self.scale(slabs),
            _ => match self.call.kept {
                Kept::Pixels => self.elementwise(pixels, gradients),
                Kept::Vector => self.elementwise(vectors, gradients),
            },
        }
    }

    /// A step of a squeeze and excitation: scaling, pooling, convolution.
    fn excite<E: Kernels>(
        &self,
        excitation: Excitation,
        filters: &Filters<E>,
        sums: &mut [ExciteSums],
        slabs: &mut Slabs<E>,
        gradients: &mut [Vec<f32>],
    ) {
        let Call { isa, geometry, schedule, places, index, .. } = self.call;
        let steps = &geometry.plan.steps;
        let (convolution, scaling) = (&steps[excitation.conv], &steps[excitation.scale]);
        let (Kind::Conv(conv @ ConvStep { norm: Some(norm), .. }), Some(convolved)) =
            (&convolution.kind, schedule.convolved[excitation.conv])
        else {
            unreachable!("a convolution with batch norm, whose input is kept")
        };
        let fused = norm_activation(norm, conv.activation, &self.states[excitation.conv], self.parameters);
        let (images, sums) = (geometry.images(convolution.output), &mut sums[excitation.conv]);
        let ([gradient], others) = slabs.pixels.split([places.pixels(self.own)]);
        let convolved = others.read(places.pixels(convolved));
        let vector = |buffer| places.vector(buffer);
        if index == excitation.scale {
            E::excite_backward_sums(isa, images, &fused, convolved, gradient, sums);
            if let Some(target) = self.target(1) {
                slabs.vectors.write(vector(target)).copy_from_slice(sums.scale_gradient());
                self.add(1, &mut slabs.vectors, vector);
            }
        } else if index == excitation.conv {
            let scale = slabs.vectors.read(vector(scaling.inputs[1]));
            let nothing;
            let squeeze = match schedule.gradients[steps[excitation.pool].output] {
                Some(squeeze) => slabs.vectors.read(vector(squeeze)),
                None => {
                    nothing = vec![0.0; scale.len()];
                    &nothing
                }
            };
            let own = norm_gradients(norm, gradients);
            E::excite_norm_backward(isa, images, &fused, sums, convolved, scale, squeeze, gradient, own);
            let Filters::Pixels(pair) = filters else { unreachable!("of pixels") };
            self.through_conv(conv, pair, self.own, &mut slabs.pixels, gradients);
        }
    }

    fn state(&self) -> &State {
        &self.states[self.call.index]
    }

    fn place(&self, buffer: BufferId) -> Range<usize> {
        self.call.places.of(self.call.kept, buffer)
    }

    fn input(&self, position: usize) -> Range<usize> {
        self.place(self.call.step.inputs[position])
    }

    fn handing(&self, position: usize) -> Handing {
        self.call.schedule.handing[self.call.index][position]
    }

    /// The buffer to which the gradient of an input is written; none where the input wants none.
    fn target(&self, position: usize) -> Option<BufferId> {
        match self.handing(position) {
            Handing::Nothing => None,
            Handing::First | Handing::InPlace => self.sum(position),
            Handing::Added(buffer) => Some(buffer),
        }
    }

    /// The buffer of an input's gradient.
    fn sum(&self, position: usize) -> Option<BufferId> {
        self.call.schedule.gradients[self.call.step.inputs[position]]
    }

    /// Adds what was written to [`BackwardCall::target`] where others came before.
    fn add<A: Kernels>(
        &self,
        position: usize,
        arena: &mut Arena<A>,
        place: impl Fn(BufferId) -> Range<usize>,
    ) {
        if let (Handing::Added(buffer), Some(sum)) = (self.handing(position), self.sum(position)) {
            let ([sum], others) = arena.split([place(sum)]);
            A::add_assign(self.call.isa, sum, others.read(place(buffer)));
        }
    }

    /// Steps of one input without tensors: `compute` turns the output's gradient into the input's.
    fn hand<A: Kernels>(&self, arena: &mut Arena<A>, compute: impl FnOnce(&[A], &mut [A], Values<'_, A>)) {
        let Some(target) = self.target(0) else { return };
        let ([target], others) = arena.split([self.place(target)]);
        let read = |value| others.read(self.place(value));
        let values =
            Values { input: &|| read(self.call.step.inputs[0]), output: &|| read(self.call.step.output) };
        compute(others.read(self.place(self.own)), target, values);
        self.add(0, arena, |buffer| self.place(buffer));
    }

    fn elementwise<A: Kernels>(&self, arena: &mut Arena<A>, gradients: &mut [Vec<f32>]) {
        let Call { isa, geometry, step, .. } = self.call;
        let shape = geometry.shape(step.inputs[0]);
        match &step.kind {
            Kind::Activation(Activation::Softmax) => self.hand(arena, |dy, dx, values| {
                A::softmax_gradient(isa, shape.channels, (values.output)(), dy, dx);
            }),
            Kind::Activation(activation) => self.hand(arena, |dy, dx, values| {
                A::activation_gradient(isa, kernel_activation(*activation), (values.input)(), dy, dx);
            }),
            Kind::MaxPool(pool) => self.hand(arena, |dy, dx, _| {
                A::max_pool2d_gradient(isa, &geometry.pool(step, pool), dy, &self.state().taps, dx);
            }),
            Kind::AvgPool(pool) => self.hand(arena, |dy, dx, _| {
                A::avg_pool2d_gradient(isa, &geometry.pool(step, pool), dy, dx);
            }),
            Kind::AdaptiveAvgPool => self.hand(arena, |dy, dx, _| {
                A::adaptive_avg_pool2d_gradient(&geometry.adaptive_pool(step), dy, dx);
            }),
            Kind::Flatten => self.hand(arena, |dy, dx, _| {
                transpose_samples(dy, dx, shape.channels, shape.pixels());
            }),
            Kind::Norm(norm) => self.norm(norm, arena, gradients),
            Kind::Add => self.both(arena),
            Kind::Dropout { .. } | Kind::StochasticDepth(_) => {
                self.call.drop(arena.write(self.place(self.own)));
                self.pass_on(0, arena);
            }
            kind => unreachable!("{kind:?} has a function of its own"),
        }
    }

    /// Hands the output's gradient itself to an input.
    fn pass_on<A: Kernels>(&self, position: usize, arena: &mut Arena<A>) {
        if let (Handing::First, Some(target)) = (self.handing(position), self.sum(position)) {
            let ([target], others) = arena.split([self.place(target)]);
            target.copy_from_slice(others.read(self.place(self.own)));
        }
        self.add(position, arena, |buffer| self.place(buffer));
    }

    fn both<A: Kernels>(&self, arena: &mut Arena<A>) {
        // The copy comes before anybody goes on with the original.
        self.pass_on(1, arena);
        self.pass_on(0, arena);
    }

    fn norm<A: Kernels>(&self, norm: &NormStep, arena: &mut Arena<A>, gradients: &mut [Vec<f32>]) {
        let ([gradient], others) = arena.split([self.place(self.own)]);
        let fused = norm_activation(norm, Activation::Identity, self.state(), self.parameters);
        let own = norm_gradients(norm, gradients);
        A::norm_activation_backward(self.call.isa, &fused, others.read(self.input(0)), gradient, own);
        self.pass_on(0, arena);
    }

    fn conv<A: Kernels>(
        &self,
        conv: &ConvStep,
        pair: &Pair<A>,
        arena: &mut Arena<A>,
        gradients: &mut [Vec<f32>],
    ) {
        let convolved_gradient = match (&conv.norm, self.call.schedule.maxima[self.call.index]) {
            (Some(norm), Some(maxima)) => self.through_maxima(maxima, norm, arena, gradients),
            (Some(norm), None) => self.through_norm(conv, norm, arena, gradients),
            (None, _) => self.through_activation(conv, arena),
        };
        self.through_conv(conv, pair, convolved_gradient, arena, gradients);
    }

    /// From the gradient of what the convolution put out to those of its tensors and inputs.
    fn through_conv<A: Kernels>(
        &self,
        conv: &ConvStep,
        pair: &Pair<A>,
        convolved_gradient: BufferId,
        arena: &mut Arena<A>,
        gradients: &mut [Vec<f32>],
    ) {
        let Call { isa, geometry, step, .. } = self.call;
        let shape = geometry.conv(step, &conv.conv);
        let (input, gradient) = (arena.read(self.input(0)), arena.read(self.place(convolved_gradient)));
        A::winograd_weight_gradient(isa, &shape, input, gradient, &mut gradients[conv.weight]);
        if let Some(bias) = conv.bias {
            A::column_sums(isa, gradient, &mut gradients[bias]);
        }
        if let (Some(target), Some(filter)) = (self.target(0), &pair.backward) {
            let ([target], others) = arena.split([self.place(target)]);
            let gradient = others.read(self.place(convolved_gradient));
            A::conv2d_input_gradient(isa, &shape, gradient, filter, target);
            self.add(0, arena, |buffer| self.place(buffer));
        }
        if conv.shortcut {
            self.pass_on(1, arena);
        }
    }

    /// The gradient of what the convolution put out; that of the shortcut is left in the output's.
    fn through_norm<A: Kernels>(
        &self,
        conv: &ConvStep,
        norm: &NormStep,
        arena: &mut Arena<A>,
        gradients: &mut [Vec<f32>],
    ) -> BufferId {
        let Call { isa, schedule, index, .. } = self.call;
        let convolved = schedule.convolved[index].expect("a batch norm's input is kept");
        let fused = norm_activation(norm, conv.activation, self.state(), self.parameters);
        let own = norm_gradients(norm, gradients);
        let Some(spare) = schedule.spare[index] else {
            let ([gradient], others) = arena.split([self.place(self.own)]);
            A::norm_activation_backward(isa, &fused, others.read(self.place(convolved)), gradient, own);
            return self.own;
        };
        let ([gradient, d_convolved], others) = arena.split([self.place(self.own), self.place(spare)]);
        let convolved = others.read(self.place(convolved));
        let shortcut = Shortcut { values: others.read(self.input(1)), depth: self.state().depth() };
        A::norm_shortcut_activation_backward(isa, &fused, convolved, shortcut, gradient, d_convolved, own);
        spare
    }

    /// The same where the max pooling of the output is part of the step.
    fn through_maxima<A: Kernels>(
        &self,
        maxima: MaxPooled,
        norm: &NormStep,
        arena: &mut Arena<A>,
        gradients: &mut [Vec<f32>],
    ) -> BufferId {
        let Call { isa, geometry, schedule, index, .. } = self.call;
        let pooled = geometry.plan.steps[maxima.pool].output;
        let (Some(convolved), Some(d_pooled)) = (schedule.convolved[index], schedule.gradients[pooled])
        else {
            unreachable!("a batch norm's input is kept, and the gradient came through the pooling")
        };
        let ([d_convolved], others) = arena.split([self.place(self.own)]);
        let read = |buffer| others.read(self.place(buffer));
        let fused = self.call.max_pool(maxima, self.state(), self.parameters);
        let maxima = Maxima { inputs: read(maxima.inputs), taps: &self.state().taps };
        let (y, dz, own) = (read(convolved), read(d_pooled), norm_gradients(norm, gradients));
        A::norm_relu_max_pool2d_backward(isa, &fused, y, maxima, dz, d_convolved, own);
        self.own
    }

    /// The same without a batch norm.
    fn through_activation<A: Kernels>(&self, conv: &ConvStep, arena: &mut Arena<A>) -> BufferId {
        let Call { isa, schedule, index, step, .. } = self.call;
        let Some(spare) = schedule.spare[index] else { return self.own };
        let ([target], others) = arena.split([self.place(spare)]);
        let at = match derivable_from_output(conv.activation) {
            true => step.output,
            false => schedule.convolved[index].expect("what goes into the activation is kept"),
        };
        let (at, gradient) = (others.read(self.place(at)), others.read(self.place(self.own)));
        A::activation_gradient(isa, kernel_activation(conv.activation), at, gradient, target);
        if conv.shortcut {
            let ([gradient], others) = arena.split([self.place(self.own)]);
            gradient.copy_from_slice(others.read(self.place(spare)));
        }
        spare
    }

    fn linear<E: Kernels>(
        &self,
        weight: usize,
        bias: Option<usize>,
        filters: &Filters<E>,
        slabs: &mut Slabs<E>,
        gradients: &mut [Vec<f32>],
    ) {
        let Call { isa, geometry, step, places, .. } = self.call;
        let sizes = geometry.linear(step);
        let (weights, biases) = gradients.split_at_mut(weight + 1);
        let d_bias = bias.map(|bias| &mut biases[bias - weight - 1][..]);
        let (d_weight, own, target) = (&mut weights[weight], places.vector(self.own), self.target(0));
        match filters {
            Filters::Pixels(pair) => {
                let (input, gradient) = (slabs.pixels.read(self.input(0)), slabs.vectors.read(own));
                E::linear_parameter_gradients(isa, &sizes, input, gradient, d_weight, d_bias);
                if let (Some(target), Some(filter)) = (target, &pair.backward) {
                    let target = slabs.pixels.write(self.place(target));
                    E::linear_input_gradient(isa, &sizes, gradient, filter, target);
                }
                self.add(0, &mut slabs.pixels, |buffer| self.place(buffer));
            }
            Filters::Vector(pair) => {
                let (input, gradient) = (slabs.vectors.read(self.input(0)), slabs.vectors.read(own.clone()));
                f32::linear_parameter_gradients(isa, &sizes, input, gradient, d_weight, d_bias);
                if let (Some(target), Some(filter)) = (target, &pair.backward) {
                    let ([target], others) = slabs.vectors.split([self.place(target)]);
                    f32::linear_input_gradient(isa, &sizes, others.read(own), filter, target);
                }
                self.add(0, &mut slabs.vectors, |buffer| self.place(buffer));
            }
            Filters::Nothing => unreachable!("a linear layer has a weight"),
        }
    }

    fn global_avg_pool<E: Kernels>(&self, slabs: &mut Slabs<E>) {
        let Call { isa, geometry, step, places, kept, .. } = self.call;
        let images = geometry.images(step.inputs[0]);
        if kept == Kept::Vector {
            return self.hand(&mut slabs.vectors, |dy, dx, _| {
                f32::global_avg_pool_gradient(isa, images, dy, dx);
            });
        }
        let Some(target) = self.target(0) else { return };
        let gradient = slabs.vectors.read(places.vector(self.own));
        E::global_avg_pool_gradient(isa, images, gradient, slabs.pixels.write(self.place(target)));
        self.add(0, &mut slabs.pixels, |buffer| self.place(buffer));
    }

    fn scale<E: Kernels>(&self, slabs: &mut Slabs<E>) {
        match self.call.kept {
            Kept::Pixels => self.scale_pixels(slabs),
            Kept::Vector => self.scale_vector(&mut slabs.vectors),
        }
    }

    fn scale_pixels<E: Kernels>(&self, slabs: &mut Slabs<E>) {
        let Call { isa, geometry, step, places, .. } = self.call;
        let images = geometry.images(step.inputs[0]);
        let vector = |buffer| places.vector(buffer);
        if let Some(target) = self.target(1) {
            let (x, gradient) = (slabs.pixels.read(self.input(0)), slabs.pixels.read(self.place(self.own)));
            let target = slabs.vectors.write(vector(target));
            E::scale_channels_scale_gradient(isa, images, x, gradient, target);
            self.add(1, &mut slabs.vectors, vector);
        }
        if let Some(target) = self.target(0) {
            let scale = slabs.vectors.read(vector(step.inputs[1]));
            let ([target], others) = slabs.pixels.split([self.place(target)]);
            E::scale_channels(isa, images, others.read(self.place(self.own)), scale, target);
            self.add(0, &mut slabs.pixels, |buffer| self.place(buffer));
        }
    }

    fn scale_vector(&self, arena: &mut Arena<f32>) {
        let Call { isa, geometry, step, .. } = self.call;
        let images = geometry.images(step.inputs[0]);
        if let Some(target) = self.target(1) {
            let ([target], others) = arena.split([self.place(target)]);
            let (x, gradient) = (others.read(self.input(0)), others.read(self.place(self.own)));
            f32::scale_channels_scale_gradient(isa, images, x, gradient, target);
            self.add(1, arena, |buffer| self.place(buffer));
        }
        if let Some(target) = self.target(0) {
            let ([target], others) = arena.split([self.place(target)]);
            let (scale, gradient) = (others.read(self.input(1)), others.read(self.place(self.own)));
            f32::scale_channels(isa, images, gradient, scale, target);
            self.add(0, arena, |buffer| self.place(buffer));
        }
    }
}

/// Values of the forward pass, where a step reads them.
struct Values<'a, A> {
    input: &'a dyn Fn() -> &'a [A],
    output: &'a dyn Fn() -> &'a [A],
}

/// Where the gradients of a batch norm's tensors go.
fn norm_gradients<'g>(norm: &NormStep, gradients: &'g mut [Vec<f32>]) -> NormGradients<'g> {
    let (weights, biases) = gradients.split_at_mut(norm.weight + 1);
    NormGradients { weight: &mut weights[norm.weight], bias: &mut biases[0] }
}
