//! Labelled images: found on disk, checked, split, augmented and brought into batches.
//!
//! [`DataConfig`] says where the data are and what to do with them, [`Dataset::open`] finds and checks them, and a
//! [`Loader`] makes batches of a [`Split`] on worker threads. [`Preprocessing`] is what a saved model carries along.
//!
//! # Example
//! ```
//! use elimnet::data::{Dataset, Image, LabeledImage, Loader, LoaderOptions, Order, Policy, Preprocessing};
//!
//! let image = |label, gray| LabeledImage { image: Image::filled(20, 10, [gray; 3]), label };
//! let classes = vec!["dark".to_owned(), "light".to_owned()];
//! let dataset = Dataset::from_images(classes, [vec![image(0, 10), image(1, 200)], vec![], vec![]]);
//! let options = LoaderOptions::new(Policy::SimpleAugmentTrain, Preprocessing::new(32));
//! for batch in Loader::new(&dataset.train, options).epoch(0, Order::Shuffled) {
//!     let batch = batch?;
//!     assert_eq!((batch.images.count, batch.images.height, batch.images.width), (2, 32, 32));
//! }
//! # Ok::<(), elimnet::data::DataError>(())
//! ```

mod batches;
mod cifar10;
mod colour;
mod config;
mod data_file;
mod dataset;
mod decode;
mod error;
mod folder;
mod found;
mod geometry;
#[cfg(test)]
mod golden;
mod idx;
mod image;
mod loader;
mod policy;
mod prepared;
mod preprocessing;
mod randaugment;
mod resize;
mod sample;
mod split;
mod thumbnail;

pub use batches::Batches;
pub use cifar10::parse_labels as parse_cifar10_labels;
pub use config::{DataConfig, DatasetKind};
pub(crate) use dataset::worker_count;
pub use dataset::{Dataset, LabeledImage, OpenOptions};
pub use decode::{DecodeError, Detail, MAX_PIXELS, decode, decode_file, decode_file_with, decode_with};
pub use error::{DataError, SkipKind, SkippedFile};
pub use folder::image_files;
pub use idx::parse as parse_idx;
pub use image::Image;
pub use loader::{LabeledBatch, Loader, LoaderOptions, Order};
pub use policy::Policy;
pub use preprocessing::{IMAGENET_MEAN, IMAGENET_STD, Preprocessing};
pub use resize::ResizeFilter;
pub use sample::{PixelArray, Sample, Source};
pub use split::{Split, SplitNames};
pub(crate) use thumbnail::THUMBNAIL;
