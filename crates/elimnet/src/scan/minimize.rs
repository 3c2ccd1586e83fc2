//! L-BFGS with a preconditioner, for smooth convex functions.
//!
//! `argmin` has L-BFGS, too, but starts every step from a multiple of the identity; here the start is an approximate inverse
//! of the second derivative, which the caller knows well, and ten iterations do what hundreds did.
//!
//! # Source
//! Nocedal & Wright, *Numerical Optimization*, 2nd edition, algorithms 7.4 (two loops) and 3.1 (backtracking).

use std::collections::VecDeque;

/// A function to be minimised.
pub(crate) trait Objective {
    /// Value and gradient at `x`.
    fn evaluate(&self, x: &[f64]) -> (f64, Vec<f64>);

    /// Multiplies `vector` with an approximate inverse of the second derivative, in place.
    fn precondition(&self, vector: &mut [f64]);
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stop {
    /// Once the next step is expected to lower the value by less than this.
    pub(crate) gain: f64,
    /// After so many steps.
    pub(crate) steps: usize,
}

/// Pairs of steps that are remembered.
const MEMORY: usize = 12;

/// Share of the promised decrease that a step has to bring (Nocedal & Wright's `c₁`).
const SUFFICIENT: f64 = 1e-4;

/// Changes of the value below this share of it are rounding.
const ROUNDING: f64 = 1e-8;

/// A step and how the gradient changed with it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// `1 / stepᵀ change`.
    rho: f64,
}

/// Where `objective` is smallest, searched for from `x` on.
pub(crate) fn minimize(objective: &impl Objective, mut x: Vec<f64>, stop: Stop) -> Vec<f64> {
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let (mut value, mut gradient) = objective.evaluate(&x);
    for _ in 0..stop.steps {
        let direction = direction(objective, &pairs, &gradient);
        let slope = dot(&direction, &gradient);
        // A quadratic with this slope at full step falls by half of it.
        let promised = -slope / 2.0;
        if promised.is_nan() || promised <= stop.gain {
            break;
        }
        let Some((next, next_value, next_gradient)) = search(objective, &x, value, &direction, slope) else {
            break;
        };
        remember(&mut pairs, difference(&next, &x), difference(&next_gradient, &gradient));
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// Minus the gradient times the current estimate of the inverse second derivative.
fn direction(objective: &impl Objective, pairs: &VecDeque<Pair>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|value| -value).collect();
    let mut weights = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let weight = pair.rho * dot(&pair.step, &q);
        add_scaled(&mut q, -weight, &pair.change);
        weights.push(weight);
    }
    objective.precondition(&mut q);
    for (pair, weight) in pairs.iter().zip(weights.into_iter().rev()) {
        let correction = weight - pair.rho * dot(&pair.change, &q);
        add_scaled(&mut q, correction, &pair.step);
    }
    q
}

type Point = (Vec<f64>, f64, Vec<f64>);

/// Halves the step until it brings enough; nothing where rounding is all that is left.
fn search(objective: &impl Objective, x: &[f64], value: f64, direction: &[f64], slope: f64) -> Option<Point> {
    let mut length = 1.0;
    for _ in 0..40 {
        let mut next = x.to_vec();
        add_scaled(&mut next, length, direction);
        let (next_value, gradient) = objective.evaluate(&next);
        if next_value <= value + SUFFICIENT * length * slope {
            return Some((next, next_value, gradient));
        }
        if (next_value - value).abs() <= ROUNDING * value.abs() {
            return None;
        }
        length /= 2.0;
    }
    None
}

fn remember(pairs: &mut VecDeque<Pair>, step: Vec<f64>, change: Vec<f64>) {
    let curvature = dot(&step, &change);
    if curvature <= f64::EPSILON * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
        return;
    }
    if pairs.len() == MEMORY {
        pairs.pop_front();
    }
    pairs.push_back(Pair { step, change, rho: 1.0 / curvature });
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(to: &mut [f64], scale: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += scale * from);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Σ curvature (x − 1)² / 2 + quartic Σ (x − 1)⁴`, with or without knowing the curvature.
    struct Bowl {
        curvature: Vec<f64>,
        quartic: f64,
        preconditioned: bool,
    }

    impl Objective for Bowl {
        fn evaluate(&self, x: &[f64]) -> (f64, Vec<f64>) {
            let terms = self.curvature.iter().zip(x).map(|(curvature, x)| (curvature, x - 1.0));
            let value = terms.clone().map(|(c, d)| c * d * d / 2.0 + self.quartic * d.powi(4)).sum();
            (value, terms.map(|(c, d)| c * d + 4.0 * self.quartic * d.powi(3)).collect())
        }

        fn precondition(&self, vector: &mut [f64]) {
            if self.preconditioned {
                vector.iter_mut().zip(&self.curvature).for_each(|(value, curvature)| *value /= curvature);
            }
        }
    }

    #[test]
    fn the_bottom_is_found_with_and_without_a_preconditioner() {
        for (quartic, preconditioned) in [(0.0, false), (0.0, true), (3.0, false), (3.0, true)] {
            let bowl = Bowl { curvature: vec![1.0, 25.0, 1e3, 0.2], quartic, preconditioned };
            let stop = Stop { gain: 1e-14, steps: 500 };
            let found = minimize(&bowl, vec![3.0, -2.0, 0.5, 9.0], stop);
            assert!(found.iter().all(|x| (x - 1.0).abs() < 1e-5), "{quartic} {preconditioned} {found:?}");
        }
    }

    #[test]
    fn a_known_second_derivative_makes_it_one_step() {
        let bowl = Bowl { curvature: vec![1.0, 1e6], quartic: 0.0, preconditioned: true };
        let found = minimize(&bowl, vec![5.0, 5.0], Stop { gain: 0.0, steps: 1 });
        assert!(found.iter().all(|x| (x - 1.0).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn not_a_number_ends_the_search() {
        let bowl = Bowl { curvature: vec![f64::NAN], quartic: 0.0, preconditioned: false };
        assert_eq!(minimize(&bowl, vec![5.0], Stop { gain: 0.0, steps: 9 }), [5.0]);
    }
}
