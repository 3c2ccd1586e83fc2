//! Resizing with antialias, as Pillow and torchvision (on PIL images) do it.
//!
//! The convolution of `fast_image_resize` takes Pillow's filters and fixed-point precision with SIMD; golden tests hold
//! it to Pillow within one gray level.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use super::image::Image;

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
        let source = TypedImageRef::<U8x3>::from_buffer(side(image.width), side(image.height), &image.rgb)
            .expect("an image has three bytes a pixel");
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
