//! What activations are stored as.

/// Type of activations and of their gradients. Sums, statistics, weights that are trained and their gradients, and what
/// crosses the interface are f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// bfloat16: the upper half of an f32. Half the memory traffic, and what matrix units multiply.
    Bf16,
}

impl Precision {
    /// As people and records write it: `f32`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        [Self::F32, Self::Bf16]
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| UnknownPrecision { name: name.to_owned() })
    }
}

/// A name that is no [`Precision`]'s.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no precision `{name}`, expected f32 or bf16")]
pub struct UnknownPrecision {
    /// The name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::Precision;

    #[test]
    fn names_are_read_back() {
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(precision.name().parse(), Ok(precision));
        }
        assert!("f16".parse::<Precision>().is_err());
    }
}
