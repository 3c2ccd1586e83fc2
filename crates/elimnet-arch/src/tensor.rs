//! The tensors of a network, named and shaped as in torch's state dict.

use crate::layer::{Layer, Op};
use crate::network::Network;

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

impl Network {
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
