//! Probe, neighbours, class means and F1 against scikit-learn, LogME against its paper: `reference/probe.py`.

use elimnet_engine::Matrix;
use serde::Deserialize;

use super::logme::logme;
use super::moments::Moments;
use super::neighbours::without_training;
use super::probe::Trainer;
use super::{fit_probe, macro_f1_of};

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    classes: usize,
    penalty: f64,
    features: Vec<Vec<f32>>,
    labels: Vec<usize>,
    queries: Vec<Vec<f32>>,
    truth: Vec<usize>,
    logits: Vec<Vec<f64>>,
    predicted: Vec<usize>,
    macro_f1: f64,
    neighbours: Vec<usize>,
    class_means: Vec<usize>,
    logme: f64,
}

fn cases() -> Vec<Case> {
    let cases = elimnet_testing::golden::json::<Goldens>("probe.json").cases;
    assert_eq!(cases.len(), 4);
    cases
}

fn matrix(rows: &[Vec<f32>]) -> Matrix {
    Matrix::new(rows.len(), rows[0].len(), rows.concat())
}

/// Logits up to what is the same for all classes, which softmax does not see.
fn centred(logits: &[f64]) -> Vec<f64> {
    let mean = logits.iter().sum::<f64>() / logits.len() as f64;
    logits.iter().map(|logit| logit - mean).collect()
}

#[test]
fn the_probe_is_scikit_learns_logistic_regression() {
    for case in cases() {
        let (features, queries) = (matrix(&case.features), matrix(&case.queries));
        let trainer = Trainer::new(&features, &case.labels, case.classes, &Moments::of(&features), 0);
        let head = trainer.fit(case.penalty);
        let predicted = head.predict(&queries);
        assert_eq!(predicted, case.predicted, "{}", case.name);
        let images: Vec<usize> = (0..predicted.len()).collect();
        let macro_f1 = macro_f1_of(&images, &case.truth, &predicted, case.classes);
        assert!((macro_f1 - case.macro_f1).abs() < 1e-12, "{}: {macro_f1} {}", case.name, case.macro_f1);
        for (row, expected) in queries.iter_rows().zip(&case.logits) {
            let logit = |class: usize| -> f64 {
                let dot: f64 =
                    row.iter().zip(head.weight.row(class)).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                dot + f64::from(head.bias[class])
            };
            let found = centred(&(0..case.classes).map(logit).collect::<Vec<_>>());
            for (found, expected) in found.iter().zip(centred(expected)) {
                // The penalty bounds how far a loss that is right to 1e-9 can be off in its argument.
                let tolerance = 2e-3 * (1.0 + expected.abs());
                assert!((found - expected).abs() < tolerance, "{}: {found} {expected}", case.name);
            }
        }
    }
}

#[test]
fn neighbours_and_class_means_are_scikit_learns() {
    for case in cases() {
        let (features, queries) = (matrix(&case.features), matrix(&case.queries));
        let moments = Moments::of(&features);
        let [neighbours, means] =
            without_training(&features, &case.labels, case.classes, &queries, &moments, 0);
        assert_eq!(neighbours, case.neighbours, "{}", case.name);
        assert_eq!(means, case.class_means, "{}", case.name);
    }
}

#[test]
fn logme_is_that_of_its_paper() {
    for case in cases() {
        let features = matrix(&case.features);
        let found = logme(&features, &case.labels, case.classes, &Moments::of(&features));
        assert!(
            (found - case.logme).abs() < 1e-6 * (1.0 + case.logme.abs()),
            "{}: {found} {}",
            case.name,
            case.logme
        );
    }
}

#[test]
fn the_chosen_penalty_is_as_good_as_any_fixed_one() {
    let case = &cases()[1];
    let (features, queries) = (matrix(&case.features), matrix(&case.queries));
    let right = |predicted: Vec<usize>| predicted.iter().zip(&case.truth).filter(|(a, b)| a == b).count();
    let chosen = right(fit_probe(&features, &case.labels, case.classes, 0).head.predict(&queries));
    assert!(chosen + 2 >= right(case.predicted.clone()), "{chosen}");
}
