//! What a step computes, and the training-mode pass that keeps what the backward pass needs.

use elimnet_arch::{Activation, Pool2d, Shape};
use elimnet_engine::{EngineError, Matrix};
use elimnet_kernels::{self as kernels, Isa};

use crate::buffers::Buffers;
use crate::dropout;
use crate::parameters::Parameters;
use crate::plan::{ConvStep, Kind, NormStep, Plan, Step, ValueId};

/// What every step needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) isa: Isa,
    pub(crate) plan: &'a Plan,
    /// Images in the batch.
    pub(crate) count: usize,
    /// Source of dropout's random numbers.
    pub(crate) randomness: u64,
}

impl Context<'_> {
    /// Numbers in a value.
    pub(crate) fn len(&self, value: ValueId) -> usize {
        self.count * self.plan.shapes[value].len()
    }

    /// The kernel's description of a convolution.
    pub(crate) fn conv(&self, step: &Step, conv: &elimnet_arch::Conv2d) -> kernels::Conv2d {
        let input = self.plan.shapes[step.inputs[0]];
        kernels::Conv2d {
            batch: self.count,
            in_height: input.height,
            in_width: input.width,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: padding(conv.padding),
            groups: conv.groups,
        }
    }

    /// The kernel's description of a pooling.
    pub(crate) fn pool(&self, step: &Step, pool: &Pool2d) -> kernels::Pool2d {
        let input = self.plan.shapes[step.inputs[0]];
        kernels::Pool2d {
            batch: self.count,
            in_height: input.height,
            in_width: input.width,
            channels: input.channels,
            kernel: pool.kernel,
            stride: pool.stride,
            padding: [pool.padding.top, pool.padding.left],
        }
    }

    /// The kernel's description of an adaptive pooling (global pooling: a grid of one bin).
    pub(crate) fn adaptive_pool(&self, step: &Step) -> kernels::AdaptivePool2d {
        let (input, output) = (self.plan.shapes[step.inputs[0]], self.plan.shapes[step.output]);
        kernels::AdaptivePool2d {
            batch: self.count,
            input: [input.height, input.width],
            output: [output.height, output.width],
            channels: input.channels,
        }
    }

    /// The kernel's description of a value as images.
    pub(crate) fn images(&self, shape: Shape) -> kernels::Images {
        kernels::Images { batch: self.count, pixels: shape.pixels(), channels: shape.channels }
    }

    /// The kernel's description of a linear layer.
    pub(crate) fn linear(&self, step: &Step) -> kernels::Linear {
        kernels::Linear {
            rows: self.count,
            in_features: self.plan.shapes[step.inputs[0]].channels,
            out_features: self.plan.shapes[step.output].channels,
        }
    }

    /// Computes a step that has no batch norm.
    pub(crate) fn compute(
        &self,
        step: &Step,
        parameters: &Parameters,
        inputs: &[&[f32]],
        output: &mut [f32],
    ) {
        let (isa, input) = (self.isa, inputs[0]);
        let shape = self.plan.shapes[step.inputs[0]];
        match &step.kind {
            Kind::Conv(_) | Kind::Norm(_) => unreachable!("these have functions of their own"),
            Kind::Activation(Activation::Softmax) => kernels::softmax(isa, shape.channels, input, output),
            Kind::Activation(activation) => {
                kernels::activate(isa, kernel_activation(*activation), input, output)
            }
            Kind::MaxPool(pool) => {
                let mut taps = vec![0; output.len()];
                kernels::max_pool2d(isa, &self.pool(step, pool), input, output, &mut taps);
            }
            Kind::AvgPool(pool) => kernels::avg_pool2d(isa, &self.pool(step, pool), input, output),
            Kind::GlobalAvgPool => self.global_avg_pool(shape, input, output),
            Kind::AdaptiveAvgPool => kernels::adaptive_avg_pool2d(&self.adaptive_pool(step), input, output),
            Kind::Flatten => transpose_samples(input, output, shape.pixels(), shape.channels),
            Kind::Linear { weight, bias } => {
                let sizes = self.linear(step);
                let filter = kernels::PackedFilter::linear(isa, &sizes, &parameters.values[*weight]);
                let bias = bias.map(|bias| &parameters.values[bias][..]);
                let epilogue = kernels::Epilogue { bias, ..Default::default() };
                kernels::linear(isa, &sizes, input, &filter, epilogue, output);
            }
            Kind::Add => kernels::add(isa, input, inputs[1], output),
            Kind::Scale => kernels::scale_channels(isa, self.images(shape), input, inputs[1], output),
            Kind::Dropout { .. } | Kind::StochasticDepth { .. } => {
                output.copy_from_slice(input);
                self.drop(step, output);
            }
        }
    }

    /// Means over the pixels of a value.
    pub(crate) fn global_avg_pool(&self, shape: Shape, input: &[f32], output: &mut [f32]) {
        kernels::global_avg_pool(self.isa, self.images(shape), input, output);
    }

    /// Applies dropout or stochastic depth, to activations or to their gradients.
    pub(crate) fn drop(&self, step: &Step, values: &mut [f32]) {
        let sample = self.plan.shapes[step.output].len();
        let (probability, stream, group) = match step.kind {
            Kind::Dropout { probability, stream } => (probability, stream, 1),
            Kind::StochasticDepth { probability, stream } => (probability, stream, sample),
            _ => return,
        };
        dropout::apply(values, probability, dropout::layer_seed(self.randomness, stream), group);
    }

    /// A value as a matrix of one row an image.
    pub(crate) fn matrix(&self, value: ValueId, values: &[f32]) -> Matrix {
        Matrix::new(self.count, self.plan.shapes[value].len(), values.to_vec())
    }
}

/// What the backward pass needs of a step beside its inputs and output.
#[derive(Debug)]
pub(crate) enum Saved {
    Nothing,
    /// Of a batch norm with what stands before it: its input, and the batch's mean and 1 / standard deviation.
    Norm {
        input: Option<Vec<f32>>,
        mean: Vec<f32>,
        inverse_std: Vec<f32>,
    },
    /// What went into an activation that can't be derived from its output.
    PreActivation(Vec<f32>),
    /// Which pixel of each window won.
    Taps(Vec<u8>),
}

/// Values and statistics of one training-mode pass.
#[derive(Debug)]
pub(crate) struct Pass {
    /// All values; none is dropped.
    pub(crate) values: Vec<Vec<f32>>,
    /// By step.
    pub(crate) saved: Vec<Saved>,
    pub(crate) count: usize,
    pub(crate) randomness: u64,
}

impl Pass {
    /// Runs `plan` on `input` in training mode; updates the running statistics.
    pub(crate) fn run(
        context: Context<'_>,
        parameters: &mut Parameters,
        buffers: &mut Buffers,
        input: Vec<f32>,
    ) -> Result<Self, EngineError> {
        let mut pass = Self {
            values: vec![input],
            saved: Vec::with_capacity(context.plan.steps.len()),
            count: context.count,
            randomness: context.randomness,
        };
        for step in &context.plan.steps {
            let (output, saved) = pass.step(context, step, parameters, buffers)?;
            debug_assert_eq!(pass.values.len(), step.output);
            pass.values.push(output);
            pass.saved.push(saved);
        }
        Ok(pass)
    }

    /// Gives all buffers back.
    pub(crate) fn release(self, buffers: &mut Buffers) {
        self.values.into_iter().for_each(|value| buffers.give(value));
        for saved in self.saved {
            match saved {
                Saved::Norm { input: Some(buffer), .. } | Saved::PreActivation(buffer) => {
                    buffers.give(buffer)
                }
                _ => {}
            }
        }
    }

    /// Bytes of all that is kept.
    pub(crate) fn bytes(&self) -> usize {
        let saved = self.saved.iter().map(|saved| match saved {
            Saved::Norm { input: Some(buffer), .. } | Saved::PreActivation(buffer) => buffer.capacity() * 4,
            Saved::Taps(taps) => taps.capacity(),
            _ => 0,
        });
        saved.sum::<usize>() + self.values.iter().map(|value| value.capacity() * 4).sum::<usize>()
    }

    fn step(
        &self,
        context: Context<'_>,
        step: &Step,
        parameters: &mut Parameters,
        buffers: &mut Buffers,
    ) -> Result<(Vec<f32>, Saved), EngineError> {
        let mut output = buffers.take(context.len(step.output));
        let inputs: Vec<&[f32]> = step.inputs.iter().map(|&value| &self.values[value][..]).collect();
        let saved = match &step.kind {
            Kind::Conv(conv) => {
                return conv_forward(context, step, conv, parameters, buffers, &inputs, output);
            }
            Kind::Norm(norm) => normalize_batch(context, step, norm, parameters, inputs[0], &mut output)?,
            Kind::MaxPool(pool) => {
                let mut taps = vec![0; output.len()];
                let pool = context.pool(step, pool);
                kernels::max_pool2d(context.isa, &pool, inputs[0], &mut output, &mut taps);
                Saved::Taps(taps)
            }
            _ => {
                context.compute(step, parameters, &inputs, &mut output);
                Saved::Nothing
            }
        };
        Ok((output, saved))
    }
}

/// Convolution and what follows it. Without a batch norm what goes into the activation is kept; with one it is the
/// convolution's output that is kept, and normalised again in the backward pass.
fn conv_forward(
    context: Context<'_>,
    step: &Step,
    conv: &ConvStep,
    parameters: &mut Parameters,
    buffers: &mut Buffers,
    inputs: &[&[f32]],
    mut output: Vec<f32>,
) -> Result<(Vec<f32>, Saved), EngineError> {
    let isa = context.isa;
    let mut convolved = buffers.take(output.len());
    let weight = &parameters.values[conv.weight];
    let bias = conv.bias.map(|bias| &parameters.values[bias][..]);
    let shape = context.conv(step, &conv.conv);
    let filter = kernels::PackedFilter::forward(isa, &shape, weight);
    let epilogue = kernels::Epilogue { bias, ..Default::default() };
    kernels::conv2d(isa, &shape, inputs[0], &filter, epilogue, &mut convolved);
    let mut saved = Saved::Nothing;
    if let Some(norm) = &conv.norm {
        saved = normalize_batch(context, step, norm, parameters, &convolved, &mut output)?;
        if let Saved::Norm { input, .. } = &mut saved {
            *input = Some(std::mem::take(&mut convolved));
        }
    } else {
        std::mem::swap(&mut convolved, &mut output);
    }
    if conv.shortcut {
        kernels::add_assign(isa, &mut output, inputs[1]);
    }
    if conv.norm.is_none() && !derivable_from_output(conv.activation) {
        convolved.copy_from_slice(&output);
        saved = Saved::PreActivation(std::mem::take(&mut convolved));
    }
    kernels::activate_in_place(isa, kernel_activation(conv.activation), &mut output);
    if !convolved.is_empty() {
        buffers.give(convolved);
    }
    Ok((output, saved))
}

/// Normalises with the batch's statistics and lets the running ones follow.
fn normalize_batch(
    context: Context<'_>,
    step: &Step,
    norm: &NormStep,
    parameters: &mut Parameters,
    input: &[f32],
    output: &mut [f32],
) -> Result<Saved, EngineError> {
    let channels = norm.norm.channels;
    let rows = context.count * context.plan.shapes[step.output].pixels();
    if rows < 2 {
        return Err(EngineError::SingleValue { tensor: parameters.specs[norm.weight].name.clone() });
    }
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    kernels::batch_statistics(context.isa, input, &mut mean, &mut variance);
    let inverse_std: Vec<f32> = variance
        .iter()
        .map(|&variance| (1.0 / (f64::from(variance) + f64::from(norm.norm.eps)).sqrt()) as f32)
        .collect();
    update_running(parameters, norm, &mean, &variance, rows);
    let (weight, bias) = (&parameters.values[norm.weight], &parameters.values[norm.weight + 1]);
    kernels::normalize(context.isa, input, &mean, &inverse_std, weight, bias, output);
    Ok(Saved::Norm { input: None, mean, inverse_std })
}

/// torch's rule: the running variance takes the unbiased variance of the batch.
fn update_running(parameters: &mut Parameters, norm: &NormStep, mean: &[f32], variance: &[f32], rows: usize) {
    let momentum = norm.norm.momentum;
    let unbiased = rows as f32 / (rows - 1) as f32;
    let follow = |running: &mut [f32], batch: &[f32], factor: f32| {
        for (running, batch) in running.iter_mut().zip(batch) {
            *running += momentum * (batch * factor - *running);
        }
    };
    follow(&mut parameters.values[norm.weight + 2], mean, 1.0);
    follow(&mut parameters.values[norm.weight + 3], variance, unbiased);
    parameters.values[norm.weight + 4][0] += 1.0;
}

/// Whether the gradient of the activation can be taken at its output in place of its input.
pub(crate) fn derivable_from_output(activation: Activation) -> bool {
    matches!(activation, Activation::Identity | Activation::Relu | Activation::Relu6)
}

pub(crate) fn kernel_activation(activation: Activation) -> kernels::Activation {
    match activation {
        Activation::Identity => kernels::Activation::Identity,
        Activation::Relu => kernels::Activation::Relu,
        Activation::Relu6 => kernels::Activation::Relu6,
        Activation::Silu => kernels::Activation::Silu,
        Activation::Sigmoid => kernels::Activation::Sigmoid,
        Activation::HardSwish => kernels::Activation::HardSwish,
        Activation::HardSigmoid => kernels::Activation::HardSigmoid,
        Activation::Gelu => kernels::Activation::Gelu,
        Activation::Softmax => unreachable!("softmax is a step of its own"),
    }
}

fn padding(padding: elimnet_arch::Padding) -> kernels::Padding {
    kernels::Padding { top: padding.top, left: padding.left, bottom: padding.bottom, right: padding.right }
}

/// Swaps rows and columns of each sample's `[rows, columns]`: torch flattens channels first, the engine keeps them last.
pub(crate) fn transpose_samples(input: &[f32], output: &mut [f32], rows: usize, columns: usize) {
    if rows == 1 || columns == 1 {
        return output.copy_from_slice(input);
    }
    let len = rows * columns;
    for (input, output) in input.chunks_exact(len).zip(output.chunks_exact_mut(len)) {
        for (row, values) in input.chunks_exact(columns).enumerate() {
            values.iter().enumerate().for_each(|(column, &value)| output[column * rows + row] = value);
        }
    }
}
