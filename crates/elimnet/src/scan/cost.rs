//! How large a network's model file will be, without writing it.

use elimnet_arch::{Network, TensorKind};
use serde_json::{Map, json};

use crate::data::Preprocessing;
use crate::model::{ModelCard, Provenance};

/// Bytes of the model file that a run with this network leaves behind, but for the digits of its metrics.
pub(crate) fn file_bytes(network: &Network, classes: &[String], preprocessing: &Preprocessing) -> u64 {
    let card = ModelCard {
        network: network.clone(),
        cut: network.blocks.last().map(|block| block.name.clone()),
        classes: classes.to_vec(),
        preprocessing: preprocessing.clone(),
        weights_from: Provenance::Scratch,
        metrics: Default::default(),
        seed: 0,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    encoded_bytes(&card)
}

/// Bytes of the safetensors file of a card's network: eight for the length, the header, the numbers.
fn encoded_bytes(card: &ModelCard) -> u64 {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!(card.to_metadata()));
    let mut start = 0;
    let mut specs = card.network.tensors();
    specs.sort_by(|a, b| (!is_counter(a.kind), &a.name).cmp(&(!is_counter(b.kind), &b.name)));
    for spec in specs {
        let (dtype, size) = if is_counter(spec.kind) { ("I64", 8) } else { ("F32", 4) };
        let end = start + size * spec.len() as u64;
        let entry = json!({"dtype": dtype, "shape": spec.shape, "data_offsets": [start, end]});
        header.insert(spec.name, entry);
        start = end;
    }
    let text = serde_json::Value::Object(header).to_string();
    8 + text.len().next_multiple_of(8) as u64 + start
}

fn is_counter(kind: TensorKind) -> bool {
    kind == TensorKind::BatchesTracked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::save_model;
    use crate::train::initial_tensors;
    use elimnet_arch::zoo;

    #[test]
    fn the_size_is_that_of_a_file_that_was_written() {
        for network in [zoo::resnet18(6).cut_after(3), zoo::mobilenet_v3_small(6).cut_after(5)] {
            let classes: Vec<String> = ["a", "b", "c", "d", "e", "ä"].map(str::to_owned).to_vec();
            let card = ModelCard {
                network: network.clone(),
                cut: Some("there".to_owned()),
                classes,
                preprocessing: Preprocessing::new(64),
                weights_from: Provenance::Scratch,
                metrics: Default::default(),
                seed: 0,
                tool_version: "0".to_owned(),
            };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.safetensors");
            save_model(&path, &card, &initial_tensors(&network, 0)).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), encoded_bytes(&card), "{}", network.name);
        }
    }
}
