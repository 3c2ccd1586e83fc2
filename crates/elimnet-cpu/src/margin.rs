//! Which images bf16 leaves undecided: those whose two largest logits are so close that rounding may have swapped them.

use elimnet_engine::Matrix;

/// Share of the logits' spread that is a close margin.
///
/// # Source
/// 9,051 answers of 21 networks that were fine-tuned on TrashNet: 36 differ from f32's by bf16 alone. With this share 2.7 % of the images are asked
/// again and 4 answers differ (BENCHMARKS.md, "Does bf16 change answers?"; `benchmarks/LOG.md` has other shares).
const CLOSE: f32 = 0.01;

/// The least spread that is reckoned with: that of two classes is their margin. Of the logits above, half spread over 3.2 and more, a tenth over
/// less than 1.8.
const LEAST_SPREAD: f32 = 2.0;

/// Rows in which the two largest values are close, but not all are equal.
pub(crate) fn undecided(logits: &Matrix) -> Vec<usize> {
    let rows = logits.iter_rows().enumerate();
    rows.filter(|(_, row)| is_close(row)).map(|(index, _)| index).collect()
}

fn is_close(logits: &[f32]) -> bool {
    let (mut first, mut second, mut least) = (f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY);
    for &logit in logits {
        second = second.max(logit.min(first));
        first = first.max(logit);
        least = least.min(logit);
    }
    let spread = first - least;
    spread > 0.0 && first - second < CLOSE * spread.max(LEAST_SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_is_relative_to_the_spread() {
        let nan = f32::NAN;
        let rows = [
            ([4.0, 3.98, 0.0], true),
            ([3.95, 4.0, 0.0], false),
            ([3.95, 4.0, -2.0], true),
            ([-300.0, 100.0, 99.0], true),
            ([0.0, 0.1, 0.09], true),
            ([0.0, 0.1, 0.07], false),
            ([2.0, 2.0, 1.0], true),
            // Nothing tells these apart in f32 either.
            ([2.0, 2.0, 2.0], false),
            ([nan, nan, nan], false),
        ];
        for (row, expected) in rows {
            assert_eq!(is_close(&row), expected, "{row:?}");
        }
        assert!(!is_close(&[1.0]) && !is_close(&[]));
        assert!(is_close(&[-5.0, -4.99]) && !is_close(&[-5.0, -4.97]), "two classes");
        let values = rows[..3].iter().flat_map(|(row, _)| *row).collect();
        assert_eq!(undecided(&Matrix::new(3, 3, values)), [0, 2]);
    }
}
