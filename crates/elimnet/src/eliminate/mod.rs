//! From images and a budget to the network that is worth having, with proof.
//!
//! [`eliminate`] scans, keeps what fits the [`Budget`], corrects the probes by a few short fine-tunes, fine-tunes the most promising
//! candidates by successive halving, and the winner in full: an ordinary run directory. The uncut network and the static baseline
//! ("the deepest cut that fits") are trained alike, and every difference comes with an interval over the same images; what
//! lies inside the noise is not called a gain.
//!
//! # Source
//! Successive halving: Jamieson & Talwalkar, AISTATS 2016. Starting from a fitted head: Kumar et al., *Fine-Tuning can Distort
//! Pretrained Features*, ICLR 2022. Budgeted cuts: NetCut (DATE 2021), TruncatedTL (BMVC 2023).

mod budget;
mod choose;
mod error;
mod prove;
mod record;
mod report;
mod run;
mod timing;

pub use budget::{Binding, Budget, Limit};
pub use error::EliminationError;
pub use record::{Comparison, Considered, EliminationRecord, NetworkRecord, Rung, SeedRecord, Verdict};
pub use run::{EliminateOptions, Elimination, eliminate};
