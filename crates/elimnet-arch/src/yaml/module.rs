//! The modules of the language: names, arguments, and who builds them.

use super::arguments::Arguments;
use super::error::YamlError;
use super::scope::Scope;
use super::{convolution, inverted_residual, pooling, trunk};

/// What a module is called and what it takes.
#[derive(Debug)]
pub struct Signature {
    /// Name of the module.
    pub module: &'static str,
    /// Names of its arguments, in order.
    pub arguments: &'static [&'static str],
    /// How many of them must be there.
    pub required: usize,
    /// Whether a row may repeat it.
    pub(super) repeats: bool,
    /// Whether it ends the trunk where nothing after it looks at neighbouring pixels.
    pub(super) may_start_head: bool,
    /// Adds its blocks to the scope.
    pub(super) build: fn(&Arguments<'_>, &mut Scope<'_>) -> Result<(), YamlError>,
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (required, optional) = self.arguments.split_at(self.required);
        match (required, optional) {
            ([], []) => f.write_str("none"),
            (_, []) => f.write_str(&required.join(", ")),
            ([], _) => write!(f, "[{}]", optional.join(", ")),
            _ => write!(f, "{}, [{}]", required.join(", "), optional.join(", ")),
        }
    }
}

/// Every module of the language.
pub fn modules() -> &'static [Signature] {
    &MODULES
}

/// The module called `name`.
pub(super) fn find(name: &str) -> Option<&'static Signature> {
    MODULES.iter().find(|signature| signature.module == name)
}

/// The module whose name is closest to `name`, at most two slips away (letter case does not count).
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let distance = |signature: &Signature| edit_distance(&name, &signature.module.to_lowercase());
    let (slips, module) = MODULES.iter().map(|signature| (distance(signature), signature.module)).min()?;
    (slips <= 2).then_some(module)
}

/// Levenshtein's distance: letters inserted, left out or replaced.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (row, letter) in a.chars().take(64).enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in b.iter().enumerate() {
            let replaced = previous[column] + usize::from(letter != *other);
            current.push(replaced.min(previous[column + 1] + 1).min(current[column] + 1));
        }
        previous = current;
    }
    previous[b.len()]
}

const CONVOLUTION: &[&str] = &["out", "kernel", "stride", "padding", "groups", "activation"];
const WINDOW: &[&str] = &["kernel", "stride", "padding"];
const TRUNK: &[&str] = &["out", "pretrained"];

/// A module with its own weights.
const fn searched(
    module: &'static str,
    arguments: &'static [&'static str],
    required: usize,
    build: fn(&Arguments<'_>, &mut Scope<'_>) -> Result<(), YamlError>,
) -> Signature {
    Signature { module, arguments, required, repeats: true, may_start_head: false, build }
}

/// A module that ends the trunk.
const fn ending(
    module: &'static str,
    arguments: &'static [&'static str],
    required: usize,
    build: fn(&Arguments<'_>, &mut Scope<'_>) -> Result<(), YamlError>,
) -> Signature {
    Signature { module, arguments, required, repeats: false, may_start_head: true, build }
}

/// A pretrained trunk.
const fn pretrained(module: &'static str) -> Signature {
    Signature {
        module,
        arguments: TRUNK,
        required: 1,
        repeats: false,
        may_start_head: false,
        build: trunk::build,
    }
}

static MODULES: [Signature; 20] = [
    searched("Conv", CONVOLUTION, 2, convolution::conv),
    searched("DWConv", &["out", "kernel", "stride", "padding", "activation"], 2, convolution::depthwise),
    searched("ConvResidual", CONVOLUTION, 2, convolution::residual),
    searched("FixedConv", CONVOLUTION, 2, convolution::fixed),
    searched(
        "Bottleneck",
        &["out", "shortcut", "groups", "expansion", "activation"],
        1,
        convolution::bottleneck,
    ),
    searched("InvertedResidualv2", &["c", "t", "s"], 3, inverted_residual::v2),
    searched("InvertedResidualv3", &["k", "t", "c", "SE", "HS", "s"], 6, inverted_residual::v3),
    searched("MBConv", &["t", "c", "s", "k"], 4, inverted_residual::mbconv),
    searched("MaxPool", WINDOW, 1, pooling::max),
    searched("AvgPool", WINDOW, 1, pooling::average),
    ending("GlobalAvgPool", &["output"], 0, pooling::global),
    ending("Flatten", &[], 0, pooling::flatten),
    ending("Linear", &["out", "activation"], 1, pooling::linear),
    pretrained("EfficientNetB0"),
    pretrained("Resnet18"),
    pretrained("MobileNetV3"),
    pretrained("MobileNetV3Small"),
    pretrained("MobileNetV2"),
    pretrained("MnasNet"),
    pretrained("VGG11"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_the_module_that_was_meant() {
        for (written, meant) in [
            ("conv", Some("Conv")),
            ("Covn", Some("Conv")),
            ("ResNet18", Some("Resnet18")),
            ("InvertedResidualV3", Some("InvertedResidualv3")),
            ("GlobalAvgPol", Some("GlobalAvgPool")),
            ("Transformer", None),
            ("", None),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
    }

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, slips) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(edit_distance(a, b), slips, "{a} {b}");
        }
    }

    #[test]
    fn signatures_show_what_may_be_left_out() {
        let shown: Vec<String> = ["Linear", "Flatten", "GlobalAvgPool", "InvertedResidualv2"]
            .map(|name| find(name).expect("in the language").to_string())
            .into();
        assert_eq!(shown, ["out, [activation]", "none", "[output]", "c, t, s"]);
    }
}
