//! Network to steps: which kernels run, in which order, on which values.
//!
//! A convolution takes what follows it into its step, as far as nobody else reads what lies between: batch norm, stochastic
//! depth, the sum with a shortcut, the activation. That is where fused kernels go; the engine sees one step either way.

use std::ops::Range;

use crate::slabs::Kept;
use elimnet_arch::{Activation, BatchNorm, Block, Conv2d, Layer, Network, Op, Pool2d, Shape, ShapeError};

/// Index of a value; 0 is the plan's input.
pub(crate) type ValueId = usize;

/// Steps for some consecutive blocks and one image size.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In the order in which they run.
    pub(crate) steps: Vec<Step>,
    /// Shape of each value for one image.
    pub(crate) shapes: Vec<Shape>,
    /// Whether each value is a vector an image, kept as f32, and not pixels.
    pub(crate) is_vector: Vec<bool>,
    /// Value that leaves each block of the range.
    pub(crate) block_outputs: Vec<ValueId>,
    /// Index of the last step that reads each value; `usize::MAX` for the plan's output.
    pub(crate) last_reader: Vec<usize>,
}

/// One step: some values in, one value out.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// What is read; a convolution with a shortcut reads it second.
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
    /// Index of the block among [`Network::all_blocks`].
    pub(crate) block: usize,
}

/// What a step computes.
#[derive(Debug)]
pub(crate) enum Kind {
    Conv(ConvStep),
    Norm(NormStep),
    Activation(Activation),
    MaxPool(Pool2d),
    AvgPool(Pool2d),
    GlobalAvgPool,
    AdaptiveAvgPool,
    Flatten,
    Linear {
        weight: usize,
        bias: Option<usize>,
    },
    Add,
    Scale,
    /// `stream` as of [`StochasticDepth`].
    Dropout {
        probability: f32,
        stream: u64,
    },
    StochasticDepth(StochasticDepth),
}

/// Convolution, then batch norm, stochastic depth, sum with the second input, activation: whichever of them there are.
#[derive(Debug)]
pub(crate) struct ConvStep {
    pub(crate) conv: Conv2d,
    /// Indices into the network's tensors.
    pub(crate) weight: usize,
    pub(crate) bias: Option<usize>,
    pub(crate) norm: Option<NormStep>,
    /// Between batch norm and sum.
    pub(crate) depth: Option<StochasticDepth>,
    pub(crate) shortcut: bool,
    pub(crate) activation: Activation,
}

/// Leaves the residual of whole images out. `stream` tells this layer's random numbers from those of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StochasticDepth {
    pub(crate) probability: f32,
    pub(crate) stream: u64,
}

/// Batch normalisation whose tensors start at index `weight`: weight, bias, running mean, running variance, count.
#[derive(Debug)]
pub(crate) struct NormStep {
    pub(crate) norm: BatchNorm,
    pub(crate) weight: usize,
}

/// Whether dropout and stochastic depth act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Inference,
    Training,
}

impl Plan {
    /// Plans blocks `range` of [`Network::all_blocks`] for images of shape `input`.
    pub(crate) fn new(
        network: &Network,
        range: Range<usize>,
        input: Shape,
        mode: Mode,
    ) -> Result<Self, ShapeError> {
        let shapes = network.shapes(input)?;
        let entry = if range.start == 0 { input } else { output_of(&shapes[..range.start], input) };
        let mut compiler = Compiler {
            tensors: tensor_indices(network),
            mode,
            plan: Self {
                steps: Vec::new(),
                shapes: vec![entry],
                is_vector: vec![false],
                block_outputs: Vec::new(),
                last_reader: Vec::new(),
            },
        };
        let mut current = 0;
        for (index, block) in network.all_blocks().enumerate().skip(range.start).take(range.len()) {
            current = compiler.block(index, block, &shapes[index], current);
            compiler.plan.block_outputs.push(current);
        }
        Ok(compiler.plan.with_last_readers())
    }

    /// The value that the plan computes.
    pub(crate) fn output(&self) -> ValueId {
        self.block_outputs.last().copied().unwrap_or(0)
    }

    /// How a value is kept.
    pub(crate) fn kept(&self, value: ValueId) -> Kept {
        if self.is_vector[value] { Kept::Vector } else { Kept::Pixels }
    }

    fn with_last_readers(mut self) -> Self {
        self.last_reader = vec![0; self.shapes.len()];
        for (index, step) in self.steps.iter().enumerate() {
            for &input in &step.inputs {
                self.last_reader[input] = index;
            }
        }
        let output = self.output();
        self.last_reader[output] = usize::MAX;
        self
    }
}

fn output_of(shapes: &[Vec<Shape>], input: Shape) -> Shape {
    shapes.iter().rev().find_map(|block| block.last().copied()).unwrap_or(input)
}

/// Index of the first tensor of each layer, by block.
fn tensor_indices(network: &Network) -> Vec<Vec<usize>> {
    let mut indices: Vec<Vec<usize>> =
        network.all_blocks().map(|block| vec![usize::MAX; block.layers.len()]).collect();
    for (index, tensor) in network.tensors().iter().enumerate().rev() {
        indices[tensor.block][tensor.layer] = index;
    }
    indices
}

struct Compiler {
    tensors: Vec<Vec<usize>>,
    mode: Mode,
    plan: Plan,
}

/// Layers of one block that one step takes together.
struct Chain {
    /// Their indices, ascending; the step stands where the last of them does.
    layers: Vec<usize>,
    step: ConvStep,
    /// Local values that are read.
    inputs: Vec<usize>,
}

impl Chain {
    fn end(&self) -> usize {
        self.layers[self.layers.len() - 1]
    }

    /// Whether layer `position` is part of the chain and something of it follows.
    fn goes_on_behind(&self, position: usize) -> bool {
        self.end() != position && self.layers.contains(&position)
    }
}

impl Compiler {
    /// Adds the steps of a block; gives the value that leaves it.
    fn block(&mut self, index: usize, block: &Block, shapes: &[Shape], input: ValueId) -> ValueId {
        let alias = self.aliases(block);
        let graph = BlockGraph::new(block, &alias, self.plan.is_vector[input]);
        let mut chains = self.chains(index, block, &graph);
        let mut values = vec![usize::MAX; block.layers.len() + 1];
        values[0] = input;
        for (position, layer) in block.layers.iter().enumerate() {
            if alias[position + 1] != position + 1
                || chains.iter().any(|chain| chain.goes_on_behind(position))
            {
                continue;
            }
            let chain = chains.iter().position(|chain| chain.end() == position);
            let (kind, inputs) = match chain.map(|chain| chains.swap_remove(chain)) {
                Some(chain) => (Kind::Conv(chain.step), chain.inputs),
                None => {
                    let inputs = layer.inputs.iter().map(|&value| alias[value]).collect();
                    (self.kind(index, position, layer), inputs)
                }
            };
            let inputs = inputs.into_iter().map(|value: usize| values[value]).collect();
            let inputs = self.kept_alike(index, &kind, inputs);
            values[position + 1] = self.push(index, kind, inputs, shapes[position]);
        }
        values[alias[block.layers.len()]]
    }

    /// Inputs that can be combined: a sum's are kept alike, a scale is a vector. Where one is an image of one pixel, its
    /// average is itself, as a vector.
    fn kept_alike(&mut self, block: usize, kind: &Kind, mut inputs: Vec<ValueId>) -> Vec<ValueId> {
        let is_vector = |value: ValueId| self.plan.is_vector[value];
        let wanted: &[usize] = match kind {
            Kind::Add if is_vector(inputs[0]) != is_vector(inputs[1]) => &[0, 1],
            Kind::Scale => &[1],
            _ => &[],
        };
        for &position in wanted {
            let value = inputs[position];
            if !self.plan.is_vector[value] {
                let shape = self.plan.shapes[value];
                inputs[position] = self.push(block, Kind::GlobalAvgPool, vec![value], shape);
            }
        }
        inputs
    }

    fn push(&mut self, block: usize, kind: Kind, inputs: Vec<ValueId>, shape: Shape) -> ValueId {
        let output = self.plan.shapes.len();
        self.plan.shapes.push(shape);
        let is_vector = match kind {
            Kind::GlobalAvgPool | Kind::Linear { .. } => true,
            _ => self.plan.is_vector[inputs[0]],
        };
        self.plan.is_vector.push(is_vector);
        self.plan.steps.push(Step { kind, inputs, output, block });
        output
    }

    /// For each local value the one that it equals: layers that do nothing in this mode are passed over.
    fn aliases(&self, block: &Block) -> Vec<usize> {
        let mut alias = vec![0];
        for (position, layer) in block.layers.iter().enumerate() {
            let idle = match layer.op {
                Op::Dropout { probability } | Op::StochasticDepth { probability } => {
                    self.mode == Mode::Inference || probability == 0.0
                }
                Op::Activation(activation) => activation == Activation::Identity,
                _ => false,
            };
            alias.push(if idle { alias[layer.inputs[0]] } else { position + 1 });
        }
        alias
    }

    fn chains(&self, index: usize, block: &Block, graph: &BlockGraph) -> Vec<Chain> {
        let mut claimed = vec![false; block.layers.len()];
        let mut chains = Vec::new();
        for (position, layer) in block.layers.iter().enumerate() {
            if let Op::Conv2d(conv) = &layer.op {
                chains.push(self.chain(index, block, graph, position, conv, &mut claimed));
            }
        }
        chains
    }

    fn chain(
        &self,
        index: usize,
        block: &Block,
        graph: &BlockGraph,
        position: usize,
        conv: &Conv2d,
        claimed: &mut [bool],
    ) -> Chain {
        let tensors = &self.tensors[index];
        let weight = tensors[position];
        let mut chain = Chain {
            layers: vec![position],
            inputs: vec![graph.inputs[position][0]],
            step: ConvStep {
                conv: conv.clone(),
                weight,
                bias: conv.bias.then_some(weight + 1),
                norm: None,
                depth: None,
                shortcut: false,
                activation: Activation::Identity,
            },
        };
        while let Some(next) = graph.only_reader(chain.end()).filter(|&next| !claimed[next]) {
            let step = &mut chain.step;
            match &block.layers[next].op {
                Op::BatchNorm(norm) if step.norm.is_none() && !step.shortcut => {
                    step.norm = Some(NormStep { norm: norm.clone(), weight: tensors[next] });
                }
                &Op::StochasticDepth { probability }
                    if step.norm.is_some() && graph.is_summed(block, next) =>
                {
                    step.depth = Some(StochasticDepth { probability, stream: stream(index, next) });
                }
                Op::Add if !step.shortcut && graph.sums_are_kept_alike(next) => {
                    step.shortcut = true;
                    let own = chain.layers[chain.layers.len() - 1] + 1;
                    chain.inputs.extend(graph.inputs[next].iter().copied().filter(|&value| value != own));
                }
                Op::Activation(activation) if *activation != Activation::Softmax => {
                    step.activation = *activation;
                }
                _ => break,
            }
            claimed[next] = true;
            chain.layers.push(next);
            if chain.step.activation != Activation::Identity {
                break;
            }
        }
        chain
    }

    fn kind(&self, index: usize, position: usize, layer: &Layer) -> Kind {
        let tensor = self.tensors[index][position];
        let stream = stream(index, position);
        match &layer.op {
            Op::Conv2d(_) => unreachable!("every convolution starts a chain"),
            Op::BatchNorm(norm) => Kind::Norm(NormStep { norm: norm.clone(), weight: tensor }),
            Op::Activation(activation) => Kind::Activation(*activation),
            Op::MaxPool(pool) => Kind::MaxPool(pool.clone()),
            Op::AvgPool(pool) => Kind::AvgPool(pool.clone()),
            Op::GlobalAvgPool => Kind::GlobalAvgPool,
            Op::AdaptiveAvgPool { .. } => Kind::AdaptiveAvgPool,
            Op::Flatten => Kind::Flatten,
            Op::Linear(linear) => Kind::Linear { weight: tensor, bias: linear.bias.then_some(tensor + 1) },
            Op::Add => Kind::Add,
            Op::Scale => Kind::Scale,
            &Op::Dropout { probability } => Kind::Dropout { probability, stream },
            &Op::StochasticDepth { probability } => {
                Kind::StochasticDepth(StochasticDepth { probability, stream })
            }
        }
    }
}

/// Of the random numbers of a layer of a block.
fn stream(block: usize, layer: usize) -> u64 {
    ((block as u64) << 32) | layer as u64
}

/// Who reads what inside a block, with the idle layers passed over.
struct BlockGraph {
    /// Local values that each layer reads.
    inputs: Vec<Vec<usize>>,
    /// Layers that read each local value (idle ones left out); the block's output has an extra reader.
    readers: Vec<Vec<usize>>,
    /// Whether each local value is a vector; of a sum of both kinds, see [`Compiler::kept_alike`].
    is_vector: Vec<bool>,
}

impl BlockGraph {
    fn new(block: &Block, alias: &[usize], input_is_vector: bool) -> Self {
        let inputs: Vec<Vec<usize>> = block
            .layers
            .iter()
            .map(|layer| layer.inputs.iter().map(|&value| alias[value]).collect())
            .collect();
        let mut readers = vec![Vec::new(); block.layers.len() + 1];
        for (position, inputs) in inputs.iter().enumerate() {
            if alias[position + 1] == position + 1 {
                inputs.iter().for_each(|&value| readers[value].push(position));
            }
        }
        readers[alias[block.layers.len()]].push(usize::MAX);
        let mut is_vector = vec![input_is_vector];
        for (layer, inputs) in block.layers.iter().zip(&inputs) {
            is_vector.push(match layer.op {
                Op::GlobalAvgPool | Op::Linear(_) => true,
                Op::Add => inputs.iter().any(|&value| is_vector[value]),
                _ => is_vector[inputs[0]],
            });
        }
        Self { inputs, readers, is_vector }
    }

    /// Whether both values that layer `position` adds are vectors, or both are not.
    fn sums_are_kept_alike(&self, position: usize) -> bool {
        let [left, right] = [0, 1].map(|input| self.is_vector[self.inputs[position][input]]);
        left == right
    }

    /// Whether the output of layer `position` goes into a sum of values that are kept alike, and nowhere else.
    fn is_summed(&self, block: &Block, position: usize) -> bool {
        self.only_reader(position)
            .is_some_and(|sum| matches!(block.layers[sum].op, Op::Add) && self.sums_are_kept_alike(sum))
    }

    /// The layer that alone reads the output of layer `position`.
    fn only_reader(&self, position: usize) -> Option<usize> {
        match self.readers[position + 1][..] {
            [reader] if reader != usize::MAX => Some(reader),
            _ => None,
        }
    }
}
