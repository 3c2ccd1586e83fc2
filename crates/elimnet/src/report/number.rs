//! Numbers as people read them.

// A narrow space that does not break keeps a number and its unit together.

/// `68.2 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}\u{202F}%", share * 100.0)
}

/// Three decimals: as many as a few hundred images can tell apart.
pub(super) fn score(value: f64) -> String {
    format!("{value:.3}")
}

/// A whole number with thin spaces between thousands.
pub(super) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202F}');
        }
        text.push(digit);
    }
    text
}

/// At most three digits and a prefix: `684 k`, `11.2 M`, `1.52 G`; below a thousand as it is.
pub(super) fn short(number: f64) -> String {
    for (unit, name) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        // 999 950 is 1 M, not 1000 k
        if number >= unit * 0.9995 {
            return format!("{}\u{202F}{name}", three_digits(number / unit));
        }
    }
    three_digits(number)
}

/// Three digits that count, no zeros behind the point.
pub(super) fn three_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "–".to_owned() };
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `340 ms`, `12.5 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 1.0 {
        return format!("{} ms", three_digits(seconds * 1e3));
    }
    if seconds < 59.95 {
        return format!("{} s", three_digits((seconds * 10.0).round() / 10.0));
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    format!("{} h {} min", whole / 3600, whole % 3600 / 60)
}

/// The 95 % interval of a share that was `hits` of `total`, by Wilson: it stays inside 0..1 and is right for few images.
///
/// # Source
/// E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22, 1927.
pub(super) fn wilson(hits: f64, total: f64) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let share = hits / total;
    let square = Z * Z / total;
    let centre = (share + square / 2.0) / (1.0 + square);
    let half = Z / (1.0 + square) * (share * (1.0 - share) / total + square / (4.0 * total)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (7.0, "7"),
            (999.0, "999"),
            (683_846.0, "684 k"),
            (999_949.0, "1 M"),
            (11_179_590.0, "11.2 M"),
            (1.516e9, "1.52 G"),
            (0.0123, "0.0123"),
        ] {
            assert_eq!(short(number).replace('\u{202F}', " "), expected);
        }
        assert_eq!(whole(11_179_590), "11\u{202F}179\u{202F}590");
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (seconds, expected) in [
            (0.0123, "12.3 ms"),
            (12.34, "12.3 s"),
            (59.96, "1 min 0 s"),
            (200.4, "3 min 20 s"),
            (7500.0, "2 h 5 min"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn intervals_are_wilsons() {
        // Roots of n (p - q)^2 = z^2 q (1 - q) in q, found by bisection.
        for (hits, total, expected) in [
            (81.0, 263.0, (0.255_288_519_9, 0.366_209_577_0)),
            (0.0, 10.0, (0.0, 0.277_532_799_9)),
            (10.0, 10.0, (0.722_467_200_1, 1.0)),
        ] {
            let (low, high) = wilson(hits, total);
            assert!((low - expected.0).abs() < 1e-9 && (high - expected.1).abs() < 1e-9, "{low} {high}");
        }
    }
}
