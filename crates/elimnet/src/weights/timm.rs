//! Translates timm's names to torchvision's.
//!
//! The networks are the same, except that timm's MobileNetV3 adds 1e-5 to the variance in batch norm where
//! torchvision's adds 1e-3. The running variances are shifted by the difference, which makes the outputs
//! equal at inference; a variance below 1e-3 becomes negative by that, and is positive again once 1e-3 is
//! added. (In training batch norm uses the batch's own variance, so there the 1e-3 counts.)
//!
//! timm and torchvision name ResNet-18 alike. VGG-11's and MobileNetV3's hidden classifier layers are
//! convolutions in timm and get the matrix shape that torchvision has. Only these networks are
//! translated: `efficientnet_b0`, `mobilenetv3_large_100`, `mobilenetv3_small_100`, `mobilenetv2_100`,
//! `mnasnet_100` and `vgg11`. TensorFlow's ports (`tf_efficientnet_b0` and the like) have the same names
//! but pad asymmetrically; nothing in a checkpoint tells them apart, so don't use those.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::Tensor;
use super::timm_block::{Blocks, Layer, Place, Step};

type Tensors = BTreeMap<String, Tensor>;

/// How torchvision names the parts of a family of networks.
struct Family {
    /// What stands outside of the blocks: timm's module and torchvision's.
    ends: &'static [(&'static str, &'static str)],
    /// torchvision's module for a part of a block.
    block: fn(&Place) -> String,
    /// What torchvision adds to a variance, less what timm does.
    eps_difference: f32,
}

const EFFICIENTNET: Family = Family {
    ends: &[
        ("conv_stem", "features.0.0"),
        ("bn1", "features.0.1"),
        ("conv_head", "features.8.0"),
        ("bn2", "features.8.1"),
        ("classifier", "classifier.1"),
    ],
    block: |place| {
        let (stage, repeat) = (place.stage + 1, place.repeat);
        format!("features.{stage}.{repeat}.block.{}.{}", place.position, module_in_step(place))
    },
    eps_difference: 0.0,
};

const MOBILENET_V3: Family = Family {
    ends: &[
        ("conv_stem", "features.0.0"),
        ("bn1", "features.0.1"),
        ("conv_head", "classifier.0"),
        ("classifier", "classifier.3"),
    ],
    block: |place| match place.step {
        Step::Only => format!("features.{}.{}", place.index + 1, module_in_step(place)),
        _ => format!("features.{}.block.{}.{}", place.index + 1, place.position, module_in_step(place)),
    },
    eps_difference: 1e-3 - 1e-5,
};

const MOBILENET_V2: Family = Family {
    ends: &[
        ("conv_stem", "features.0.0"),
        ("bn1", "features.0.1"),
        ("conv_head", "features.18.0"),
        ("bn2", "features.18.1"),
        ("classifier", "classifier.1"),
    ],
    block: |place| {
        let (block, position) = (place.index + 1, place.position);
        match (place.step, place.layer) {
            // The last convolution and its norm are not wrapped.
            (Step::Project, Layer::Convolution) => format!("features.{block}.conv.{position}"),
            (Step::Project, _) => format!("features.{block}.conv.{}", position + 1),
            _ => format!("features.{block}.conv.{position}.{}", module_in_step(place)),
        }
    },
    eps_difference: 0.0,
};

const MNASNET: Family = Family {
    ends: &[
        ("conv_stem", "layers.0"),
        ("bn1", "layers.1"),
        ("conv_head", "layers.14"),
        ("bn2", "layers.15"),
        ("classifier", "classifier.1"),
    ],
    block: |place| {
        // Convolution, norm, activation: three modules a step, in one list.
        let module = 3 * place.position + usize::from(place.layer == Layer::Norm);
        match place.stage {
            0 => format!("layers.{}", module + 3),
            stage => format!("layers.{}.{}.layers.{module}", stage + 7, place.repeat),
        }
    },
    eps_difference: 0.0,
};

const VGG: Family = Family {
    ends: &[
        ("pre_logits.fc1", "classifier.0"),
        ("pre_logits.fc2", "classifier.3"),
        ("head.fc", "classifier.6"),
    ],
    block: |_| String::new(),
    eps_difference: 0.0,
};

fn module_in_step(place: &Place) -> &'static str {
    match place.layer {
        Layer::Convolution => "0",
        Layer::Norm => "1",
        Layer::Reduce => "fc1",
        Layer::Expand => "fc2",
    }
}

/// The family whose names these are; none where they are not timm's.
fn detect(tensors: &Tensors) -> Option<Family> {
    let has = |name: &str| tensors.contains_key(name);
    if has("pre_logits.fc1.weight") {
        return Some(VGG);
    }
    if !has("conv_stem.weight") {
        return None;
    }
    let squeezes = has("blocks.0.0.se.conv_reduce.weight");
    match (has("conv_head.bias"), squeezes, has("blocks.1.2.conv_pw.weight")) {
        (true, _, _) => Some(MOBILENET_V3),
        (false, true, _) => Some(EFFICIENTNET),
        // MnasNet's second stage has three blocks, MobileNetV2's two.
        (false, false, true) => Some(MNASNET),
        (false, false, false) => Some(MOBILENET_V2),
    }
}

/// Gives timm's tensors torchvision's names and shapes; others are returned as they are.
///
/// A name that the family doesn't have is kept, and thereby reported when the tensors are matched.
pub(super) fn translate_timm(tensors: Tensors) -> Tensors {
    let Some(family) = detect(&tensors) else { return tensors };
    let blocks = Blocks::find(tensors.keys());
    let translate = |name: &String| translate_name(&family, &blocks, name);
    let names: Vec<_> = tensors.keys().map(translate).collect();
    let distinct: BTreeSet<_> =
        tensors.keys().zip(&names).map(|(old, new)| new.as_ref().unwrap_or(old)).collect();
    if distinct.len() < tensors.len() {
        // Names of both libraries, two for one tensor: these are neither's.
        return tensors;
    }
    let translated = tensors.into_iter().zip(names).map(|((old, tensor), new)| match new {
        Some(new) => {
            let tensor = translate_tensor(&family, &new, tensor);
            (new, tensor)
        }
        None => (old, tensor),
    });
    translated.collect()
}

fn translate_name(family: &Family, blocks: &Blocks, name: &str) -> Option<String> {
    let (module, parameter) = name.rsplit_once('.')?;
    let end = family
        .ends
        .iter()
        .find(|(timm, _)| *timm == module)
        .map(|(_, torchvision)| (*torchvision).to_owned());
    let module = end.or_else(|| blocks.place(module).map(|place| (family.block)(&place)))?;
    Some(format!("{module}.{parameter}"))
}

fn translate_tensor(family: &Family, name: &str, mut tensor: Tensor) -> Tensor {
    let inputs = tensor.shape.iter().skip(1).try_fold(1usize, |product, &side| product.checked_mul(side));
    if let Some(inputs) = inputs
        && name.starts_with("classifier.")
        && tensor.shape.len() == 4
    {
        // A 1x1 or full-size convolution as the matrix that it is.
        tensor.shape = vec![tensor.shape[0], inputs];
    }
    if name.ends_with(".running_var") && family.eps_difference != 0.0 {
        tensor.values.iter_mut().for_each(|variance| *variance -= family.eps_difference);
    }
    tensor
}
