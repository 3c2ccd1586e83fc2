//! Whole trainings on small images in memory, through the public door.

mod distilling;
mod golden;
mod learning;
mod resuming;
mod run_directory;
mod scene;
mod starting;
