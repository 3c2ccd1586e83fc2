//! Inference: batch norms folded into the convolutions before them, values dropped once they are read.

use std::time::{Duration, Instant};

use elimnet_engine::Matrix;
use elimnet_kernels as kernels;

use crate::buffers::Buffers;
use crate::forward::{Context, kernel_activation};
use crate::parameters::Parameters;
use crate::plan::{ConvStep, Kind, NormStep, Plan, Step, ValueId};

/// Weights as the inference pass wants them, by step.
#[derive(Debug)]
pub(crate) struct Folded {
    steps: Vec<FoldedStep>,
}

#[derive(Debug)]
enum FoldedStep {
    /// Uses the network's own tensors, or none.
    Plain,
    Conv {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    ScaleShift {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
}

impl Folded {
    /// Folds all batch norms of `plan`.
    pub(crate) fn new(plan: &Plan, parameters: &Parameters) -> Self {
        let fold = |step: &Step| match &step.kind {
            Kind::Conv(ConvStep { norm: Some(norm), weight, bias, .. }) => {
                let bias = bias.map(|bias| &parameters.values[bias][..]);
                fold_conv(&parameters.values[*weight], bias, scale_shift(norm, parameters))
            }
            Kind::Norm(norm) => {
                let (scale, shift) = scale_shift(norm, parameters);
                FoldedStep::ScaleShift { scale, shift }
            }
            _ => FoldedStep::Plain,
        };
        Self { steps: plan.steps.iter().map(fold).collect() }
    }

    /// Bytes of the folded weights.
    pub(crate) fn bytes(&self) -> usize {
        let len = |step: &FoldedStep| match step {
            FoldedStep::Plain => 0,
            FoldedStep::Conv { weight: a, bias: b } | FoldedStep::ScaleShift { scale: a, shift: b } => {
                a.len() + b.len()
            }
        };
        self.steps.iter().map(len).sum::<usize>() * size_of::<f32>()
    }
}

/// `y = x · scale + shift` of a batch norm in inference.
fn scale_shift(norm: &NormStep, parameters: &Parameters) -> (Vec<f32>, Vec<f32>) {
    let tensor =
        |offset: usize| parameters.values[norm.weight + offset].iter().map(|&value| f64::from(value));
    let scale = tensor(0)
        .zip(tensor(3))
        .map(|(weight, variance)| weight / (variance + f64::from(norm.norm.eps)).sqrt());
    let scale: Vec<f64> = scale.collect();
    let shift =
        tensor(1).zip(tensor(2)).zip(&scale).map(|((bias, mean), scale)| (bias - mean * scale) as f32);
    (scale.iter().map(|&scale| scale as f32).collect(), shift.collect())
}

fn fold_conv(weight: &[f32], bias: Option<&[f32]>, (scale, shift): (Vec<f32>, Vec<f32>)) -> FoldedStep {
    let filter = weight.len() / scale.len();
    let scaled =
        weight.chunks_exact(filter).zip(&scale).flat_map(|(w, &scale)| w.iter().map(move |w| w * scale));
    let bias = match bias {
        Some(bias) => {
            bias.iter().zip(&scale).zip(&shift).map(|((bias, scale), shift)| bias * scale + shift).collect()
        }
        None => shift,
    };
    FoldedStep::Conv { weight: scaled.collect(), bias }
}

/// Runs the plan; gives its output and the pooled features of the `captured` values (any order, each once).
/// What each block takes is added to its entry of `times`.
pub(crate) fn run(
    context: Context<'_>,
    folded: &Folded,
    parameters: &Parameters,
    buffers: &mut Buffers,
    input: Vec<f32>,
    captured: &[ValueId],
    mut times: Option<&mut [Duration]>,
) -> (Vec<f32>, Vec<(ValueId, Matrix)>) {
    let plan = context.plan;
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); plan.shapes.len()];
    values[0] = input;
    let mut features = Vec::with_capacity(captured.len());
    for (index, (step, folded)) in plan.steps.iter().zip(&folded.steps).enumerate() {
        let began = times.is_some().then(Instant::now);
        let mut output = buffers.take(context.len(step.output));
        let inputs: Vec<&[f32]> = step.inputs.iter().map(|&value| &values[value][..]).collect();
        compute(context, step, folded, parameters, &inputs, &mut output);
        if captured.contains(&step.output) {
            features.push((step.output, pooled(context, step.output, &output)));
        }
        values[step.output] = output;
        for &value in &step.inputs {
            if plan.last_reader[value] == index && !values[value].is_empty() {
                buffers.give(std::mem::take(&mut values[value]));
            }
        }
        if let (Some(times), Some(began)) = (&mut times, began) {
            times[step.block] += began.elapsed();
        }
    }
    (std::mem::take(&mut values[plan.output()]), features)
}

fn compute(
    context: Context<'_>,
    step: &Step,
    folded: &FoldedStep,
    parameters: &Parameters,
    inputs: &[&[f32]],
    output: &mut [f32],
) {
    let isa = context.isa;
    match (&step.kind, folded) {
        (Kind::Conv(conv), folded) => {
            let (weight, bias) = match folded {
                FoldedStep::Conv { weight, bias } => (weight, Some(&bias[..])),
                _ => (&parameters.values[conv.weight], conv.bias.map(|bias| &parameters.values[bias][..])),
            };
            let shape = context.conv(step, &conv.conv);
            let filter = kernels::PackedFilter::forward(isa, &shape, weight);
            let epilogue = kernels::Epilogue {
                bias,
                shortcut: conv.shortcut.then(|| inputs[1]),
                activation: kernel_activation(conv.activation),
                moments: None,
            };
            kernels::conv2d(isa, &shape, inputs[0], &filter, epilogue, output);
        }
        (Kind::Norm(_), FoldedStep::ScaleShift { scale, shift }) => {
            kernels::scale_shift(isa, inputs[0], scale, shift, output);
        }
        _ => context.compute(step, parameters, inputs, output),
    }
}

fn pooled(context: Context<'_>, value: ValueId, values: &[f32]) -> Matrix {
    let shape = context.plan.shapes[value];
    let mut means = vec![0.0; context.count * shape.channels];
    context.global_avg_pool(shape, values, &mut means);
    Matrix::new(context.count, shape.channels, means)
}
