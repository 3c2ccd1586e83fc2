//! Resizing with antialias, as Pillow and torchvision (on PIL images) do it.
//!
//! The convolution of `fast_image_resize` takes Pillow's filters and fixed-point precision with SIMD; golden tests hold
//! it to Pillow within one gray level.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use super::image::{Image, Part};

/// How pixels are weighted when an image changes its size. All of them average over what a smaller pixel covers
/// (antialias).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ResizeFilter {
    /// A triangle: the seed's, and torchvision's default.
    #[default]
    Bilinear,
    /// Catmull-Rom's cubic (a = -0.5), Pillow's `BICUBIC`.
    Bicubic,
    /// Three-lobed Lanczos.
    Lanczos,
}

impl ResizeFilter {
    /// The name in records: `bilinear`, `bicubic`, `lanczos`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    fn kernel(self) -> FilterType {
        match self {
            Self::Bilinear => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        }
    }
}

/// Resizes images and keeps its buffers between them; one a thread.
pub(crate) struct Scaler {
    resizer: Resizer,
}

impl Scaler {
    pub(crate) fn new() -> Self {
        Self { resizer: Resizer::new() }
    }

    /// The image at another size.
    pub(crate) fn resize(
        &mut self,
        image: &Image,
        width: usize,
        height: usize,
        filter: ResizeFilter,
    ) -> Image {
        if (image.width, image.height) == (width, height) {
            return image.clone();
        }
        self.resize_part(image, Part::whole(image), width, height, filter)
    }

    /// A part of the image at another size, as if it had been cut out before.
    ///
    /// # Panics
    /// If the part is empty or reaches outside.
    pub(crate) fn resize_part(
        &mut self,
        image: &Image,
        part: Part,
        width: usize,
        height: usize,
        filter: ResizeFilter,
    ) -> Image {
        let whole = TypedImageRef::<U8x3>::from_buffer(side(image.width), side(image.height), &image.rgb)
            .expect("an image has three bytes a pixel");
        let [left, top] = [part.left, part.top].map(side);
        let source = TypedCroppedImage::from_ref(&whole, left, top, side(part.width), side(part.height))
            .expect("the part lies inside");
        let mut rgb = vec![0; width * height * 3];
        let mut target = TypedImage::<U8x3>::from_buffer(side(width), side(height), &mut rgb)
            .expect("made for these sides");
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter.kernel())).use_alpha(false);
        // `resize_typed`, because `resize` compiles every pixel type's loops into this crate: three minutes of it.
        self.resizer
            .resize_typed(&source, &mut target, &options)
            .expect("source and target have the same kind of pixels");
        Image::new(width, height, rgb)
    }
}

fn side(length: usize) -> u32 {
    u32::try_from(length).expect("sides are far below 2^32")
}

impl Image {
    /// The image at `width` x `height`.
    ///
    /// # Accuracy
    /// Within one gray level of Pillow's `Image.resize` with the same filter.
    /// # Panics
    /// If a side is zero.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize, filter: ResizeFilter) -> Image {
        Scaler::new().resize(self, width, height, filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Random};

    const FILTERS: [ResizeFilter; 3] = [ResizeFilter::Bilinear, ResizeFilter::Bicubic, ResizeFilter::Lanczos];

    fn noise(width: usize, height: usize) -> Image {
        let mut random = Random::new(7, Purpose::Augment, [width as u64, height as u64]);
        Image::new(width, height, (0..width * height * 3).map(|_| random.below(256) as u8).collect())
    }

    #[test]
    fn a_part_is_resized_as_if_it_were_all_there_is() {
        let (image, mut scaler) = (noise(31, 23), Scaler::new());
        for (left, top, width, height) in [(0, 0, 31, 23), (4, 3, 20, 11), (30, 22, 1, 1), (0, 5, 31, 2)] {
            let part = Part { left, top, width, height };
            let alone = image.cropped(left, top, width, height);
            for filter in FILTERS {
                for (width, height) in [(16, 16), (20, 11), (40, 9)] {
                    let resized = scaler.resize_part(&image, part, width, height, filter);
                    assert_eq!(resized, alone.resized(width, height, filter), "{part:?} by {filter:?}");
                }
            }
        }
    }
}
