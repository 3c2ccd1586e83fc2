//! Images that can't be used: each a clear error, exit code 2, and nothing left behind.

use crate::scene::{RECIPE, Scene, bmp, stable};

/// What `train` says about the data in `photos`.
fn refused(scene: &Scene) -> String {
    scene.write("tiny.yaml", crate::scene::TINY);
    scene.error(&format!("train --model tiny.yaml --data photos {RECIPE}"))
}

fn snapshot(scene: &Scene, name: &str, text: &str) {
    stable(scene).bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn a_missing_folder() {
    let scene = Scene::empty();
    snapshot(&scene, "a_missing_folder", &refused(&scene));
}

#[test]
fn an_empty_folder() {
    let scene = Scene::empty();
    std::fs::create_dir(scene.path("photos")).expect("created");
    snapshot(&scene, "an_empty_folder", &refused(&scene));
}

#[test]
fn a_class_in_test_that_train_lacks() {
    let scene = Scene::new();
    scene.image("photos/test/yellow/00.bmp", [200, 200, 40], 0);
    snapshot(&scene, "a_class_in_test_that_train_lacks", &refused(&scene));
}

#[test]
fn one_image_per_class() {
    let scene = Scene::empty();
    scene.class_folders("photos", 1);
    snapshot(&scene, "one_image_per_class", &refused(&scene));
}

#[test]
fn one_class() {
    let scene = Scene::empty();
    scene.image("photos/red/00.bmp", [200, 60, 40], 0);
    snapshot(&scene, "one_class", &refused(&scene));
}

#[test]
fn corrupt_truncated_and_empty_images() {
    let scene = Scene::new();
    let mut corrupt = bmp(20, 16, [0, 0, 0], 0);
    corrupt[28] = 99; // bits a pixel
    scene.write("photos/train/red/00.bmp", corrupt);
    scene.write("photos/train/red/01.bmp", &bmp(20, 16, [0, 0, 0], 0)[..200]);
    scene.write("photos/train/red/02.bmp", "");
    snapshot(&scene, "corrupt_truncated_and_empty_images", &refused(&scene));
}

#[test]
fn more_broken_images_are_left_out_where_that_is_asked_for() {
    let scene = Scene::new();
    for index in 0..4 {
        scene.write(&format!("photos/train/red/{index:02}.bmp"), "");
    }
    assert!(refused(&scene).contains("4 of 48 image files can't be decoded"));
    scene.train("--tolerate 0.1");
    scene.ok("evaluate exp/latest --split train"); // nothing is asked again about a run's data
}

#[test]
fn a_few_broken_images_are_left_out_and_named() {
    let scene = Scene::new();
    scene.write("photos/train/red/02.bmp", "");
    let outcome = scene.run(&format!("train --model tiny.yaml --data photos {RECIPE}"));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("3 classes, 23 images to train"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("\nskipped   photos/train/red/02.bmp: the file is empty\n"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn files_that_are_no_images() {
    let scene = Scene::empty();
    for class in ["blue", "green", "red"] {
        scene.write(&format!("photos/{class}/notes.txt"), "notes");
    }
    snapshot(&scene, "files_that_are_no_images", &refused(&scene));
}

#[test]
fn a_file_that_is_no_image_among_those_to_classify() {
    let scene = Scene::new();
    scene.train("");
    scene.write("notes.jpg", "notes");
    let outcome = scene.run("predict exp/latest photos/test/red notes.jpg");
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (Some(2), 4), "the others are classified");
    snapshot(&scene, "a_file_that_is_no_image_among_those_to_classify", &outcome.stderr);
    let outcome = scene.run("inference --model-dir exp/latest --img-root photos/nothing");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    snapshot(&scene, "a_missing_folder_to_classify", &outcome.stderr);
    assert!(!scene.path("exp/latest/predictions.csv").exists(), "half-written predictions");
}

#[test]
fn data_with_other_classes_than_the_model() {
    let scene = Scene::new();
    scene.train("");
    scene.class_folders("others", 4);
    std::fs::rename(scene.path("others/red"), scene.path("others/crimson")).expect("renamed");
    let outcome = scene.run("evaluate exp/latest --data others");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    snapshot(&scene, "data_with_other_classes_than_the_model", &outcome.stderr);
}

#[test]
fn a_data_yaml_with_a_wrong_value() {
    let scene = Scene::new();
    scene.write("data.yaml", "DATA_PATH: photos\nIMG_SIZE: many\n");
    let error = scene.error("train --model tiny.yaml --data data.yaml");
    snapshot(&scene, "a_data_yaml_with_a_wrong_value", &error);
}

#[test]
fn an_unknown_augmentation() {
    let scene = Scene::new();
    let error = scene.error("train --model tiny.yaml --data photos --augment mirror");
    snapshot(&scene, "an_unknown_augmentation", &error);
}
