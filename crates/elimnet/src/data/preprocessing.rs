//! What happens to an image between its file and the network when nothing is left to chance.

use serde::{Deserialize, Serialize};

use super::decode::Detail;
use super::image::Image;
use super::resize::{ResizeFilter, Scaler};

/// ImageNet's channel means, of values in 0..1.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's channel standard deviations, of values in 0..1.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The way of an image into the network; travels in saved models, so that what is used is what was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Side of the square that the network sees.
    pub image_size: usize,
    /// Whether black bars make the image square before it is resized; else its proportions change.
    pub pad_to_square: bool,
    /// How it is resized.
    pub resize: ResizeFilter,
    /// Subtracted from each channel (of values in 0..1).
    pub mean: [f32; 3],
    /// Then divides each channel.
    pub std: [f32; 3],
}

impl Preprocessing {
    /// The seed's: pad, resize (bilinear with antialias), normalise with ImageNet's statistics.
    pub fn new(image_size: usize) -> Self {
        Self {
            image_size,
            pad_to_square: true,
            resize: ResizeFilter::Bilinear,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }

    /// What the network gets for `image`: exactly the policy `simple_augment_test`.
    ///
    /// # Shapes
    /// `[image_size, image_size, 3]`.
    pub fn apply(&self, image: &Image) -> Vec<f32> {
        let square = self.fitted(image, self.image_size, &mut Scaler::new());
        let mut normalised = Vec::with_capacity(square.bytes());
        self.normaliser().append(&square, Facing::AsStored, &mut normalised);
        normalised
    }

    /// How much of an image [`Preprocessing::apply`] and the training policies make use of.
    pub fn detail(&self) -> Detail {
        Detail::Square { side: self.image_size, padded: self.pad_to_square }
    }

    /// Padded (if so set) and resized to a square of `side`.
    pub(crate) fn fitted(&self, image: &Image, side: usize, scaler: &mut Scaler) -> Image {
        if self.pad_to_square && image.width != image.height {
            return scaler.resize(&image.padded_to_square(), side, side, self.resize);
        }
        scaler.resize(image, side, side, self.resize)
    }

    pub(crate) fn normaliser(&self) -> Normaliser {
        Normaliser::new(self.mean, self.std)
    }
}

/// Whether an image goes into the network as it is stored or with left and right swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Facing {
    AsStored,
    Mirrored,
}

/// `(value / 255 − mean) / std` by a table for each channel: the very floats of torchvision's `ToTensor` and `Normalize`,
/// in one pass.
pub(crate) struct Normaliser {
    channels: Box<[[f32; 256]; 3]>,
}

impl Normaliser {
    fn new(mean: [f32; 3], std: [f32; 3]) -> Self {
        let table = |channel: usize| {
            std::array::from_fn(|value| (value as f32 / 255.0 - mean[channel]) / std[channel])
        };
        Self { channels: Box::new([0, 1, 2].map(table)) }
    }

    /// Appends the normalised pixels of `image`.
    pub(crate) fn append(&self, image: &Image, facing: Facing, pixels: &mut Vec<f32>) {
        // Appended, because a zeroed target is written twice: 104 µs against 168 for 224 x 224 pixels (Zen 3).
        match facing {
            Facing::AsStored => {
                pixels.extend(image.rgb.as_chunks().0.iter().flat_map(|pixel| self.normalised(pixel)));
            }
            Facing::Mirrored => {
                for row in image.rows() {
                    pixels.extend(row.as_chunks().0.iter().rev().flat_map(|pixel| self.normalised(pixel)));
                }
            }
        }
    }

    fn normalised(&self, &[red, green, blue]: &[u8; 3]) -> [f32; 3] {
        let [reds, greens, blues] = &*self.channels;
        [reds[usize::from(red)], greens[usize::from(green)], blues[usize::from(blue)]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_have_imagenets_extremes() {
        let image = Image::new(2, 2, [[0u8; 3], [255; 3], [0; 3], [255; 3]].concat());
        let values = Preprocessing::new(2).apply(&image);
        let expected = [-2.117_904, -2.035_714_3, -1.804_444_4, 2.248_908_3, 2.428_571_5, 2.64];
        for (value, expected) in values.iter().zip(expected.repeat(2)) {
            assert!((value - expected).abs() < 1e-6, "{value} for {expected}");
        }
    }

    #[test]
    fn a_mirrored_image_is_appended_as_a_flipped_one() {
        let rgb = (0..5 * 3 * 3).map(|value| value * 5).collect();
        let (normaliser, mut image) = (Preprocessing::new(5).normaliser(), Image::new(5, 3, rgb));
        let (mut mirrored, mut flipped) = (vec![1.0], vec![1.0]);
        normaliser.append(&image, Facing::Mirrored, &mut mirrored);
        image.flip_horizontally();
        normaliser.append(&image, Facing::AsStored, &mut flipped);
        assert_eq!(mirrored, flipped);
        assert_eq!(mirrored.len(), 1 + 5 * 3 * 3);
    }

    #[test]
    fn padding_is_a_choice() {
        let image = Image::filled(4, 2, [255; 3]);
        let padded = Preprocessing::new(4);
        let stretched = Preprocessing { pad_to_square: false, ..padded.clone() };
        assert!(padded.apply(&image)[0] < -2.0, "a black bar");
        assert!(stretched.apply(&image).iter().all(|&value| value > 2.0), "no bar");
    }

    #[test]
    fn it_travels_as_json() {
        let preprocessing = Preprocessing::new(96);
        let text = serde_json::to_string(&preprocessing).expect("serialises");
        assert!(text.contains(r#""resize":"bilinear""#), "{text}");
        assert_eq!(serde_json::from_str::<Preprocessing>(&text).expect("parses"), preprocessing);
    }
}
