//! What can be wrong with a model file.

use crate::validate::NetworkError;

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the caller called it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Row of the table, from 0.
    pub row: usize,
    /// The row's module.
    pub module: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: row {} ({})", self.file, self.line, self.row, self.module)
    }
}

/// A model file that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// Not YAML, or YAML that no model file needs.
    #[error("{file}:{line}: {reason}")]
    Syntax {
        /// The file as the caller called it.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A key that must be there is not.
    #[error("{file}: key `{key}` is missing")]
    MissingKey {
        /// The file as the caller called it.
        file: String,
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong kind, outside a row's arguments.
    #[error("{file}:{line}: {what} is {found}, expected {expected}")]
    Kind {
        /// The file as the caller called it.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What has the value: a key, a row.
        what: String,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A module that the language does not have.
    #[error("{place}: there is no such module")]
    UnknownModule {
        /// Where; its `module` is what was asked for.
        place: Box<Place>,
        /// The module whose name is closest, if one is close.
        nearest: Option<&'static str>,
    },
    /// Too few or too many arguments.
    #[error("{place}: {found} arguments, expected {expected}")]
    Arity {
        /// Where.
        place: Box<Place>,
        /// The arguments that there are: `out, kernel, [stride, ...]`.
        expected: String,
        /// How many there were.
        found: usize,
    },
    /// An argument of the wrong kind or size.
    #[error("{place}: argument {index} ({argument}) is {found}, expected {expected}")]
    Argument {
        /// Where.
        place: Box<Place>,
        /// Which, from 1.
        index: usize,
        /// Its name.
        argument: &'static str,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A row that can't stand where it does.
    #[error("{place}: {reason}")]
    Row {
        /// Where.
        place: Box<Place>,
        /// Why not.
        reason: String,
    },
    /// A table that makes no classifier.
    #[error("{file}: {reason}")]
    Table {
        /// The file as the caller called it.
        file: String,
        /// Why not.
        reason: String,
    },
    /// A network that contradicts itself in a way that no row shows.
    #[error("{file}: {source}")]
    Network {
        /// The file as the caller called it.
        file: String,
        /// What contradicts what.
        source: NetworkError,
    },
}

impl YamlError {
    /// What the user may want to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownModule { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::UnknownModule { .. } => {
                let names: Vec<_> = super::modules().iter().map(|signature| signature.module).collect();
                Some(format!("the modules are {}", names.join(", ")))
            }
            Self::MissingKey { key: "backbone", .. } => {
                Some("a model file has `input_channel: 3` and `backbone:` with a list of [repeat, module, [arguments]]".to_owned())
            }
            _ => None,
        }
    }
}
