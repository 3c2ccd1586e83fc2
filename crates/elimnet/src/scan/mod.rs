//! Scores every place where a network can be cut, from one pass over the images.
//!
//! [`scan`] runs the whole pretrained backbone once, frozen, in inference mode, and keeps the pooled features after every
//! block: for each of them a held-out linear probe says how much of the task is solved there, and the costs of the network
//! that ends there are counted and measured. [`correct`] makes up for what probes can't see: fine-tuning lifts shallow
//! cuts more than deep ones, which a few short fine-tunes at anchor depths measure.
//!
//! Rejected: transferability scores without labels held out (fragile; LogME is a side column), a fine-tune for each cut (what
//! this replaces), a pass for each cut (the features of a cut are on the way to those of the next).
//!
//! # Source
//! Alain & Bengio, *Understanding intermediate layers using linear classifier probes*, ICLR workshops 2017; Evci et al.,
//! *Head2Toe*, ICML 2022; Zhi et al. 2017, *NetCut* (DATE 2021) and *TruncatedTL* (BMVC 2023) cut and fine-tune.

mod anchors;
mod backbone;
mod bootstrap;
mod cache;
mod correction;
mod cost;
mod error;
mod features;
#[cfg(test)]
mod golden;
mod knee;
mod latency;
mod logme;
mod minimize;
mod moments;
mod neighbours;
mod probe;
mod record;
mod run;
mod score;
mod settle;
mod tridiagonal;
mod tune;

pub use anchors::{AnchorOptions, correct};
pub use backbone::Backbone;
pub(crate) use bootstrap::quantile;
pub use bootstrap::{Bootstrap, Interval, RESAMPLES, macro_f1_of};
pub(crate) use cost::file_bytes;
pub use error::ScanError;
pub use knee::knee;
pub use probe::{LinearHead, Probe, fit_probe};
pub use record::{AnchorRecord, CutRecord, Estimate, ProbeScores, ScanRecord};
pub use run::{Candidate, Place, Scan, ScanEvent, ScanOptions, scan};
pub use settle::probe_head;
pub(crate) use tune::{FineTune, FineTuning, try_out, tune};
pub use tune::{Recipe, Tuned};
