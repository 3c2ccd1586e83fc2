//! Arrays in golden `.safetensors` files.

use std::collections::BTreeMap;
use std::fs;

use safetensors::{Dtype, SafeTensors};

use super::path;

/// An f32 array of a golden file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its axes; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its values in C order.
    pub values: Vec<f32>,
}

/// Reads every array of a golden `.safetensors` file.
///
/// # Panics
/// If the file is missing, malformed, or holds anything but f32.
#[must_use]
pub fn tensors(name: &str) -> BTreeMap<String, Tensor> {
    let bytes = fs::read(path(name)).unwrap_or_else(|error| panic!("golden/{name}: {error}"));
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("golden/{name}: {error}"));
    let read = |(key, view): (String, safetensors::tensor::TensorView<'_>)| {
        assert_eq!(view.dtype(), Dtype::F32, "golden/{name}: `{key}`");
        let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (key, Tensor { shape: view.shape().to_vec(), values })
    };
    file.tensors().into_iter().map(read).collect()
}
