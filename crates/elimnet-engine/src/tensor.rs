//! Arrays that cross the interface.

/// A batch of images, normalised, channels last.
///
/// # Shapes
/// `pixels` is `[count, height, width, channels]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// All pixels.
    pub pixels: Vec<f32>,
}

impl Images {
    /// Wraps pixels.
    ///
    /// # Panics
    /// If the number of pixels is not the product of the other four.
    pub fn new(count: usize, height: usize, width: usize, channels: usize, pixels: Vec<f32>) -> Self {
        assert_eq!(
            pixels.len(),
            count * height * width * channels,
            "pixels for {count}x{height}x{width}x{channels}"
        );
        Self { count, height, width, channels, pixels }
    }

    /// Numbers in one image.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The images of these indices, in their order.
    ///
    /// # Panics
    /// If there is none of an index.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let length = self.image_len();
        let pixels = indices.iter().flat_map(|index| &self.pixels[index * length..][..length]);
        Self { count: indices.len(), pixels: pixels.copied().collect(), ..*self }
    }
}

/// A row-major matrix: logits `[n, classes]`, features `[n, channels]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// All values, row by row.
    pub values: Vec<f32>,
}

impl Matrix {
    /// Wraps values.
    ///
    /// # Panics
    /// If there are not `rows` times `columns` of them.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * columns, "values for a {rows}x{columns} matrix");
        Self { rows, columns, values }
    }

    /// The rows, each a slice of `columns` values.
    pub fn iter_rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// Row `index`.
    ///
    /// # Panics
    /// If there is none.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.columns..][..self.columns]
    }

    /// As [`Matrix::row`], to be changed.
    ///
    /// # Panics
    /// If there is none.
    pub fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.values[index * self.columns..][..self.columns]
    }
}

/// A tensor of the state dict under torchvision's name, in torch's layout (convolution weights `[out, in, kh, kw]`).
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// torchvision's name.
    pub name: String,
    /// torch's shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values in C order. `num_batches_tracked` is a whole number too (exact up to 2^24).
    pub values: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_selected_with_all_their_pixels() {
        let images = Images::new(3, 1, 2, 2, (0..12).map(|value| value as f32).collect());
        assert_eq!(images.select(&[2, 0]).pixels, [8., 9., 10., 11., 0., 1., 2., 3.]);
        assert_eq!(images.select(&[]), Images::new(0, 1, 2, 2, Vec::new()));
    }
}
