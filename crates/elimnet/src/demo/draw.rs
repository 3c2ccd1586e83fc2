//! Pictures drawn by rule: a shape filled with a texture, turned, lit and set before clutter.
//!
//! Colours say nothing about the class, backgrounds are noise with strokes across, and the shape's size, place and
//! angle vary, so that a small network needs many pictures to learn what a shape is. That is the point: the
//! pretrained one has seen many.

use std::f32::consts::{PI, TAU};

use crate::data::Image;
use crate::random::Random;

/// Outlines; the first ones are for pretraining, [`Shape::UNSEEN`] for the task after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A circle.
    Disk,
    /// A circle with a round hole.
    Ring,
    /// A square.
    Square,
    /// An equilateral triangle.
    Triangle,
    /// A plus sign.
    Cross,
    /// A star of five points.
    Star,
    /// A long bar.
    Bar,
    /// A flower of six petals.
    Flower,
    /// A moon.
    Crescent,
    /// A drop with one point.
    Drop,
    /// A bent arm.
    Angle,
    /// A pointer: triangle on a shaft.
    Arrow,
    /// Two circles that touch.
    Pair,
    /// A square with a square hole.
    Frame,
}

impl Shape {
    /// Shapes of the pretraining task.
    pub(super) const SEEN: [Self; 8] = [
        Self::Disk,
        Self::Ring,
        Self::Square,
        Self::Triangle,
        Self::Cross,
        Self::Star,
        Self::Bar,
        Self::Flower,
    ];

    /// Shapes of the task after it, which pretraining never shows.
    pub(super) const UNSEEN: [Self; 6] =
        [Self::Crescent, Self::Drop, Self::Angle, Self::Arrow, Self::Pair, Self::Frame];

    /// Name of the class.
    pub(super) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether the point lies inside; the shape fills about the unit circle.
    fn contains(self, x: f32, y: f32) -> bool {
        let (radius, angle) = (x.hypot(y), y.atan2(x));
        let boxed =
            |x: f32, y: f32, half_width: f32, half_height: f32| x.abs() < half_width && y.abs() < half_height;
        match self {
            Self::Disk => radius < 0.85,
            Self::Ring => (0.5..0.95).contains(&radius),
            Self::Square => boxed(x, y, 0.75, 0.75),
            Self::Triangle => y > -0.5 && 1.732 * x.abs() + y < 1.0,
            Self::Cross => boxed(x, y, 0.3, 0.95) || boxed(x, y, 0.95, 0.3),
            Self::Star => radius < star_radius(angle),
            Self::Bar => boxed(x, y, 1.0, 0.3),
            Self::Flower => radius < 0.7 + 0.28 * (6.0 * angle).cos(),
            Self::Crescent => radius < 0.95 && (x - 0.45).hypot(y) > 0.75,
            Self::Drop => {
                (x.hypot(y + 0.3) < 0.6) || (y > -0.3 && y < 0.95 && x.abs() < 0.55 * (0.95 - y) / 1.25)
            }
            Self::Angle => boxed(x + 0.55, y, 0.3, 0.9) || boxed(x, y + 0.6, 0.85, 0.3),
            Self::Arrow => boxed(x, y + 0.4, 0.25, 0.55) || (y > 0.05 && x.abs() < 0.75 * (0.95 - y) / 0.9),
            Self::Pair => (x - 0.48).hypot(y) < 0.45 || (x + 0.48).hypot(y) < 0.45,
            Self::Frame => boxed(x, y, 0.8, 0.8) && !boxed(x, y, 0.4, 0.4),
        }
    }
}

fn star_radius(angle: f32) -> f32 {
    let within = (angle / TAU * 5.0).rem_euclid(1.0);
    let from_tip = (within - 0.5).abs() * 2.0;
    0.42 + 0.58 * from_tip.powi(2)
}

/// What a shape is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texture {
    /// One colour.
    Plain,
    /// Parallel stripes.
    Stripes,
    /// A chessboard.
    Checks,
    /// Dots on a grid.
    Dots,
}

impl Texture {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Plain, Self::Stripes, Self::Checks, Self::Dots];

    /// Whether a point has the second colour.
    fn is_second_colour(self, x: f32, y: f32) -> bool {
        let cell = |value: f32| (value * 3.0).floor() as i32;
        match self {
            Self::Plain => false,
            Self::Stripes => cell(x).rem_euclid(2) == 0,
            Self::Checks => (cell(x) + cell(y)).rem_euclid(2) == 0,
            Self::Dots => ((x * 3.0).fract().abs() - 0.5).hypot((y * 3.0).fract().abs() - 0.5) < 0.33,
        }
    }
}

/// Where and how the shape lies in the picture.
struct Pose {
    centre: [f32; 2],
    radius: f32,
    squeeze: f32,
    cosine: f32,
    sine: f32,
}

impl Pose {
    fn draw(random: &mut Random) -> Self {
        let angle = between(random, -0.6, 0.6);
        Self {
            centre: [between(random, 0.38, 0.62), between(random, 0.38, 0.62)],
            radius: between(random, 0.26, 0.40),
            squeeze: between(random, 0.85, 1.0),
            cosine: angle.cos(),
            sine: angle.sin(),
        }
    }

    /// Picture coordinates (0 to 1) to the shape's own.
    fn to_local(&self, x: f32, y: f32) -> [f32; 2] {
        let (x, y) = ((x - self.centre[0]) / self.radius, (y - self.centre[1]) / self.radius);
        [self.cosine * x + self.sine * y, (self.cosine * y - self.sine * x) / self.squeeze]
    }
}

/// Draws one picture of `size` by `size` pixels.
pub(super) fn picture(shape: Shape, texture: Texture, size: usize, random: &mut Random) -> Image {
    let pose = Pose::draw(random);
    let clutter = Clutter::draw(random);
    let colours = two_tones(random, clutter.brightness());
    let light = [between(random, -0.5, 0.5), between(random, -0.5, 0.5)];
    let noise = between(random, 4.0, 14.0);
    let mut rgb = Vec::with_capacity(size * size * 3);
    for row in 0..size {
        for column in 0..size {
            let mut sum = [0.0; 3];
            // Four samples a pixel soften the edges.
            for sample in 0..4 {
                let x = (column as f32 + 0.25 + 0.5 * (sample % 2) as f32) / size as f32;
                let y = (row as f32 + 0.25 + 0.5 * (sample / 2) as f32) / size as f32;
                let [u, v] = pose.to_local(x, y);
                let colour = match shape.contains(u, v) {
                    true => colours[usize::from(texture.is_second_colour(u, v))],
                    false => clutter.colour(x, y),
                };
                let brightness = 1.0 + light[0] * (x - 0.5) + light[1] * (y - 0.5);
                sum.iter_mut().zip(colour).for_each(|(sum, value)| *sum += 0.25 * value * brightness);
            }
            rgb.extend(sum.map(|value| (value + noise * between(random, -1.0, 1.0)).clamp(0.0, 255.0) as u8));
        }
    }
    Image::new(size, size, rgb)
}

fn between(random: &mut Random, low: f32, high: f32) -> f32 {
    random.between(f64::from(low), f64::from(high)) as f32
}

fn colour(random: &mut Random) -> [f32; 3] {
    std::array::from_fn(|_| between(random, 20.0, 235.0))
}

/// Two colours of a background and one of its strokes, not far from each other.
fn similar_colours(random: &mut Random) -> [[f32; 3]; 3] {
    let base = colour(random);
    std::array::from_fn(|_| base.map(|value| value + between(random, -40.0, 40.0)))
}

/// The two colours of a texture: both on the same side of the background's brightness.
fn two_tones(random: &mut Random, background: f32) -> [[f32; 3]; 2] {
    let first = contrasting_colour(random, background);
    let towards = if mean(first) > background { 1.35 } else { 0.5 };
    [first, first.map(|value| value * towards)]
}

/// A colour that stands out from `brightness`.
fn contrasting_colour(random: &mut Random, brightness: f32) -> [f32; 3] {
    loop {
        let colour = colour(random);
        if (mean(colour) - brightness).abs() > 45.0 {
            return colour;
        }
    }
}

fn mean(colour: [f32; 3]) -> f32 {
    colour.iter().sum::<f32>() / 3.0
}

/// A background: two colours mixed by smooth noise, with strokes across.
struct Clutter {
    colours: [[f32; 3]; 3],
    noise: [f32; 36],
    strokes: Vec<[f32; 4]>,
}

impl Clutter {
    fn draw(random: &mut Random) -> Self {
        let strokes = 1 + random.below(3);
        Self {
            colours: similar_colours(random),
            noise: std::array::from_fn(|_| between(random, 0.0, 1.0)),
            strokes: (0..strokes)
                .map(|_| {
                    let angle = between(random, 0.0, PI);
                    [angle.cos(), angle.sin(), between(random, -0.3, 1.1), between(random, 0.01, 0.035)]
                })
                .collect(),
        }
    }

    fn brightness(&self) -> f32 {
        0.5 * (mean(self.colours[0]) + mean(self.colours[1]))
    }

    fn colour(&self, x: f32, y: f32) -> [f32; 3] {
        if self.strokes.iter().any(|[a, b, offset, width]| (a * x + b * y - offset).abs() < *width) {
            return self.colours[2];
        }
        let share = self.smooth_noise(5.0 * x, 5.0 * y);
        std::array::from_fn(|channel| {
            self.colours[0][channel] * (1.0 - share) + self.colours[1][channel] * share
        })
    }

    /// Bilinear interpolation in a grid of 6 by 6 random values.
    fn smooth_noise(&self, x: f32, y: f32) -> f32 {
        let (column, row) = ((x as usize).min(4), (y as usize).min(4));
        let (u, v) = (x - column as f32, y - row as f32);
        let at = |dx: usize, dy: usize| self.noise[(row + dy) * 6 + column + dx];
        let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
        mix(mix(at(0, 0), at(1, 0), u), mix(at(0, 1), at(1, 1), u), v)
    }
}
