//! Image files of every kind against what Pillow reads from them, and files that are none.

use std::path::{Path, PathBuf};

use elimnet::data::{
    DecodeError, Detail, IMAGENET_MEAN, IMAGENET_STD, Image, Preprocessing, ResizeFilter, decode,
    decode_file, decode_file_with, decode_with,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)
}

fn image(name: &str) -> Image {
    decode_file(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).expect("a fixture")
}

/// Largest and mean difference in gray levels.
fn difference(ours: &Image, theirs: &Image) -> (u8, f64) {
    assert_eq!((ours.width, ours.height), (theirs.width, theirs.height));
    let differences: Vec<u8> = ours.rgb.iter().zip(&theirs.rgb).map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = differences.iter().map(|&value| f64::from(value)).sum();
    (differences.iter().copied().max().unwrap_or(0), sum / differences.len() as f64)
}

#[test]
fn every_format_reads_as_pillow_reads_it() {
    // The standards leave the rounding of lossy formats open; libjpeg-turbo and libwebp differ from ours by that.
    let cases: &[(&str, u8, f64)] = &[
        ("baseline.jpg", 4, 0.6),
        ("full_chroma.jpg", 3, 0.5),
        ("progressive.jpg", 4, 0.6),
        ("gray.jpg", 2, 0.3),
        ("cmyk.jpg", 4, 0.8),
        ("rotated.jpg", 4, 0.6),
        ("rgb.png", 0, 0.0),
        ("gray.png", 0, 0.0),
        ("gray_alpha.png", 0, 0.0),
        ("rgba.png", 0, 0.0),
        ("palette.png", 0, 0.0),
        ("bilevel.png", 0, 0.0),
        ("rotated.png", 0, 0.0),
        ("gray16.png", 0, 0.0),
        ("lossless.webp", 0, 0.0),
        ("lossless_alpha.webp", 0, 0.0),
        ("lossy.webp", 4, 0.6),
        ("animated.webp", 0, 0.0),
        ("rotated.webp", 0, 0.0),
        ("rgb.bmp", 0, 0.0),
        ("rgba.bmp", 0, 0.0),
        ("gray.bmp", 0, 0.0),
        ("palette.bmp", 0, 0.0),
        ("bilevel.bmp", 0, 0.0),
        ("sixteen_colours.bmp", 0, 0.0),
        ("bits_555.bmp", 0, 0.0),
        ("bits_565.bmp", 0, 0.0),
        ("run_lengths_8.bmp", 0, 0.0),
        ("run_lengths_4.bmp", 0, 0.0),
        ("top_down.bmp", 0, 0.0),
        ("core_header.bmp", 0, 0.0),
        ("palette.gif", 0, 0.0),
        ("transparent.gif", 0, 0.0),
        ("animated.gif", 0, 0.0),
    ];
    let failures: Vec<String> = cases
        .iter()
        .map(|&(name, worst, mean)| {
            let found =
                difference(&image(&format!("decode/{name}")), &image(&format!("decode/{name}.expected.png")));
            (name, found, found.0 <= worst && found.1 <= mean)
        })
        .filter(|(_, _, fine)| !fine)
        .map(|(name, found, _)| format!("{name}: {found:?}"))
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Denominators at which a picture of 328 x 232 pixels is decoded for squares of so many pixels.
const REDUCED: [(usize, Detail); 3] = [(2, square(60)), (4, square(30)), (8, square(17))];

const fn square(side: usize) -> Detail {
    Detail::Square { side, padded: true }
}

#[test]
fn a_part_of_the_size_reads_as_libjpeg_reads_it() {
    // Colours that the file holds at half the size are reduced as much as brightness is; libjpeg leaves them as they are.
    for (name, largest, mean) in
        [("gray", 3, 0.6), ("full_chroma", 6, 1.2), ("baseline", 24, 3.8), ("progressive", 24, 3.8)]
    {
        for (denominator, detail) in REDUCED {
            let ours = decode_file_with(&fixture(&format!("reduced/{name}.jpg")), detail).expect(name);
            let found = difference(&ours, &image(&format!("reduced/{name}_{denominator}.png")));
            assert!(found.0 <= largest && found.1 <= mean, "{name} at 1/{denominator}: {found:?}");
        }
    }
}

#[test]
fn what_is_resized_from_a_part_of_the_size_is_what_is_resized_from_all() {
    for name in ["gray", "full_chroma", "baseline", "progressive"] {
        for (denominator, detail) in REDUCED {
            let Detail::Square { side, .. } = detail else { unreachable!("all of them are squares") };
            let [all, part] = [Detail::Full, detail].map(|detail| {
                let image = decode_file_with(&fixture(&format!("reduced/{name}.jpg")), detail).expect(name);
                image.padded_to_square().resized(side, side, ResizeFilter::Bilinear)
            });
            let found = difference(&all, &part);
            assert!(found.0 <= 6 && found.1 < 1.1, "{name} from 1/{denominator}: {found:?}");
        }
    }
}

#[test]
fn a_photo_is_upright_at_a_part_of_its_size() {
    let path = fixture("decode/rotated.jpg");
    let (all, part) = (image("decode/rotated.jpg"), decode_file_with(&path, square(6)).expect("decodes"));
    assert_eq!((all.width, all.height, part.width, part.height), (21, 33, 11, 17));
}

#[test]
fn four_colours_and_other_formats_are_decoded_as_a_whole() {
    for name in ["decode/cmyk.jpg", "decode/rgb.png", "decode/lossy.webp"] {
        assert_eq!(decode_with(&bytes(name), square(1)).expect(name), image(name), "{name}");
    }
}

#[test]
fn resizing_is_pillows_within_one_level() {
    let original = image("resize/original.png");
    let filters = [ResizeFilter::Bilinear, ResizeFilter::Bicubic, ResizeFilter::Lanczos];
    for filter in filters {
        for (width, height) in [(24, 20), (61, 16), (90, 70), (7, 100)] {
            let theirs = image(&format!("resize/{}_{width}x{height}.png", filter.name()));
            let (worst, _) = difference(&original.resized(width, height, filter), &theirs);
            assert!(worst <= 1, "{filter:?} to {width}x{height} is {worst} levels off");
        }
    }
}

#[test]
fn preprocessing_is_torchvisions_within_one_level() {
    let (original, theirs) = (image("resize/original.png"), image("resize/simple_augment_test_32.png"));
    let ours = Preprocessing::new(32).apply(&original);
    for (index, (&ours, &level)) in ours.iter().zip(&theirs.rgb).enumerate() {
        let (mean, std) = (IMAGENET_MEAN[index % 3], IMAGENET_STD[index % 3]);
        let level_of_ours = (ours * std + mean) * 255.0;
        assert!(
            (level_of_ours - f32::from(level)).abs() < 1.01,
            "value {index}: {level_of_ours} and {level}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_complete() {
    let names = [
        "baseline.jpg",
        "progressive.jpg",
        "rgb.png",
        "lossless.webp",
        "lossy.webp",
        "rgb.bmp",
        "palette.gif",
    ];
    for name in names.map(|name| format!("decode/{name}")) {
        let (whole, complete) = (bytes(&name), image(&name));
        for end in 0..whole.len() {
            if let Ok(image) = decode(&whole[..end]) {
                assert_eq!(image, complete, "{name}, cut after {end} of {} bytes", whole.len());
            }
            assert_eq!(
                decode(&whole[..end]).is_ok(),
                decode_with(&whole[..end], square(1)).is_ok(),
                "{name}, cut after {end} bytes, at a part of its size"
            );
        }
        assert!(decode(&whole[..whole.len() * 9 / 10]).is_err(), "{name}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let folder = fixture("decode");
    let files = std::fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("an entry").path());
    for path in files.filter(|path| !path.to_string_lossy().ends_with("expected.png")) {
        let whole = std::fs::read(&path).expect("a fixture");
        for at in 0..whole.len().min(160) {
            for flip in [0x01, 0x80] {
                let mut broken = whole.clone();
                broken[at] ^= flip;
                let details: &[Detail] = if whole.starts_with(&[0xFF, 0xD8]) {
                    &[Detail::Full, square(1)]
                } else {
                    &[Detail::Full]
                };
                for &detail in details {
                    if let Ok(image) = decode_with(&broken, detail) {
                        assert_eq!(image.rgb.len(), image.width * image.height * 3, "{}", path.display());
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_no_image_says_what_it_is() {
    assert!(matches!(decode(b""), Err(DecodeError::Empty)));
    let cases: [(&[u8], &str); 5] = [
        (b"hello, this is a text", "not a JPEG, PNG, WebP, BMP or GIF image"),
        (b"BMW and other brands, in a text file", "not a JPEG"),
        (b"II\x2a\0 and so on", "it looks like TIFF"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1", "it looks like HEIC"),
        (b"<!doctype html>", "it looks like SVG, XML or HTML"),
    ];
    for (bytes, expected) in cases {
        let message = decode(bytes).expect_err("no image").to_string();
        assert!(message.contains(expected), "{message}");
    }
    let missing = decode_file(Path::new("no/such/file.png")).expect_err("it does not exist").to_string();
    assert!(missing.contains("no/such/file.png"), "{missing}");
}

#[test]
fn the_content_decides_about_the_format_not_the_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("really_a_png.jpg");
    std::fs::copy(fixture("decode/rgb.png"), &path).expect("writable");
    assert_eq!(decode_file(&path).expect("decodes"), image("decode/rgb.png"));
}

#[test]
fn bombs_are_refused_before_memory_is_taken() {
    let png = |width: u32, height: u32| {
        let mut bytes = bytes("decode/rgb.png");
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc32fast::hash(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        bytes
    };
    let bmp = |width: i32, height: i32| {
        let mut bytes = bytes("decode/rgb.bmp");
        bytes[18..22].copy_from_slice(&width.to_le_bytes());
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
        bytes
    };
    let gif = {
        let mut bytes = bytes("decode/palette.gif");
        bytes[6..10].fill(0xFF);
        bytes
    };
    for bytes in [png(1 << 20, 1 << 20), png(u32::MAX >> 1, 2), bmp(1 << 20, 1 << 20), gif] {
        let error = decode(&bytes).expect_err("too large");
        assert!(matches!(error, DecodeError::TooLarge { .. } | DecodeError::Malformed { .. }), "{error}");
    }
    assert!(matches!(decode(&png(1 << 20, 1 << 20)), Err(DecodeError::TooLarge { .. })));
    assert!(decode(&png(0, 5)).is_err(), "no pixels at all");
}
