//! From values to places: linear and logarithmic, with ticks at round numbers.

use crate::report::number;

/// What an axis covers, and where its ticks are.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    ticks: Vec<Tick>,
}

/// A marked value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Tick {
    pub(in crate::report) value: f64,
    pub(in crate::report) label: String,
}

/// About as many ticks as an axis of a small chart has room for.
const TICKS: f64 = 5.0;

impl Scale {
    /// From tick to tick around the values; `None` without a finite one.
    pub(in crate::report) fn linear(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = range(values)?;
        // A single value stands in the middle of a step.
        let (low, high) =
            if high > low { (low, high) } else { (low - low.abs() / 2.0, high + high.abs() / 2.0) };
        let (low, high) = if high > low { (low, high) } else { (-0.5, 0.5) };
        let step = round_step((high - low) / TICKS);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let decimals = (-step.log10().floor() as i32).max(0) as usize;
        // 0.25 has a digit more than its magnitude
        let decimals = decimals + usize::from((step * 10f64.powi(decimals as i32)).fract() > 1e-6);
        let tick = |index: i64| {
            let value = index as f64 * step;
            Tick { value, label: tick_label(value, decimals) }
        };
        let ticks = (first as i64..=last as i64).map(tick).collect();
        Some(Self { low: first * step, high: last * step, is_log: false, ticks })
    }

    /// Shares and scores: as [`Scale::linear`], but never beyond 0 and 1.
    pub(in crate::report) fn share(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let scale = Self::linear(values)?;
        let (low, high) = (scale.low.max(0.0), scale.high.min(1.0));
        let inside = |tick: &Tick| tick.value >= low - 1e-9 && tick.value <= high + 1e-9;
        Some(Self { low, high, ticks: scale.ticks.into_iter().filter(inside).collect(), ..scale })
    }

    /// Whole numbers from the first to the last, at most about a dozen of them marked.
    pub(in crate::report) fn counting(first: usize, last: usize) -> Self {
        let step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10_000]
            .into_iter()
            .find(|step| (last - first) / step < 10)
            .unwrap_or(usize::MAX);
        let is_marked = |value: &usize| if step == 1 { true } else { value.is_multiple_of(step) };
        let tick = |value: usize| Tick { value: value as f64, label: value.to_string() };
        let ticks = (first..=last).filter(is_marked).map(tick).collect();
        // One value alone has room on both sides.
        let room = if first == last { 0.5 } else { 0.0 };
        Self { low: first as f64 - room, high: last as f64 + room, is_log: false, ticks }
    }

    /// Positive values, a little room around them; ticks at 1, 2 and 5 times powers of ten. `None` without a positive
    /// one.
    pub(in crate::report) fn logarithmic(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = range(values.into_iter().filter(|value| *value > 0.0))?;
        let room = (high / low).powf(0.06).max(1.15);
        let (low, high) = (low / room, high * room);
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let at = |factors: &'static [f64]| {
            let all = decades.clone().flat_map(|decade| factors.iter().map(move |f| f * 10f64.powi(decade)));
            all.filter(|value| *value >= low && *value <= high).collect::<Vec<f64>>()
        };
        // The finest that is not too fine for a small chart.
        let finest: [&[f64]; 5] = [
            &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
            &[1.0, 2.0, 3.0, 5.0, 7.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        let values = finest.into_iter().map(at).find(|ticks| ticks.len() <= 5).unwrap_or_else(|| {
            let all = at(&[1.0]);
            let every = all.len().div_ceil(5);
            all.into_iter().step_by(every).collect()
        });
        let ticks = values
            .into_iter()
            .map(|value| Tick { value, label: number::short(value).replace('\u{202F}', " ") })
            .collect();
        Some(Self { low, high, is_log: true, ticks })
    }

    /// Where a value is, 0 at the low end and 1 at the high one.
    pub(in crate::report) fn place(&self, value: f64) -> f64 {
        if self.is_log {
            return (value / self.low).ln() / (self.high / self.low).ln();
        }
        (value - self.low) / (self.high - self.low)
    }

    pub(in crate::report) fn ticks(&self) -> &[Tick] {
        &self.ticks
    }
}

fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

fn tick_label(value: f64, decimals: usize) -> String {
    match value {
        _ if value == 0.0 => "0".to_owned(),
        _ if decimals > 4 => format!("{value:.0e}"),
        _ => format!("{value:.decimals$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks().iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_around_the_values() {
        for (values, expected) in [
            (&[0.31, 0.78][..], &["0.3", "0.4", "0.5", "0.6", "0.7", "0.8"][..]),
            (&[0.0, 1.0], &["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (&[0.62, 0.64], &["0.620", "0.625", "0.630", "0.635", "0.640"]),
            (&[3.0, 12.0], &["2", "4", "6", "8", "10", "12"]),
            (&[f64::NAN, 2.0, f64::INFINITY], &["1.0", "1.5", "2.0", "2.5", "3.0"]),
            (&[0.0], &["-0.4", "-0.2", "0", "0.2", "0.4"]),
        ] {
            let scale = Scale::linear(values.iter().copied()).unwrap();
            let labels = labels(&scale);
            assert!(expected.iter().all(|label| labels.contains(label)), "{values:?}: {labels:?}");
            assert!((0.0..=1.0).contains(&scale.place(values[values.len() / 2].clamp(-9.0, 9.0))));
        }
        assert_eq!(Scale::linear([]), None);
        assert_eq!(Scale::linear([f64::NAN]), None);
    }

    #[test]
    fn shares_stay_between_zero_and_one() {
        let scale = Scale::share([0.91, 1.0]).unwrap();
        assert_eq!((labels(&scale).first(), labels(&scale).last()), (Some(&"0.90"), Some(&"1.00")));
        assert_eq!(scale.place(1.0), 1.0);
        let scale = Scale::share([0.0]).unwrap();
        assert_eq!((scale.place(0.0), labels(&scale)[0]), (0.0, "0"));
    }

    #[test]
    fn logarithmic_ticks_are_few_and_places_are_ratios() {
        for (values, expected) in [
            ([2e4, 11e6], &["100 k", "1 M", "10 M"][..]),
            ([6e5, 1.2e6], &["600 k", "700 k", "800 k", "900 k", "1 M"]),
            ([1.0, 1e9], &["1", "10 k", "100 M"]),
        ] {
            let scale = Scale::logarithmic(values).unwrap();
            let labels = labels(&scale);
            assert!(labels.len() >= 2 && labels.len() <= 5, "{labels:?}");
            assert!(labels.iter().filter(|label| expected.contains(label)).count() >= 2, "{labels:?}");
            let middle = scale.place((values[0] * values[1]).sqrt());
            assert!((middle - 0.5).abs() < 1e-12, "{middle}");
        }
        assert_eq!(Scale::logarithmic([0.0, -1.0]), None);
    }

    #[test]
    fn counting_marks_whole_numbers() {
        assert_eq!(labels(&Scale::counting(1, 4)), ["1", "2", "3", "4"]);
        assert_eq!(labels(&Scale::counting(1, 20)), ["2", "4", "6", "8", "10", "12", "14", "16", "18", "20"]);
        assert_eq!(Scale::counting(1, 1).place(1.0), 0.5);
    }
}
