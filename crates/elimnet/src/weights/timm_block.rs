use std::collections::{BTreeMap, BTreeSet};

/// What a layer of a timm block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// 1x1 convolution to more channels.
    Expand,
    Depthwise,
    /// Squeeze and excitation.
    Squeeze,
    /// 1x1 convolution to the block's output.
    Project,
    /// The convolution of a block that has only one.
    Only,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Convolution,
    Norm,
    /// The first layer of squeeze and excitation.
    Reduce,
    /// The second.
    Expand,
}

/// Where a layer is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) stage: usize,
    pub(super) repeat: usize,
    /// The block's number in the whole network.
    pub(super) index: usize,
    pub(super) step: Step,
    /// The step's number among those that the block has.
    pub(super) position: usize,
    pub(super) layer: Layer,
}

/// A block's stage and its number in the stage.
type Key = (usize, usize);

/// The blocks of a timm network of the EfficientNet kind, by the names `blocks.STAGE.REPEAT.MODULE`.
pub(super) struct Blocks {
    modules: BTreeMap<Key, BTreeSet<String>>,
}

impl Blocks {
    /// Finds the blocks in the names of a network's tensors.
    pub(super) fn find<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        let mut modules = BTreeMap::<Key, BTreeSet<String>>::new();
        for (key, module) in names.filter_map(|name| parse(name.rsplit_once('.')?.0)) {
            modules.entry(key).or_default().insert(module.to_owned());
        }
        Self { modules }
    }

    /// The place of a module, such as `blocks.1.0.conv_pw`; none where a block has no such module.
    pub(super) fn place(&self, module: &str) -> Option<Place> {
        let (key, module) = parse(module)?;
        let modules = self.modules.get(&key)?;
        let (step, layer) = role(modules, module)?;
        let steps: BTreeSet<Step> =
            modules.iter().filter_map(|module| Some(role(modules, module)?.0)).collect();
        Some(Place {
            stage: key.0,
            repeat: key.1,
            index: self.modules.range(..key).count(),
            step,
            position: steps.range(..step).count(),
            layer,
        })
    }
}

fn parse(module: &str) -> Option<(Key, &str)> {
    let (stage, rest) = module.strip_prefix("blocks.")?.split_once('.')?;
    let (repeat, module) = rest.split_once('.')?;
    Some(((stage.parse().ok()?, repeat.parse().ok()?), module))
}

/// What a module does; that depends on which others its block has.
fn role(modules: &BTreeSet<String>, module: &str) -> Option<(Step, Layer)> {
    let expands = modules.contains("conv_pwl");
    let is_single = modules.contains("conv");
    Some(match (module, expands) {
        ("conv", _) => (Step::Only, Layer::Convolution),
        ("bn1", _) if is_single => (Step::Only, Layer::Norm),
        ("se.conv_reduce", _) => (Step::Squeeze, Layer::Reduce),
        ("se.conv_expand", _) => (Step::Squeeze, Layer::Expand),
        ("conv_dw", _) => (Step::Depthwise, Layer::Convolution),
        ("conv_pw", true) => (Step::Expand, Layer::Convolution),
        ("bn1", true) => (Step::Expand, Layer::Norm),
        ("bn2", true) => (Step::Depthwise, Layer::Norm),
        ("conv_pwl", true) => (Step::Project, Layer::Convolution),
        ("bn3", true) => (Step::Project, Layer::Norm),
        ("bn1", false) => (Step::Depthwise, Layer::Norm),
        ("conv_pw", false) => (Step::Project, Layer::Convolution),
        ("bn2", false) => (Step::Project, Layer::Norm),
        _ => return None,
    })
}
