//! RandAugment with the seed's operations and ranges, and the Cutout that follows it.
//!
//! # Source
//! Cubuk et al.: "RandAugment: Practical automated data augmentation with a reduced search space", 2019; operations,
//! ranges, signs and interpolation of the seed's predecessor, `j-marple-dev/model_compression`. DeVries and Taylor:
//! "Improved regularization of convolutional neural networks with Cutout", 2017.

use super::image::Image;
use crate::random::Random;

/// An operation whose strength goes from 0 (`low`) to 1 (`high`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Identity,
    AutoContrast,
    Equalize,
    Rotate,
    Solarize,
    Color,
    Posterize,
    Contrast,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
}

/// All of them; each is chosen at most once for an image.
pub(crate) const OPERATIONS: [Operation; 14] = [
    Operation::Identity,
    Operation::AutoContrast,
    Operation::Equalize,
    Operation::Rotate,
    Operation::Solarize,
    Operation::Color,
    Operation::Posterize,
    Operation::Contrast,
    Operation::Brightness,
    Operation::Sharpness,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
];

impl Operation {
    /// The operation's own number at `strength`: degrees, bits, a factor, a share of the side.
    fn value(self, strength: f64) -> f64 {
        let (low, high) = match self {
            Self::Identity | Self::AutoContrast | Self::Equalize => (0.0, 0.0),
            Self::Rotate => (0.0, 30.0),
            Self::Solarize => (256.0, 0.0),
            Self::Posterize => (8.0, 4.0),
            Self::Color | Self::Contrast | Self::Brightness | Self::Sharpness => (0.0, 0.9),
            Self::ShearX | Self::ShearY => (0.0, 0.3),
            Self::TranslateX | Self::TranslateY => (0.0, 150.0 / 331.0),
        };
        low + strength * (high - low)
    }

    /// Applies it at `strength`; `sign` is the direction of those that have two.
    pub(crate) fn apply(self, mut image: Image, strength: f64, sign: f64) -> Image {
        let value = self.value(strength);
        let factor = 1.0 + sign * value;
        match self {
            Self::Identity => {}
            Self::AutoContrast => image.auto_contrast(),
            Self::Equalize => image.equalize(),
            Self::Rotate => return image.rotated(value),
            Self::Solarize => image.solarize(value),
            Self::Color => image.saturation(factor),
            Self::Posterize => image.posterize(value as u32),
            Self::Contrast => image.contrast(factor),
            Self::Brightness => image.brightness(factor),
            Self::Sharpness => image.sharpness(factor),
            Self::ShearX => return image.sheared_x(sign * value),
            Self::ShearY => return image.sheared_y(sign * value),
            Self::TranslateX => return image.translated(sign * value * image.width as f64, 0.0),
            Self::TranslateY => return image.translated(0.0, sign * value * image.height as f64),
        }
        image
    }
}

/// `select` different operations at `level` of `levels`; without a level each draws its own, 0 and `levels` included.
pub(crate) fn augment(
    mut image: Image,
    select: usize,
    level: Option<usize>,
    levels: usize,
    random: &mut Random,
) -> Image {
    let mut operations = OPERATIONS;
    random.shuffle(&mut operations);
    for operation in &operations[..select.min(OPERATIONS.len())] {
        let level = level.unwrap_or_else(|| random.below(levels + 1));
        let sign = if random.chance(0.5) { 1.0 } else { -1.0 };
        image = operation.apply(image, level as f64 / levels as f64, sign);
    }
    image
}

/// Eight times in ten, a gray square of 0.45 of the side around any place; what lies beyond the edge is not drawn.
pub(crate) fn cut_out(mut image: Image, random: &mut Random) -> Image {
    const PROBABILITY: f64 = 0.8;
    const SHARE: f64 = 0.45;
    if random.chance(PROBABILITY) {
        let (half_width, half_height) =
            ((SHARE * image.width as f64) as usize / 2, (SHARE * image.height as f64) as usize / 2);
        let (x, y) = (random.below(image.width + 1), random.below(image.height + 1));
        let (left, top) = (x.saturating_sub(half_width), y.saturating_sub(half_height));
        image.cut_out(left, top, x + half_width, y + half_height);
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn strengths_reach_the_seeds_ranges() {
        let cases = [
            (Operation::Rotate, 0.0, 30.0),
            (Operation::Solarize, 256.0, 0.0),
            (Operation::Posterize, 8.0, 4.0),
            (Operation::Color, 0.0, 0.9),
            (Operation::ShearY, 0.0, 0.3),
            (Operation::TranslateX, 0.0, 150.0 / 331.0),
        ];
        for (operation, weakest, strongest) in cases {
            assert_eq!((operation.value(0.0), operation.value(1.0)), (weakest, strongest), "{operation:?}");
        }
        assert_eq!(Operation::Posterize.value(14.0 / 31.0) as u32, 6);
    }

    #[test]
    fn the_weakest_level_changes_nothing_but_contrast() {
        let image = Image::from_gray(8, 8, &(0..64).map(|value| value * 3 + 20).collect::<Vec<u8>>());
        for operation in OPERATIONS {
            let changes = matches!(operation, Operation::AutoContrast);
            assert_eq!(operation.apply(image.clone(), 0.0, -1.0) != image, changes, "{operation:?}");
        }
    }

    #[test]
    fn a_level_that_is_not_given_is_drawn() {
        let image = Image::from_gray(16, 16, &(0..=255).collect::<Vec<u8>>());
        let results = |level| {
            let one = |sample| {
                augment(image.clone(), 1, level, 31, &mut Random::new(5, Purpose::Augment, [0, sample]))
            };
            let mut results: Vec<Vec<u8>> = (0..300).map(|sample| one(sample).rgb).collect();
            results.sort();
            results.dedup();
            results.len()
        };
        // At a fixed level: 14 operations, 8 of them in two directions, some without effect here.
        assert!(results(Some(14)) <= 22, "{}", results(Some(14)));
        assert!(results(None) > 60, "{}", results(None));
    }

    #[test]
    fn cutouts_are_as_frequent_and_large_as_in_the_seed() {
        let image = Image::filled(100, 100, [0; 3]);
        let gray = |sample| {
            let cut = cut_out(image.clone(), &mut Random::new(9, Purpose::Augment, [0, sample]));
            cut.rgb.iter().step_by(3).filter(|&&value| value == 128).count()
        };
        let sizes: Vec<usize> = (0..2000).map(gray).collect();
        let share = sizes.iter().filter(|&&size| size > 0).count() as f64 / 2000.0;
        assert!((share - 0.8).abs() < 0.045, "{share}"); // five standard deviations
        assert_eq!(sizes.iter().max(), Some(&(45 * 45)), "45 pixels: the middle and 22 on each side");
    }
}
