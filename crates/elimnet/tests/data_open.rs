//! Data sets on disk: every layout, every format of many images in one file, and everything that can be wrong with them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use elimnet::data::{
    DataConfig, DataError, Dataset, DatasetKind, Image, OpenOptions, Policy, SkipKind, image_files,
};
use tempfile::TempDir;

/// A folder with the given files; those that end in `.png` are valid images, a number in each.
fn folder(files: &[String]) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (index, file) in files.iter().enumerate() {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("writable");
        fs::write(&path, if file.ends_with(".png") { png(index as u8) } else { b"some text".to_vec() })
            .expect("writable");
    }
    root
}

fn png(value: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 3);
    encoder.set_color(png::ColorType::Grayscale);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&[value; 12]))
        .expect("memory is writable");
    bytes
}

/// `FOLDER/0.png` and so on.
fn images(folder: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{folder}/{index}.png")).collect()
}

fn open(root: &Path) -> Result<Dataset, DataError> {
    Dataset::open(&DataConfig::new(root.to_owned()), 7, &OpenOptions::default())
}

fn error(files: &[Vec<String>]) -> DataError {
    open(folder(&files.concat()).path()).expect_err("this data set is wrong")
}

fn sizes(dataset: &Dataset) -> [usize; 3] {
    [dataset.train.len(), dataset.validation.len(), dataset.test.len()]
}

#[test]
fn split_folders_are_taken_as_they_are() {
    for (validation, test) in [("val", "test"), ("valid", "Test"), ("validation", "testing")] {
        let files = [
            images("train/b", 3),
            images("train/a", 2),
            images(&format!("{validation}/a"), 1),
            images(&format!("{test}/b/nested/deeper"), 2),
        ];
        let root = folder(&files.concat());
        let dataset = open(root.path()).expect("a valid data set");
        assert_eq!(dataset.classes, ["a", "b"]);
        assert_eq!(sizes(&dataset), [5, 1, 2]);
        assert_eq!(dataset.train_counts(), [2, 3]);
        assert_eq!(dataset.train.samples[0].name(), "train/a/0.png");
        assert_eq!(dataset.test.counts(2), [0, 2]);
    }
}

#[test]
fn a_flat_folder_is_split_by_class_and_seed() {
    let root = folder(&[images("many", 40), images("few", 4)].concat());
    let dataset = open(root.path()).expect("a valid data set");
    assert_eq!(dataset.train.counts(2), [2, 28]);
    assert_eq!(dataset.validation.counts(2), [1, 6]);
    assert_eq!(dataset.test.counts(2), [1, 6]);
    let names = dataset.split_names();
    let mut all: Vec<&String> =
        [&names.train, &names.validation, &names.test].into_iter().flatten().collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 44, "every image is in exactly one split");
    let again = open(root.path()).expect("a valid data set");
    assert_eq!((again.split_names(), again.fingerprint()), (names.clone(), dataset.fingerprint()));
    let config = DataConfig::new(root.path().to_owned());
    let other = Dataset::open(&config, 8, &OpenOptions::default()).expect("a valid data set");
    assert_ne!(other.split_names(), names);
    assert_ne!(other.fingerprint(), dataset.fingerprint());
}

#[test]
fn a_saved_split_is_restored_whatever_came_later() {
    let root = folder(&[images("a", 10), images("b", 10)].concat());
    let before = open(root.path()).expect("a valid data set");
    let text = serde_json::to_string(&before.split_names()).expect("serialises");
    fs::write(root.path().join("a/later.png"), png(1)).expect("writable");
    let splits = Some(serde_json::from_str(&text).expect("reads back"));
    let options = OpenOptions { splits, ..OpenOptions::default() };
    let config = DataConfig::new(root.path().to_owned());
    let restored = Dataset::open(&config, 99, &options).expect("nothing is missing");
    assert_eq!(restored.fingerprint(), before.fingerprint());
    let gone = before.validation.samples[0].path().expect("a file").to_owned();
    fs::remove_file(&gone).expect("writable");
    let error = Dataset::open(&config, 99, &options).expect_err("one is missing");
    assert!(matches!(error, DataError::SplitChanged { split: "validation", .. }), "{error}");
}

#[test]
fn a_missing_validation_split_comes_out_of_train() {
    let files = [images("train/a", 20), images("train/b", 10), images("test/a", 2), images("test/b", 2)];
    let root = folder(&files.concat());
    let config = DataConfig { validation_ratio: Some(0.1), ..DataConfig::new(root.path().to_owned()) };
    let dataset = Dataset::open(&config, 1, &OpenOptions::default()).expect("a valid data set");
    assert_eq!(dataset.validation.counts(2), [2, 1]);
    assert_eq!(sizes(&dataset), [27, 3, 4]);
    assert!(dataset.test.samples.iter().all(|sample| sample.name().starts_with("test/")));
}

#[test]
fn what_is_wrong_is_named() {
    let message = error(&[images("train/a", 2), images("train/b", 2), images("test/c", 1)]).to_string();
    assert_eq!(message, "class `c` is in the test split but not among the classes to train on (a, b)");
    let message = error(&[images("a", 9), images("lonely", 1)]).to_string();
    assert_eq!(
        message,
        "class `lonely` has 1 image(s), at least 3 are needed to have some to train, to validate and to test on"
    );
    let message = error(&[images("train/a", 3), images("train/b", 1), images("test/a", 1)]).to_string();
    assert!(message.starts_with("class `b` has 1 image(s), at least 2 are needed"), "{message}");
    assert!(matches!(error(&[images("only", 9)]), DataError::OneClass { found: 1 }));
    assert!(matches!(error(&[images("test/a", 9)]), DataError::NoTrain { .. }));
    let empty = error(&[images("train/a", 3), vec!["train/b/readme.txt".into()]]);
    assert!(matches!(&empty, DataError::EmptyClass { class, split: "train" } if class == "b"), "{empty}");
    assert!(matches!(error(&[]), DataError::Empty { .. }));
    assert!(matches!(error(&[vec!["0.png".into()]]), DataError::Empty { .. }));
    for error in [error(&[]), empty] {
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn a_missing_path_is_an_error() {
    let path = Path::new("no/such/folder");
    assert!(matches!(DataConfig::open(path), Err(DataError::Missing { .. })));
    assert!(matches!(open(path), Err(DataError::Missing { .. })));
}

#[test]
fn litter_is_listed_and_does_not_count() {
    let litter = ["a/.hidden.png", "a/Thumbs.db", "b/notes.txt", ".cache/x.png"].map(str::to_owned).to_vec();
    let root = folder(&[images("a", 5), images("b", 5), litter].concat());
    fs::write(root.path().join("b/no_extension"), png(3)).expect("writable");
    let dataset = open(root.path()).expect("a valid data set");
    assert_eq!(dataset.classes, ["a", "b"]);
    assert_eq!(sizes(&dataset).iter().sum::<usize>(), 11, "an image without an extension is an image");
    assert_eq!(dataset.skipped.len(), 3);
    assert!(dataset.skipped.iter().all(|file| file.kind == SkipKind::NotAnImage), "{:?}", dataset.skipped);
}

#[test]
fn undecodable_files_are_left_out_and_named() {
    let root = folder(&[images("a", 30), images("b", 30)].concat());
    fs::write(root.path().join("a/cut.jpg"), [0xFF, 0xD8, 0xFF, 0xE0, 0, 16]).expect("writable");
    fs::write(root.path().join("b/empty.png"), []).expect("writable");
    let dataset = open(root.path()).expect("two of 62 are tolerated");
    assert_eq!(sizes(&dataset).iter().sum::<usize>(), 60);
    let skipped: Vec<String> = dataset.skipped.iter().map(ToString::to_string).collect();
    assert!(skipped[0].contains("cut.jpg: broken JPEG file"), "{skipped:?}");
    assert!(skipped[1].ends_with("empty.png: the file is empty"), "{skipped:?}");
    let strict = OpenOptions { tolerated: 0.0, ..OpenOptions::default() };
    let error =
        Dataset::open(&DataConfig::new(root.path().to_owned()), 7, &strict).expect_err("none are tolerated");
    let message = error.to_string();
    assert!(message.starts_with("2 of 62 image files can't be decoded, more than the 0 %"), "{message}");
    assert!(message.contains("cut.jpg") && message.contains("empty.png"), "{message}");
}

#[test]
fn too_many_undecodable_files_are_an_error_that_names_a_few() {
    let root = folder(&[images("a", 20), images("b", 20)].concat());
    for index in 0..9 {
        fs::write(root.path().join(format!("a/photo{index}.heic")), b"\0\0\0\x1cftypheic").expect("writable");
    }
    let message = open(root.path()).expect_err("nine of 49").to_string();
    assert!(message.contains("photo0.heic") && message.ends_with("and 6 more"), "{message}");
    assert!(!message.contains("photo5.heic"), "{message}");
}

#[test]
fn a_class_whose_files_are_all_broken_is_an_error() {
    let root = folder(&[images("train/a", 200), images("train/b", 1), images("val/a", 1)].concat());
    fs::write(root.path().join("train/b/0.png"), b"no longer a PNG").expect("writable");
    let error = open(root.path()).expect_err("nothing is left of b");
    assert!(matches!(&error, DataError::EmptyClass { class, .. } if class == "b"), "{error}");
}

#[test]
fn files_and_folders_to_predict_are_listed() {
    let root = folder(&[images("x/y", 2), vec!["x/readme.md".into()]].concat());
    let single = root.path().join("x/readme.md");
    let (files, skipped) = image_files(&[root.path().to_owned(), single.clone()]).expect("all exist");
    assert_eq!(files, [root.path().join("x/y/0.png"), root.path().join("x/y/1.png"), single]);
    assert_eq!(skipped.len(), 1, "found in the folder, though taken where it is named");
    assert!(matches!(image_files(&[PathBuf::from("nothing")]), Err(DataError::Missing { .. })));
}

/// An IDX file of unsigned bytes.
fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory is writable")
}

/// Twenty images of 3x2, image `i` all of value `i`, labels 0 and 1 in turns; a test split of two.
fn write_idx(root: &Path, pack: fn(&[u8]) -> Vec<u8>, ending: &str) {
    let pixels: Vec<u8> = (0..20u8).flat_map(|image| [image; 6]).collect();
    let labels: Vec<u8> = (0..20u8).map(|image| image % 2).collect();
    let files = [
        ("train-images-idx3", idx(&[20, 2, 3], &pixels)),
        ("train-labels-idx1", idx(&[20], &labels)),
        ("t10k-images-idx3", idx(&[2, 2, 3], &pixels[..12])),
        ("t10k-labels-idx1", idx(&[2], &labels[..2])),
    ];
    for (name, bytes) in files {
        fs::write(root.join(format!("{name}-ubyte{ending}")), pack(&bytes)).expect("writable");
    }
}

#[test]
fn idx_files_are_read_packed_or_not() {
    for (pack, ending) in [(gzip as fn(&[u8]) -> Vec<u8>, ".gz"), (<[u8]>::to_vec, "")] {
        let root = tempfile::tempdir().expect("a temporary folder");
        write_idx(root.path(), pack, ending);
        let dataset = open(root.path()).expect("a valid data set");
        assert_eq!(dataset.classes, ["0", "1"]);
        assert_eq!(dataset.train.len() + dataset.validation.len(), 20);
        assert_eq!((dataset.validation.counts(2), dataset.test.len()), (vec![2, 2], 2));
        let second = dataset.test.samples[1].load().expect("in memory");
        assert_eq!(*second, Image::filled(3, 2, [1; 3]));
        assert_eq!(dataset.test.samples[1].label, 1);
    }
}

#[test]
fn fashion_mnist_is_known_by_its_folder() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = root.path().join("Fashion-MNIST");
    fs::create_dir(&folder).expect("writable");
    write_idx(&folder, <[u8]>::to_vec, "");
    let config = DataConfig::new(folder);
    assert_eq!(config.dataset, DatasetKind::FashionMnist);
    let error = Dataset::open(&config, 0, &OpenOptions::default()).expect_err("eight classes have no image");
    assert!(
        matches!(&error, DataError::TooFewImages { class, found: 0, .. } if class == "Pullover"),
        "{error}"
    );
}

#[test]
fn broken_idx_files_are_named() {
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("train-images-idx3-ubyte", vec![0, 0, 8], "it has no header"),
        ("train-images-idx3-ubyte", idx(&[20, 2], &[0; 40]), "it has 2 dimensions, images have 3"),
        ("train-images-idx3-ubyte", idx(&[20, 2, 3], &[0; 119]), "says [20, 2, 3] values, 119 follow"),
        ("train-images-idx3-ubyte", idx(&[u32::MAX; 3], &[0; 9]), "9 follow"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\x01\0\0\0\0".to_vec(), "its values have type 0x0d"),
        ("train-labels-idx1-ubyte", idx(&[19], &[0; 19]), "20 labels are needed"),
        ("t10k-labels-idx1-ubyte", idx(&[2], &[0, 9]), "it has the label 9, there are 2 classes"),
    ];
    for (file, bytes, expected) in cases {
        let root = tempfile::tempdir().expect("a temporary folder");
        write_idx(root.path(), <[u8]>::to_vec, "");
        fs::write(root.path().join(file), bytes).expect("writable");
        let message = open(root.path()).expect_err("a broken file").to_string();
        assert!(message.contains(file) && message.contains(expected), "{message}");
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    write_idx(root.path(), gzip, ".gz");
    let path = root.path().join("train-images-idx3-ubyte.gz");
    let bytes = fs::read(&path).expect("readable");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("writable");
    let message = open(root.path()).expect_err("a cut file").to_string();
    assert!(message.contains("gzip"), "{message}");
    fs::remove_file(root.path().join("train-labels-idx1-ubyte.gz")).expect("writable");
    let message = open(root.path()).expect_err("a missing file").to_string();
    assert!(message.contains("there is no `train-labels-idx1-ubyte[.gz]` beside it"), "{message}");
}

fn cifar_record(label: u8, red: u8, green: u8, blue: u8) -> Vec<u8> {
    [vec![label], vec![red; 1024], vec![green; 1024], vec![blue; 1024]].concat()
}

#[test]
fn cifar10_batches_are_read() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = root.path().join("cifar-10-batches-bin");
    fs::create_dir(&folder).expect("writable");
    let batch: Vec<u8> = (0..20).flat_map(|image| cifar_record(image % 2, image, 100, 200)).collect();
    for file in ["data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"] {
        fs::write(folder.join(file), &batch).expect("writable");
    }
    fs::write(folder.join("batches.meta.txt"), "cat\ndog\n\n").expect("writable");
    let dataset = open(root.path()).expect("a valid data set");
    assert_eq!(dataset.classes, ["cat", "dog"]);
    assert_eq!((dataset.train.len() + dataset.validation.len(), dataset.test.len()), (40, 20));
    let sample = &dataset.test.samples[3];
    assert_eq!((sample.label, sample.name()), (1, "test_batch/00003"));
    assert_eq!(*sample.load().expect("in memory"), Image::filled(32, 32, [3, 100, 200]));

    fs::write(folder.join("data_batch_2.bin"), &batch[..5000]).expect("writable");
    let message = open(root.path()).expect_err("a cut file").to_string();
    assert!(message.contains("data_batch_2.bin") && message.contains("5000 bytes"), "{message}");
    fs::write(folder.join("data_batch_2.bin"), cifar_record(2, 0, 0, 0)).expect("writable");
    let message = open(root.path()).expect_err("a wrong label").to_string();
    assert!(message.contains("image 0 has the label 2, there are 2 classes"), "{message}");
}

const YAML: &str = "
DATA_PATH: images
DATASET: TACO
IMG_SIZE: 96
AUG_TRAIN: randaugment_train
AUG_TRAIN_PARAMS: {n_select: 3, level: null, n_level: 20}
AUG_TEST: simple_augment_test
AUG_TEST_PARAMS: null
BATCH_SIZE: 64
EPOCHS: 7
VAL_RATIO: 0.2
INIT_LR: 0.05
FP16: true
N_CLASSES_OF_THE_SEED: 6
";

#[test]
fn a_data_yaml_says_everything_and_reads_back() {
    let root = folder(&[images("images/a", 1), images("images/b", 1)].concat());
    let yaml = root.path().join("data.yaml");
    fs::write(&yaml, YAML).expect("writable");
    let config = DataConfig::open(&yaml).expect("a valid YAML");
    assert_eq!(config.data_path, root.path().join("images"), "relative to the YAML");
    assert_eq!(config.augment_train, Policy::RandaugmentTrain { n_select: 3, level: None, n_level: 20 });
    assert_eq!((config.image_size, config.batch_size, config.epochs), (96, 64, 7));
    assert_eq!(
        (config.validation_ratio, config.learning_rate, config.half_precision),
        (Some(0.2), 0.05, true)
    );
    let written = root.path().join("copy.yaml");
    fs::write(&written, config.to_yaml()).expect("writable");
    assert_eq!(DataConfig::open(&written).expect("our own YAML"), config);
}

#[test]
fn a_wrong_data_yaml_names_the_line() {
    let cases = [
        (
            "IMG_SIZE: 96",
            "IMG_SIZE: large",
            "data.yaml:4: IMG_SIZE is \"large\", expected a whole number from 1 to 4096",
        ),
        ("EPOCHS: 7", "EPOCHS: 0", "data.yaml:10: EPOCHS is 0, expected a whole number from 1 to 1000000"),
        ("VAL_RATIO: 0.2", "VAL_RATIO: 1", "VAL_RATIO is 1, expected a number between 0 and 0.8"),
        ("INIT_LR: 0.05", "INIT_LR: -1", "INIT_LR is -1, expected a number between 0 and 1000"),
        ("FP16: true", "FP16: [1]", "FP16 is a list or a mapping, expected true or false"),
        ("n_select: 3", "n_select: 15", "n_select is 15, there are 14 operations"),
        ("level: null", "level: 30", "level is 30, above n_level, which is 20"),
        ("n_select: 3", "magnitude: 3", "the policy randaugment_train has no parameter `magnitude`"),
        (
            "randaugment_train",
            "autoaugment",
            "there is no augmentation policy `autoaugment`; there are simple_",
        ),
        ("DATA_PATH: images", "PATH: images", "data.yaml:1: key `DATA_PATH` is missing"),
        ("EPOCHS: 7", "EPOCHS: [7", "data.yaml:"),
        ("DATA_PATH: images", "DATA_PATH: elsewhere", "there is no data at `elsewhere`"),
    ];
    let root = folder(&images("images/a", 1));
    let yaml = root.path().join("data.yaml");
    for (right, wrong, expected) in cases {
        assert!(YAML.contains(right), "{right}");
        fs::write(&yaml, YAML.replace(right, wrong)).expect("writable");
        let error = DataConfig::open(&yaml).expect_err(wrong);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some());
    }
}
