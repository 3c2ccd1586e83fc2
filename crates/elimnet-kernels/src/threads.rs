//! How work is cut and run by several threads.
//!
//! Every cut is a function of the problem's shape alone, never of the number of threads, and sums that
//! tasks make apart are added in the order of the tasks: the results are bit-identical on any pool.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::scratch::Room;
use crate::team;

/// Pieces that a large job is cut into; enough for 16 threads to stay busy to the end.
pub(crate) const MANY: usize = 32;

/// Values that an elementwise task takes: 64 KiB of each array.
pub(crate) const ELEMENTS: usize = 16 * 1024;

/// `0..count` in even pieces of at most `longest`.
pub(crate) fn pieces(count: usize, longest: usize) -> impl Iterator<Item = Range<usize>> {
    let pieces = count.div_ceil(longest).max(1);
    let length = count.div_ceil(pieces).max(1);
    (0..count).step_by(length).map(move |start| start..(start + length).min(count))
}

/// Length of the even pieces of [`pieces`].
pub(crate) fn piece_length(count: usize, longest: usize) -> usize {
    count.div_ceil(count.div_ceil(longest).max(1)).max(1)
}

/// Runs `run` on each item and its number: on the threads of the team that the calling thread leads, or of rayon's current pool.
///
/// Not generic over `run`: the plumbing of the tasks is compiled once for each type of item, not for each kernel.
pub(crate) fn for_each<T: Send>(items: impl Iterator<Item = T>, run: &(dyn Fn(usize, T) + Sync)) {
    let room = Room::new();
    run_each(&room.list(items.map(|item| Mutex::new(Some(item)))), run);
}

/// Takes each item once.
fn run_each<T: Send>(items: &[Mutex<Option<T>>], run: &(dyn Fn(usize, T) + Sync)) {
    let task = |index: usize| {
        let item = items[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        item.into_iter().for_each(|item| run(index, item));
    };
    match team::current() {
        _ if items.len() < 2 => (0..items.len()).for_each(task),
        Some(team) => team.run(items.len(), &task),
        None => (0..items.len()).into_par_iter().for_each(task),
    }
}

/// Puts matrices that tasks made of some columns each side by side: the rows from `first` on, as many as `output` has of `row` values.
/// Each part is `columns` wide, the last one as wide as the rest; `copy` takes a row of it to its place.
pub(crate) fn join_columns<'a, P: 'a, O>(
    parts: impl Iterator<Item = &'a [P]> + Clone,
    columns: usize,
    first: usize,
    output: &mut [O],
    row: usize,
    copy: impl Fn(&[P], &mut [O]),
) {
    for (index, output) in output.chunks_exact_mut(row).enumerate() {
        for (part, output) in parts.clone().zip(output.chunks_mut(columns)) {
            let width = output.len();
            copy(&part[(first + index) * width..][..width], output);
        }
    }
}

/// Adds `parts`, one after the other, to `sum`.
pub(crate) fn add_parts(sum: &mut [f32], parts: &[f32]) {
    let length = sum.len();
    if length == 0 {
        return;
    }
    for_each(sum.chunks_mut(ELEMENTS), &|chunk, sum| {
        for part in parts.chunks_exact(length) {
            for (sum, value) in sum.iter_mut().zip(&part[chunk * ELEMENTS..]) {
                *sum += value;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_range_once_and_are_even() {
        for (count, longest) in [(0, 4), (1, 4), (4, 4), (5, 4), (97, 10), (100, 1)] {
            let pieces: Vec<_> = pieces(count, longest).collect();
            let covered: Vec<_> = pieces.iter().cloned().flatten().collect();
            assert_eq!(covered, (0..count).collect::<Vec<_>>());
            assert!(pieces.iter().all(|piece| piece.len() <= longest));
            assert!(pieces.iter().all(|piece| piece.len() <= piece_length(count, longest)));
        }
    }

    #[test]
    fn columns_are_joined_from_any_row_on() {
        // Rows of 5 columns, of which the parts have 2, 2 and 1.
        let parts = [&[0, 1, 10, 11, 20, 21][..], &[2, 3, 12, 13, 22, 23], &[4, 14, 24]];
        let mut joined = [0; 10];
        join_columns(parts.into_iter(), 2, 1, &mut joined, 5, |part, output| output.copy_from_slice(part));
        assert_eq!(joined, [10, 11, 12, 13, 14, 20, 21, 22, 23, 24]);
    }

    #[test]
    fn parts_are_added_to_the_sum() {
        let mut sum = vec![1.0, 2.0];
        add_parts(&mut sum, &[10.0, 20.0, 100.0, 200.0]);
        assert_eq!(sum, [111.0, 222.0]);
    }
}
