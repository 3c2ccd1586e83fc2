//! Loads and stores at equal distances, for all instruction sets.
#![allow(unsafe_code)] // bounds that are checked once for all places

use super::Simd;
use crate::element::Element;

/// Rows and columns of places, each of so many values.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Values from a row to the next.
    pub(crate) row: usize,
    /// Values from a column to the next.
    pub(crate) column: usize,
    /// Values of a place.
    pub(crate) width: usize,
}

impl Shape {
    /// Where the last place ends; at the end of memory where that is farther.
    #[inline(always)]
    fn end(&self) -> usize {
        let (Some(rows), Some(columns)) = (self.rows.checked_sub(1), self.columns.checked_sub(1)) else {
            return 0;
        };
        let last = rows.saturating_mul(self.row).saturating_add(columns.saturating_mul(self.column));
        last.saturating_add(self.width)
    }

    /// The register of a place that begins with its value `first`.
    ///
    /// # Panics
    /// If there is no such place, or the register reaches over its end. With constant rows and columns one comparison is
    /// left, the same for all places.
    #[inline(always)]
    fn at<S: Simd>(&self, [row, column]: [usize; 2], first: usize) -> usize {
        assert!(row < self.rows && column < self.columns);
        assert!(first.saturating_add(S::LANES) <= self.width);
        row * self.row + column * self.column + first
    }
}

/// Values to load.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a, E> {
    values: &'a [E],
    shape: Shape,
}

impl<'a, E: Element> Grid<'a, E> {
    /// # Panics
    /// If the last place reaches over the end of `values`.
    #[inline(always)]
    pub(crate) fn new(values: &'a [E], shape: Shape) -> Self {
        assert!(shape.end() <= values.len());
        Self { values, shape }
    }

    /// # Panics
    /// As [`Shape::at`].
    #[inline(always)]
    pub(crate) fn load<S: Simd>(&self, simd: S, place: [usize; 2], first: usize) -> S::Vector {
        let at = self.shape.at::<S>(place, first);
        // SAFETY: the register is inside a place, and the last place is inside the values.
        E::load(simd, unsafe { self.values.get_unchecked(at..at + S::LANES) })
    }
}

/// Values to load and store.
pub(crate) struct GridMut<'a, E> {
    values: &'a mut [E],
    shape: Shape,
}

impl<'a, E: Element> GridMut<'a, E> {
    /// # Panics
    /// As [`Grid::new`].
    #[inline(always)]
    pub(crate) fn new(values: &'a mut [E], shape: Shape) -> Self {
        assert!(shape.end() <= values.len());
        Self { values, shape }
    }

    /// # Panics
    /// As [`Shape::at`].
    #[inline(always)]
    pub(crate) fn load<S: Simd>(&self, simd: S, place: [usize; 2], first: usize) -> S::Vector {
        Grid { values: self.values, shape: self.shape }.load(simd, place, first)
    }

    /// # Panics
    /// As [`Shape::at`].
    #[inline(always)]
    pub(crate) fn store<S: Simd>(&mut self, simd: S, vector: S::Vector, place: [usize; 2], first: usize) {
        let at = self.shape.at::<S>(place, first);
        // SAFETY: as in `Grid::load`.
        E::store(simd, vector, unsafe { self.values.get_unchecked_mut(at..at + S::LANES) });
    }
}
