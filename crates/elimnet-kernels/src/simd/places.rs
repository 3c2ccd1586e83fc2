//! Loads at places in any order, for all instruction sets.
#![allow(unsafe_code)] // bounds that are checked once for all registers of a place

use std::marker::PhantomData;

use super::Simd;
use crate::element::Element;

/// `ROWS` x `COLUMNS` places to load from, each of so many values.
pub(crate) struct Places<'a, E, const ROWS: usize, const COLUMNS: usize> {
    starts: [[*const E; COLUMNS]; ROWS],
    width: usize,
    values: PhantomData<&'a [E]>,
}

impl<'a, E: Element, const ROWS: usize, const COLUMNS: usize> Places<'a, E, ROWS, COLUMNS> {
    /// All of them the first `width` of `values`.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline(always)]
    pub(crate) fn new(values: &'a [E], width: usize) -> Self {
        assert!(width <= values.len());
        Self { starts: [[values.as_ptr(); COLUMNS]; ROWS], width, values: PhantomData }
    }

    /// Moves a place to the first of `values`.
    ///
    /// # Panics
    /// If there are fewer than a place has, or there is no such place.
    #[inline(always)]
    pub(crate) fn set(&mut self, [row, column]: [usize; 2], values: &'a [E]) {
        assert!(self.width <= values.len());
        self.starts[row][column] = values.as_ptr();
    }

    /// Moves the first `columns` places of a row to `values`, `distance` values from one to the next.
    ///
    /// # Panics
    /// If the last of them reaches over the end of `values`, or there are no such places.
    #[inline(always)]
    pub(crate) fn set_row(&mut self, row: usize, columns: usize, values: &'a [E], distance: usize) {
        let last = columns.saturating_sub(1).saturating_mul(distance);
        assert!(last.saturating_add(self.width) <= values.len());
        for (column, start) in self.starts[row][..columns].iter_mut().enumerate() {
            // Not beyond the last place, which is inside `values`.
            *start = values.as_ptr().wrapping_add(column * distance);
        }
    }

    /// The register of a place that begins with its value `first`.
    ///
    /// # Panics
    /// If there is no such place, or the register reaches over its end. With constant rows and columns one comparison is
    /// left, the same for all places.
    #[inline(always)]
    pub(crate) fn load<S: Simd>(&self, simd: S, [row, column]: [usize; 2], first: usize) -> S::Vector {
        assert!(first.saturating_add(S::LANES) <= self.width);
        let place = self.starts[row][column];
        // SAFETY: a place has `width` values of a slice that is borrowed for as long as this is, and the register is inside.
        E::load(simd, unsafe { std::slice::from_raw_parts(place.add(first), S::LANES) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::portable::Portable;

    const VALUES: [f32; 16] = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];

    #[test]
    fn a_place_is_where_it_was_moved_to() {
        let mut places = Places::<f32, 2, 3>::new(&VALUES, 5);
        places.set([0, 2], &VALUES[9..]);
        places.set_row(1, 2, &VALUES[3..], 4);
        let first = |place: [usize; 2], first: usize| {
            let mut lanes = [0.0; Portable::LANES];
            Portable.store(places.load(Portable, place, first), &mut lanes);
            lanes[0]
        };
        assert_eq!([first([0, 0], 0), first([0, 2], 0), first([0, 2], 1)], [0.0, 9.0, 10.0]);
        assert_eq!([first([1, 0], 0), first([1, 1], 1), first([1, 2], 0)], [3.0, 8.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "self.width <= values.len()")]
    fn a_place_is_inside_its_values() {
        Places::<f32, 1, 1>::new(&VALUES, 5).set([0, 0], &VALUES[12..]);
    }

    #[test]
    #[should_panic(expected = "last.saturating_add(self.width) <= values.len()")]
    fn so_are_the_places_of_a_row() {
        Places::<f32, 1, 4>::new(&VALUES, 5).set_row(0, 4, &VALUES, 4);
    }

    #[test]
    #[should_panic(expected = "first.saturating_add(S::LANES) <= self.width")]
    fn a_register_is_inside_its_place() {
        Places::<f32, 1, 1>::new(&VALUES, 5).load(Portable, [0, 0], 2);
    }
}
