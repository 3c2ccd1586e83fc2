//! Operations that move pixels; what comes from outside is gray.
//!
//! # Source
//! Pillow's `Image.rotate` and `Image.transform`, pixel for pixel: golden files of `reference/write_image_ops.py`. The seed
//! rotates and shifts to the nearest pixel and shears by cubic interpolation, and so do we.

use super::image::Image;

/// What fills the places whose pixels come from outside.
pub(crate) const FILL: [u8; 3] = [128; 3];

impl Image {
    /// Turned by `degrees`, counter-clockwise, around the centre.
    pub(crate) fn rotated(&self, degrees: f64) -> Image {
        let (sine, cosine) = (-degrees.to_radians()).sin_cos();
        let (x, y) = (self.width as f64 / 2.0, self.height as f64 / 2.0);
        let shift_x = x - cosine * x - sine * y;
        let shift_y = y + sine * x - cosine * y;
        // 16.16 fixed point from the centre of the first pixel, as Pillow: the nearest pixel is the same everywhere.
        let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
        let (step_x, step_y) = (fixed(cosine), fixed(-sine));
        let (row_x, row_y) = (fixed(sine), fixed(cosine));
        let first_x = fixed(shift_x + cosine * 0.5 + sine * 0.5);
        let first_y = fixed(shift_y - sine * 0.5 + cosine * 0.5);
        self.gathered(|column, row| {
            let x = first_x + column as i64 * step_x + row as i64 * row_x;
            let y = first_y + column as i64 * step_y + row as i64 * row_y;
            Some((usize::try_from(x >> 16).ok()?, usize::try_from(y >> 16).ok()?))
        })
    }

    /// Shifted to the left and up by so many columns and rows.
    pub(crate) fn translated(&self, columns: f64, rows: f64) -> Image {
        let from = |at: usize, shift: f64| {
            Some(at as f64 + 0.5 + shift).filter(|at| *at >= 0.0).map(|at| at as usize)
        };
        self.gathered(|column, row| Some((from(column, columns)?, from(row, rows)?)))
    }

    /// Row `y` shifted to the left by `factor * y`.
    pub(crate) fn sheared_x(&self, factor: f64) -> Image {
        let mut sheared = Image::filled(self.width, self.height, FILL);
        for (row, target) in sheared.rgb.chunks_exact_mut(self.width * 3).enumerate() {
            for (column, pixel) in target.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let place = column as f64 + 0.5 + factor * (row as f64 + 0.5);
                if let Some(taps) = Taps::at(place, self.width) {
                    *pixel = taps.cubic(|column| self.pixel(column, row));
                }
            }
        }
        sheared
    }

    /// Column `x` shifted up by `factor * x`.
    pub(crate) fn sheared_y(&self, factor: f64) -> Image {
        let mut sheared = Image::filled(self.width, self.height, FILL);
        for (row, target) in sheared.rgb.chunks_exact_mut(self.width * 3).enumerate() {
            for (column, pixel) in target.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let place = factor * (column as f64 + 0.5) + row as f64 + 0.5;
                if let Some(taps) = Taps::at(place, self.height) {
                    *pixel = taps.cubic(|row| self.pixel(column, row));
                }
            }
        }
        sheared
    }

    /// Gray in the columns `left..=right` and the rows `top..=bottom`, as far as they are there.
    pub(crate) fn cut_out(&mut self, left: usize, top: usize, right: usize, bottom: usize) {
        for row in self.rgb.chunks_exact_mut(self.width * 3).take(bottom + 1).skip(top) {
            row.as_chunks_mut::<3>().0.iter_mut().take(right + 1).skip(left).for_each(|pixel| *pixel = FILL);
        }
    }

    /// Each pixel from the place that `source` names, gray where there is none.
    fn gathered(&self, source: impl Fn(usize, usize) -> Option<(usize, usize)>) -> Image {
        let mut gathered = Image::filled(self.width, self.height, FILL);
        for (row, target) in gathered.rgb.chunks_exact_mut(self.width * 3).enumerate() {
            for (column, pixel) in target.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                match source(column, row) {
                    Some((column, row)) if column < self.width && row < self.height => {
                        *pixel = self.pixel(column, row);
                    }
                    _ => {}
                }
            }
        }
        gathered
    }
}

/// Four neighbours on a line and the place between the middle two.
struct Taps {
    indices: [usize; 4],
    fraction: f64,
}

impl Taps {
    /// `place` counts from the edge of the first of `length` pixels; `None` outside.
    fn at(place: f64, length: usize) -> Option<Self> {
        if !(place >= 0.0 && place < length as f64) {
            return None;
        }
        let floor = (place - 0.5).floor();
        let index = |offset: f64| (floor + offset).clamp(0.0, (length - 1) as f64) as usize;
        Some(Self { indices: [-1.0, 0.0, 1.0, 2.0].map(index), fraction: place - 0.5 - floor })
    }

    /// Catmull-Rom's cousin with a = -1, which Pillow's `transform` uses (its `resize` has a = -0.5).
    fn cubic(&self, pixel: impl Fn(usize) -> [u8; 3]) -> [u8; 3] {
        let pixels = self.indices.map(pixel);
        [0, 1, 2].map(|channel| {
            let [a, b, c, d] = pixels.map(|pixel| f64::from(pixel[channel]));
            let value = b + self.fraction
                * ((c - a) + self.fraction * ((2.0 * (a - b) + c - d) + self.fraction * (b - a - c + d)));
            value as u8
        })
    }
}
