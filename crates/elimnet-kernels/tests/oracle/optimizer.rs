use elimnet_kernels::{
    AdamW, Rule, Sgd, Update, adamw_step, reference, sgd_momentum_step, squared_norm, update,
};

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

/// Several tensors in one call, clipped, with running averages: the reference with scaled gradients.
#[test]
fn many_tensors_go_in_one_call() {
    let (lengths, scale, decay) = ([0, 1, 5, 17, 400, 16 * 1024 + 3, 40_000], 0.25_f32, 0.75_f32);
    let sgd =
        Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-2, nesterov: false, first_step: false };
    let adam = AdamW { learning_rate: 0.1, betas: [0.9, 0.99], epsilon: 1e-8, weight_decay: 0.1, step: 3 };
    let tensor = |index: usize| {
        let mut numbers = Numbers::new(index as u64);
        let [parameters, gradients, velocity, average] = [(); 4].map(|()| numbers.reals(lengths[index]));
        let square: Vec<f32> = numbers.reals(lengths[index]).iter().map(|value| value * value).collect();
        (parameters, gradients, velocity, square, average)
    };
    let mut expected = Vec::new();
    for index in 0..lengths.len() {
        let (parameters, gradients, velocity, square, average) = tensor(index);
        let gradients: Vec<_> = gradients.iter().map(|value| f64::from(value * scale)).collect();
        let [mut parameters, mut velocity, mut square, average] =
            [parameters, velocity, square, average].map(|values| widen(&values));
        if index % 2 == 0 {
            reference::sgd_momentum_step(&sgd, &mut parameters, &gradients, &mut velocity);
        } else {
            reference::adamw_step(&adam, &mut parameters, &gradients, &mut velocity, &mut square);
        }
        let decay = f64::from(decay);
        let averages = average.iter().zip(&parameters).map(|(a, p)| decay * a + (1.0 - decay) * p);
        let averages: Vec<_> = averages.collect();
        expected.extend(parameters);
        expected.extend(averages);
    }
    // AdamW divides by roots of squares that are near zero here and there: relative to the result.
    let bounds: Vec<_> = expected.iter().map(|value: &f64| 2e-6 * (1.0 + value.abs())).collect();
    for (isa, actual) in on_every_isa(|isa| {
        let mut tensors: Vec<_> = (0..lengths.len()).map(tensor).collect();
        let updates = tensors.iter_mut().enumerate();
        let updates = updates.map(|(index, (parameters, gradients, velocity, mean_square, average))| {
            let rule = match index % 2 {
                0 => Rule::Sgd { settings: sgd, velocity },
                _ => Rule::AdamW { settings: adam, mean: velocity, mean_square },
            };
            Update { parameters, gradients, rule, average: Some((average, decay)) }
        });
        update(isa, updates.collect(), scale);
        tensors
            .into_iter()
            .flat_map(|(parameters, _, _, _, average)| [parameters, average].concat())
            .collect()
    }) {
        assert_eq!(within(&actual, &expected, &bounds), None, "{isa}");
    }
}

#[test]
fn the_norm_of_integers_is_exact() {
    for count in [0, 1, 15, 16, 17, 129, 16 * 1024 + 1, 300_000] {
        let x = Numbers::new(9).integers(count);
        let expected: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        on_every_isa(|isa| {
            assert_eq!(squared_norm(isa, &x), expected, "{isa} {count}");
            vec![]
        });
    }
}
