//! The keys of a data YAML, each with its meaning checked; keys that we do not know (the seed has more) are passed over.

use std::ops::Range;
use std::path::Path;

use elimnet_arch::Argument;
use elimnet_arch::yaml::{self, Node, Value};

use super::error::DataError;
use super::policy::Policy;

/// The top level of a data YAML.
pub(super) struct Keys<'a> {
    path: &'a Path,
    entries: Vec<(String, Node)>,
}

impl<'a> Keys<'a> {
    pub(super) fn read(text: &str, path: &'a Path) -> Result<Self, DataError> {
        let root =
            yaml::read(text, &path.to_string_lossy()).map_err(|error| DataError::Yaml(Box::new(error)))?;
        match root.value {
            Value::Map(entries) => Ok(Self { path, entries }),
            _ => Err(DataError::Config {
                path: path.to_owned(),
                line: 1,
                reason: "keys and values are expected".into(),
            }),
        }
    }

    pub(super) fn required_text(&self, key: &str) -> Result<String, DataError> {
        let missing = || DataError::Config {
            path: self.path.to_owned(),
            line: 1,
            reason: format!("key `{key}` is missing"),
        };
        self.text(key)?.ok_or_else(missing)
    }

    /// Text; a number or a truth value is text too, as a folder may be called `2024`.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, DataError> {
        self.scalar(key, "text", |scalar| match scalar {
            Argument::Text(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
    }

    /// A whole number above zero.
    pub(super) fn count(&self, key: &str) -> Result<Option<usize>, DataError> {
        self.scalar(key, "a whole number of at least 1", |scalar| match scalar {
            Argument::Int(number) => usize::try_from(*number).ok().filter(|&number| number > 0),
            _ => None,
        })
    }

    /// A number inside `range`, its ends left out.
    pub(super) fn number(&self, key: &str, range: Range<f64>) -> Result<Option<f32>, DataError> {
        let expected = match range.end {
            f64::MAX => format!("a number above {}", range.start),
            end => format!("a number between {} and {end}", range.start),
        };
        let number = self.scalar(key, &expected, |scalar| {
            number(scalar).filter(|&number| number > range.start && number < range.end)
        })?;
        Ok(number.map(|number| number as f32))
    }

    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>, DataError> {
        self.scalar(key, "true or false", |scalar| match scalar {
            Argument::Bool(truth) => Some(*truth),
            _ => None,
        })
    }

    pub(super) fn policy(&self, key: &str, _parameters: &str) -> Result<Option<Policy>, DataError> {
        self.text(key)?.map(|name| Policy::by_name(&name)).transpose()
    }

    fn scalar<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&Argument) -> Option<T>,
    ) -> Result<Option<T>, DataError> {
        let Some((_, node)) = self.entries.iter().find(|(name, _)| name == key) else { return Ok(None) };
        match &node.value {
            Value::Scalar(Argument::Null) => Ok(None),
            Value::Scalar(scalar) => match convert(scalar) {
                Some(value) => Ok(Some(value)),
                None => Err(self.wrong(node, format!("{key} is {scalar}, expected {expected}"))),
            },
            _ => Err(self.wrong(node, format!("{key} is a list or a mapping, expected {expected}"))),
        }
    }

    fn wrong(&self, node: &Node, reason: String) -> DataError {
        DataError::Config { path: self.path.to_owned(), line: node.line, reason }
    }
}

fn number(scalar: &Argument) -> Option<f64> {
    match scalar {
        Argument::Int(number) => Some(*number as f64),
        Argument::Float(number) => Some(*number),
        _ => None,
    }
}
