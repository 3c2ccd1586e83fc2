//! Accuracy, precision, recall, F1 and the confusion matrix, with scikit-learn's meaning.

use serde::{Deserialize, Serialize};

/// How often each class was taken for each other: rows are the truth, columns the prediction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion {
    rows: Vec<Vec<u64>>,
}

/// How well one class is told from the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Share of the predictions of this class that are right; 0 where it is never predicted.
    pub precision: f64,
    /// Share of the images of this class that are found; 0 where there is none.
    pub recall: f64,
    /// Harmonic mean of the two; 0 where both are.
    pub f1: f64,
    /// Images of this class.
    pub support: u64,
}

impl Confusion {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { rows: vec![vec![0; classes]; classes] }
    }

    /// Counts one sample.
    ///
    /// # Panics
    /// If a class is outside of the matrix.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        self.rows[truth][predicted] += 1;
    }

    /// The counts, row by row: `rows()[truth][predicted]`.
    #[must_use]
    pub fn rows(&self) -> &[Vec<u64>] {
        &self.rows
    }

    /// Samples counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.rows.iter().flatten().sum()
    }

    /// Share of the samples that are on the diagonal; 0 where there are none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        ratio((0..self.rows.len()).map(|class| self.rows[class][class]).sum(), self.total())
    }

    /// Precision, recall and F1 of each class, as `precision_recall_fscore_support(.., zero_division=0)`.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassMetrics> {
        (0..self.rows.len()).map(|class| self.of_class(class)).collect()
    }

    /// Mean of the F1 of all classes, each counting the same whatever its support.
    ///
    /// A class that has no image and is never predicted counts as 0, as in
    /// `f1_score(.., labels=range(classes), average="macro", zero_division=0)`.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let sum: f64 = self.per_class().iter().map(|class| class.f1).sum();
        sum / self.rows.len().max(1) as f64
    }

    fn of_class(&self, class: usize) -> ClassMetrics {
        let right = self.rows[class][class];
        let support = self.rows[class].iter().sum();
        let predicted: u64 = self.rows.iter().map(|row| row[class]).sum();
        ClassMetrics {
            precision: ratio(right, predicted),
            recall: ratio(right, support),
            f1: ratio(2 * right, support + predicted),
            support,
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(truth: &[usize], predicted: &[usize], classes: usize) -> Confusion {
        let mut confusion = Confusion::new(classes);
        truth.iter().zip(predicted).for_each(|(&truth, &predicted)| confusion.add(truth, predicted));
        confusion
    }

    struct Case {
        name: &'static str,
        truth: &'static [usize],
        predicted: &'static [usize],
        classes: usize,
        accuracy: f64,
        macro_f1: f64,
        /// Precision, recall, F1, support.
        per_class: &'static [(f64, f64, f64, u64)],
        confusion: &'static [&'static [u64]],
    }

    /// Printed by scikit-learn 1.9 with `labels=range(classes)` and `zero_division=0`.
    const FROM_SKLEARN: &[Case] = &[
        Case {
            name: "mixed",
            truth: &[3, 2, 2, 3, 2, 3, 3, 0, 0, 1, 1, 3, 3, 0, 1, 3, 0, 3, 0, 1, 3, 1, 1, 1, 2],
            predicted: &[3, 2, 2, 2, 0, 2, 1, 0, 0, 0, 1, 3, 3, 0, 2, 0, 0, 3, 0, 1, 3, 2, 1, 1, 2],
            classes: 4,
            accuracy: 0.68,
            macro_f1: 0.6739094239094239,
            per_class: &[
                (0.625, 1.0, 0.7692307692307693, 5),
                (0.8, 0.5714285714285714, 0.6666666666666666, 7),
                (0.42857142857142855, 0.75, 0.5454545454545454, 4),
                (1.0, 0.5555555555555556, 0.7142857142857143, 9),
            ],
            confusion: &[&[5, 0, 0, 0], &[1, 4, 2, 0], &[1, 0, 3, 0], &[1, 1, 2, 5]],
        },
        Case {
            name: "a class without images that is predicted",
            truth: &[0, 0, 2, 2, 2],
            predicted: &[0, 1, 2, 2, 0],
            classes: 3,
            accuracy: 0.6,
            macro_f1: 0.43333333333333335,
            per_class: &[(0.5, 0.5, 0.5, 2), (0.0, 0.0, 0.0, 0), (1.0, 0.6666666666666666, 0.8, 3)],
            confusion: &[&[1, 1, 0], &[0, 0, 0], &[1, 0, 2]],
        },
        Case {
            name: "a class that is never predicted",
            truth: &[0, 0, 1, 1, 2],
            predicted: &[0, 0, 1, 1, 1],
            classes: 3,
            accuracy: 0.8,
            macro_f1: 0.6,
            per_class: &[(1.0, 1.0, 1.0, 2), (0.6666666666666666, 1.0, 0.8, 2), (0.0, 0.0, 0.0, 1)],
            confusion: &[&[2, 0, 0], &[0, 2, 0], &[0, 1, 0]],
        },
        Case {
            name: "a class that is nowhere",
            truth: &[0, 1, 0, 1],
            predicted: &[0, 1, 1, 1],
            classes: 4,
            accuracy: 0.75,
            macro_f1: 0.3666666666666667,
            per_class: &[
                (1.0, 0.5, 0.6666666666666666, 2),
                (0.6666666666666666, 1.0, 0.8, 2),
                (0.0, 0.0, 0.0, 0),
                (0.0, 0.0, 0.0, 0),
            ],
            confusion: &[&[1, 1, 0, 0], &[0, 2, 0, 0], &[0, 0, 0, 0], &[0, 0, 0, 0]],
        },
        Case {
            name: "all right",
            truth: &[0, 1, 2],
            predicted: &[0, 1, 2],
            classes: 3,
            accuracy: 1.0,
            macro_f1: 1.0,
            per_class: &[(1.0, 1.0, 1.0, 1), (1.0, 1.0, 1.0, 1), (1.0, 1.0, 1.0, 1)],
            confusion: &[&[1, 0, 0], &[0, 1, 0], &[0, 0, 1]],
        },
        Case {
            name: "all wrong",
            truth: &[0, 1],
            predicted: &[1, 0],
            classes: 2,
            accuracy: 0.0,
            macro_f1: 0.0,
            per_class: &[(0.0, 0.0, 0.0, 1), (0.0, 0.0, 0.0, 1)],
            confusion: &[&[0, 1], &[1, 0]],
        },
    ];

    #[test]
    fn metrics_are_those_of_sklearn() {
        for case in FROM_SKLEARN {
            let found = confusion(case.truth, case.predicted, case.classes);
            assert_eq!(found.rows(), case.confusion, "{}", case.name);
            assert!((found.accuracy() - case.accuracy).abs() < 1e-15, "{}", case.name);
            assert!((found.macro_f1() - case.macro_f1).abs() < 1e-15, "{}: {}", case.name, found.macro_f1());
            for (found, &(precision, recall, f1, support)) in found.per_class().iter().zip(case.per_class) {
                let differences = [found.precision - precision, found.recall - recall, found.f1 - f1];
                assert!(differences.iter().all(|d| d.abs() < 1e-15), "{}: {found:?}", case.name);
                assert_eq!(found.support, support, "{}", case.name);
            }
        }
    }

    #[test]
    fn nothing_counted_is_zero_and_not_nan() {
        let empty = Confusion::new(3);
        assert_eq!((empty.accuracy(), empty.macro_f1(), empty.total()), (0.0, 0.0, 0));
        assert_eq!(Confusion::new(0).macro_f1(), 0.0);
    }

    #[test]
    fn the_file_has_the_plain_rows() {
        let confusion = confusion(&[0, 1, 1], &[0, 0, 1], 2);
        assert_eq!(serde_json::to_string(&confusion).unwrap(), "[[1,0],[1,1]]");
    }
}
