//! The real photos of the shared reference data; skipped where they are absent.

use elimnet::data::{DataConfig, Dataset, OpenOptions};
use elimnet_testing::shared;

fn open(relative: &str) -> Option<Dataset> {
    let config = DataConfig::open(&shared::find(relative)?).expect("a folder");
    Some(Dataset::open(&config, 0, &OpenOptions::default()).expect("a valid data set"))
}

#[test]
fn trashnet_has_its_authors_split() {
    let Some(dataset) = open("data/trashnet") else { return };
    assert_eq!(dataset.classes, ["cardboard", "glass", "metal", "paper", "plastic", "trash"]);
    assert_eq!([dataset.train.len(), dataset.validation.len(), dataset.test.len()], [1768, 328, 431]);
    assert!(dataset.skipped.is_empty(), "{:?}", dataset.skipped);
    let photo = dataset.train.samples[0].load().expect("decodes");
    assert_eq!((photo.width, photo.height), (150, 150));
}

#[test]
fn fashion_mnist_has_its_names_and_balance() {
    let Some(dataset) = open("data/fashion-mnist") else { return };
    assert_eq!(dataset.classes[8], "Bag");
    assert_eq!(dataset.train_counts(), [5100; 10]);
    assert_eq!(dataset.validation.counts(10), [900; 10]);
    assert_eq!(dataset.test.counts(10), [1000; 10]);
    // Whoever swaps rows and labels would hardly see trousers that are dark on both sides and light in between.
    let trousers = dataset.test.samples.iter().filter(|sample| sample.label == 1);
    let mut sums = [0u64; 28];
    for sample in trousers {
        let image = sample.load().expect("in memory");
        (0..28).for_each(|column| {
            sums[column] += (0..28).map(|row| u64::from(image.pixel(column, row)[0])).sum::<u64>()
        });
    }
    assert!(sums[13] > 10 * sums[1] && sums[14] > 10 * sums[26], "{sums:?}");
}
