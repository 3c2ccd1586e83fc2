//! Classifiers without training: nearest neighbours and nearest class mean.

use elimnet_engine::Matrix;
use ndarray::{Array2, ArrayView2, Axis};

use super::moments::Moments;
use crate::random::{Purpose, Random};

/// Neighbours that vote. Fixed: between 5 and 20 the accuracy hardly moves, and a choice would need labels of its own.
pub(crate) const NEIGHBOURS: usize = 10;

/// Training images that are compared with, at most; more are drawn from by seed.
const REFERENCES: usize = 10_000;

/// Rows whose similarities are held at once.
const ROWS: usize = 256;

/// Labels of the ten nearest training images vote, by cosine of the standardised features; of equal votes the first class
/// wins, as in scikit-learn's `KNeighborsClassifier(10, metric="cosine")`.
pub(crate) fn nearest_neighbours(
    train: &Array2<f32>,
    labels: &[usize],
    classes: usize,
    queries: &Array2<f32>,
    seed: u64,
) -> Vec<usize> {
    let chosen = references(labels.len(), seed);
    let (references, labels): (Array2<f32>, Vec<usize>) =
        (unit_rows(train.select(Axis(0), &chosen)), chosen.iter().map(|&index| labels[index]).collect());
    let mut predictions = Vec::with_capacity(queries.nrows());
    for rows in queries.axis_chunks_iter(Axis(0), ROWS) {
        // The length of a query does not change the order of its neighbours.
        let similarities = rows.dot(&references.t());
        predictions.extend(similarities.rows().into_iter().map(|row| vote(&row.to_vec(), &labels, classes)));
    }
    predictions
}

fn references(count: usize, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    if count > REFERENCES {
        Random::new(seed, Purpose::Folds, [u64::MAX, 0]).shuffle(&mut all);
        all.truncate(REFERENCES);
        all.sort_unstable();
    }
    all
}

fn unit_rows(mut matrix: Array2<f32>) -> Array2<f32> {
    for mut row in matrix.rows_mut() {
        let norm = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt() as f32;
        if norm > 0.0 {
            row /= norm;
        }
    }
    matrix
}

fn vote(similarities: &[f32], labels: &[usize], classes: usize) -> usize {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let nearer = |a: &usize, b: &usize| similarities[*b].total_cmp(&similarities[*a]).then(a.cmp(b));
    if order.len() > NEIGHBOURS {
        order.select_nth_unstable_by(NEIGHBOURS, nearer);
        order.truncate(NEIGHBOURS);
    }
    let mut votes = vec![0_usize; classes];
    order.iter().for_each(|&index| votes[labels[index]] += 1);
    // `max_by_key` gives the last of equal ones.
    (0..classes).rev().max_by_key(|&class| votes[class]).unwrap_or(0)
}

/// The class whose mean is nearest, by Euclidean distance of the standardised features.
pub(crate) fn nearest_class_mean(
    train: &Array2<f32>,
    labels: &[usize],
    classes: usize,
    queries: &Array2<f32>,
) -> Vec<usize> {
    let means = class_means(&train.view(), labels, classes);
    let nearest = |row: ndarray::ArrayView1<'_, f32>| {
        let distance = |class: usize| -> Option<f64> {
            let mean = means[class].as_ref()?;
            Some(row.iter().zip(mean).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum())
        };
        let distances = (0..classes).filter_map(|class| Some((class, distance(class)?)));
        distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(class, _)| class)
    };
    queries.rows().into_iter().map(nearest).collect()
}

/// The mean of each class; none of a class without images.
fn class_means(train: &ArrayView2<'_, f32>, labels: &[usize], classes: usize) -> Vec<Option<Vec<f64>>> {
    let mut sums = vec![(0_usize, vec![0.0; train.ncols()]); classes];
    for (row, &label) in train.rows().into_iter().zip(labels) {
        let (count, sum) = &mut sums[label];
        *count += 1;
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let mean =
        |(count, sum): (usize, Vec<f64>)| (count > 0).then(|| sum.iter().map(|s| s / count as f64).collect());
    sums.into_iter().map(mean).collect()
}

/// Both classifiers' predictions for `queries`, standardised by the training features' moments: neighbours, means.
pub(crate) fn without_training(
    train: &Matrix,
    labels: &[usize],
    classes: usize,
    queries: &Matrix,
    moments: &Moments,
    seed: u64,
) -> [Vec<usize>; 2] {
    let standardiser = moments.standardiser();
    let (train, queries) = (standardiser.apply(train), standardiser.apply(queries));
    [
        nearest_neighbours(&train, labels, classes, &queries, seed),
        nearest_class_mean(&train, labels, classes, &queries),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_nearest_win_and_ties_go_to_the_first_class() {
        let labels = [2, 1, 1, 0, 2];
        assert_eq!(vote(&[0.9, 0.8, 0.7, 0.1, 0.2], &labels, 3), 1, "two votes each, one for class 0");
        let many: Vec<usize> = (0..30).map(|index| usize::from(index < 20)).collect();
        let similarities: Vec<f32> = (0..30).map(|index| index as f32).collect();
        assert_eq!(vote(&similarities, &many, 2), 0, "the ten nearest are the last ten");
    }

    #[test]
    fn neighbours_are_found_by_angle_not_by_length() {
        let train = array![[100.0, 1.0], [0.1, 0.0], [0.0, 0.1], [1.0, 50.0]];
        let found = nearest_neighbours(&train.select(Axis(0), &[0]), &[1], 2, &array![[0.01_f32, 0.0]], 0);
        assert_eq!(found, [1]);
        assert_eq!(
            nearest_class_mean(&train, &[0, 0, 1, 1], 2, &array![[0.0_f32, 90.0], [90.0, 0.0]]),
            [1, 0]
        );
    }

    #[test]
    fn a_class_without_images_is_never_the_nearest() {
        let train = array![[0.0_f32], [10.0]];
        assert_eq!(nearest_class_mean(&train, &[1, 2], 4, &array![[1.0_f32], [8.0]]), [1, 2]);
    }

    #[test]
    fn references_are_all_or_a_fixed_draw() {
        assert_eq!(references(5, 0), [0, 1, 2, 3, 4]);
        let drawn = references(REFERENCES + 7, 1);
        assert_eq!((drawn.len(), &drawn), (REFERENCES, &references(REFERENCES + 7, 1)));
        assert!(drawn.is_sorted());
    }
}
