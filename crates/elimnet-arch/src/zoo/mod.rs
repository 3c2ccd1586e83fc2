//! The zoo: torchvision's networks, block by block, with torchvision's names.

mod resnet;

pub use resnet::resnet18;

use crate::network::Network;

/// Names that [`by_name`] knows, in the order of their files.
pub const NAMES: [&str; 1] = ["resnet18"];

/// The network called `name`, with `classes` outputs; `None` if the zoo has no such network.
pub fn by_name(name: &str, classes: usize) -> Option<Network> {
    Some(match name {
        "resnet18" => resnet18(classes),
        _ => return None,
    })
}
