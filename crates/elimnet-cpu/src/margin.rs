//! Which images bf16 leaves undecided: those whose two largest logits are so close that rounding may have swapped them.

use elimnet_engine::Matrix;

/// Share of the logits' spread that is a close margin.
///
/// # Source
/// 9,051 answers of 21 networks that were fine-tuned on TrashNet: 36 differ from f32's by bf16 alone. With this share 2.5 % of the images are asked
/// again and 6 answers differ, with half of it 1.2 % and 14, with twice as much 4.6 % and 2 (BENCHMARKS.md, "Does bf16 change answers?").
const CLOSE: f32 = 0.01;

/// Rows in which the difference of the two largest values is less than [`CLOSE`] of that of the largest and the least.
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
    first - second < CLOSE * (first - least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_is_relative_to_the_spread() {
        let nan = f32::NAN;
        let rows = [
            ([1.0, 0.995, 0.0], true),
            ([0.985, 1.0, 0.0], false),
            ([0.985, 1.0, -1.0], true),
            ([-300.0, 100.0, 99.0], true),
            ([0.0, 0.01, 0.005], false),
            ([2.0, 2.0, 1.0], true),
            // Nothing tells these apart in f32 either.
            ([2.0, 2.0, 2.0], false),
            ([nan, nan, nan], false),
        ];
        for (row, expected) in rows {
            assert_eq!(is_close(&row), expected, "{row:?}");
        }
        assert!(!is_close(&[1.0]) && !is_close(&[]));
        let values = rows[..3].iter().flat_map(|(row, _)| *row).collect();
        assert_eq!(undecided(&Matrix::new(3, 3, values)), [0, 2]);
    }
}
