//! Small pictures of images, as text that a web page holds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jpeg_encoder::{ColorType, Encoder, EncodingError};

use super::decode::Detail;
use super::image::Image;
use super::resize::ResizeFilter;

/// Of JPEG: about 5 kB for a photo of [`SIDE`] pixels, where PNG takes 40.
const QUALITY: u8 = 80;

/// The longer side in pixels: twice what a page shows, for fine screens.
const SIDE: usize = 192;

/// How much of an image its thumbnail shows.
pub(crate) const THUMBNAIL: Detail = Detail::Square { side: SIDE, padded: true };

impl Image {
    /// A small JPEG as a `data:` URL, its longer side at most 192 pixels.
    pub fn thumbnail(&self) -> String {
        let longest = self.width.max(self.height);
        let scaled = |side: usize| if longest > SIDE { (side * SIDE / longest).max(1) } else { side };
        let small = self.resized(scaled(self.width), scaled(self.height), ResizeFilter::Bilinear);
        let jpeg = encode(&small).expect("memory takes the bytes of a picture of a few pixels");
        format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg))
    }
}

fn encode(image: &Image) -> Result<Vec<u8>, EncodingError> {
    let mut jpeg = Vec::new();
    let (width, height) = (image.width as u16, image.height as u16); // at most SIDE
    Encoder::new(&mut jpeg, QUALITY).encode(&image.rgb, width, height, ColorType::Rgb)?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode;

    fn shown(image: &Image) -> Image {
        let url = image.thumbnail();
        let bytes = STANDARD.decode(url.strip_prefix("data:image/jpeg;base64,").unwrap()).unwrap();
        decode(&bytes).unwrap()
    }

    #[test]
    fn thumbnails_keep_the_shape_and_the_colour() {
        for (width, height, expected) in
            [(28, 28, (28, 28)), (400, 100, (192, 48)), (100, 400, (48, 192)), (9000, 2, (192, 1))]
        {
            let thumbnail = shown(&Image::filled(width, height, [200, 60, 40]));
            assert_eq!((thumbnail.width, thumbnail.height), expected);
            let [red, green, blue] = thumbnail.pixel(0, 0).map(i32::from);
            assert!((red - 200).abs() < 4 && (green - 60).abs() < 4 && (blue - 40).abs() < 4);
        }
    }
}
