//! Operations on the colours of an image; sizes and places stay.
//!
//! # Source
//! Pillow's `ImageOps` and `ImageEnhance`, level for level: golden files of `reference/write_image_ops.py`.

use super::image::Image;

impl Image {
    /// Stretches each channel so that its darkest value becomes 0 and its lightest 255 (`ImageOps.autocontrast`).
    pub(crate) fn auto_contrast(&mut self) {
        self.map_channels(|histogram| {
            let darkest = histogram.iter().position(|&count| count > 0)?;
            let lightest = histogram.iter().rposition(|&count| count > 0)?;
            let scale = 255.0 / (lightest.checked_sub(darkest).filter(|&range| range > 0)? as f64);
            let offset = -(darkest as f64) * scale;
            Some(table(|value| (f64::from(value) * scale + offset) as u8))
        });
    }

    /// Spreads each channel so that its values are about equally frequent (`ImageOps.equalize`).
    pub(crate) fn equalize(&mut self) {
        self.map_channels(|histogram| {
            let most = histogram.iter().rfind(|&&count| count > 0)?;
            let total: usize = histogram.iter().sum();
            let step = Some((total - most) / 255).filter(|&step| step > 0)?;
            let mut below = step / 2;
            let mut table = [0u8; 256];
            for (entry, count) in table.iter_mut().zip(histogram) {
                *entry = (below / step).min(255) as u8;
                below += count;
            }
            Some(table)
        });
    }

    /// Inverts all values from `threshold` on (`ImageOps.solarize`).
    pub(crate) fn solarize(&mut self, threshold: f64) {
        self.map(&table(|value| if f64::from(value) < threshold { value } else { 255 - value }));
    }

    /// Keeps the upper `bits` bits of each value (`ImageOps.posterize`).
    pub(crate) fn posterize(&mut self, bits: u32) {
        let mask = !(0xFFu32 >> bits) as u8;
        self.map(&table(|value| value & mask));
    }

    /// Brightness: black at 0, as it is at 1 (`ImageEnhance.Brightness`).
    pub(crate) fn brightness(&mut self, factor: f64) {
        self.map(&table(|value| blend(0, value, factor)));
    }

    /// Contrast: the mean gray at 0, as it is at 1 (`ImageEnhance.Contrast`).
    pub(crate) fn contrast(&mut self, factor: f64) {
        let sum: u64 = self.rgb.as_chunks::<3>().0.iter().map(|&pixel| u64::from(luma(pixel))).sum();
        let mean = (sum as f64 / (self.width * self.height) as f64 + 0.5) as u8;
        self.map(&table(|value| blend(mean, value, factor)));
    }

    /// Saturation: gray at 0, as it is at 1 (`ImageEnhance.Color`).
    pub(crate) fn saturation(&mut self, factor: f64) {
        for pixel in self.rgb.as_chunks_mut::<3>().0 {
            let gray = luma(*pixel);
            *pixel = pixel.map(|value| blend(gray, value, factor));
        }
    }

    /// Sharpness: smoothed at 0, as it is at 1, sharpened above (`ImageEnhance.Sharpness`).
    pub(crate) fn sharpness(&mut self, factor: f64) {
        let smooth = self.smoothed();
        for (value, &smooth) in self.rgb.iter_mut().zip(&smooth.rgb) {
            *value = blend(smooth, *value, factor);
        }
    }

    /// Each pixel inside averaged with its neighbours, itself weighing 5 of 13 (`ImageFilter.SMOOTH`); the border stays.
    fn smoothed(&self) -> Image {
        let mut smooth = self.clone();
        let stride = self.width * 3;
        for row in 1..self.height.saturating_sub(1) {
            for at in row * stride + 3..(row + 1) * stride - 3 {
                let sum_of =
                    |centre: usize| [centre - 3, centre, centre + 3].map(|at| u32::from(self.rgb[at]));
                let around: u32 = [at - stride, at, at + stride].into_iter().flat_map(sum_of).sum();
                let sum = around + 4 * u32::from(self.rgb[at]);
                smooth.rgb[at] = ((2 * sum + 13) / 26) as u8; // sum / 13, rounded
            }
        }
        smooth
    }

    fn map(&mut self, table: &[u8; 256]) {
        self.rgb.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
    }

    /// Replaces the values of each channel by a table made from its histogram, if one is made.
    fn map_channels(&mut self, make: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
        for channel in 0..3 {
            let mut histogram = [0; 256];
            self.rgb.iter().skip(channel).step_by(3).for_each(|&value| histogram[usize::from(value)] += 1);
            let Some(table) = make(&histogram) else { continue };
            let values = self.rgb.iter_mut().skip(channel).step_by(3);
            values.for_each(|value| *value = table[usize::from(*value)]);
        }
    }
}

fn table(entry: impl Fn(u8) -> u8) -> [u8; 256] {
    let mut table = [0; 256];
    (0..=255u8).for_each(|value| table[usize::from(value)] = entry(value));
    table
}

/// ITU-R 601-2 luma in 16-bit fixed point, as Pillow's `convert("L")`.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

/// `from` at 0, `to` at 1, further on beyond; truncated and clipped as Pillow's `Image.blend`, in single precision.
fn blend(from: u8, to: u8, factor: f64) -> u8 {
    (f32::from(from) + factor as f32 * (f32::from(to) - f32::from(from))) as u8
}
