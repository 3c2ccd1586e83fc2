//! Whole trainings on small images in memory, through the public door.

mod golden;
mod learning;
mod resuming;
mod run_directory;
mod scene;
