//! Decoded images: eight-bit RGB, rows from the top, channels last.

use std::fmt;

/// An image in memory: eight bits a channel, RGB.
///
/// # Shapes
/// `rgb` is `[height, width, 3]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// All pixels.
    pub rgb: Vec<u8>,
}

/// A rectangle of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Part {
    pub(crate) fn whole(image: &Image) -> Self {
        Self { left: 0, top: 0, width: image.width, height: image.height }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Image({}x{})", self.width, self.height)
    }
}

impl Image {
    /// Wraps pixels.
    ///
    /// # Panics
    /// If a side is zero or `rgb` does not hold `width * height * 3` bytes.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Self {
        assert!(width > 0 && height > 0, "an image of {width}x{height} has no pixels");
        assert_eq!(rgb.len(), width * height * 3, "bytes for a {width}x{height} RGB image");
        Self { width, height, rgb }
    }

    /// An image of one colour.
    ///
    /// # Panics
    /// If a side is zero.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self::new(width, height, colour.repeat(width * height))
    }

    /// An RGB image of equal channels from gray pixels.
    ///
    /// # Panics
    /// If a side is zero or `gray` does not hold `width * height` bytes.
    pub fn from_gray(width: usize, height: usize, gray: &[u8]) -> Self {
        Self::new(width, height, gray.iter().flat_map(|&value| [value; 3]).collect())
    }

    /// Bytes of the pixels.
    pub fn bytes(&self) -> usize {
        self.rgb.len()
    }

    /// The pixel of a column and a row, counted from the top left.
    ///
    /// # Panics
    /// If it lies outside.
    pub fn pixel(&self, column: usize, row: usize) -> [u8; 3] {
        assert!(column < self.width && row < self.height, "pixel ({column}, {row}) of {self:?}");
        let start = (row * self.width + column) * 3;
        [self.rgb[start], self.rgb[start + 1], self.rgb[start + 2]]
    }

    /// The rows, from the top.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.rgb.chunks_exact(self.width * 3)
    }

    /// Black bars around the shorter side, so that width and height are equal; the odd row or column is at the end.
    ///
    /// The seed's `SquarePad` pads both ends by `(longest − side) // 2`, which leaves an odd difference one pixel short
    /// of square; the resize that follows hides it. Here the result is always square.
    #[must_use]
    pub fn padded_to_square(&self) -> Image {
        let side = self.width.max(self.height);
        let (left, top) = ((side - self.width) / 2, (side - self.height) / 2);
        let mut padded = Image::new(side, side, vec![0; side * side * 3]);
        let rows = padded.rgb.chunks_exact_mut(side * 3).skip(top);
        for (target, source) in rows.zip(self.rows()) {
            target[left * 3..(left + self.width) * 3].copy_from_slice(source);
        }
        padded
    }

    /// The part of `width` x `height` whose top left corner is (`left`, `top`).
    ///
    /// # Panics
    /// If the part is empty or reaches outside.
    #[must_use]
    pub fn cropped(&self, left: usize, top: usize, width: usize, height: usize) -> Image {
        assert!(left + width <= self.width && top + height <= self.height, "crop of {self:?}");
        let rows = self.rows().skip(top).take(height);
        Image::new(width, height, rows.flat_map(|row| &row[left * 3..(left + width) * 3]).copied().collect())
    }

    /// Swaps left and right in place.
    pub fn flip_horizontally(&mut self) {
        for row in self.rgb.chunks_exact_mut(self.width * 3) {
            row.as_chunks_mut::<3>().0.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: usize, height: usize) -> Image {
        let gray: Vec<u8> = (1..=width * height).map(|value| value as u8).collect();
        Image::from_gray(width, height, &gray)
    }

    fn red(image: &Image) -> Vec<u8> {
        image.rgb.iter().step_by(3).copied().collect()
    }

    #[test]
    fn padding_centres_and_puts_the_odd_row_last() {
        assert_eq!(red(&numbered(3, 2).padded_to_square()), [1, 2, 3, 4, 5, 6, 0, 0, 0]);
        assert_eq!(red(&numbered(1, 3).padded_to_square()), [0, 1, 0, 0, 2, 0, 0, 3, 0]);
        assert_eq!(numbered(2, 2).padded_to_square(), numbered(2, 2));
    }

    #[test]
    fn a_crop_takes_its_rows_and_columns() {
        assert_eq!(red(&numbered(4, 3).cropped(1, 1, 2, 2)), [6, 7, 10, 11]);
    }

    #[test]
    fn a_flip_reverses_rows_of_whole_pixels() {
        let mut image = Image::new(2, 1, vec![1, 2, 3, 4, 5, 6]);
        image.flip_horizontally();
        assert_eq!(image.rgb, [4, 5, 6, 1, 2, 3]);
    }
}
