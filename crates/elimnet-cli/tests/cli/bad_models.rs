//! Networks and weights that can't be used: each a clear error, exit code 2, and nothing left behind.

use crate::scene::{RECIPE, Scene, TINY, stable};

fn snapshot(scene: &Scene, name: &str, text: &str) {
    stable(scene).bind(|| insta::assert_snapshot!(name, text));
}

/// What `train` says about a YAML file with one row replaced.
fn refused(name: &str, row: &str, instead: &str) {
    let scene = Scene::new();
    assert!(TINY.contains(row), "{row}");
    scene.write("wrong.yaml", TINY.replace(row, instead));
    let error = scene.error(&format!("train --model wrong.yaml --data photos {RECIPE}"));
    snapshot(&scene, name, &error);
    assert_eq!(scene.error("info wrong.yaml"), error, "`info` says the same");
}

#[test]
fn an_unknown_module() {
    refused("an_unknown_module", "MBConv", "MBConw");
}

#[test]
fn too_few_arguments() {
    refused("too_few_arguments", "[2, 16, 2, 3]", "[2, 16]");
}

#[test]
fn channels_that_do_not_fit() {
    refused("channels_that_do_not_fit", "MBConv, [2, 16, 2, 3]", "Conv, [16, 3, 1, 1, 3]");
}

#[test]
fn text_that_is_no_yaml() {
    refused("text_that_is_no_yaml", "[1, Flatten, []]", "[1, Flatten, [");
}

#[test]
fn an_image_too_small_for_the_network() {
    let scene = Scene::new();
    let error = scene.error("train --model vgg11 --data photos --image-size 16 --weights none");
    snapshot(&scene, "an_image_too_small_for_the_network", &error);
}

#[test]
fn names_that_do_not_exist() {
    let scene = Scene::new();
    snapshot(&scene, "an_unknown_network", &scene.error("info resnet-18"));
    snapshot(&scene, "an_unknown_cut", &scene.error("info resnet18@layer9"));
    snapshot(&scene, "a_missing_file", &scene.error("info configs/resnet18.yaml"));
    snapshot(&scene, "a_folder_that_is_no_run", &scene.error("predict photos photos/test"));
    snapshot(&scene, "a_network_without_weights", &scene.error("predict tiny.yaml photos/test"));
    snapshot(&scene, "a_run_to_resume_that_is_none", &scene.error("train --resume photos"));
}

#[test]
fn weights_of_another_network() {
    let scene = Scene::new();
    let run = scene.train("--epochs 1");
    std::fs::rename(run.join("best.safetensors"), scene.path("tiny.safetensors")).expect("moved");
    std::fs::remove_dir_all(scene.path("exp")).expect("removed");
    scene.write("wider.yaml", TINY.replace("[8, 3, 2]", "[24, 3, 2]"));
    let error =
        scene.error(&format!("train --model wider.yaml --data photos {RECIPE} --weights tiny.safetensors"));
    let error = error.split_once("error:").map(|(_, error)| error.to_owned()).expect("an error");
    snapshot(&scene, "weights_of_another_network", &format!("error:{error}"));
}

#[test]
fn weights_that_are_none() {
    let scene = Scene::new();
    let train = |weights: &str| {
        let error =
            scene.error(&format!("train --model tiny.yaml --data photos {RECIPE} --weights {weights}"));
        let error = error.split_once("error:").map(|(_, error)| error.to_owned()).expect("an error");
        format!("error:{error}")
    };
    scene.write("notes.pth", "notes");
    snapshot(&scene, "weights_that_are_no_checkpoint", &train("notes.pth"));
    snapshot(&scene, "weights_that_are_a_folder", &train("photos"));
    snapshot(&scene, "weights_that_are_missing", &train("nothing.pth"));
    snapshot(&scene, "weights_of_no_name", &train("imagenet"));
}

#[test]
fn pretrained_weights_without_a_network() {
    let scene = Scene::new();
    let error = scene.error(&format!("train --model resnet18@layer1.0 --data photos {RECIPE}"));
    snapshot(&scene, "pretrained_weights_without_a_network", &error);
    assert_eq!(scene.error("weights fetch resnet18").matches("resnet18-f37072fd.pth").count(), 3);
}

#[test]
fn a_model_file_of_another_tool() {
    let scene = Scene::new();
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([0; 4]);
    scene.write("foreign.safetensors", file);
    snapshot(&scene, "a_model_file_of_another_tool", &scene.error("info foreign.safetensors"));
}
