//! Comparing a checkpoint with what a network expects.

use std::collections::BTreeMap;

use elimnet::weights::{Allowance, Checkpoint, ExpectedTensor, Format, LoadReport, Tensor, match_tensors};

fn checkpoint(tensors: &[(&str, &[usize])]) -> Checkpoint {
    let tensor =
        |shape: &[usize]| Tensor { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] };
    let tensors = tensors.iter().map(|(name, shape)| ((*name).to_owned(), tensor(shape))).collect();
    Checkpoint { tensors, metadata: BTreeMap::new(), format: Format::Safetensors }
}

fn compare(found: &[(&str, &[usize])], expected: &[(&str, &[usize])], allowance: &Allowance) -> LoadReport {
    let expected: Vec<_> = expected.iter().map(|&(name, shape)| ExpectedTensor { name, shape }).collect();
    match_tensors(&checkpoint(found), &expected, allowance)
}

/// The message of a report that is not clean.
fn message(report: LoadReport) -> String {
    report.into_result("weights/resnet18.safetensors").unwrap_err().to_string()
}

#[test]
fn equal_names_and_shapes_are_clean() {
    let tensors: [(&str, &[usize]); 2] = [("fc.weight", &[2, 3]), ("fc.bias", &[2])];
    let report = compare(&tensors, &tensors, &Allowance::none());
    assert_eq!(report.loaded, ["fc.weight", "fc.bias"], "in the network's order");
    let report = report.into_result("a.pth").unwrap();
    assert_eq!((report.replaced.len(), report.eliminated.len()), (0, 0));
}

#[test]
fn each_kind_of_difference_has_its_message() {
    type Tensors<'a> = &'a [(&'a str, &'a [usize])];
    let cases: [(Tensors, Tensors, &str); 3] = [
        (
            &[("layer4.0.conv1.weight", &[512, 256, 3, 3])],
            &[("layer4.0.conv1.weight", &[512, 512, 3, 3])],
            "tensor `layer4.0.conv1.weight` has shape [512, 256, 3, 3], expected [512, 512, 3, 3] \
             (in `resnet18.safetensors`)",
        ),
        (&[], &[("fc.bias", &[2])], "tensor `fc.bias` is missing (in `resnet18.safetensors`)"),
        (
            &[("fc.bias", &[2])],
            &[],
            "tensor `fc.bias` is not part of the network (in `resnet18.safetensors`)",
        ),
    ];
    for (found, expected, text) in cases {
        assert_eq!(message(compare(found, expected, &Allowance::none())), text);
    }
}

#[test]
fn long_lists_are_cut_and_counted() {
    let names: Vec<String> = (0..20).map(|index| format!("layer.{index:02}")).collect();
    let expected: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), [1].as_slice())).collect();
    let text = message(compare(&[("other", &[1])], &expected, &Allowance::none()));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "21 tensors in `resnet18.safetensors` don't fit the network:");
    assert_eq!(lines[1], "tensor `layer.00` is missing");
    assert_eq!(lines[9], "... and 12 more tensors missing");
    assert_eq!(lines[10], "tensor `other` is not part of the network");
    assert_eq!(lines.len(), 11);
}

#[test]
fn only_the_named_head_may_be_replaced() {
    let found: [(&str, &[usize]); 2] = [("fc.weight", &[1000, 8]), ("fc2.weight", &[1000, 8])];
    let expected: [(&str, &[usize]); 3] =
        [("fc.weight", &[6, 8]), ("fc.bias", &[6]), ("fc2.weight", &[6, 8])];
    let report = compare(&found, &expected, &Allowance::none().replaced("fc"));
    assert_eq!(report.replaced, ["fc.weight", "fc.bias"]);
    assert_eq!(report.mismatched.len(), 1, "`fc` does not stand for `fc2`");
    assert!(report.missing.is_empty());
}

#[test]
fn a_head_that_fits_is_loaded_although_it_might_be_replaced() {
    let tensors: [(&str, &[usize]); 1] = [("fc.weight", &[6, 8])];
    let report = compare(&tensors, &tensors, &Allowance::none().replaced("fc"));
    assert_eq!(report.loaded, ["fc.weight"]);
}

#[test]
fn eliminated_blocks_may_be_left_over_but_not_missing() {
    let found: [(&str, &[usize]); 2] = [("layer3.0.conv1.weight", &[1]), ("layer4.0.conv1.weight", &[1])];
    let expected: [(&str, &[usize]); 1] = [("layer3.1.conv1.weight", &[1])];
    let allowance = Allowance::none().eliminated("layer3.0").eliminated("layer3.1");
    let report = compare(&found, &expected, &allowance);
    assert_eq!(report.eliminated, ["layer3.0.conv1.weight"]);
    assert_eq!(report.unexpected, ["layer4.0.conv1.weight"]);
    assert_eq!(report.missing, ["layer3.1.conv1.weight"]);
}

#[test]
fn batch_norm_counters_may_be_missing_but_not_misshaped() {
    let expected: [(&str, &[usize]); 1] = [("bn1.num_batches_tracked", &[])];
    assert!(compare(&[], &expected, &Allowance::none()).is_clean());
    assert!(!compare(&[("bn1.num_batches_tracked", &[3])], &expected, &Allowance::none()).is_clean());
}

#[test]
fn the_hint_tells_another_network_from_another_head() {
    let hint = |report: LoadReport| report.into_result("a.pth").unwrap_err().hint().unwrap();
    let another = compare(&[("a", &[1])], &[("b", &[1])], &Allowance::none());
    assert!(hint(another).contains("another network"));
    let head = compare(&[("a", &[1]), ("b", &[2])], &[("a", &[1]), ("b", &[1])], &Allowance::none());
    assert!(hint(head).contains("other classes"));
}
