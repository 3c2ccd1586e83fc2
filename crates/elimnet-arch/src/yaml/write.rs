//! The way back: a cut network of the zoo as a model file.

use std::fmt::Write as _;

use super::trunk::FAMILIES;
use crate::block::Block;
use crate::network::Network;
use crate::zoo;

/// A model file that [`parse`](super::parse) reads as `network` again, for a zoo network cut anywhere, with `pretrained` in
/// its trunk's row. `None` for any other network: one that came from a file has its text, and the uncut networks whose
/// heads have hidden layers (MobileNetV3, VGG) can't be said in the language.
pub fn to_text(network: &Network, pretrained: bool) -> Option<String> {
    let family = network.pretrained_as.as_deref()?;
    let (module, _) = FAMILIES.iter().find(|(_, name)| *name == family)?;
    let classes = network.classes();
    let cut = zoo::by_name(family, classes)?.cut_after(network.blocks.len().checked_sub(1)?);
    if !same_layers(&network.blocks, &cut.blocks) || !same_layers(&network.head, &cut.head) {
        return None;
    }
    let last = &network.blocks.last()?.name;
    let pretrained = if pretrained { "True" } else { "False" };
    let mut text = String::new();
    let _ = writeln!(text, "# {}", network.name.replace(['\n', '\r'], " "));
    let _ = writeln!(text, "input_channel: {}", network.input_channels);
    text.push_str("depth_multiple: 1.0\nwidth_multiple: 1.0\nbackbone:\n");
    let _ = writeln!(text, "  - [1, {module}, [{last:?}, {pretrained}]]");
    let _ = writeln!(text, "  - [1, GlobalAvgPool, []]\n  - [1, Flatten, []]\n  - [1, Linear, [{classes}]]");
    Some(text)
}

/// Whether two lists of blocks have the same names and layers; rows and arguments are for people.
fn same_layers(ours: &[Block], theirs: &[Block]) -> bool {
    let parts = |block: &Block| (block.name.clone(), block.layers.clone());
    ours.iter().map(parts).eq(theirs.iter().map(parts))
}
