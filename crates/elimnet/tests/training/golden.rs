//! Loss, schedule and metrics against the golden file of `reference/metrics.py`.

use elimnet::evaluate::Confusion;
use elimnet::train::{CrossEntropy, OneCycle, Schedule, Targets};
use elimnet_engine::Matrix;
use elimnet_testing::golden::MetricGoldens;

#[test]
fn metrics_are_those_of_sklearn() {
    for case in MetricGoldens::read().classification {
        let mut confusion = Confusion::new(case.classes);
        case.truth.iter().zip(&case.predicted).for_each(|(&truth, &found)| confusion.add(truth, found));
        assert_eq!(confusion.rows(), case.confusion, "{}", case.name);
        let mut pairs = vec![(confusion.accuracy(), case.accuracy), (confusion.macro_f1(), case.macro_f1)];
        for (class, found) in confusion.per_class().iter().enumerate() {
            pairs.push((found.precision, case.precision[class]));
            pairs.push((found.recall, case.recall[class]));
            pairs.push((found.f1, case.f1[class]));
            assert_eq!(found.support, case.support[class], "{}", case.name);
        }
        assert!(
            pairs.iter().all(|(found, expected)| (found - expected).abs() < 1e-14),
            "{}: {pairs:?}",
            case.name
        );
    }
}

#[test]
fn losses_and_gradients_are_those_of_torch() {
    for case in MetricGoldens::read().losses {
        let mut loss = CrossEntropy::default().with_label_smoothing(case.label_smoothing as f32);
        if let Some(counts) = &case.class_counts {
            let counts: Vec<usize> = counts.iter().map(|&count| count as usize).collect();
            loss = loss.with_logit_adjustment(case.tau as f32, &counts);
        }
        let logits = Matrix::new(case.labels.len(), case.classes, case.logits.clone());
        let found = loss.value(&logits, Targets::Classes(&case.labels));
        // A smoothing of 0.1 is an f32 here and an f64 there.
        let bound = 1e-7 * case.loss.max(1.0);
        assert!((found.loss - case.loss).abs() < bound, "{}: {} {}", case.name, found.loss, case.loss);
        for (found, expected) in found.logit_gradient.values.iter().zip(&case.gradient) {
            assert!((f64::from(*found) - expected).abs() < 1e-7, "{}: {found} {expected}", case.name);
        }
    }
}

#[test]
fn one_cycle_is_that_of_torch() {
    let default = OneCycle::default();
    for case in MetricGoldens::read().one_cycle {
        let cycle = OneCycle {
            warmup: case.pct_start,
            first_divisor: case.div_factor.unwrap_or(default.first_divisor),
            final_divisor: case.final_div_factor.unwrap_or(default.final_divisor),
            ..default
        };
        for (step, (rate, momentum)) in case.rates.iter().zip(&case.momenta).enumerate() {
            let found = Schedule::OneCycle(cycle).at(step as u64, case.total_steps as u64, case.max_lr, 0.9);
            assert!(
                (found.learning_rate - rate).abs() < 1e-12 * case.max_lr,
                "step {step}: {found:?}, not {rate}"
            );
            if case.cycle_momentum {
                assert!((found.momentum - momentum).abs() < 1e-12, "step {step}: {found:?}, not {momentum}");
            }
        }
    }
}
