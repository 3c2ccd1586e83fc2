//! What happens to a training or test image on its way to the network: the seed's augmentation policies.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::image::{Image, Part};
use super::preprocessing::{Facing, Preprocessing};
use super::randaugment;
use super::resize::Scaler;
use crate::random::Random;

/// Names of all policies, as data YAMLs have them.
pub(crate) const NAMES: [&str; 3] = ["simple_augment_train", "simple_augment_test", "randaugment_train"];

/// An augmentation policy. All of them end with the normalisation of [`Preprocessing`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Policy {
    /// Pad to a square, resize to 1.2 times the size, random resized crop to the size, flip half of them.
    SimpleAugmentTrain,
    /// Pad to a square and resize to the size: no chance involved.
    SimpleAugmentTest,
    /// Pad to a square, resize to the size, RandAugment, flip half of them, Cutout.
    RandaugmentTrain {
        /// Operations on each image, all different: at most 14.
        n_select: usize,
        /// Strength of the operations in `n_level`ths; each draws its own where it is `None`.
        level: Option<usize>,
        /// Strongest level.
        n_level: usize,
    },
}

impl Policy {
    /// The policy of a name, with default parameters.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn by_name(name: &str) -> Result<Self, DataError> {
        match name {
            "simple_augment_train" => Ok(Self::SimpleAugmentTrain),
            "simple_augment_test" => Ok(Self::SimpleAugmentTest),
            "randaugment_train" => Ok(Self::RandaugmentTrain { n_select: 2, level: Some(14), n_level: 31 }),
            _ => Err(DataError::UnknownPolicy { name: name.to_owned() }),
        }
    }

    /// The name, as data YAMLs have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SimpleAugmentTrain => "simple_augment_train",
            Self::SimpleAugmentTest => "simple_augment_test",
            Self::RandaugmentTrain { .. } => "randaugment_train",
        }
    }

    /// Says what is wrong with the parameters.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self::RandaugmentTrain { n_select, level, n_level } = *self else { return Ok(()) };
        let operations = randaugment::OPERATIONS.len();
        if n_select > operations {
            return Err(format!("n_select is {n_select}, there are {operations} operations"));
        }
        match level {
            Some(level) if level > n_level => {
                Err(format!("level is {level}, above n_level, which is {n_level}"))
            }
            _ => Ok(()),
        }
    }

    /// The parameters as data YAMLs have them.
    pub(crate) fn parameters(&self) -> String {
        match self {
            Self::RandaugmentTrain { n_select, level, n_level } => {
                let level = level.map_or("null".to_owned(), |level| level.to_string());
                format!("{{n_select: {n_select}, level: {level}, n_level: {n_level}}}")
            }
            Self::SimpleAugmentTrain | Self::SimpleAugmentTest => "null".to_owned(),
        }
    }

    /// The part without chance, which is the same in every epoch and can be kept: padded and resized.
    pub(crate) fn prepare(&self, image: &Image, preprocessing: &Preprocessing, scaler: &mut Scaler) -> Image {
        preprocessing.fitted(image, self.prepared_side(preprocessing.image_size), scaler)
    }

    /// Side of what [`Policy::prepare`] gives.
    pub(crate) fn prepared_side(&self, image_size: usize) -> usize {
        match self {
            // Python's int(img_size * 1.2).
            Self::SimpleAugmentTrain => (image_size as f64 * 1.2) as usize,
            Self::SimpleAugmentTest | Self::RandaugmentTrain { .. } => image_size,
        }
    }

    /// The part with chance, on what [`Policy::prepare`] gave. The result has `preprocessing.image_size` as its side.
    pub(crate) fn vary<'a>(
        &self,
        image: &'a Image,
        preprocessing: &Preprocessing,
        random: &mut Random,
        scaler: &mut Scaler,
    ) -> (Cow<'a, Image>, Facing) {
        match self {
            Self::SimpleAugmentTrain => {
                let crop = random_resized_crop(image, preprocessing, random, scaler);
                (Cow::Owned(crop), random_facing(random))
            }
            Self::SimpleAugmentTest => (Cow::Borrowed(image), Facing::AsStored),
            Self::RandaugmentTrain { n_select, level, n_level } => {
                let mut image = randaugment::augment(image.clone(), *n_select, *level, *n_level, random);
                if random_facing(random) == Facing::Mirrored {
                    image.flip_horizontally();
                }
                (Cow::Owned(randaugment::cut_out(image, random)), Facing::AsStored)
            }
        }
    }
}

/// Half of all images are mirrored.
fn random_facing(random: &mut Random) -> Facing {
    if random.chance(0.5) { Facing::Mirrored } else { Facing::AsStored }
}

/// A part of 8 % to 100 % of the area and 3/4 to 4/3 as wide as high, resized to the network's size.
///
/// The crop and its resize follow the resize of [`Policy::prepare`], as in the seed; one resize from the original pixels
/// would be sharper, but not what the recipe was measured with.
fn random_resized_crop(
    image: &Image,
    preprocessing: &Preprocessing,
    random: &mut Random,
    scaler: &mut Scaler,
) -> Image {
    let part = crop_box(image.width, image.height, random);
    scaler.resize_part(image, part, preprocessing.image_size, preprocessing.image_size, preprocessing.resize)
}

/// # Source
/// `torchvision.transforms.RandomResizedCrop.get_params`, with its defaults `scale=(0.08, 1)`, `ratio=(3/4, 4/3)`.
fn crop_box(width: usize, height: usize, random: &mut Random) -> Part {
    const SCALE: (f64, f64) = (0.08, 1.0);
    const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
    let area = (width * height) as f64;
    for _ in 0..10 {
        let target = area * random.between(SCALE.0, SCALE.1);
        let ratio = random.between(RATIO.0.ln(), RATIO.1.ln()).exp();
        let crop_width = (target * ratio).sqrt().round_ties_even() as usize;
        let crop_height = (target / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
            let top = random.below(height - crop_height + 1);
            let left = random.below(width - crop_width + 1);
            return Part { left, top, width: crop_width, height: crop_height };
        }
    }
    central_box(width, height, RATIO)
}

/// The largest centred part whose proportions are within `ratio`.
fn central_box(width: usize, height: usize, ratio: (f64, f64)) -> Part {
    let proportion = width as f64 / height as f64;
    let (crop_width, crop_height) = if proportion < ratio.0 {
        (width, ((width as f64 / ratio.0).round_ties_even() as usize).clamp(1, height))
    } else if proportion > ratio.1 {
        (((height as f64 * ratio.1).round_ties_even() as usize).clamp(1, width), height)
    } else {
        (width, height)
    };
    Part {
        left: (width - crop_width) / 2,
        top: (height - crop_height) / 2,
        width: crop_width,
        height: crop_height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn crops_have_torchvisions_areas_and_proportions() {
        let boxes: Vec<Part> = (0..4000)
            .map(|sample| crop_box(268, 268, &mut Random::new(3, Purpose::Augment, [0, sample])))
            .collect();
        for part in &boxes {
            let ratio = part.width as f64 / part.height as f64;
            let share = (part.width * part.height) as f64 / (268.0 * 268.0);
            assert!((0.74..=1.352).contains(&ratio), "{part:?}");
            assert!((0.078..=1.0).contains(&share), "{part:?}");
            assert!(part.left + part.width <= 268 && part.top + part.height <= 268, "{part:?}");
        }
        // Uniform in 0.08..1, less the draws whose longer side does not fit: torchvision's own mean, over
        // draws of get_params on 268x268 (20,000 of them), is 0.481.
        let mean = boxes.iter().map(|part| (part.width * part.height) as f64).sum::<f64>()
            / 4000.0
            / (268.0 * 268.0);
        assert!((mean - 0.481).abs() < 0.015, "{mean}");
    }

    #[test]
    fn an_extreme_image_gets_its_central_part() {
        let ratio = (3.0 / 4.0, 4.0 / 3.0);
        assert_eq!(central_box(300, 30, ratio), Part { left: 130, top: 0, width: 40, height: 30 });
        assert_eq!(central_box(30, 300, ratio), Part { left: 0, top: 130, width: 30, height: 40 });
        assert_eq!(central_box(30, 30, ratio), Part { left: 0, top: 0, width: 30, height: 30 });
    }

    #[test]
    fn names_lead_back_to_their_policies() {
        for name in NAMES {
            assert_eq!(Policy::by_name(name).expect("a known name").name(), name);
        }
        assert!(matches!(Policy::by_name("autoaugment"), Err(DataError::UnknownPolicy { .. })));
    }
}
