//! Logits, features and one training step against torchvision, computed in f64 with the same formula weights.

mod support;

use elimnet_arch::zoo;
use elimnet_cpu::{CpuDevice, CpuEngine};
use elimnet_engine::{Engine, Matrix, NamedTensor, Optimizer, Step, Training};
use elimnet_testing::formula;
use elimnet_testing::golden::{Checksum, LogitGoldens, TrainStep, YamlModules, block_features};
use elimnet_testing::tolerance::{assert_close, assert_close_l2};
use support::{channels_last, engine, images, sgd};

/// The bound: largest difference over the largest logit, in f32.
const LOGITS: f64 = 1e-4;

#[test]
fn logits_of_every_family_and_cut_are_torchvisions() {
    let goldens = LogitGoldens::read();
    for (family, rows) in &goldens.families {
        let whole = zoo::by_name(family, goldens.classes).expect("the zoo has every family");
        for row in rows {
            let network = match &row.cut {
                Some(cut) => whole.cut_at(cut).expect("the zoo has every cut"),
                None => whole.clone(),
            };
            let logits = engine(&network).infer(&images(goldens.batch, row.size)).expect("the images fit");
            assert_close(&format!("{} at {}", network.name, row.size), &logits.values, &row.logits, LOGITS);
        }
    }
}

#[test]
fn features_after_every_block_are_torchvisions() {
    let goldens = block_features();
    for family in ["resnet18", "efficientnet_b0"] {
        let network = zoo::by_name(family, 10).expect("the zoo has it");
        let cuts: Vec<usize> = (0..network.blocks.len()).collect();
        let features = engine(&network).features(&images(2, 64), &cuts).expect("the images fit");
        for (block, features) in network.blocks.iter().zip(features) {
            let name = format!("{family}/{}", block.name);
            assert_close(&name, &features.values, &goldens[&name].values, LOGITS);
        }
    }
}

#[test]
fn one_training_step_of_resnet18_is_torchvisions() {
    training_step("resnet18");
}

#[test]
fn one_training_step_of_efficientnet_b0_is_torchvisions() {
    training_step("efficientnet_b0");
}

#[test]
fn one_training_step_of_mobilenet_v3_large_is_torchvisions() {
    training_step("mobilenet_v3_large");
}

/// Everything may be this many times as far from f64 as torch's own f32 is.
const TIMES_TORCH: f64 = 10.0;

fn training_step(family: &str) {
    let golden = TrainStep::read(family);
    let network = zoo::by_name(family, golden.classes).expect("the zoo has it").without_dropout();
    let mut engine = engine(&network);
    engine.start_training(&sgd(&network)).expect("SGD is supported");
    let images = channels_last(&golden.images(), golden.size);
    let logits = engine.forward(&images, 0).expect("the images fit");
    let bound = |distance: f64| TIMES_TORCH * distance.max(1e-7);
    assert_close_l2("logits", &logits.values, &golden.logits.values, bound(golden.logits.torch_f32_distance));

    let (loss, gradient) = cross_entropy(&logits, &golden.labels);
    assert_close("loss", &[loss], &golden.loss.values, bound(golden.loss.torch_f32_distance));
    engine.backward(&gradient).expect("there was a forward pass");
    let gradients = engine.gradients();
    assert_eq!(gradients.len(), golden.gradients.len(), "every parameter has a gradient");
    check_checksums("gradient", &golden.gradients, &gradients, |_| 1e-6 * golden.gradient_norm());

    let tensors = engine.tensors();
    for (name, running) in &golden.running {
        let bound = bound(golden.running_torch_f32_distance[name]);
        assert_close_l2(name, &find(&tensors, name).values, &running.values, bound);
    }
    let counts = tensors.iter().filter(|tensor| tensor.name.ends_with("num_batches_tracked"));
    let mut counts = counts;
    assert!(counts.all(|count| count.values == [1.0]), "one batch was counted");
}

fn check_checksums(what: &str, goldens: &[Checksum], found: &[NamedTensor], floor: impl Fn(usize) -> f64) {
    for golden in goldens {
        let values = &find(found, &golden.name).values;
        let error = golden.estimated_error(values);
        let allowed = TIMES_TORCH * golden.torch_f32_error + floor(values.len());
        assert!(error <= allowed, "{what} of `{}`: off by {error:.3e}, allowed {allowed:.3e}", golden.name);
    }
}

fn find<'a>(tensors: &'a [NamedTensor], name: &str) -> &'a NamedTensor {
    tensors.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("no tensor `{name}`"))
}

fn cross_entropy(logits: &Matrix, labels: &[usize]) -> (f64, Matrix) {
    let mut loss = 0.0;
    let mut gradient = Matrix::new(logits.rows, logits.columns, vec![0.0; logits.values.len()]);
    for (row, &label) in labels.iter().enumerate() {
        let values: Vec<f64> = logits.row(row).iter().map(|&value| f64::from(value)).collect();
        let sum: f64 = values.iter().map(|value| value.exp()).sum();
        loss += (sum.ln() - values[label]) / labels.len() as f64;
        for (class, value) in values.iter().enumerate() {
            let target = f64::from(u8::from(class == label));
            gradient.values[row * logits.columns + class] =
                ((value.exp() / sum - target) / labels.len() as f64) as f32;
        }
    }
    (loss, gradient)
}

/// Adam's first step is the rate times the gradient's sign, whatever the gradient's size; where that is 0 but for rounding
/// the sign is too. One entry in a thousand may have the other one.
#[test]
fn one_optimizer_step_is_torchs() {
    let golden = TrainStep::read("resnet18");
    let step = |learning_rate, weight_decay| Step {
        learning_rates: vec![learning_rate],
        momentum: 0.9,
        weight_decay,
        clip_norm: None,
    };
    let sgd = Optimizer::Sgd { nesterov: false };
    let adamw = Optimizer::AdamW { beta2: 0.999, eps: 1e-8 };
    for (name, optimizer, step, changes) in
        [("SGD", sgd, step(0.05, 1e-4), &golden.sgd), ("AdamW", adamw, step(1e-3, 0.01), &golden.adamw)]
    {
        let network = zoo::resnet18(golden.classes);
        let mut engine: CpuEngine = engine(&network);
        engine.start_training(&Training { optimizer, ..support::sgd(&network) }).expect("it is supported");
        let before = engine.tensors();
        let logits =
            engine.forward(&channels_last(&golden.images(), golden.size), 0).expect("the images fit");
        engine.backward(&cross_entropy(&logits, &golden.labels).1).expect("there was a forward pass");
        engine.step(&step).expect("there are gradients");
        let changed: Vec<NamedTensor> = engine.tensors().into_iter().zip(before).map(difference).collect();
        let norm: f64 = changes.iter().map(|change| change.norm.powi(2)).sum::<f64>().sqrt();
        let flips =
            |len: usize| (len as f64 / 1000.0).max(1.0).sqrt() * 2.0 * f64::from(step.learning_rates[0]);
        check_checksums(name, changes, &changed, |len| if name == "SGD" { 1e-6 * norm } else { flips(len) });
    }
}

fn difference((new, old): (NamedTensor, NamedTensor)) -> NamedTensor {
    let values = new.values.iter().zip(&old.values).map(|(new, old)| new - old).collect();
    NamedTensor { values, ..new }
}

#[test]
fn networks_in_yaml_are_a_plain_reading_of_their_modules() {
    let goldens = YamlModules::read();
    for golden in &goldens.nets {
        let network =
            elimnet_arch::yaml::parse(&golden.yaml, &golden.name).expect("the golden is well formed").network;
        let mut engine = CpuDevice::new(2).engine(&network);
        let mut tensors = engine.tensors();
        // torch has them in the order of construction; so do we, and names differ.
        let counted = |tensor: &&mut NamedTensor| !tensor.name.ends_with("num_batches_tracked");
        for (index, tensor) in tensors.iter_mut().filter(counted).enumerate() {
            assert_eq!(tensor.shape, golden.tensors[index].1, "{}: `{}`", golden.name, tensor.name);
            tensor.values = golden.values(index);
        }
        engine.set_tensors(&tensors).expect("the shapes were compared");
        let images = formula::images(goldens.batch, golden.input_channels, goldens.size);
        let images = support::channels_last_of(&images, goldens.size, golden.input_channels);
        let logits = engine.infer(&images).expect("the images fit");
        assert_close(&golden.name, &logits.values, &golden.logits, LOGITS);
    }
}
