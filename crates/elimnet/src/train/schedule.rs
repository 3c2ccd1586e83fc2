//! Learning rate and momentum as functions of the step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate moves from the first step to the last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Up to the given rate and down to almost nothing, the momentum the other way round.
    OneCycle(OneCycle),
    /// The same rate from first to last.
    Constant,
    /// A straight line up to the given rate, then half a cosine down to 0.
    Cosine {
        /// Share of the steps on the way up, 0..1.
        warmup: f64,
    },
}

impl Default for Schedule {
    /// The seed's.
    fn default() -> Self {
        Self::OneCycle(OneCycle::default())
    }
}

/// One cycle of learning rate and momentum, `torch.optim.lr_scheduler.OneCycleLR` with cosine annealing.
///
/// The defaults are torch's, but for `warmup`, which is the seed's (`pct_start=0.05`).
///
/// # Source
/// Smith and Topin, *Super-Convergence*, 2017; the two-phase form of fastai, as in torch 2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneCycle {
    /// Share of the steps on the way up (torch's `pct_start`).
    pub warmup: f64,
    /// The first rate is the highest over this (torch's `div_factor`).
    pub first_divisor: f64,
    /// The last rate is the first over this (torch's `final_div_factor`).
    pub final_divisor: f64,
    /// Momentum where the rate is highest.
    pub base_momentum: f64,
    /// Momentum at the first and the last step.
    pub max_momentum: f64,
}

impl Default for OneCycle {
    fn default() -> Self {
        Self {
            warmup: 0.05,
            first_divisor: 25.0,
            final_divisor: 1e4,
            base_momentum: 0.85,
            max_momentum: 0.95,
        }
    }
}

/// What a schedule says for one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Learning rate.
    pub learning_rate: f64,
    /// Momentum of SGD, beta1 of AdamW.
    pub momentum: f64,
}

impl Schedule {
    /// Rates of step `step` of `total`, counted from 0; steps past the end get those of the last.
    ///
    /// `learning_rate` is the highest; `momentum` is for the schedules that leave it as it is.
    ///
    /// # Panics
    /// If `total` is 0.
    #[must_use]
    pub fn at(&self, step: u64, total: u64, learning_rate: f64, momentum: f64) -> Rates {
        assert!(total > 0, "a schedule of no steps");
        let step = step.min(total - 1);
        match self {
            Self::OneCycle(cycle) => cycle.at(step as f64, total as f64, learning_rate),
            Self::Constant => Rates { learning_rate, momentum },
            Self::Cosine { warmup } => {
                let share = cosine_with_warmup(step as f64, total as f64, *warmup);
                Rates { learning_rate: learning_rate * share, momentum }
            }
        }
    }
}

impl OneCycle {
    fn at(&self, step: f64, total: f64, highest: f64) -> Rates {
        let first = highest / self.first_divisor;
        let last = first / self.final_divisor;
        let (top, end) = (self.warmup * total - 1.0, total - 1.0);
        if step <= top {
            let done = progress(step, 0.0, top);
            return Rates {
                learning_rate: anneal(first, highest, done),
                momentum: anneal(self.max_momentum, self.base_momentum, done),
            };
        }
        let done = progress(step, top, end);
        Rates {
            learning_rate: anneal(highest, last, done),
            momentum: anneal(self.base_momentum, self.max_momentum, done),
        }
    }
}

/// Share of the way from `start` to `end`; a way of no length is done (torch divides by zero there).
fn progress(step: f64, start: f64, end: f64) -> f64 {
    if end > start { (step - start) / (end - start) } else { 1.0 }
}

/// Half a cosine from `start` to `end`, in torch's order of operations.
fn anneal(start: f64, end: f64, done: f64) -> f64 {
    end + (start - end) / 2.0 * ((PI * done).cos() + 1.0)
}

fn cosine_with_warmup(step: f64, total: f64, warmup: f64) -> f64 {
    let warmup = (warmup * total).floor();
    if step < warmup {
        return (step + 1.0) / (warmup + 1.0);
    }
    anneal(1.0, 0.0, (step - warmup) / (total - warmup))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        total: u64,
        warmup: f64,
        /// Step, learning rate, momentum.
        rates: &'static [(u64, f64, f64)],
    }

    /// Printed by torch 2.15: `OneCycleLR(SGD(.., lr=0.01, momentum=0.9), max_lr=0.01, total_steps=total,
    /// pct_start=warmup)`, `param_groups[0]["lr"]` and `["momentum"]` before each step.
    const FROM_TORCH: &[Case] = &[
        Case {
            total: 100,
            warmup: 0.05,
            rates: &[
                (0, 0.0003999999999999993, 0.95),
                (1, 0.0018058874503045722, 0.9353553390593273),
                (3, 0.008594112549695427, 0.8646446609406726),
                (4, 0.01, 0.85),
                (5, 0.009997266297639484, 0.8500273371329536),
                (50, 0.005247937781691018, 0.8975208122663388),
                (98, 2.773702360516574e-06, 0.9499726628670463),
                (99, 4e-08, 0.95),
            ],
        },
        Case {
            total: 7,
            warmup: 0.3,
            rates: &[
                (0, 0.0003999999999999993, 0.95),
                (1, 0.009805566273349588, 0.8520253513192751),
                (2, 0.009190443762697106, 0.858095594755408),
                (3, 0.00672683836480545, 0.8827317472789346),
                (4, 0.003577387757396571, 0.9142263793315516),
                (5, 0.0009929679189326559, 0.9400706810933978),
                (6, 4e-08, 0.95),
            ],
        },
        Case {
            total: 30,
            warmup: 0.05,
            rates: &[
                (0, 0.0003999999999999993, 0.95),
                (1, 0.009992407612536253, 0.8500759241783342),
                (2, 0.009931806789787544, 0.8506819348298639),
                (15, 0.004862248839246038, 0.9013777171184081),
                (29, 4e-08, 0.95),
            ],
        },
        Case {
            total: 1570,
            warmup: 0.05,
            rates: &[
                (0, 0.0003999999999999993, 0.95),
                (40, 0.00544311601042582, 0.8974675415580643),
                (77, 0.009999014100325661, 0.8500102697882743),
                (78, 0.009999997227117481, 0.8500000277289361),
                (79, 0.009999975044075774, 0.8500002495602405),
                (800, 0.005244782134838315, 0.8975523688610922),
                (1568, 5.109152700451715e-08, 0.9499998890842862),
                (1569, 4e-08, 0.95),
            ],
        },
        Case {
            total: 10,
            warmup: 0.05,
            rates: &[
                (0, 0.009931806789787544, 0.8506819348298639),
                (1, 0.00939737116655742, 0.8560263124396755),
                (5, 0.0037725974740057478, 0.9122742743570399),
                (9, 4e-08, 0.95),
            ],
        },
    ];

    #[test]
    fn one_cycle_is_that_of_torch() {
        for case in FROM_TORCH {
            let schedule = Schedule::OneCycle(OneCycle { warmup: case.warmup, ..OneCycle::default() });
            for &(step, learning_rate, momentum) in case.rates {
                let found = schedule.at(step, case.total, 0.01, 0.9);
                let error = (found.learning_rate - learning_rate).abs() / learning_rate;
                assert!(error < 1e-12, "step {step} of {}: {found:?}, not {learning_rate}", case.total);
                assert!(
                    (found.momentum - momentum).abs() < 1e-12,
                    "step {step} of {}: {found:?}",
                    case.total
                );
            }
        }
    }

    #[test]
    fn every_schedule_is_finite_and_positive_for_every_length() {
        let schedules = [Schedule::default(), Schedule::Constant, Schedule::Cosine { warmup: 0.1 }];
        for schedule in schedules {
            for total in 1..60 {
                for step in 0..total + 2 {
                    let found = schedule.at(step, total, 0.01, 0.9);
                    assert!(
                        found.learning_rate > 0.0 && found.learning_rate <= 0.01,
                        "{schedule:?} {found:?}"
                    );
                    assert!((0.8..1.0).contains(&found.momentum), "{schedule:?} {found:?}");
                }
            }
        }
    }

    #[test]
    fn cosine_climbs_a_line_and_falls_towards_nothing() {
        let rate = |step| Schedule::Cosine { warmup: 0.4 }.at(step, 10, 1.0, 0.9).learning_rate;
        assert_eq!([rate(0), rate(3), rate(4)], [0.2, 0.8, 1.0]);
        assert!((rate(7) - 0.5).abs() < 1e-12);
        assert!(rate(9) < rate(8) && rate(9) > 0.0);
    }

    #[test]
    fn steps_past_the_end_stay_at_the_last_rate() {
        let schedule = Schedule::default();
        assert_eq!(schedule.at(500, 100, 0.01, 0.9), schedule.at(99, 100, 0.01, 0.9));
    }

    #[test]
    fn what_a_file_leaves_out_is_the_default() {
        let schedule: Schedule = serde_json::from_str(r#"{"one_cycle": {"warmup": 0.3}}"#).unwrap();
        assert_eq!(schedule, Schedule::OneCycle(OneCycle { warmup: 0.3, ..OneCycle::default() }));
    }
}
