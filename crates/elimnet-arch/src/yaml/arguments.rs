//! Typed access to the arguments of a row.

use super::error::{Place, YamlError};
use super::module::Signature;
use crate::block::Argument;
use crate::layer::Activation;

/// The largest size or factor that a file may ask for.
pub(super) const LIMIT: usize = 1 << 20;

/// The arguments of one row, their number checked.
pub(super) struct Arguments<'a> {
    place: &'a Place,
    signature: &'static Signature,
    values: &'a [Argument],
}

impl<'a> Arguments<'a> {
    pub(super) fn new(
        place: &'a Place,
        signature: &'static Signature,
        values: &'a [Argument],
    ) -> Result<Self, YamlError> {
        if !(signature.required..=signature.arguments.len()).contains(&values.len()) {
            let expected = signature.to_string();
            return Err(YamlError::Arity { place: Box::new(place.clone()), expected, found: values.len() });
        }
        Ok(Self { place, signature, values })
    }

    pub(super) fn module(&self) -> &'static str {
        self.signature.module
    }

    pub(super) fn values(&self) -> &'a [Argument] {
        self.values
    }

    /// A size: a whole number from 1.
    pub(super) fn size(&self, name: &'static str) -> Result<usize, YamlError> {
        self.whole(name, 1)
    }

    pub(super) fn size_or(&self, name: &'static str, default: usize) -> Result<usize, YamlError> {
        if self.is_given(name) { self.size(name) } else { Ok(default) }
    }

    /// A whole number from 0, or what stands for `null` and nothing.
    pub(super) fn padding_or(&self, name: &'static str, default: usize) -> Result<usize, YamlError> {
        if self.is_given(name) { self.whole(name, 0) } else { Ok(default) }
    }

    /// A number above 0.
    pub(super) fn factor(&self, name: &'static str) -> Result<f64, YamlError> {
        let number = match self.value(name) {
            Some(&Argument::Int(whole)) => whole as f64,
            Some(&Argument::Float(number)) => number,
            _ => f64::NAN,
        };
        if number > 0.0 && number <= LIMIT as f64 {
            return Ok(number);
        }
        Err(self.unfit(name, format!("a number above 0, at most {LIMIT}")))
    }

    pub(super) fn factor_or(&self, name: &'static str, default: f64) -> Result<f64, YamlError> {
        if self.is_given(name) { self.factor(name) } else { Ok(default) }
    }

    /// `True`, `False`, 1 or 0.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, YamlError> {
        match self.value(name) {
            Some(&Argument::Bool(flag)) => Ok(flag),
            Some(Argument::Int(0)) => Ok(false),
            Some(Argument::Int(1)) => Ok(true),
            _ => Err(self.unfit(name, "True, False, 1 or 0")),
        }
    }

    pub(super) fn flag_or(&self, name: &'static str, default: bool) -> Result<bool, YamlError> {
        if self.is_given(name) { self.flag(name) } else { Ok(default) }
    }

    /// An activation by name; `null` is none, nothing is `default`.
    pub(super) fn activation_or(
        &self,
        name: &'static str,
        default: Option<Activation>,
    ) -> Result<Option<Activation>, YamlError> {
        match self.value(name) {
            None => Ok(default),
            Some(Argument::Null) => Ok(None),
            Some(Argument::Text(text)) => match Activation::from_name(text) {
                Some(activation) => Ok(Some(activation)),
                None => Err(self.unfit(name, ACTIVATIONS)),
            },
            Some(_) => Err(self.unfit(name, ACTIVATIONS)),
        }
    }

    pub(super) fn value(&self, name: &'static str) -> Option<&'a Argument> {
        self.values.get(self.index(name))
    }

    /// The error that argument `name` is not what it should be.
    pub(super) fn unfit(&self, name: &'static str, expected: impl Into<String>) -> YamlError {
        YamlError::Argument {
            place: Box::new(self.place.clone()),
            index: self.index(name) + 1,
            argument: name,
            expected: expected.into(),
            found: self.value(name).map_or("absent".to_owned(), Argument::to_string),
        }
    }

    /// The error that the row can't stand here.
    pub(super) fn misplaced(&self, reason: impl Into<String>) -> YamlError {
        YamlError::Row { place: Box::new(self.place.clone()), reason: reason.into() }
    }

    fn whole(&self, name: &'static str, least: usize) -> Result<usize, YamlError> {
        match self.value(name) {
            Some(&Argument::Int(whole)) if (least as i64..=LIMIT as i64).contains(&whole) => {
                Ok(whole as usize)
            }
            _ => Err(self.unfit(name, format!("a whole number from {least} to {LIMIT}"))),
        }
    }

    /// Whether there is such an argument and it is not `null`.
    fn is_given(&self, name: &'static str) -> bool {
        !matches!(self.value(name), None | Some(Argument::Null))
    }

    fn index(&self, name: &'static str) -> usize {
        let position = self.signature.arguments.iter().position(|known| *known == name);
        position.unwrap_or(self.signature.arguments.len())
    }
}

const ACTIVATIONS: &str = "ReLU, ReLU6, HardSwish, HardSigmoid, Swish (SiLU), Sigmoid, Softmax, GELU or null";
