//! What a network may cost.

use serde::{Deserialize, Serialize};

use crate::scan::CutRecord;

/// Upper limits; what is `None` is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Trained numbers.
    pub max_parameters: Option<u64>,
    /// Measured milliseconds for one image alone.
    pub max_latency_ms: Option<f64>,
    /// Bytes of the model file.
    pub max_file_bytes: Option<u64>,
    /// How much lower than the uncut network's the macro-F1 may be. Among the networks that keep it, the fastest wins; without
    /// it the one of the highest macro-F1.
    pub max_f1_drop: Option<f64>,
}

/// A limit on a cost that is known before anything is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// [`Budget::max_parameters`].
    Parameters,
    /// [`Budget::max_latency_ms`].
    LatencyMs,
    /// [`Budget::max_file_bytes`].
    FileBytes,
}

/// A limit that a network does not keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Which limit.
    pub limit: Limit,
    /// What is allowed.
    pub allowed: f64,
    /// What the network comes to.
    pub least: f64,
    /// The network.
    pub network: String,
}

impl Budget {
    /// Whether a network of these costs is allowed; F1 is another matter.
    #[must_use]
    pub fn allows(&self, cut: &CutRecord) -> bool {
        self.costs(cut).all(|(_, allowed, cost)| cost <= allowed)
    }

    /// Every limit there is with what it allows and what the network comes to.
    fn costs(&self, cut: &CutRecord) -> impl Iterator<Item = (Limit, f64, f64)> + use<> {
        let latency = cut.latency_ms.get(&1).copied().unwrap_or(0.0);
        let limits = [
            (Limit::Parameters, self.max_parameters.map(|limit| limit as f64), cut.parameters as f64),
            (Limit::LatencyMs, self.max_latency_ms, latency),
            (Limit::FileBytes, self.max_file_bytes.map(|limit| limit as f64), cut.file_bytes as f64),
        ];
        limits.into_iter().filter_map(|(limit, allowed, cost)| Some((limit, allowed?, cost)))
    }

    /// Why none of `networks` is allowed: every limit that even the network that is cheapest in it exceeds; if there is none,
    /// the limits that the network exceeds which comes closest.
    #[must_use]
    pub fn bindings<'a>(&self, networks: impl Iterator<Item = (String, &'a CutRecord)>) -> Vec<Binding> {
        let networks: Vec<(String, &CutRecord)> = networks.collect();
        let exceeded = |name: &str, cut: &CutRecord| -> Vec<Binding> {
            let over = self.costs(cut).filter(|(_, allowed, cost)| cost > allowed);
            let binding =
                |(limit, allowed, least)| Binding { limit, allowed, least, network: name.to_owned() };
            over.map(binding).collect()
        };
        let all: Vec<Vec<Binding>> = networks.iter().map(|(name, cut)| exceeded(name, cut)).collect();
        let always =
            [Limit::Parameters, Limit::LatencyMs, Limit::FileBytes].into_iter().filter_map(|limit| {
                let of_limit = |bindings: &Vec<Binding>| bindings.iter().find(|b| b.limit == limit).cloned();
                let each: Option<Vec<Binding>> = all.iter().map(of_limit).collect();
                each?.into_iter().min_by(|a, b| a.least.total_cmp(&b.least))
            });
        let always: Vec<Binding> = always.collect();
        if !always.is_empty() {
            return always;
        }
        let worst = |bindings: &Vec<Binding>| bindings.iter().map(Binding::ratio).fold(0.0, f64::max);
        all.into_iter().min_by(|a, b| worst(a).total_cmp(&worst(b))).unwrap_or_default()
    }
}

impl Binding {
    fn ratio(&self) -> f64 {
        self.least / self.allowed.max(f64::MIN_POSITIVE)
    }
}

impl std::fmt::Display for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limit, allowed, least, network } = self;
        let over = least - allowed;
        match limit {
            Limit::Parameters => {
                write!(f, "{network} has {least:.0} parameters, {over:.0} more than the {allowed:.0} allowed")
            }
            Limit::LatencyMs => {
                write!(f, "{network} takes {least:.3} ms, {over:.3} ms more than the {allowed} ms allowed")
            }
            Limit::FileBytes => {
                write!(
                    f,
                    "{network} makes a file of {least:.0} bytes, {over:.0} more than the {allowed:.0} allowed"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eliminate::choose::tests::cut;

    #[test]
    fn every_limit_counts_on_its_own() {
        let network = cut("a", 0.5, 1000, 2.0);
        let allows = |budget: Budget| budget.allows(&network);
        assert!(allows(Budget::default()));
        assert!(allows(Budget {
            max_parameters: Some(1000),
            max_latency_ms: Some(2.0),
            ..Budget::default()
        }));
        assert!(!allows(Budget { max_parameters: Some(999), ..Budget::default() }));
        assert!(!allows(Budget { max_latency_ms: Some(1.9), ..Budget::default() }));
        assert!(!allows(Budget { max_file_bytes: Some(network.file_bytes - 1), ..Budget::default() }));
        assert!(allows(Budget { max_f1_drop: Some(0.0), ..Budget::default() }));
    }

    #[test]
    fn the_limit_that_nothing_keeps_is_named_with_what_comes_closest() {
        let cuts = [cut("small", 0.5, 1000, 2.0), cut("smaller", 0.4, 800, 3.0)];
        let networks = || cuts.iter().map(|cut| (cut.name.clone(), cut));
        let budget = Budget { max_parameters: Some(500), max_latency_ms: Some(2.5), ..Budget::default() };
        let found = budget.bindings(networks());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].to_string(), "smaller has 800 parameters, 300 more than the 500 allowed");

        // Each limit can be kept, but not both: the network that misses by least is named.
        let budget = Budget { max_parameters: Some(900), max_latency_ms: Some(2.5), ..Budget::default() };
        let found = budget.bindings(networks());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].to_string(), "small has 1000 parameters, 100 more than the 900 allowed");
    }
}
