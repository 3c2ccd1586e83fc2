//! Batches: the same whatever the workers, the epochs before and the place where an epoch is entered.

use std::fs;

use elimnet::data::{
    DataConfig, DataError, Dataset, Detail, Image, LabeledBatch, LabeledImage, Loader, LoaderOptions,
    OpenOptions, Order, Policy, Preprocessing,
};

/// Seven images, each of its own gradient, two classes.
fn dataset() -> Dataset {
    let image = |index: usize| {
        let pixel = |at: usize| [(at * 3) as u8, (index * 30) as u8, (at / 9) as u8];
        let (width, height) = (20 + index, 17);
        Image::new(width, height, (0..width * height).flat_map(pixel).collect())
    };
    let train = (0..7).map(|index| LabeledImage { image: image(index), label: index % 2 }).collect();
    Dataset::from_images(vec!["even".into(), "odd".into()], [train, vec![], vec![]])
}

fn options(policy: Policy) -> LoaderOptions {
    LoaderOptions {
        batch_size: 3,
        seed: 11,
        workers: 1,
        ..LoaderOptions::new(policy, Preprocessing::new(24))
    }
}

fn batches(loader: &Loader, epoch: u64, order: Order) -> Vec<LabeledBatch> {
    loader.epoch(epoch, order).collect::<Result<_, _>>().expect("images in memory always load")
}

fn policies() -> Vec<Policy> {
    ["simple_augment_train", "simple_augment_test", "randaugment_train"]
        .map(|name| Policy::by_name(name).expect("a known policy"))
        .to_vec()
}

#[test]
fn the_number_of_workers_changes_nothing() {
    for policy in policies() {
        let one = Loader::new(&dataset().train, options(policy));
        for workers in [2, 4, 16] {
            let many = Loader::new(&dataset().train, LoaderOptions { workers, ..options(policy) });
            for epoch in 0..2 {
                let order = Order::Shuffled;
                assert_eq!(
                    batches(&one, epoch, order),
                    batches(&many, epoch, order),
                    "{policy:?}, {workers} workers"
                );
            }
        }
    }
}

#[test]
fn an_epoch_alone_equals_the_epoch_after_others() {
    let loader = Loader::new(&dataset().train, options(Policy::SimpleAugmentTrain));
    let all: Vec<_> = (0..4).map(|epoch| batches(&loader, epoch, Order::Shuffled)).collect();
    let fresh = Loader::new(&dataset().train, options(Policy::SimpleAugmentTrain));
    assert_eq!(batches(&fresh, 3, Order::Shuffled), all[3]);
    assert_ne!(all[2], all[3]);
}

#[test]
fn an_epoch_can_be_entered_at_any_batch() {
    let loader = Loader::new(&dataset().train, options(Policy::SimpleAugmentTrain));
    let whole = batches(&loader, 5, Order::Shuffled);
    for first in 0..=3 {
        let rest: Vec<_> =
            loader.epoch_from(5, Order::Shuffled, first).map(|batch| batch.expect("loads")).collect();
        assert_eq!(rest, whole[first..], "from batch {first}");
    }
    assert_eq!(loader.epoch_from(5, Order::Shuffled, 99).count(), 0, "beyond the end");
}

#[test]
fn another_seed_gives_another_order_and_other_crops() {
    let with_seed =
        |seed| Loader::new(&dataset().train, LoaderOptions { seed, ..options(Policy::SimpleAugmentTrain) });
    let indices = |loader: &Loader| -> Vec<usize> {
        batches(loader, 0, Order::Shuffled).into_iter().flat_map(|batch| batch.indices.clone()).collect()
    };
    assert_ne!(indices(&with_seed(1)), indices(&with_seed(2)));
    assert_ne!(batches(&with_seed(1), 0, Order::Sequential), batches(&with_seed(2), 0, Order::Sequential));
}

#[test]
fn every_sample_comes_once_an_epoch_with_its_label() {
    let dataset = dataset();
    let loader = Loader::new(&dataset.train, options(Policy::SimpleAugmentTrain));
    assert_eq!((loader.batches(), loader.images()), (3, 7));
    let all = batches(&loader, 1, Order::Shuffled);
    assert_eq!(all.iter().map(|batch| batch.images.count).collect::<Vec<_>>(), [3, 3, 1]);
    let mut indices: Vec<usize> = all.iter().flat_map(|batch| batch.indices.clone()).collect();
    for batch in &all {
        let labels: Vec<usize> =
            batch.indices.iter().map(|&index| dataset.train.samples[index].label).collect();
        assert_eq!(batch.labels, labels);
    }
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_last_batch_can_be_dropped() {
    let loader = Loader::new(
        &dataset().train,
        LoaderOptions { drop_last: true, ..options(Policy::SimpleAugmentTest) },
    );
    assert_eq!((loader.batches(), loader.images()), (2, 6));
    assert_eq!(batches(&loader, 0, Order::Sequential).len(), 2);
}

#[test]
fn the_test_policy_is_the_preprocessing() {
    let dataset = dataset();
    let loader = Loader::new(&dataset.train, options(Policy::SimpleAugmentTest));
    let batch = &batches(&loader, 0, Order::Sequential)[1];
    for (position, sample) in dataset.train.samples[3..6].iter().enumerate() {
        let expected = Preprocessing::new(24).apply(&sample.load().expect("in memory"));
        let len = batch.images.image_len();
        assert_eq!(batch.images.pixels[position * len..(position + 1) * len], expected);
    }
}

#[test]
fn an_iterator_dropped_in_the_middle_leaves_nothing_behind() {
    let loader =
        Loader::new(&dataset().train, LoaderOptions { workers: 3, ..options(Policy::SimpleAugmentTrain) });
    let mut half = loader.epoch(0, Order::Shuffled);
    let first = half.next().expect("a batch").expect("loads");
    drop(half); // joins the workers: the test would hang otherwise
    assert_eq!(first, batches(&loader, 0, Order::Shuffled)[0]);
    assert!(loader.waited().as_nanos() > 0);
}

#[test]
fn files_give_the_same_batches_cached_or_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_classes(folder.path(), 4);
    // Large enough to be decoded at a quarter of their size.
    for class in ["bottle", "can"] {
        let large = folder.path().join(class).join("large.jpg");
        fs::copy("tests/fixtures/images/reduced/baseline.jpg", large).expect("writable");
    }
    let config = DataConfig { validation_ratio: Some(0.25), ..DataConfig::new(folder.path().to_owned()) };
    let two_epochs = |detail, opened, prepared| {
        let open = OpenOptions { cache_bytes: opened, detail, ..OpenOptions::default() };
        let dataset = Dataset::open(&config, 1, &open).expect("a valid data set");
        let options = LoaderOptions { cache_bytes: prepared, ..options(Policy::SimpleAugmentTrain) };
        let loader = Loader::new(&dataset.train, options);
        [batches(&loader, 0, Order::Shuffled), batches(&loader, 1, Order::Shuffled)]
    };
    let [whole, part] = [Detail::Full, Preprocessing::new(24).detail()].map(|detail| {
        let all = [(0, 0), (0, 1 << 20), (1 << 20, 0), (700, 5000)]
            .map(|(opened, prepared)| two_epochs(detail, opened, prepared));
        assert!(all.iter().all(|batches| *batches == all[0]), "{detail:?}");
        all[0].clone()
    });
    assert_ne!(whole, part, "some were decoded at a part of their size");
}

#[test]
fn a_file_that_breaks_after_opening_is_an_error_and_ends_the_epoch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_classes(folder.path(), 6);
    let open = OpenOptions { cache_bytes: 0, ..OpenOptions::default() };
    let dataset =
        Dataset::open(&DataConfig::new(folder.path().to_owned()), 1, &open).expect("a valid data set");
    let broken = dataset.train.samples[2].path().expect("a file").to_owned();
    fs::write(&broken, b"GIF89a").expect("writable");
    let loader =
        Loader::new(&dataset.train, LoaderOptions { batch_size: 2, ..options(Policy::SimpleAugmentTest) });
    let outcomes: Vec<_> = loader.epoch(0, Order::Sequential).collect();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes[0].is_ok());
    assert!(
        matches!(&outcomes[1], Err(DataError::Decode { path, .. }) if *path == broken),
        "{:?}",
        outcomes[1]
    );
}

/// Two classes of `count` small PNG images each.
fn write_classes(root: &std::path::Path, count: usize) {
    for class in ["bottle", "can"] {
        let folder = root.join(class);
        fs::create_dir(&folder).expect("writable");
        for index in 0..count {
            let file = fs::File::create(folder.join(format!("{index}.png"))).expect("writable");
            let mut encoder = png::Encoder::new(file, 16, 14);
            encoder.set_color(png::ColorType::Rgb);
            let pixels: Vec<u8> = (0..16 * 14 * 3).map(|at| (at * (index + 2) + class.len()) as u8).collect();
            encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).expect("writable");
        }
    }
}
