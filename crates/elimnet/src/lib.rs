//! Cut the top off a pretrained CNN, fine-tune the rest on your images, and measure what it is worth.

pub mod bench;
pub mod data;
pub mod demo;
pub mod eliminate;
pub mod evaluate;
pub mod model;
pub mod predict;
mod random;
pub mod report;
pub mod scan;
pub mod train;
pub mod weights;
