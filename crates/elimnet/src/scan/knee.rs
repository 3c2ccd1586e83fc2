//! The knee of the curve of scores over costs.

/// Index of the point of which the score, among the best so far, is farthest above the straight line from the first point to
/// the last, both axes scaled to 0..1: behind it more cost brings less. None where there are no points.
///
/// Costs ascend; scores may go up and down, and only what beats all cheaper points counts.
///
/// # Source
/// Satopää et al., *Finding a "Kneedle" in a Haystack*, ICDCS workshops 2011, without their smoothing: every cut is a
/// measurement that is wanted as it is.
#[must_use]
pub fn knee(costs: &[f64], scores: &[f64]) -> Option<usize> {
    let best_so_far: Vec<f64> = scores
        .iter()
        .scan(f64::NEG_INFINITY, |best, &score| {
            *best = best.max(score);
            Some(*best)
        })
        .collect();
    let (first, last) = (*costs.first()?, *costs.last()?);
    let (lowest, highest) = (*best_so_far.first()?, *best_so_far.last()?);
    let scaled = |value: f64, from: f64, to: f64| if to > from { (value - from) / (to - from) } else { 0.0 };
    let above =
        |index: usize| scaled(best_so_far[index], lowest, highest) - scaled(costs[index], first, last);
    // Of equally good points the first, which `max_by` would not give.
    (0..costs.len()).rev().max_by(|&a, &b| above(a).total_cmp(&above(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_is_where_the_curve_bends() {
        struct Case {
            costs: &'static [f64],
            scores: &'static [f64],
            knee: Option<usize>,
        }
        for Case { costs, scores, knee: expected } in [
            Case { costs: &[1.0, 2.0, 3.0, 10.0, 20.0], scores: &[0.3, 0.6, 0.8, 0.82, 0.83], knee: Some(2) },
            // A dip on the way, and a top that the last points do not reach.
            Case { costs: &[0.0, 1.0, 2.0, 3.0], scores: &[0.2, 0.9, 0.5, 0.8], knee: Some(1) },
            // A straight line has no bend, a flat one neither: the cheapest point.
            Case { costs: &[0.0, 1.0, 2.0], scores: &[0.0, 0.5, 1.0], knee: Some(0) },
            Case { costs: &[1.0, 2.0], scores: &[0.5, 0.5], knee: Some(0) },
            Case { costs: &[1.0], scores: &[0.5], knee: Some(0) },
            Case { costs: &[], scores: &[], knee: None },
        ] {
            assert_eq!(knee(costs, scores), expected, "{scores:?}");
        }
    }
}
