//! EXIF's orientation: how a camera was held.

use crate::data::image::Image;

const ORIENTATION_TAG: u16 = 0x0112;

/// The image as its photographer saw it; unchanged where the EXIF block is absent, broken or says nothing.
pub(super) fn upright(image: Image, exif: Option<&[u8]>) -> Image {
    // The value says where the first row and the first column of the stored pixels belong (EXIF 2.3, 4.6.4).
    match exif.and_then(orientation) {
        Some(2) => mirrored(image),
        Some(3) => half_turn(image),
        Some(4) => mirrored(half_turn(image)),
        Some(5) => transposed(&image),
        Some(6) => mirrored(transposed(&image)),
        Some(7) => half_turn(transposed(&image)),
        Some(8) => half_turn(mirrored(transposed(&image))),
        _ => image,
    }
}

fn mirrored(mut image: Image) -> Image {
    image.flip_horizontally();
    image
}

fn half_turn(mut image: Image) -> Image {
    image.rgb.as_chunks_mut::<3>().0.reverse();
    image
}

fn transposed(image: &Image) -> Image {
    let pixels = image.rgb.as_chunks::<3>().0;
    let columns = (0..image.width).flat_map(|column| pixels[column..].iter().step_by(image.width));
    Image::new(image.height, image.width, columns.flatten().copied().collect())
}

/// Reads the tag from the first directory of a TIFF block.
fn orientation(exif: &[u8]) -> Option<u16> {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let directory = {
        let bytes = tiff.get(4..8)?.try_into().ok()?;
        if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    } as usize;
    let entries = usize::from(short(directory)?);
    let tags = (0..entries).map(|entry| directory + 2 + entry * 12);
    tags.take_while(|&at| at < tiff.len())
        .find(|&at| short(at) == Some(ORIENTATION_TAG))
        .and_then(|at| short(at + 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF block whose only entry is the orientation.
    fn block(value: u8) -> Vec<u8> {
        let mut bytes = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        bytes.extend([value, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn the_eight_orientations_restore_the_same_picture() {
        // Upright picture:  1 2 3   stored as each orientation says (row by row).
        //                   4 5 6
        let cases: [(u8, usize, [u8; 6]); 8] = [
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [3, 6, 2, 5, 1, 4]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [4, 1, 5, 2, 6, 3]),
        ];
        let picture = Image::from_gray(3, 2, &[1, 2, 3, 4, 5, 6]);
        for (value, width, stored) in cases {
            let stored = Image::from_gray(width, 6 / width, &stored);
            assert_eq!(upright(stored, Some(&block(value))), picture, "orientation {value}");
        }
    }

    #[test]
    fn a_broken_block_changes_nothing() {
        let image = Image::from_gray(2, 1, &[1, 2]);
        let whole = block(3);
        for end in 0..whole.len() - 7 {
            assert_eq!(upright(image.clone(), Some(&whole[..end])), image, "cut at {end}");
        }
        assert_eq!(upright(image.clone(), Some(b"II\x2a\0\xff\xff\xff\xff")), image);
        assert_eq!(upright(image.clone(), None), image);
    }
}
