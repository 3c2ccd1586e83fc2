//! The backward pass: steps in reverse, each turning the gradient of its output into those of its inputs and tensors.

use elimnet_arch::Activation;
use elimnet_kernels as kernels;

use crate::buffers::Buffers;
use crate::forward::{Context, Pass, Saved, derivable_from_output, kernel_activation, transpose_samples};
use crate::parameters::Parameters;
use crate::plan::{ConvStep, Kind, NormStep, Step, ValueId};

/// A backward pass that is under way.
pub(crate) struct Backward<'a> {
    pub(crate) context: Context<'a>,
    pub(crate) pass: &'a Pass,
    pub(crate) parameters: &'a Parameters,
    pub(crate) buffers: &'a mut Buffers,
    /// Gradient of each tensor of the network; those of the plan's steps are overwritten.
    pub(crate) gradients: &'a mut [Vec<f32>],
    /// Gradients of values, as far as they are known.
    pub(crate) values: Vec<Option<Vec<f32>>>,
}

impl Backward<'_> {
    /// Runs from the gradient of the plan's output; the plan's input gets none.
    pub(crate) fn run(mut self, output_gradient: Vec<f32>) {
        let plan = self.context.plan;
        self.values[plan.output()] = Some(output_gradient);
        for (step, saved) in plan.steps.iter().zip(&self.pass.saved).rev() {
            if let Some(gradient) = self.values[step.output].take() {
                self.step(step, saved, gradient);
            }
        }
    }

    fn step(&mut self, step: &Step, saved: &Saved, gradient: Vec<f32>) {
        match &step.kind {
            Kind::Conv(conv) => self.conv(step, conv, saved, gradient),
            Kind::Norm(norm) => self.norm(step, norm, saved, gradient),
            Kind::Add => {
                self.add_gradient(step.inputs[1], &gradient);
                self.give_gradient(step.inputs[0], gradient);
            }
            Kind::Scale => self.scale(step, gradient),
            Kind::Linear { weight, bias } => self.linear(step, *weight, *bias, gradient),
            Kind::Dropout { .. } | Kind::StochasticDepth { .. } => {
                let mut gradient = gradient;
                self.context.drop(step, &mut gradient);
                self.give_gradient(step.inputs[0], gradient);
            }
            _ => self.elementwise(step, saved, gradient),
        }
    }

    /// Steps of one input without tensors.
    fn elementwise(&mut self, step: &Step, saved: &Saved, gradient: Vec<f32>) {
        let Some(mut input_gradient) = self.buffer_for(step.inputs[0]) else {
            return self.buffers.give(gradient);
        };
        let context = self.context;
        let (isa, input) = (context.isa, &self.pass.values[step.inputs[0]][..]);
        let shape = context.plan.shapes[step.inputs[0]];
        let target = &mut input_gradient[..];
        match (&step.kind, saved) {
            (Kind::Activation(Activation::Softmax), _) => {
                let output = &self.pass.values[step.output];
                kernels::softmax_gradient(isa, shape.channels, output, &gradient, target);
            }
            (Kind::Activation(activation), _) => {
                kernels::activation_gradient(isa, kernel_activation(*activation), input, &gradient, target);
            }
            (Kind::MaxPool(pool), Saved::Taps(taps)) => {
                kernels::max_pool2d_gradient(isa, &context.pool(step, pool), &gradient, taps, target);
            }
            (Kind::AvgPool(pool), _) => {
                kernels::avg_pool2d_gradient(isa, &context.pool(step, pool), &gradient, target);
            }
            (Kind::GlobalAvgPool, _) => {
                kernels::global_avg_pool_gradient(isa, context.images(shape), &gradient, target);
            }
            (Kind::AdaptiveAvgPool, _) => {
                kernels::adaptive_avg_pool2d_gradient(&context.adaptive_pool(step), &gradient, target);
            }
            (Kind::Flatten, _) => transpose_samples(&gradient, target, shape.channels, shape.pixels()),
            _ => unreachable!("{:?} has a function of its own", step.kind),
        }
        self.buffers.give(gradient);
        self.give_gradient(step.inputs[0], input_gradient);
    }

    fn conv(&mut self, step: &Step, conv: &ConvStep, saved: &Saved, gradient: Vec<f32>) {
        let gradient = self.through_activation(step, conv, saved, gradient);
        if conv.shortcut {
            self.add_gradient(step.inputs[1], &gradient);
        }
        let gradient = match (&conv.norm, saved) {
            (Some(norm), Saved::Norm { input: Some(input), .. }) => {
                self.through_norm(norm, input, saved, gradient)
            }
            _ => gradient,
        };
        let (isa, shape) = (self.context.isa, self.context.conv(step, &conv.conv));
        let input = &self.pass.values[step.inputs[0]];
        kernels::conv2d_weight_gradient(isa, &shape, input, &gradient, &mut self.gradients[conv.weight]);
        if let Some(bias) = conv.bias {
            kernels::column_sums(isa, &gradient, &mut self.gradients[bias]);
        }
        if let Some(mut input_gradient) = self.buffer_for(step.inputs[0]) {
            let weight = &self.parameters.values[conv.weight];
            let filter = kernels::PackedFilter::input_gradient(isa, &shape, weight);
            kernels::conv2d_input_gradient(isa, &shape, &gradient, &filter, &mut input_gradient);
            self.give_gradient(step.inputs[0], input_gradient);
        }
        self.buffers.give(gradient);
    }

    /// Gradient of what went into the activation of a convolution's step.
    fn through_activation(
        &mut self,
        step: &Step,
        conv: &ConvStep,
        saved: &Saved,
        gradient: Vec<f32>,
    ) -> Vec<f32> {
        if conv.activation == Activation::Identity {
            return gradient;
        }
        let (isa, activation) = (self.context.isa, kernel_activation(conv.activation));
        let mut result = self.buffers.take(gradient.len());
        if derivable_from_output(conv.activation) {
            let output = &self.pass.values[step.output];
            kernels::activation_gradient(isa, activation, output, &gradient, &mut result);
        } else if let Saved::PreActivation(input) = saved {
            kernels::activation_gradient(isa, activation, input, &gradient, &mut result);
        } else {
            let input = self.normalized_again(step, conv, saved, gradient.len());
            kernels::activation_gradient(isa, activation, &input, &gradient, &mut result);
            self.buffers.give(input);
        }
        self.buffers.give(gradient);
        result
    }

    /// Recomputes what a batch norm (and shortcut) put into an activation.
    fn normalized_again(&mut self, step: &Step, conv: &ConvStep, saved: &Saved, len: usize) -> Vec<f32> {
        let mut output = self.buffers.take(len);
        let (Some(norm), Saved::Norm { input: Some(input), mean, inverse_std }) = (&conv.norm, saved) else {
            unreachable!("a step without batch norm keeps what goes into its activation");
        };
        let tensor = |offset: usize| &self.parameters.values[norm.weight + offset][..];
        let isa = self.context.isa;
        kernels::normalize(isa, input, mean, inverse_std, tensor(0), tensor(1), &mut output);
        if conv.shortcut {
            kernels::add_assign(isa, &mut output, &self.pass.values[step.inputs[1]]);
        }
        output
    }

    fn through_norm(
        &mut self,
        norm: &NormStep,
        input: &[f32],
        saved: &Saved,
        gradient: Vec<f32>,
    ) -> Vec<f32> {
        let Saved::Norm { mean, inverse_std, .. } = saved else {
            unreachable!("a batch norm keeps its statistics");
        };
        let mut result = self.buffers.take(gradient.len());
        let (weights, biases) = self.gradients.split_at_mut(norm.weight + 1);
        let norm_values =
            kernels::BatchNorm { mean, inverse_std, weight: &self.parameters.values[norm.weight] };
        kernels::batch_norm_backward(
            self.context.isa,
            norm_values,
            input,
            &gradient,
            &mut result,
            &mut weights[norm.weight],
            &mut biases[0],
        );
        self.buffers.give(gradient);
        result
    }

    fn norm(&mut self, step: &Step, norm: &NormStep, saved: &Saved, gradient: Vec<f32>) {
        let pass = self.pass;
        let result = self.through_norm(norm, &pass.values[step.inputs[0]], saved, gradient);
        self.give_gradient(step.inputs[0], result);
    }

    fn scale(&mut self, step: &Step, gradient: Vec<f32>) {
        let [value, scale] = [step.inputs[0], step.inputs[1]];
        let images = self.context.images(self.context.plan.shapes[value]);
        let isa = self.context.isa;
        let inputs = [&self.pass.values[value], &self.pass.values[scale]];
        if let Some(mut target) = self.buffer_for(scale) {
            kernels::scale_channels_scale_gradient(isa, images, inputs[0], &gradient, &mut target);
            self.give_gradient(scale, target);
        }
        if let Some(mut target) = self.buffer_for(value) {
            kernels::scale_channels(isa, images, &gradient, inputs[1], &mut target);
            self.give_gradient(value, target);
        }
        self.buffers.give(gradient);
    }

    fn linear(&mut self, step: &Step, weight: usize, bias: Option<usize>, gradient: Vec<f32>) {
        let (isa, shape) = (self.context.isa, self.context.linear(step));
        let input = &self.pass.values[step.inputs[0]];
        let (weights, biases) = self.gradients.split_at_mut(weight + 1);
        let bias_gradient = bias.map(|bias| &mut biases[bias - weight - 1][..]);
        let weight_gradient = &mut weights[weight];
        kernels::linear_parameter_gradients(isa, &shape, input, &gradient, weight_gradient, bias_gradient);
        if let Some(mut target) = self.buffer_for(step.inputs[0]) {
            let weight = &self.parameters.values[weight];
            let filter = kernels::PackedFilter::linear_input_gradient(isa, &shape, weight);
            kernels::linear_input_gradient(isa, &shape, &gradient, &filter, &mut target);
            self.give_gradient(step.inputs[0], target);
        }
        self.buffers.give(gradient);
    }

    /// A buffer for the gradient of a value; `None` where nobody wants it.
    fn buffer_for(&mut self, value: ValueId) -> Option<Vec<f32>> {
        (value != 0).then(|| self.buffers.take(self.context.len(value)))
    }

    /// Hands a value's gradient over; values that are read more than once sum theirs up.
    fn give_gradient(&mut self, value: ValueId, gradient: Vec<f32>) {
        match &mut self.values[value] {
            _ if value == 0 => self.buffers.give(gradient),
            Some(sum) => {
                kernels::add_assign(self.context.isa, sum, &gradient);
                self.buffers.give(gradient);
            }
            empty => *empty = Some(gradient),
        }
    }

    /// The same for a gradient that is still needed.
    fn add_gradient(&mut self, value: ValueId, gradient: &[f32]) {
        if value == 0 {
            return;
        }
        if let Some(sum) = &mut self.values[value] {
            return kernels::add_assign(self.context.isa, sum, gradient);
        }
        let mut copy = self.buffers.take(gradient.len());
        copy.copy_from_slice(gradient);
        self.values[value] = Some(copy);
    }
}
