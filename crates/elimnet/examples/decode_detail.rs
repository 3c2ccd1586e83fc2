//! What decoding JPEG files at a part of their size saves, and how far the network's input is from that of every pixel.
//!
//! `cargo run --release -p elimnet --example decode_detail -- IMAGE_SIZE FILE...`
#![allow(clippy::print_stdout)] // what this program is for

use std::path::PathBuf;
use std::time::Instant;

use elimnet::data::{DecodeError, Detail, Image, Preprocessing, decode_with};

/// Of which the median is taken, the two ways in turns.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().map_or(Ok(224), |text| text.parse())?;
    let preprocessing = Preprocessing::new(size);
    println!("file: pixels, ms to decode, resize and normalise, gray levels apart (mean, most)");
    for path in arguments.map(PathBuf::from) {
        let bytes = fs_err::read(&path)?;
        let mut times = [vec![], vec![]];
        let mut last = None;
        for _ in 0..ROUNDS {
            let details = [Detail::Full, preprocessing.detail()];
            let [all, part] = details.map(|detail| prepared(&bytes, detail, &preprocessing));
            let (all, part) = (all?, part?);
            times[0].push(all.milliseconds);
            times[1].push(part.milliseconds);
            last = Some((all, part));
        }
        let (all, part) = last.expect("there are rounds");
        let (mean, most) = apart(&all.values, &part.values, &preprocessing);
        let [all_ms, part_ms] = times.map(median);
        println!(
            "{}: {}x{} to {}x{}, {all_ms:.1} to {part_ms:.1}, {mean:.2}, {most:.0}",
            path.display(),
            all.decoded.width,
            all.decoded.height,
            part.decoded.width,
            part.decoded.height,
        );
    }
    Ok(())
}

struct Prepared {
    decoded: Image,
    values: Vec<f32>,
    milliseconds: f64,
}

fn prepared(bytes: &[u8], detail: Detail, preprocessing: &Preprocessing) -> Result<Prepared, DecodeError> {
    let start = Instant::now();
    let decoded = decode_with(bytes, detail)?;
    let values = preprocessing.apply(&decoded);
    Ok(Prepared { decoded, values, milliseconds: start.elapsed().as_secs_f64() * 1e3 })
}

/// Mean and largest difference of normalised values, in gray levels.
fn apart(a: &[f32], b: &[f32], preprocessing: &Preprocessing) -> (f32, f32) {
    let levels = a.iter().zip(b).enumerate();
    let levels = levels.map(|(index, (a, b))| (a - b).abs() * preprocessing.std[index % 3] * 255.0);
    let (sum, most) = levels.fold((0.0, 0.0f32), |(sum, most), level| (sum + level, most.max(level)));
    (sum / a.len() as f32, most)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
