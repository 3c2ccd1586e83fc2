//! Images a second that the loader makes of a data set: with nothing kept in memory, and once everything is.
//!
//! `cargo run --release -p elimnet --example loader_throughput -- DATA [workers] [image size]`; an example of using
//! [`elimnet::data`] without a network.
#![allow(clippy::print_stdout)] // what this program is for

use std::path::Path;
use std::time::Instant;

use elimnet::data::{
    DataConfig, DataError, Dataset, Loader, LoaderOptions, OpenOptions, Order, Policy, Preprocessing,
};

fn main() -> Result<(), DataError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().map_or("data", String::as_str);
    let number =
        |index: usize, default| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (workers, size) = (number(1, 0), number(2, 224));

    let start = Instant::now();
    let detail = Preprocessing::new(size).detail();
    let nothing_kept = OpenOptions { detail, cache_bytes: 0, workers, ..OpenOptions::default() };
    let dataset = Dataset::open(&DataConfig::open(Path::new(path))?, 0, &nothing_kept)?;
    let images: usize = dataset.splits().iter().map(|(_, split)| split.len()).sum();
    println!("opening, every file decoded: {:.0} images/s", images as f64 / start.elapsed().as_secs_f64());

    for name in ["simple_augment_test", "simple_augment_train", "randaugment_train"] {
        let options = LoaderOptions::new(Policy::by_name(name)?, Preprocessing::new(size));
        for (title, cache_bytes) in [("nothing kept", 0), ("kept", 1 << 30)] {
            let loader =
                Loader::new(&dataset.train, LoaderOptions { workers, cache_bytes, ..options.clone() });
            for epoch in 0..2 {
                let start = Instant::now();
                let mut images = 0;
                for batch in loader.epoch(epoch, Order::Shuffled) {
                    images += batch?.labels.len();
                }
                let speed = images as f64 / start.elapsed().as_secs_f64();
                println!("{name}, {title}, epoch {epoch}: {speed:.0} images/s");
            }
        }
    }
    Ok(())
}
