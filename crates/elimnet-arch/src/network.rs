//! A whole network: blocks, head, and the tensors that torch would name in its state dict.

use serde::{Deserialize, Serialize};

use crate::block::{Block, BlockBuilder, Value};
use crate::layer::{Activation, BatchNorm, Conv2d, Layer, Linear, Op};

/// A convolutional classifier as data.
///
/// ```
/// use elimnet_arch::zoo;
///
/// let network = zoo::resnet18(1000).cut_at("layer2.1")?.with_classes(6);
/// assert_eq!(network.parameters(), 683_846);
/// # Ok::<(), elimnet_arch::EliminateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Name for people and files: `resnet18`, `efficientnet_b0@features.4.2`.
    pub name: String,
    /// Zoo network whose pretrained tensors carry the names of this network's trunk, if any.
    pub pretrained_as: Option<String>,
    /// Channels of the images.
    pub input_channels: usize,
    /// The trunk: everything that can be eliminated.
    pub blocks: Vec<Block>,
    /// What turns the trunk's output into logits.
    pub head: Vec<Block>,
    /// Path that a new last [`Linear`] gets: the family's own, `fc` or `classifier.1`.
    pub classifier: String,
}

/// What a tensor of the state dict is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorKind {
    /// `[out_channels, in_channels / groups, kernel height, kernel width]`.
    ConvWeight,
    /// `[out_features, in_features]`.
    LinearWeight,
    /// Bias of a convolution or linear layer.
    Bias,
    /// Scale of a batch normalisation.
    NormWeight,
    /// Shift of a batch normalisation.
    NormBias,
    /// Running mean of a batch normalisation.
    RunningMean,
    /// Running (unbiased) variance of a batch normalisation.
    RunningVariance,
    /// torch's count of training batches seen; a scalar, stored as an integer.
    BatchesTracked,
}

impl TensorKind {
    /// Whether gradients change it (as opposed to running statistics).
    pub fn is_parameter(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance | Self::BatchesTracked)
    }
}

/// A tensor of the state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// torchvision's name, `layer1.0.conv1.weight`.
    pub name: String,
    /// torch's shape.
    pub shape: Vec<usize>,
    /// Its role.
    pub kind: TensorKind,
    /// Index of its block among [`Network::all_blocks`].
    pub block: usize,
    /// Index of its layer in the block.
    pub layer: usize,
}

impl TensorSpec {
    /// Numbers in the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A network that contradicts itself; only data from outside (a file's metadata) can be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// No blocks in trunk or head, or no layers in a block.
    #[error("network `{network}` has an empty {part}")]
    Empty {
        /// Name of the network.
        network: String,
        /// What is empty.
        part: String,
    },
    /// A layer that reads a value which does not exist yet, or another number of values than its operation takes.
    #[error("block `{block}`, layer {layer}: reads values {inputs:?}, which does not fit its operation")]
    Inputs {
        /// Name of the block.
        block: String,
        /// Index of the layer.
        layer: usize,
        /// What it says it reads.
        inputs: Vec<usize>,
    },
    /// A size of zero, groups that don't divide the channels, a number out of range.
    #[error("block `{block}`, layer {layer}: {reason}")]
    Argument {
        /// Name of the block.
        block: String,
        /// Index of the layer.
        layer: usize,
        /// What is wrong.
        reason: String,
    },
    /// Two tensors of one name.
    #[error("network `{network}` names tensor `{tensor}` twice")]
    DuplicateTensor {
        /// Name of the network.
        network: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// The head has no layer that makes logits.
    #[error("network `{network}` has no Linear or Conv in its head")]
    NoClassifier {
        /// Name of the network.
        network: String,
    },
}

impl Network {
    /// Trunk blocks, then head blocks.
    pub fn all_blocks(&self) -> impl DoubleEndedIterator<Item = &Block> {
        self.blocks.iter().chain(&self.head)
    }

    /// Every layer with its position `(block, layer)`, in the order in which they run.
    pub fn layers(&self) -> impl Iterator<Item = ((usize, usize), &Layer)> {
        self.all_blocks()
            .enumerate()
            .flat_map(|(b, block)| block.layers.iter().enumerate().map(move |(l, layer)| ((b, l), layer)))
    }

    /// Number of classes: what the last Linear (or convolution) of the head puts out.
    pub fn classes(&self) -> usize {
        let outputs = |layer: &Layer| match &layer.op {
            Op::Linear(linear) => Some(linear.out_features),
            Op::Conv2d(conv) => Some(conv.out_channels),
            _ => None,
        };
        self.head.iter().flat_map(|block| &block.layers).filter_map(outputs).next_back().unwrap_or(0)
    }

    /// The same network for another number of classes; only the last Linear (or convolution) and what follows change.
    pub fn with_classes(mut self, classes: usize) -> Self {
        for layer in self.head.iter_mut().rev().flat_map(|block| block.layers.iter_mut().rev()) {
            match &mut layer.op {
                Op::BatchNorm(norm) => norm.channels = classes,
                Op::Linear(linear) => {
                    linear.out_features = classes;
                    break;
                }
                Op::Conv2d(conv) => {
                    conv.out_channels = classes;
                    break;
                }
                _ => {}
            }
        }
        self
    }

    /// The same network with all dropout and stochastic depth switched off.
    pub fn without_dropout(mut self) -> Self {
        for block in self.blocks.iter_mut().chain(&mut self.head) {
            for layer in &mut block.layers {
                if let Op::Dropout { probability } | Op::StochasticDepth { probability } = &mut layer.op {
                    *probability = 0.0;
                }
            }
        }
        self
    }

    /// Names of the tensors of the last Linear (or convolution) and of what follows it: what another number of classes replaces.
    pub fn classifier_tensors(&self) -> Vec<String> {
        let last = self
            .layers()
            .filter(|((block, _), layer)| {
                *block >= self.blocks.len() && matches!(layer.op, Op::Linear(_) | Op::Conv2d(_))
            })
            .map(|(position, _)| position)
            .last();
        self.tensors()
            .into_iter()
            .filter(|tensor| last.is_some_and(|last| (tensor.block, tensor.layer) >= last))
            .map(|tensor| tensor.name)
            .collect()
    }

    /// All tensors of the state dict, in the order in which the layers run.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.layers().flat_map(|(position, layer)| layer.tensors(position)).collect()
    }

    /// Checks a network that came from outside.
    ///
    /// # Errors
    /// See [`NetworkError`]. A network that passes can be walked, counted and shape-inferred without a panic.
    pub fn validate(&self) -> Result<(), NetworkError> {
        for (part, blocks) in [("trunk", &self.blocks), ("head", &self.head)] {
            if blocks.is_empty() {
                return Err(NetworkError::Empty { network: self.name.clone(), part: part.to_owned() });
            }
        }
        for block in self.all_blocks() {
            block.validate(&self.name)?;
        }
        if self.classes() == 0 {
            return Err(NetworkError::NoClassifier { network: self.name.clone() });
        }
        let mut names = std::collections::HashSet::new();
        for tensor in self.tensors() {
            if !names.insert(tensor.name.clone()) {
                return Err(NetworkError::DuplicateTensor {
                    network: self.name.clone(),
                    tensor: tensor.name,
                });
            }
        }
        Ok(())
    }
}

impl Layer {
    /// The layer's tensors as torch names and shapes them.
    fn tensors(&self, (block, layer): (usize, usize)) -> Vec<TensorSpec> {
        let Some(path) = &self.path else { return Vec::new() };
        let spec = |name: &str, shape: &[usize], kind| TensorSpec {
            name: format!("{path}.{name}"),
            shape: shape.to_vec(),
            kind,
            block,
            layer,
        };
        match &self.op {
            Op::Conv2d(conv) => {
                let [kh, kw] = conv.kernel;
                let weight = [conv.out_channels, conv.in_channels / conv.groups, kh, kw];
                let mut tensors = vec![spec("weight", &weight, TensorKind::ConvWeight)];
                tensors.extend(conv.bias.then(|| spec("bias", &[conv.out_channels], TensorKind::Bias)));
                tensors
            }
            Op::Linear(linear) => {
                let weight = [linear.out_features, linear.in_features];
                let mut tensors = vec![spec("weight", &weight, TensorKind::LinearWeight)];
                tensors.extend(linear.bias.then(|| spec("bias", &[linear.out_features], TensorKind::Bias)));
                tensors
            }
            Op::BatchNorm(norm) => vec![
                spec("weight", &[norm.channels], TensorKind::NormWeight),
                spec("bias", &[norm.channels], TensorKind::NormBias),
                spec("running_mean", &[norm.channels], TensorKind::RunningMean),
                spec("running_var", &[norm.channels], TensorKind::RunningVariance),
                spec("num_batches_tracked", &[], TensorKind::BatchesTracked),
            ],
            _ => Vec::new(),
        }
    }
}

/// Largest number that a file may state for a channel count, kernel, stride or padding.
const LIMIT: usize = 1 << 20;

impl Block {
    fn validate(&self, network: &str) -> Result<(), NetworkError> {
        if self.layers.is_empty() {
            return Err(NetworkError::Empty {
                network: network.to_owned(),
                part: format!("block `{}`", self.name),
            });
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let arity = if matches!(layer.op, Op::Add | Op::Scale) { 2 } else { 1 };
            if layer.inputs.len() != arity || layer.inputs.iter().any(|&value| value > index) {
                return Err(NetworkError::Inputs {
                    block: self.name.clone(),
                    layer: index,
                    inputs: layer.inputs.clone(),
                });
            }
            layer.check_arguments().map_err(|reason| NetworkError::Argument {
                block: self.name.clone(),
                layer: index,
                reason,
            })?;
        }
        Ok(())
    }
}

impl Layer {
    fn check_arguments(&self) -> Result<(), String> {
        let positive = |name: &str, values: &[usize]| {
            if values.iter().all(|&value| (1..=LIMIT).contains(&value)) {
                return Ok(());
            }
            Err(format!("{name} is {values:?}, expected 1 to {LIMIT}"))
        };
        if self.path.is_none() && matches!(self.op, Op::Conv2d(_) | Op::Linear(_) | Op::BatchNorm(_)) {
            return Err("a layer with tensors has no path".to_owned());
        }
        match &self.op {
            Op::Conv2d(conv) => {
                positive("channels", &[conv.in_channels, conv.out_channels])?;
                positive("kernel", &conv.kernel)?;
                positive("stride", &conv.stride)?;
                positive("groups", &[conv.groups])?;
                check_padding(conv.padding)?;
                if conv.in_channels % conv.groups != 0 || conv.out_channels % conv.groups != 0 {
                    return Err(format!(
                        "{} groups do not divide {} to {} channels",
                        conv.groups, conv.in_channels, conv.out_channels
                    ));
                }
                Ok(())
            }
            Op::MaxPool(pool) | Op::AvgPool(pool) => {
                positive("kernel", &pool.kernel)?;
                positive("stride", &pool.stride)?;
                check_padding(pool.padding)
            }
            Op::BatchNorm(norm) => {
                positive("channels", &[norm.channels])?;
                check_fraction("momentum", norm.momentum)?;
                check_fraction("eps", norm.eps)
            }
            Op::Linear(linear) => positive("features", &[linear.in_features, linear.out_features]),
            &Op::AdaptiveAvgPool { height, width } => positive("grid", &[height, width]),
            &Op::Dropout { probability } | &Op::StochasticDepth { probability } => {
                check_fraction("probability", probability)
            }
            _ => Ok(()),
        }
    }
}

fn check_padding(padding: crate::layer::Padding) -> Result<(), String> {
    let sides = [padding.top, padding.left, padding.bottom, padding.right];
    if sides.iter().all(|&side| side <= LIMIT) {
        return Ok(());
    }
    Err(format!("padding is {sides:?}, expected at most {LIMIT}"))
}

fn check_fraction(name: &str, value: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(format!("{name} is {value}, expected 0 to 1"))
}

/// A head that any trunk can carry: global average pool, flatten, one Linear named `path`.
pub fn linear_head(path: &str, in_features: usize, classes: usize) -> Vec<Block> {
    let single = |module: &str, path: Option<&str>, op: Op| {
        let mut block = BlockBuilder::new(path.unwrap_or("flatten"), module);
        match path {
            Some(path) => block.module(path, op, Value::INPUT),
            None => block.function(op, Value::INPUT),
        };
        block
    };
    let mut linear =
        single("Linear", Some(path), Op::Linear(Linear { in_features, out_features: classes, bias: true }));
    linear.arguments([classes.into()]);
    vec![
        single("GlobalAvgPool", Some("avgpool"), Op::GlobalAvgPool).build(),
        single("Flatten", None, Op::Flatten).build(),
        linear.build(),
    ]
}

/// Convolution, batch normalisation and activation under torch's names `PATH.0`, `PATH.1`, `PATH.2`.
pub fn conv_norm_activation(
    block: &mut BlockBuilder,
    path: &str,
    conv: Conv2d,
    norm: BatchNorm,
    activation: Option<Activation>,
    input: Value,
) -> Value {
    let x = block.conv(format!("{path}.0"), conv, input);
    let x = block.batch_norm(format!("{path}.1"), norm, x);
    match activation {
        Some(activation) => block.activation(format!("{path}.2"), activation, x),
        None => x,
    }
}
