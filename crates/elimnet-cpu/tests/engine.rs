//! What the interface promises: gradients that are derivatives, frozen blocks that stay, results without thread counts.

mod support;

use elimnet_arch::{BlockBuilder, Conv2d, Network, Op, Padding, Value, zoo};
use elimnet_cpu::CpuDevice;
use elimnet_engine::{
    Engine, EngineError, Images, Matrix, Optimizer, PassTimes, Precision, Step, Training, Weights,
};
use elimnet_testing::formula;
use support::{PRECISIONS, Way, engine, engine_with, images, sgd};

const STEP: Step = Step { learning_rates: Vec::new(), momentum: 0.9, weight_decay: 1e-4, clip_norm: None };

fn step(learning_rate: f32) -> Step {
    Step { learning_rates: vec![learning_rate], ..STEP }
}

/// Sum of the logits times fixed signs: a loss whose gradient is the signs.
fn signs(rows: usize, columns: usize) -> Matrix {
    let signs = formula::signs("logits", rows * columns).map(|sign| sign as f32);
    Matrix::new(rows, columns, signs.collect())
}

fn loss(logits: &Matrix) -> f64 {
    let signs = signs(logits.rows, logits.columns);
    logits.values.iter().zip(&signs.values).map(|(&logit, &sign)| f64::from(logit) * f64::from(sign)).sum()
}

/// The loss after all parameters moved by `distance` along `direction`, in training mode.
fn loss_at(network: &Network, images: &Images, direction: &[Vec<f32>], distance: f32) -> f64 {
    let mut engine = engine(network);
    let mut tensors = engine.tensors();
    for (tensor, direction) in tensors.iter_mut().zip(direction) {
        tensor.values.iter_mut().zip(direction).for_each(|(value, step)| *value += distance * step);
    }
    engine.set_tensors(&tensors).unwrap();
    engine.start_training(&sgd(network)).unwrap();
    loss(&engine.forward(images, 5).unwrap())
}

fn check_gradients(network: &Network, images: &Images) {
    let name = &network.name;
    let mut engine = engine(network);
    engine.start_training(&sgd(network)).unwrap();
    let logits = engine.forward(images, 5).unwrap();
    engine.backward(&signs(logits.rows, logits.columns)).unwrap();
    let gradients = engine.gradients();
    let norm = |values: &[f32]| values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
    let total = gradients.iter().map(|gradient| norm(&gradient.values)).sum::<f64>().sqrt();
    assert!(total > 0.0 && total.is_finite(), "{name}: gradient norm {total}");
    // Along the gradient the loss rises by its norm.
    let direction: Vec<Vec<f32>> = network
        .tensors()
        .iter()
        .map(|spec| match gradients.iter().find(|gradient| gradient.name == spec.name) {
            Some(gradient) => {
                gradient.values.iter().map(|&value| (f64::from(value) / total) as f32).collect()
            }
            None => vec![0.0; spec.len()],
        })
        .collect();
    let h = 1e-4;
    let [up, down] = [h, -h].map(|distance| loss_at(network, images, &direction, distance));
    let slope = (up - down) / (2.0 * f64::from(h));
    assert!((slope / total - 1.0).abs() < 0.02, "{name}: slope {slope}, gradient norm {total}");
}

#[test]
fn gradients_of_every_network_are_derivatives() {
    for name in zoo::NAMES {
        let network = zoo::by_name(name, 4).unwrap();
        let network = if name == "vgg11" { network.cut_at("features.20").unwrap() } else { network };
        check_gradients(&network, &images(4, 64));
    }
}

/// An image of one pixel, and averages of a larger one, which are kept apart.
#[test]
fn one_pixel_and_averages_can_be_combined() {
    type Combine = fn(&mut BlockBuilder, Value, Value) -> Value;
    let combine: [(&str, Combine); 4] = [
        ("pixel + averages", |block, pixel, averages| block.add(pixel, averages)),
        ("averages + pixel", |block, pixel, averages| block.add(averages, pixel)),
        ("averages · pixel", |block, pixel, averages| block.scale(averages, pixel)),
        ("pixel · averages", |block, pixel, averages| block.scale(pixel, averages)),
    ];
    for (name, combine) in combine {
        let mut block = BlockBuilder::new("mixed", "Mixed");
        let averages = block.function(Op::GlobalAvgPool, Value::INPUT);
        let valid = Conv2d { padding: Padding::default(), ..Conv2d::square(3, 3, 8, 1) };
        let pixel = block.conv("mixed.conv", valid, Value::INPUT);
        combine(&mut block, pixel, averages);
        let network = Network {
            name: name.to_owned(),
            blocks: vec![block.build()],
            pretrained_as: None,
            ..zoo::resnet18(4)
        };
        let network = network.cut_after(0);
        check_gradients(&network, &images(4, 8));
        for precision in PRECISIONS {
            let logits = engine_with(&network, 2, precision).infer(&images(2, 8)).unwrap();
            assert!(logits.values.iter().all(|logit| logit.is_finite()), "{name} in {precision}");
        }
    }
}

/// Depthwise windows and squeeze-and-excitation, and 3 x 3 windows of many channels, in every way.
fn networks_and_ways() -> Vec<(Network, Way)> {
    let networks = [zoo::mobilenet_v3_small(5), zoo::resnet18(5).cut_at("layer2.0").unwrap()];
    let ways = |network: Network| Way::all().into_iter().map(move |way| (network.clone(), way));
    networks.into_iter().flat_map(ways).collect()
}

#[test]
fn thread_counts_and_repeats_change_nothing() {
    for (network, way) in networks_and_ways() {
        let case = format!("{} as {way:?}", network.name);
        let run = |threads: usize| {
            let mut engine = way.engine(&network, threads);
            engine.start_training(&sgd(&network)).unwrap();
            for size in [64, 33] {
                let logits = engine.forward(&images(6, size), 9).unwrap();
                engine.backward(&signs(logits.rows, logits.columns)).unwrap();
                engine.step(&step(0.01)).unwrap();
            }
            let logits = [1, 2, 7].map(|count| engine.infer(&images(count, 48)).unwrap());
            (engine.tensors(), logits)
        };
        let one = run(1);
        assert_eq!(one, run(3), "{case}");
        assert_eq!(one, run(1), "{case}");
        let [alone, pair, seven] = &one.1;
        assert_eq!(alone.row(0), pair.row(0), "{case}: an image does not depend on its batch");
        assert_eq!(pair.values, seven.values[..pair.values.len()], "{case}");
    }
}

#[test]
fn frozen_blocks_stay_and_the_others_move() {
    let network = zoo::mobilenet_v3_small(5);
    let mut engine = engine(&network);
    engine.start_training(&Training { frozen_blocks: 4, ..sgd(&network) }).unwrap();
    let before = engine.tensors();
    let logits = engine.forward(&images(4, 64), 1).unwrap();
    engine.backward(&signs(4, logits.columns)).unwrap();
    engine.step(&step(0.1)).unwrap();
    for ((spec, before), after) in network.tensors().iter().zip(before).zip(engine.tensors()) {
        assert_eq!(spec.block < 4, before == after, "{}", spec.name);
    }
    let takes_time = |times: &PassTimes| !times.forward.is_zero() && !times.backward.is_zero();
    let times = engine.training_times();
    assert_eq!(times.len(), network.all_blocks().count());
    assert_eq!(times[..4], [PassTimes::default(); 4]);
    assert!(times[4..network.blocks.len()].iter().all(takes_time), "{times:?}");
    assert!(engine.gradients().iter().all(|gradient| !gradient.name.starts_with("features.0.")));
}

#[test]
fn a_frozen_prefix_gives_the_gradients_of_a_training_step_above_it() {
    // VGG has neither batch norm nor dropout below its head, so freezing changes nothing but the work.
    let network = zoo::vgg11(3).cut_at("features.10").unwrap();
    let gradients = |frozen_blocks| {
        let mut engine = engine(&network);
        engine.start_training(&Training { frozen_blocks, ..sgd(&network) }).unwrap();
        engine.forward(&images(2, 32), 1).unwrap();
        engine.backward(&signs(2, 3)).unwrap();
        engine.gradients()
    };
    let (all, some) = (gradients(0), gradients(2));
    assert_eq!(all[all.len() - some.len()..], some[..]);
    assert!(some.len() < all.len());
}

#[test]
fn the_running_average_follows_and_can_be_chosen() {
    let network = zoo::resnet18(3).cut_at("maxpool").unwrap();
    let mut engine = engine(&network);
    assert!(engine.select_weights(Weights::Averaged).is_err());
    engine.start_training(&Training { average_decay: Some(0.75), ..sgd(&network) }).unwrap();
    let before = engine.tensors();
    engine.forward(&images(2, 32), 1).unwrap();
    engine.backward(&signs(2, 3)).unwrap();
    engine.step(&step(0.1)).unwrap();
    let (after, current) = (engine.tensors(), engine.infer(&images(2, 32)).unwrap());
    engine.select_weights(Weights::Averaged).unwrap();
    for ((before, after), average) in before.iter().zip(&after).zip(engine.tensors()) {
        for ((before, after), average) in before.values.iter().zip(&after.values).zip(average.values) {
            assert!((0.75 * before + 0.25 * after - average).abs() < 1e-6);
        }
    }
    assert_ne!(engine.infer(&images(2, 32)).unwrap(), current);
}

#[test]
fn a_training_taken_up_again_ends_the_same() {
    let network = zoo::mobilenet_v3_small(5).cut_at("features.3").unwrap();
    let adamw = Optimizer::AdamW { beta2: 0.999, eps: 1e-8 };
    let sgd_nesterov = Optimizer::Sgd { nesterov: true };
    for (optimizer, precision) in
        [(sgd_nesterov, Precision::F32), (adamw, Precision::F32), (adamw, Precision::Bf16)]
    {
        let training = Training { optimizer, average_decay: Some(0.9), ..sgd(&network) };
        let train = |engine: &mut dyn Engine, steps: std::ops::Range<u64>| {
            for index in steps {
                engine.forward(&images(3, 32), index).unwrap();
                engine.backward(&signs(3, 5)).unwrap();
                engine.step(&step(0.01)).unwrap();
            }
        };
        let mut straight = engine_with(&network, 2, precision);
        straight.start_training(&training).unwrap();
        train(&mut straight, 0..4);

        let mut first = engine_with(&network, 2, precision);
        first.start_training(&training).unwrap();
        train(&mut first, 0..2);
        let mut second = CpuDevice::new(1).with_precision(precision).engine(&network);
        second.set_tensors(&first.tensors()).unwrap();
        second.start_training(&training).unwrap();
        second.set_optimizer_state(&first.optimizer_state()).unwrap();
        train(&mut second, 2..4);
        assert_eq!(straight.tensors(), second.tensors());
        assert_eq!(straight.optimizer_state(), second.optimizer_state());
    }
}

#[test]
fn memory_is_used_again_whatever_the_sizes() {
    for (network, way) in networks_and_ways() {
        let case = format!("{} as {way:?}", network.name);
        let mut engine = way.engine(&network, 2);
        engine.start_training(&sgd(&network)).unwrap();
        // Larger and smaller batches and images, and inference in between, on one engine and on fresh ones.
        for (count, size) in [(4, 64), (7, 32), (2, 96), (7, 32), (3, 32)] {
            let mut fresh = way.engine(&network, 1);
            fresh.set_tensors(&engine.tensors()).unwrap();
            fresh.start_training(&sgd(&network)).unwrap();
            assert_eq!(engine.infer(&images(count, 48)), fresh.infer(&images(count, 48)));
            let images = images(count, size);
            let logits = engine.forward(&images, 3).unwrap();
            assert_eq!(logits, fresh.forward(&images, 3).unwrap(), "{case}: {count} of {size}");
            for engine in [&mut engine, &mut fresh] {
                engine.backward(&signs(count, 5)).unwrap();
            }
            assert_eq!(engine.gradients(), fresh.gradients(), "{case}: {count} of {size}");
        }
        let mut held_after = |count| {
            engine.forward(&images(count, 32), 3).unwrap();
            engine.memory_bytes()
        };
        let held = held_after(7);
        // Which thread ran which task decides what each keeps for the next.
        let most = held + held / 20;
        assert!(held_after(3) <= most && held_after(7) <= most, "{case}: a smaller batch takes no more");
    }
}

#[test]
fn clipping_scales_the_step() {
    let network = zoo::vgg11(3).cut_at("features.2").unwrap();
    let change = |clip_norm| {
        let mut engine = engine(&network);
        engine.start_training(&sgd(&network)).unwrap();
        engine.forward(&images(2, 32), 1).unwrap();
        engine.backward(&signs(2, 3)).unwrap();
        let before = engine.tensors();
        let step = Step { weight_decay: 0.0, clip_norm, ..step(0.1) };
        let norm = engine.step(&step).unwrap();
        let moved = engine.tensors().into_iter().zip(before).flat_map(|(new, old)| {
            new.values.into_iter().zip(old.values).map(|(new, old)| f64::from(new - old).powi(2))
        });
        (norm, moved.sum::<f64>().sqrt())
    };
    let (norm, free) = change(None);
    let (same_norm, clipped) = change(Some(norm / 4.0));
    assert_eq!(norm, same_norm);
    assert!((free / clipped - 4.0).abs() < 1e-2, "{free} against {clipped}");
}

#[test]
fn wrong_calls_are_errors_and_change_nothing() {
    let network = zoo::resnet18(3);
    let mut engine = engine(&network);
    let gray = Images::new(1, 64, 64, 1, vec![0.5; 64 * 64]);
    assert_eq!(engine.infer(&gray), Err(EngineError::Channels { expected: 3, found: 1 }));
    assert!(matches!(engine.forward(&images(2, 64), 0), Err(EngineError::OutOfOrder(_))));
    engine.start_training(&sgd(&network)).unwrap();
    assert!(matches!(engine.backward(&signs(2, 3)), Err(EngineError::OutOfOrder(_))));
    assert!(matches!(engine.step(&step(0.1)), Err(EngineError::OutOfOrder(_))));
    assert!(matches!(engine.forward(&images(1, 16), 0), Err(EngineError::SingleValue { .. })));
    let mut tensors = engine.tensors();
    tensors[0].shape = vec![1];
    assert!(matches!(engine.set_tensors(&tensors), Err(EngineError::TensorShape { .. })));
    let small = zoo::vgg11(3);
    assert!(matches!(support::engine(&small.cut_after(7)).infer(&images(1, 16)), Err(EngineError::Shape(_))));
}
