//! Blocks: the unit that is cut, counted and shown as a row.

use serde::{Deserialize, Serialize};

use crate::layer::{Activation, BatchNorm, Conv2d, Layer, Linear, Op, Pool2d};

/// A small graph of layers with one input and one output: the unit of elimination.
///
/// The output is the last layer's; a block has at least one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Name of the cut after this block: torchvision's name of its last module at block level, `layer1.0`.
    pub name: String,
    /// Row of the network's table that the block belongs to; repeats of one YAML row share it.
    pub row: usize,
    /// Module name as the table shows it, `InvertedResidualv3`.
    pub module: String,
    /// Arguments as the table shows them.
    pub arguments: Vec<Argument>,
    /// The layers in the order in which they run.
    pub layers: Vec<Layer>,
    /// Torch modules that exist and compute nothing here (a `StochasticDepth` beside no shortcut); they count as modules.
    pub idle_modules: Vec<String>,
}

impl Block {
    /// Gives the last Linear or convolution, and the batch norms behind it, `outputs` channels; returns how many it had,
    /// `None` where there is neither.
    pub(crate) fn set_outputs(&mut self, outputs: usize) -> Option<usize> {
        for layer in self.layers.iter_mut().rev() {
            match &mut layer.op {
                Op::BatchNorm(norm) => norm.channels = outputs,
                Op::Linear(linear) => return Some(std::mem::replace(&mut linear.out_features, outputs)),
                Op::Conv2d(conv) => return Some(std::mem::replace(&mut conv.out_channels, outputs)),
                _ => {}
            }
        }
        None
    }
}

/// An argument of a module as YAML writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
}

impl From<usize> for Argument {
    fn from(value: usize) -> Self {
        Self::Int(value as i64)
    }
}

impl From<bool> for Argument {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Argument {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Argument {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl std::fmt::Display for Argument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

/// A value inside the block that is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(usize);

impl Value {
    /// The block's input.
    pub const INPUT: Self = Self(0);
}

/// Builds a [`Block`] layer by layer, with the torch paths threaded through.
///
/// ```
/// use elimnet_arch::{Activation, BatchNorm, BlockBuilder, Conv2d, Value};
///
/// let mut block = BlockBuilder::new("stem", "Conv");
/// let norm = BatchNorm { channels: 16, eps: 1e-5, momentum: 0.1 };
/// let x = block.conv("stem.0", Conv2d::square(3, 16, 3, 2), Value::INPUT);
/// let x = block.batch_norm("stem.1", norm, x);
/// block.activation("stem.2", Activation::Relu, x);
/// assert_eq!(block.build().layers.len(), 3);
/// ```
#[derive(Debug)]
pub struct BlockBuilder {
    block: Block,
}

impl BlockBuilder {
    /// An empty block.
    pub fn new(name: &str, module: &str) -> Self {
        Self {
            block: Block {
                name: name.to_owned(),
                row: 0,
                module: module.to_owned(),
                arguments: Vec::new(),
                layers: Vec::new(),
                idle_modules: Vec::new(),
            },
        }
    }

    /// Sets what the table shows as arguments.
    pub fn arguments(&mut self, arguments: impl IntoIterator<Item = Argument>) {
        self.block.arguments = arguments.into_iter().collect();
    }

    /// A convolution owned by module `path`.
    pub fn conv(&mut self, path: impl Into<String>, conv: Conv2d, input: Value) -> Value {
        self.module(path, Op::Conv2d(conv), input)
    }

    /// A batch normalisation owned by module `path`.
    pub fn batch_norm(&mut self, path: impl Into<String>, norm: BatchNorm, input: Value) -> Value {
        self.module(path, Op::BatchNorm(norm), input)
    }

    /// A nonlinearity owned by module `path`.
    pub fn activation(&mut self, path: impl Into<String>, activation: Activation, input: Value) -> Value {
        self.module(path, Op::Activation(activation), input)
    }

    /// A max pooling owned by module `path`.
    pub fn max_pool(&mut self, path: impl Into<String>, pool: Pool2d, input: Value) -> Value {
        self.module(path, Op::MaxPool(pool), input)
    }

    /// A fully connected layer owned by module `path`.
    pub fn linear(&mut self, path: impl Into<String>, linear: Linear, input: Value) -> Value {
        self.module(path, Op::Linear(linear), input)
    }

    /// Any layer of one input, owned by module `path`.
    pub fn module(&mut self, path: impl Into<String>, op: Op, input: Value) -> Value {
        self.push(Some(path.into()), op, vec![input.0])
    }

    /// Any layer of one input that torch computes without a module.
    pub fn function(&mut self, op: Op, input: Value) -> Value {
        self.push(None, op, vec![input.0])
    }

    /// The sum of two values.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.push(None, Op::Add, vec![a.0, b.0])
    }

    /// `value` scaled channel by channel with `scale`, `[n, c, 1, 1]`.
    pub fn scale(&mut self, value: Value, scale: Value) -> Value {
        self.push(None, Op::Scale, vec![value.0, scale.0])
    }

    /// Notes a torch module that computes nothing in this block.
    pub fn idle(&mut self, path: impl Into<String>) {
        self.block.idle_modules.push(path.into());
    }

    /// The finished block; its output is the layer that was added last.
    ///
    /// # Panics
    /// If no layer was added.
    pub fn build(self) -> Block {
        assert!(!self.block.layers.is_empty(), "block `{}` has no layer", self.block.name);
        self.block
    }

    fn push(&mut self, path: Option<String>, op: Op, inputs: Vec<usize>) -> Value {
        self.block.layers.push(Layer { path, op, inputs });
        Value(self.block.layers.len())
    }
}
