//! The keys of a data YAML, each with its meaning checked; keys that we do not know (the seed has more) are passed over.

use std::ops::Range;
use std::path::Path;

use elimnet_arch::Argument;
use elimnet_arch::yaml::{self, Node, Value};

use super::error::DataError;
use super::policy::Policy;

/// Far above every sensible number of operations or levels.
const MAX_LEVEL: usize = 1000;

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

    /// A whole number from 1 to `most`.
    pub(super) fn count(&self, key: &str, most: usize) -> Result<Option<usize>, DataError> {
        self.scalar(key, &format!("a whole number from 1 to {most}"), |scalar| match scalar {
            Argument::Int(number) => {
                usize::try_from(*number).ok().filter(|number| (1..=most).contains(number))
            }
            _ => None,
        })
    }

    /// A whole number from zero on.
    fn whole(&self, key: &str) -> Result<Option<usize>, DataError> {
        self.scalar(key, "a whole number or null", |scalar| match scalar {
            Argument::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        })
    }

    /// A number inside `range`, its ends left out.
    pub(super) fn number(&self, key: &str, range: Range<f32>) -> Result<Option<f32>, DataError> {
        let expected = format!("a number between {} and {}", range.start, range.end);
        self.scalar(key, &expected, |scalar| {
            number(scalar)
                .map(|number| number as f32)
                .filter(|&number| number > range.start && number < range.end)
        })
    }

    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>, DataError> {
        self.scalar(key, "true or false", |scalar| match scalar {
            Argument::Bool(truth) => Some(*truth),
            _ => None,
        })
    }

    /// A policy and its parameters.
    pub(super) fn policy(&self, key: &str, parameters: &str) -> Result<Option<Policy>, DataError> {
        let Some(name) = self.text(key)? else { return Ok(None) };
        let policy = Policy::by_name(&name)?;
        let Some((_, node)) = self.entries.iter().find(|(name, _)| name == parameters) else {
            return Ok(Some(policy));
        };
        match &node.value {
            Value::Scalar(Argument::Null) => Ok(Some(policy)),
            Value::Map(entries) => {
                Keys { path: self.path, entries: entries.clone() }.parametrised(policy).map(Some)
            }
            _ => Err(self.wrong(node, format!("{parameters} is not a mapping of names to values"))),
        }
    }

    /// The policy with the parameters that these keys are.
    fn parametrised(&self, policy: Policy) -> Result<Policy, DataError> {
        let known: &[&str] = match policy {
            Policy::RandaugmentTrain { .. } => &["n_select", "level", "n_level"],
            _ => &[],
        };
        if let Some((name, node)) = self.entries.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(self.wrong(node, format!("the policy {} has no parameter `{name}`", policy.name())));
        }
        let Policy::RandaugmentTrain { n_select, level, n_level } = policy else { return Ok(policy) };
        let level_given = self.entries.iter().any(|(name, _)| name == "level");
        let parametrised = Policy::RandaugmentTrain {
            n_select: self.count("n_select", MAX_LEVEL)?.unwrap_or(n_select),
            level: if level_given { self.whole("level")? } else { level },
            n_level: self.count("n_level", MAX_LEVEL)?.unwrap_or(n_level),
        };
        parametrised.check().map_err(|reason| self.wrong(&self.entries[0].1, reason))?;
        Ok(parametrised)
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
