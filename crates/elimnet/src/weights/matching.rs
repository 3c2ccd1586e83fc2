use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use super::checkpoint::Checkpoint;
use super::error::WeightsError;

/// A tensor that a network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedTensor<'a> {
    /// torchvision's name of it.
    pub name: &'a str,
    /// Length of each side, outermost first.
    pub shape: &'a [usize],
}

/// What the caller knows will differ between a checkpoint and a network, and why.
///
/// A name stands for the tensor of that name and for all below it: `classifier` for
/// `classifier.1.weight`, but not for `classifier2.weight`.
///
/// ```
/// use elimnet::weights::Allowance;
///
/// // ResNet-18 cut after layer2, with a head for the caller's own classes.
/// let allowance = Allowance::none().replaced("fc").eliminated("layer3").eliminated("layer4");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    replaced: Vec<String>,
    eliminated: Vec<String>,
}

impl Allowance {
    /// Every tensor has to fit.
    pub fn none() -> Self {
        Self::default()
    }

    /// The network has its own `name`, because the caller asked for it (a head for other classes): the
    /// checkpoint's may have another shape or be missing.
    #[must_use]
    pub fn replaced(mut self, name: impl Into<String>) -> Self {
        self.replaced.push(name.into());
        self
    }

    /// The caller cut `name` from the network: the checkpoint may still have it.
    #[must_use]
    pub fn eliminated(mut self, name: impl Into<String>) -> Self {
        self.eliminated.push(name.into());
        self
    }

    fn allows_replacing(&self, name: &str) -> bool {
        self.replaced.iter().any(|allowed| is_at_or_below(name, allowed))
    }

    fn allows_eliminating(&self, name: &str) -> bool {
        // A replaced head may have had other parts.
        self.eliminated.iter().chain(&self.replaced).any(|allowed| is_at_or_below(name, allowed))
    }
}

fn is_at_or_below(name: &str, ancestor: &str) -> bool {
    name.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A tensor whose shape in the checkpoint is not the network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// The tensor's name.
    pub name: String,
    /// Its shape in the checkpoint.
    pub found: Vec<usize>,
    /// Its shape in the network.
    pub expected: Vec<usize>,
}

/// How the tensors of a checkpoint fit a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Names that fit, in the network's order: those to load.
    pub loaded: Vec<String>,
    /// Names that the network has and the checkpoint lacks, or has in another shape, as the caller allowed.
    /// They are the caller's to initialise.
    pub replaced: Vec<String>,
    /// Names that only the checkpoint has, as the caller allowed.
    pub eliminated: Vec<String>,
    /// Names that the checkpoint lacks.
    pub missing: Vec<String>,
    /// Names that the network doesn't have.
    pub unexpected: Vec<String>,
    /// Names whose shapes differ.
    pub mismatched: Vec<ShapeMismatch>,
}

impl LoadReport {
    /// Whether all that differs is allowed.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }

    /// The report again where it is clean. `path` is the checkpoint, for the message.
    ///
    /// # Errors
    /// [`WeightsError::Mismatch`], naming what doesn't fit.
    pub fn into_result(self, path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        if self.is_clean() {
            return Ok(self);
        }
        Err(WeightsError::Mismatch { path: path.as_ref().to_owned(), report: Box::new(self) })
    }
}

/// Compares a checkpoint with the tensors that a network expects.
///
/// Batch norm's counters (`num_batches_tracked`) may always be missing: checkpoints from before PyTorch
/// 0.4.1 have none, and nothing computes with them.
pub fn match_tensors(
    checkpoint: &Checkpoint,
    expected: &[ExpectedTensor<'_>],
    allowance: &Allowance,
) -> LoadReport {
    let mut report = LoadReport::default();
    for &ExpectedTensor { name, shape } in expected {
        match checkpoint.tensors.get(name) {
            Some(tensor) if tensor.shape == shape => report.loaded.push(name.to_owned()),
            _ if allowance.allows_replacing(name) => report.replaced.push(name.to_owned()),
            Some(tensor) => report.mismatched.push(ShapeMismatch {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                expected: shape.to_vec(),
            }),
            None if name.ends_with("num_batches_tracked") => (),
            None => report.missing.push(name.to_owned()),
        }
    }
    let known: BTreeSet<&str> = expected.iter().map(|tensor| tensor.name).collect();
    for name in checkpoint.tensors.keys().filter(|name| !known.contains(name.as_str())) {
        let names =
            if allowance.allows_eliminating(name) { &mut report.eliminated } else { &mut report.unexpected };
        names.push(name.clone());
    }
    report
}

/// How many lines of each kind a message has before it is cut.
const MOST_LINES: usize = 8;

impl fmt::Display for LoadReport {
    /// One line for each tensor that doesn't fit; long lists are cut and end with a count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mismatched = self.mismatched.iter().map(|ShapeMismatch { name, found, expected }| {
            format!("tensor `{name}` has shape {found:?}, expected {expected:?}")
        });
        let missing = self.missing.iter().map(|name| format!("tensor `{name}` is missing"));
        let unexpected =
            self.unexpected.iter().map(|name| format!("tensor `{name}` is not part of the network"));
        let mut lines = cut(mismatched, "of another shape");
        lines.extend(cut(missing, "missing"));
        lines.extend(cut(unexpected, "not part of the network"));
        f.write_str(&lines.join("\n"))
    }
}

fn cut(lines: impl ExactSizeIterator<Item = String>, kind: &str) -> Vec<String> {
    let rest = lines.len().saturating_sub(MOST_LINES);
    let mut shown: Vec<_> = lines.take(MOST_LINES).collect();
    if rest > 0 {
        shown.push(format!("... and {rest} more tensors {kind}"));
    }
    shown
}
