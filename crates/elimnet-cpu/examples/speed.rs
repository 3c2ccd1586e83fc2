//! How fast networks train and run here: `speed [NETWORK[@CUT]] [f32|bf16] [train|infer] [BATCH] [SECONDS] [THREADS]`.
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::{Duration, Instant};

use elimnet_arch::zoo;
use elimnet_cpu::CpuDevice;
use elimnet_engine::{Device, Engine, Images, Matrix, Optimizer, Precision, Step, Training};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "efficientnet_b0".to_owned());
    let precision: Precision =
        arguments.next().unwrap_or_else(|| "bf16".to_owned()).parse().expect("f32 or bf16");
    let is_training = arguments.next().is_none_or(|mode| mode == "train");
    let mut number =
        |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (count, seconds, threads) = (number(32), number(5), number(0));

    let (family, cut) = name.split_once('@').map_or((&*name, None), |(family, cut)| (family, Some(cut)));
    let network = zoo::by_name(family, 1000).expect("a network of the zoo");
    let network = cut.map_or(network.clone(), |cut| network.cut_at(cut).expect("a cut"));
    let device = CpuDevice::new(threads).with_precision(precision);
    let mut engine = device.engine(&network);
    fill(&mut engine);
    let pixels = (0..count * 224 * 224 * 3).map(|index| noise(index as u64)).collect();
    let images = Images::new(count, 224, 224, 3, pixels);
    let blocks = network.all_blocks().count();
    engine
        .start_training(&Training {
            optimizer: Optimizer::Sgd { nesterov: false },
            frozen_blocks: 0,
            groups: vec![0; blocks],
            average_decay: None,
        })
        .expect("SGD");
    let step = Step { learning_rates: vec![1e-6], momentum: 0.9, weight_decay: 0.0, clip_norm: None };
    let mut parts = [Duration::ZERO; 3];
    let run = |engine: &mut dyn Engine, parts: &mut [Duration; 3]| {
        if !is_training {
            engine.infer(&images).expect("logits");
            return;
        }
        let began = Instant::now();
        let logits = engine.forward(&images, 0).expect("logits");
        parts[0] += began.elapsed();
        let gradient = (0..logits.values.len()).map(|index| noise(index as u64) / 1e3).collect();
        let began = Instant::now();
        engine.backward(&Matrix::new(logits.rows, logits.columns, gradient)).expect("gradients");
        parts[1] += began.elapsed();
        let began = Instant::now();
        engine.step(&step).expect("a step");
        parts[2] += began.elapsed();
    };
    (0..2).for_each(|_| run(&mut engine, &mut parts));
    parts = [Duration::ZERO; 3];
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < 3 || start.elapsed().as_secs() < seconds as u64 {
        let began = Instant::now();
        run(&mut engine, &mut parts);
        times.push(began.elapsed().as_secs_f64());
    }
    let runs = times.len();
    times.sort_by(f64::total_cmp);
    let median = times[runs / 2];
    println!(
        "{name} {} {} batch {count}: {:.1} images/s, median {:.2} ms, {runs} runs, {:.0} MB",
        device.precision(),
        if is_training { "train" } else { "infer" },
        count as f64 / median,
        median * 1e3,
        engine.memory_bytes() as f64 / 1e6
    );
    if is_training {
        let [forward, backward, update] = parts.map(|part| part.as_secs_f64() * 1e3 / runs as f64);
        println!("  forward {forward:.1} ms, backward {backward:.1} ms, update {update:.1} ms");
    } else {
        let times = engine.profile(&images).expect("times");
        for (block, time) in network.all_blocks().zip(times) {
            println!("  {:<16} {:>8.3} ms", block.name, time.as_secs_f64() * 1e3);
        }
    }
}

/// Between -1 and 1.
fn noise(index: u64) -> f32 {
    let bits = (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((bits ^ (bits >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Small random weights; scales and variances stay one.
fn fill(engine: &mut dyn Engine) {
    let mut tensors = engine.tensors();
    for tensor in tensors.iter_mut().filter(|tensor| tensor.shape.len() > 1) {
        let scale = (2.0 / tensor.shape[1..].iter().product::<usize>() as f32).sqrt();
        let values = tensor.values.iter_mut().enumerate();
        values.for_each(|(index, value)| *value = noise(index as u64) * scale);
    }
    engine.set_tensors(&tensors).expect("the network's own");
}
