use elimnet_kernels::{AdamW, Sgd, adamw_step, reference, sgd_momentum_step};

use super::compare::within;
use super::run::{Numbers, on_every_isa, widen};

const STEPS: usize = 5;

#[test]
fn sgd_follows_the_reference() {
    for (momentum, weight_decay, nesterov) in
        [(0.0, 0.0, false), (0.9, 0.0, false), (0.9, 1e-2, false), (0.9, 1e-2, true)]
    {
        for count in [1, 7, 33, 20_000] {
            let mut numbers = Numbers::new(1);
            let start = numbers.reals(count);
            let gradients: Vec<_> = (0..STEPS).map(|_| numbers.reals(count)).collect();
            let sgd = |step: usize| Sgd {
                learning_rate: 0.1 / (step + 1) as f32,
                momentum,
                weight_decay,
                nesterov,
                first_step: step == 0,
            };
            let (mut expected, mut velocity) = (widen(&start), vec![0.0; count]);
            for (step, gradient) in gradients.iter().enumerate() {
                reference::sgd_momentum_step(&sgd(step), &mut expected, &widen(gradient), &mut velocity);
            }
            for (isa, actual) in on_every_isa(|isa| {
                let (mut actual, mut velocity) = (start.clone(), vec![0.0; count]);
                for (step, gradient) in gradients.iter().enumerate() {
                    sgd_momentum_step(isa, &sgd(step), &mut actual, gradient, &mut velocity);
                }
                actual
            }) {
                assert_eq!(within(&actual, &expected, &vec![1e-6; count]), None, "{isa}");
            }
        }
    }
}

#[test]
fn adamw_follows_the_reference() {
    for weight_decay in [0.0, 0.1] {
        for count in [1, 7, 33, 20_000] {
            let mut numbers = Numbers::new(2);
            let start = numbers.reals(count);
            let gradients: Vec<_> = (0..STEPS).map(|_| numbers.reals(count)).collect();
            let adam = |step: usize| AdamW {
                learning_rate: 1e-2,
                betas: [0.9, 0.999],
                epsilon: 1e-8,
                weight_decay,
                step: step as u64 + 1,
            };
            let (mut expected, mut mean, mut square) = (widen(&start), vec![0.0; count], vec![0.0; count]);
            for (step, gradient) in gradients.iter().enumerate() {
                let gradient = widen(gradient);
                reference::adamw_step(&adam(step), &mut expected, &gradient, &mut mean, &mut square);
            }
            for (isa, actual) in on_every_isa(|isa| {
                let (mut actual, mut mean, mut square) = (start.clone(), vec![0.0; count], vec![0.0; count]);
                for (step, gradient) in gradients.iter().enumerate() {
                    adamw_step(isa, &adam(step), &mut actual, gradient, &mut mean, &mut square);
                }
                actual
            }) {
                assert_eq!(within(&actual, &expected, &vec![1e-6; count]), None, "{isa}");
            }
        }
    }
}

/// Where three steps of torch.optim 2 (SGD, with Nesterov, AdamW; in f64) take two parameters.
#[test]
fn torch_steps() {
    let gradients = [[0.5, -1.0], [0.25, 0.0], [-1.0, 2.0]];
    let start = [1.0, -2.0];
    let sgd = |nesterov| {
        on_every_isa(|isa| {
            let (mut parameters, mut velocity) = (start, [0.0; 2]);
            for (step, gradient) in gradients.iter().enumerate() {
                let (learning_rate, momentum, weight_decay, first_step) = (0.1, 0.9, 0.01, step == 0);
                let sgd = Sgd { learning_rate, momentum, weight_decay, nesterov, first_step };
                sgd_momentum_step(isa, &sgd, &mut parameters, gradient, &mut velocity);
            }
            parameters.to_vec()
        })
    };
    let adamw = on_every_isa(|isa| {
        let (mut parameters, mut mean, mut square) = (start, [0.0; 2], [0.0; 2]);
        for (gradient, step) in gradients.iter().zip(1..) {
            let (learning_rate, betas, epsilon, weight_decay) = (0.01, [0.9, 0.999], 1e-8, 0.1);
            let adam = AdamW { learning_rate, betas, epsilon, weight_decay, step };
            adamw_step(isa, &adam, &mut parameters, gradient, &mut mean, &mut square);
        }
        parameters.to_vec()
    });
    let cases = [
        (sgd(false), [0.911609749, -1.918169498]),
        (sgd(true), [0.942869708191, -2.021058916382]),
        (adamw, [0.979774085084, -1.980732450913]),
    ];
    for (runs, expected) in cases {
        for (isa, actual) in runs {
            assert_eq!(within(&actual, &expected, &[1e-6; 2]), None, "{isa}");
        }
    }
}
