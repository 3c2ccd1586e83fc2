use super::budget::Binding;
use crate::scan::ScanError;

/// Why an elimination has no winner.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EliminationError {
    /// A scan or a fine-tune stopped.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// There is no cut of a name that was asked for.
    #[error("no cut is called `{name}`")]
    UnknownCut {
        /// The name.
        name: String,
        /// Those that there are.
        cuts: Vec<String>,
    },
    /// No network keeps the budget: the answer is no.
    #[error("no network fits the budget: {}", list(bindings))]
    Infeasible {
        /// The limits that stand in the way.
        bindings: Vec<Binding>,
    },
}

fn list(bindings: &[Binding]) -> String {
    bindings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl EliminationError {
    /// What the user can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Scan(error) => error.hint(),
            Self::UnknownCut { cuts, .. } => Some(format!("there are {}", cuts.join(", "))),
            Self::Infeasible { .. } => {
                Some("raise the limit, or try smaller images (--image-size) or another --backbone".to_owned())
            }
        }
    }
}
