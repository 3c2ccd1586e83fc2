use std::collections::BTreeMap;

use super::fault::Fault;
use super::pickle::{Heap, Id, Object, Pickle};
use super::pickle_tensor::TensorView;

/// Keys under which training scripts save the state dict, in the order in which they are tried.
const NESTED_UNDER: [&str; 4] = ["state_dict", "model_state_dict", "model_state", "model"];
/// Prefixes that wrappers put before every name: `DataParallel` and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];
/// How deep state dicts are looked for, as in `{"model": {"state_dict": ...}}`.
const DEEPEST: usize = 3;

/// Finds the state dict in a checkpoint and returns its tensors by name.
///
/// What is beside the state dict, and what in it is not a tensor, is left out.
pub(super) fn select_state_dict(pickle: &Pickle) -> Result<BTreeMap<String, TensorView>, Fault> {
    let heap = &pickle.heap;
    let mut chosen = pickle.root;
    for _ in 0..DEEPEST {
        let mut inner = NESTED_UNDER.iter().filter_map(|key| heap.entry(chosen, key));
        match inner.find(|&id| heap.dict(id).is_some_and(|items| !items.is_empty())) {
            Some(nested) => chosen = nested,
            None => break,
        }
    }
    let tensors = named_tensors(heap, chosen);
    if tensors.is_empty() {
        return Err(Fault::NoTensors { entries: entry_names(heap, pickle.root) });
    }
    Ok(without_wrappers(tensors))
}

fn named_tensors(heap: &Heap, dict: Id) -> BTreeMap<String, TensorView> {
    let named = |&(key, value): &(Id, Id)| match (heap.text(key), heap.get(value)) {
        (Some(name), Object::Tensor(tensor)) => Some((name.to_owned(), tensor.clone())),
        _ => None,
    };
    heap.dict(dict).unwrap_or_default().iter().filter_map(named).collect()
}

fn entry_names(heap: &Heap, dict: Id) -> Vec<String> {
    let items = heap.dict(dict).unwrap_or_default();
    items.iter().filter_map(|(key, _)| heap.text(*key).map(str::to_owned)).take(10).collect()
}

/// Strips a wrapper's prefix where every name has it.
pub(super) fn without_wrappers<T>(mut tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let wrapper = |tensors: &BTreeMap<String, T>| {
        WRAPPERS.into_iter().find(|wrapper| tensors.keys().all(|name| name.starts_with(wrapper)))
    };
    while !tensors.is_empty()
        && let Some(prefix) = wrapper(&tensors)
    {
        tensors =
            tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect();
    }
    tensors
}
