//! Pretrained trunks: `EfficientNetB0(out, pretrained=True)` and the like.
//!
//! `out` is the number of channels where torchvision's network is cut, after the deepest block that has as many, or, more than
//! the seed can say, the name of a cut: `Resnet18("layer3.0")`. VGG11 is cut as in the seed: 512 leaves the first 16
//! layers of `features` and 256 the first 11, so that the two convolutions after the last pooling kept are gone with it;
//! its whole trunk is `VGG11("features.20")`.

use super::arguments::Arguments;
use super::error::YamlError;
use super::scope::{Scope, Trunk};
use crate::block::Argument;
use crate::network::Network;
use crate::zoo;

/// Module and zoo network.
pub(super) const FAMILIES: [(&str, &str); 7] = [
    ("EfficientNetB0", "efficientnet_b0"),
    ("Resnet18", "resnet18"),
    ("MobileNetV3", "mobilenet_v3_large"),
    ("MobileNetV3Small", "mobilenet_v3_small"),
    ("MobileNetV2", "mobilenet_v2"),
    ("MnasNet", "mnasnet1_0"),
    ("VGG11", "vgg11"),
];

pub(super) fn build(arguments: &Arguments<'_>, scope: &mut Scope<'_>) -> Result<(), YamlError> {
    let module = arguments.module();
    let family = FAMILIES.iter().find(|(name, _)| *name == module).map(|&(_, family)| family);
    let Some((family, network)) = family.and_then(|family| Some((family, zoo::by_name(family, 1)?))) else {
        return Err(arguments.misplaced("no network of the zoo has this name"));
    };
    if !scope.blocks.is_empty() {
        return Err(arguments.misplaced("a pretrained trunk must be the first row"));
    }
    if scope.channels != network.input_channels {
        let reason =
            format!("takes images of {} channels, not of {}", network.input_channels, scope.channels);
        return Err(arguments.misplaced(reason));
    }
    let last = cut(arguments, &network)?;
    scope.channels = network.out_channels()[last];
    *scope.trunk = Some(Trunk {
        family,
        classifier: network.classifier.clone(),
        pretrained: arguments.flag_or("pretrained", true)?,
        head: network.head,
    });
    scope.blocks.extend(network.blocks.into_iter().take(last + 1));
    Ok(())
}

/// Index of the last block that the row keeps.
fn cut(arguments: &Arguments<'_>, network: &Network) -> Result<usize, YamlError> {
    let by_channels = |channels| network.out_channels().iter().rposition(|&out| out == channels);
    let by_name = |name: &str| network.blocks.iter().position(|block| block.name == name);
    let found = match arguments.value("out") {
        Some(Argument::Text(name)) => by_name(name),
        _ => match (network.name.as_str(), arguments.size("out")?) {
            ("vgg11", 512) => by_name("features.15"),
            ("vgg11", 256) => by_name("features.10"),
            (_, channels) => by_channels(channels),
        },
    };
    found.ok_or_else(|| {
        let mut channels = network.out_channels();
        channels.dedup();
        let channels: Vec<_> = channels.iter().rev().map(usize::to_string).collect();
        let names: Vec<_> = network.blocks.iter().map(|block| format!("{:?}", block.name)).collect();
        arguments.unfit("out", format!("one of {} or {}", channels.join(", "), names.join(", ")))
    })
}
