//! How much of a large image is wanted.

/// How much of an image to decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Every pixel.
    #[default]
    Full,
    /// Enough to resize it to a square: a JPEG file of five or more times that size is decoded at a half, a quarter or an
    /// eighth of its own, which takes less time and 4, 16 or 64 times less memory.
    ///
    /// # Accuracy
    /// What is resized from it differs from what is resized from every pixel by a fraction of a gray level on average, and by
    /// a fifth of a pixel in its place where the file's sides are not multiples of what they are divided by
    /// (`cargo run --release --example decode_detail` tells for any file).
    Square {
        /// Side of the square in pixels.
        side: usize,
        /// Whether bars make the image square before, so that only its longer side becomes `side`.
        padded: bool,
    },
}

impl Detail {
    /// The part of both sides, as 1, 2, 4 or 8 for 1/1 to 1/8, that an image of `width` x `height` can be decoded at.
    ///
    /// What is left is at least twice as large as the largest that a training policy resizes to (1.2 sides). Pillow's
    /// `Image.thumbnail` keeps the same distance (its `reducing_gap`).
    pub(super) fn denominator(self, width: usize, height: usize) -> usize {
        let Self::Square { side, padded } = self else { return 1 };
        let length = if padded { width.max(height) } else { width.min(height) };
        let least = (2 * side * 6).div_ceil(5);
        [8, 4, 2].into_iter().find(|denominator| length >= denominator * least).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_twice_what_is_needed() {
        let padded = |side| Detail::Square { side, padded: true };
        let stretched = |side| Detail::Square { side, padded: false };
        for (detail, width, height, expected) in [
            (Detail::Full, 9000, 9000, 1),
            (padded(224), 4032, 3024, 4),
            (padded(224), 3024, 4032, 4),
            (padded(224), 4304, 10, 8),
            (padded(224), 4303, 10, 4),
            (stretched(224), 4304, 1075, 1),
            (stretched(224), 4304, 1076, 2),
            (padded(224), 512, 384, 1),
            (padded(64), 512, 384, 2),
            (padded(1), 1, 1, 1),
        ] {
            assert_eq!(detail.denominator(width, height), expected, "{detail:?} of {width}x{height}");
        }
    }
}
