//! The network's tensors in the engine's layout: convolution weights are `[out, kh, kw, in]`, all else is torch's.

use elimnet_arch::{Network, TensorKind, TensorSpec};
use elimnet_engine::{EngineError, NamedTensor};

/// All tensors of a network, with values.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    pub(crate) specs: Vec<TensorSpec>,
    pub(crate) values: Vec<Vec<f32>>,
}

impl Parameters {
    /// Zeros; ones for variances and batch norm weights.
    pub(crate) fn new(network: &Network) -> Self {
        let specs = network.tensors();
        let initial = |spec: &TensorSpec| match spec.kind {
            TensorKind::NormWeight | TensorKind::RunningVariance => vec![1.0; spec.len()],
            _ => vec![0.0; spec.len()],
        };
        Self { values: specs.iter().map(initial).collect(), specs }
    }

    /// All tensors in torch's layout.
    pub(crate) fn to_named(&self) -> Vec<NamedTensor> {
        self.specs.iter().zip(&self.values).map(|(spec, values)| to_named(spec, "", values)).collect()
    }

    /// Replaces all values; changes nothing on an error.
    pub(crate) fn set(&mut self, tensors: &[NamedTensor]) -> Result<(), EngineError> {
        self.values = from_named(&self.specs, "", tensors)?;
        Ok(())
    }
}

/// `values` of tensor `spec` in torch's layout, its name behind `prefix`.
pub(crate) fn to_named(spec: &TensorSpec, prefix: &str, values: &[f32]) -> NamedTensor {
    let values = match (spec.kind, &spec.shape[..]) {
        (TensorKind::ConvWeight, &[out, inputs, kh, kw]) => swap_inner(values, out, kh * kw, inputs),
        _ => values.to_vec(),
    };
    NamedTensor { name: format!("{prefix}{}", spec.name), shape: spec.shape.clone(), values }
}

/// The values of `specs`, in their order and in the engine's layout, found by name behind `prefix`.
pub(crate) fn from_named<'a>(
    specs: impl IntoIterator<Item = &'a TensorSpec>,
    prefix: &str,
    tensors: &[NamedTensor],
) -> Result<Vec<Vec<f32>>, EngineError> {
    let named = tensors.iter().filter_map(|tensor| Some((tensor.name.strip_prefix(prefix)?, tensor)));
    let mut named: std::collections::HashMap<&str, &NamedTensor> = named.collect();
    let values = specs.into_iter().map(|spec| match named.remove(spec.name.as_str()) {
        None => Err(EngineError::MissingTensor { name: format!("{prefix}{}", spec.name) }),
        Some(tensor) if tensor.shape != spec.shape || tensor.values.len() != spec.len() => {
            Err(EngineError::TensorShape {
                name: tensor.name.clone(),
                expected: spec.shape.clone(),
                found: tensor.shape.clone(),
            })
        }
        Some(tensor) => Ok(to_engine_layout(spec, &tensor.values)),
    });
    let values = values.collect::<Result<_, _>>()?;
    match named.into_values().map(|tensor| &tensor.name).min() {
        Some(name) => Err(EngineError::UnexpectedTensor { name: name.clone() }),
        None => Ok(values),
    }
}

fn to_engine_layout(spec: &TensorSpec, values: &[f32]) -> Vec<f32> {
    match (spec.kind, &spec.shape[..]) {
        (TensorKind::ConvWeight, &[out, inputs, kh, kw]) => swap_inner(values, out, inputs, kh * kw),
        _ => values.to_vec(),
    }
}

/// `[outer, rows, columns]` to `[outer, columns, rows]`.
pub(crate) fn swap_inner(values: &[f32], outer: usize, rows: usize, columns: usize) -> Vec<f32> {
    let mut swapped = vec![0.0; outer * rows * columns];
    let len = (rows * columns).max(1);
    for (from, to) in values.chunks_exact(len).zip(swapped.chunks_exact_mut(len)) {
        for row in 0..rows {
            for column in 0..columns {
                to[column * rows + row] = from[row * columns + column];
            }
        }
    }
    swapped
}

#[cfg(test)]
mod tests {
    use elimnet_arch::zoo;

    use super::Parameters;

    #[test]
    fn tensors_come_back_as_they_went_in() {
        let network = zoo::resnet18(3).cut_after(1);
        let mut parameters = Parameters::new(&network);
        let mut tensors = parameters.to_named();
        let mut next = 0.0;
        tensors.iter_mut().flat_map(|tensor| &mut tensor.values).for_each(|value| {
            next += 1.0;
            *value = next;
        });
        parameters.set(&tensors).unwrap();
        assert_eq!(parameters.to_named(), tensors);
        assert_ne!(parameters.values[0], tensors[0].values, "conv1.weight is stored channels last");
        tensors.pop();
        assert!(parameters.set(&tensors).is_err());
    }
}
