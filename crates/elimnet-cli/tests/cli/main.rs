//! The binary as users and other tools see it: what it prints, what it leaves behind, and how it fails.

#![allow(clippy::print_stderr, reason = "a test that can't run here says so loudly")]

mod bad_data;
mod bad_models;
mod bad_surroundings;
#[cfg(unix)]
mod chromium;
mod contracts;
mod eliminate;
mod interruption;
mod precision;
mod pretrained;
mod reference;
#[cfg(unix)]
mod report;
mod runs;
mod scan;
mod scene;
