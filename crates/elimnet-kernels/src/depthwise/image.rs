//! What a tile sees of an image.

use super::tile::{ROWS, padded};
use crate::element::Element;
use crate::scratch::Scratch;
use crate::simd::places::Places;

/// Source columns of the widest tile: seven outputs of 5x5 windows with stride 2.
pub(crate) const MAX_COLUMNS: usize = (7 - 1) * 2 + 5;
/// Source rows of the highest.
const MAX_ROWS: usize = (ROWS - 1) * 2 + 5;

/// The source values of a tile, rows by columns.
pub(crate) type Seen<'a, E> = Places<'a, E, MAX_ROWS, MAX_COLUMNS>;

/// An image whose pixels can be loaded in whole registers, and zeros beyond its edges.
pub(crate) struct Image<'a, E: Element> {
    values: &'a [E],
    /// Zeros, for places beyond the edges; then the image's last values with zeros behind them, for places that reach over its end.
    beside: Scratch<E>,
    /// Height and width.
    size: [usize; 2],
    channels: usize,
    /// Values of a place: the channels, in whole registers.
    width: usize,
}

impl<'a, E: Element> Image<'a, E> {
    pub(crate) fn new(values: &'a [E], size: [usize; 2], channels: usize) -> Self {
        let width = padded(channels);
        let mut beside = Scratch::filled(3 * width, E::ZERO);
        let end = &values[values.len().saturating_sub(width)..];
        beside[width..][..end.len()].copy_from_slice(end);
        Self { values, beside, size, channels, width }
    }

    /// Places that are all zeros.
    pub(crate) fn nowhere(&self) -> Seen<'_, E> {
        Seen::new(&self.beside, self.width)
    }

    /// Moves `places` to the `rows` x `columns` pixels from row `y` and column `x` on.
    #[inline(always)]
    pub(crate) fn see<'i>(
        &'i self,
        [y, x]: [isize; 2],
        [rows, columns]: [usize; 2],
        places: &mut Seen<'i, E>,
    ) {
        let [height, width] = self.size;
        if let Some(first) = self.inside([y, x], [rows, columns]) {
            for row in 0..rows {
                let values = &self.values[first + row * width * self.channels..];
                places.set_row(row, columns, values, self.channels);
            }
            return;
        }
        for row in 0..rows {
            let y = y.checked_add_unsigned(row).and_then(|y| usize::try_from(y).ok());
            for column in 0..columns {
                let x = x.checked_add_unsigned(column).and_then(|x| usize::try_from(x).ok());
                let place = match (y, x) {
                    (Some(y), Some(x)) if y < height && x < width => self.place(y, x),
                    _ => &self.beside,
                };
                places.set([row, column], place);
            }
        }
    }

    /// The first value of so many pixels, where all of them and their whole registers are inside the image.
    #[inline(always)]
    fn inside(&self, [y, x]: [isize; 2], [rows, columns]: [usize; 2]) -> Option<usize> {
        let [y, x] = [usize::try_from(y).ok()?, usize::try_from(x).ok()?];
        let [height, width] = self.size;
        let first = (y * width + x) * self.channels;
        let last = first + ((rows - 1) * width + columns - 1) * self.channels;
        let is_inside = y + rows <= height && x + columns <= width && last + self.width <= self.values.len();
        is_inside.then_some(first)
    }

    /// A pixel of the image.
    #[inline(always)]
    fn place(&self, y: usize, x: usize) -> &[E] {
        let first = (y * self.size[1] + x) * self.channels;
        self.values.get(first..first + self.width).unwrap_or_else(|| {
            let end = self.values.len().saturating_sub(self.width);
            &self.beside[self.width + first - end..]
        })
    }
}
