//! The zoo: torchvision's networks, block by block, with torchvision's names.

mod efficientnet;
mod mnasnet;
mod mobilenet_v2;
mod mobilenet_v3;
pub(crate) mod ops;
mod resnet;
mod vgg;

pub use efficientnet::efficientnet_b0;
pub use mnasnet::mnasnet1_0;
pub use mobilenet_v2::mobilenet_v2;
pub use mobilenet_v3::{mobilenet_v3_large, mobilenet_v3_small};
pub use resnet::resnet18;
pub use vgg::vgg11;

use crate::network::Network;

/// Names that [`by_name`] knows.
pub const NAMES: [&str; 7] = [
    "resnet18",
    "efficientnet_b0",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mobilenet_v2",
    "mnasnet1_0",
    "vgg11",
];

/// The network called `name`, with `classes` outputs; `None` if the zoo has no such network.
pub fn by_name(name: &str, classes: usize) -> Option<Network> {
    Some(match name {
        "resnet18" => resnet18(classes),
        "efficientnet_b0" => efficientnet_b0(classes),
        "mobilenet_v3_large" => mobilenet_v3_large(classes),
        "mobilenet_v3_small" => mobilenet_v3_small(classes),
        "mobilenet_v2" => mobilenet_v2(classes),
        "mnasnet1_0" => mnasnet1_0(classes),
        "vgg11" => vgg11(classes),
        _ => return None,
    })
}
