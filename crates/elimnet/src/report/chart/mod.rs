//! Charts as SVG, drawn here: scales, axes, lines and points.
//!
//! All charts of a kind have one small size, at which their text is readable on a phone; a wide page puts several side by
//! side. Colours, strokes and shapes come from the style sheet by class, for light and dark.

mod lines;
mod plot;
mod points;
mod scale;

pub(super) use lines::{Curve, LineChart};
pub(super) use plot::{Legend, Marker, Plot, Size, legend};
pub(super) use points::{Point, PointChart};
pub(super) use scale::Scale;
