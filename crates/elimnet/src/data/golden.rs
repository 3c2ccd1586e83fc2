//! Every operation against what Pillow made of the same picture (`reference/write_image_ops.py`).

use std::path::Path;

use super::decode::decode_file;
use super::image::Image;

/// How far the worst value may be off, in gray levels.
#[derive(Clone, Copy)]
enum Within {
    Exactly = 0,
    OneLevel = 1,
}

struct Case {
    file: &'static str,
    apply: fn(&mut Image),
    within: Within,
}

const fn exact(file: &'static str, apply: fn(&mut Image)) -> Case {
    Case { file, apply, within: Within::Exactly }
}

const fn close(file: &'static str, apply: fn(&mut Image)) -> Case {
    Case { file, apply, within: Within::OneLevel }
}

const SHIFT: f64 = 150.0 / 331.0 * 14.0 / 31.0;

const CASES: [Case; 23] = [
    exact("auto_contrast", Image::auto_contrast),
    exact("equalize", Image::equalize),
    exact("rotate_13.5", |image| *image = image.rotated(13.5)),
    exact("rotate_30", |image| *image = image.rotated(30.0)),
    exact("solarize_140.4", |image| image.solarize(140.4)),
    exact("posterize_6", |image| image.posterize(6)),
    exact("posterize_4", |image| image.posterize(4)),
    exact("color_0.6", |image| image.saturation(0.6)),
    exact("color_1.9", |image| image.saturation(1.9)),
    exact("contrast_0.6", |image| image.contrast(0.6)),
    exact("contrast_1.9", |image| image.contrast(1.9)),
    exact("brightness_0.6", |image| image.brightness(0.6)),
    exact("brightness_1.9", |image| image.brightness(1.9)),
    exact("sharpness_0.6", |image| image.sharpness(0.6)),
    exact("sharpness_1.9", |image| image.sharpness(1.9)),
    close("shear_x_0.3", |image| *image = image.sheared_x(0.3)),
    close("shear_x_-0.13", |image| *image = image.sheared_x(-0.13)),
    close("shear_y_0.3", |image| *image = image.sheared_y(0.3)),
    close("shear_y_-0.13", |image| *image = image.sheared_y(-0.13)),
    exact("translate_x", |image| *image = image.translated(SHIFT * image.width as f64, 0.0)),
    exact("translate_y_back", |image| *image = image.translated(0.0, -SHIFT * image.height as f64)),
    exact("cut_out", |image| image.cut_out(30, 8, 40, 20)),
    exact("flip", Image::flip_horizontally),
];

fn golden(name: &str) -> Image {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images/operations");
    decode_file(&folder.join(format!("{name}.png"))).expect("the golden files are valid")
}

#[test]
fn operations_are_pillows() {
    let original = golden("original");
    for case in &CASES {
        let (mut ours, theirs) = (original.clone(), golden(case.file));
        (case.apply)(&mut ours);
        assert_ne!(ours, original, "{} has no effect", case.file);
        let pairs = ours.rgb.iter().zip(&theirs.rgb);
        let worst = pairs.map(|(ours, theirs)| ours.abs_diff(*theirs)).max().unwrap_or(u8::MAX);
        assert!(worst <= case.within as u8, "{} is {worst} levels off", case.file);
    }
}

#[test]
fn images_without_contrast_stay_as_they_are() {
    for image in [Image::filled(9, 7, [40, 50, 60]), Image::filled(1, 1, [0; 3])] {
        for apply in [Image::auto_contrast, Image::equalize, |image: &mut Image| image.sharpness(1.9)] {
            let mut changed = image.clone();
            apply(&mut changed);
            assert_eq!(changed, image);
        }
    }
}
