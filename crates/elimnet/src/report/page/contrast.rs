//! The style sheet's colours, held to WCAG 2.1's contrast in light and dark.

use std::collections::HashMap;

use super::STYLE;

type Rgb = [f64; 3];

/// The colours that a block of the style sheet declares.
fn colours(block: &str) -> HashMap<String, Rgb> {
    let declarations = block.split(';').filter_map(|declaration| declaration.rsplit_once(':'));
    let colour = |(name, value): (&str, &str)| {
        let digits = value.trim().strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let channel =
            |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok().map(|byte| f64::from(byte) / 255.0);
        let name = &name[name.rfind("--")?..];
        Some((name.to_owned(), [channel(0)?, channel(2)?, channel(4)?]))
    };
    declarations.filter_map(colour).collect()
}

/// Light, and dark over it.
fn themes() -> [HashMap<String, Rgb>; 2] {
    let (light, rest) = STYLE.split_once("@media (prefers-color-scheme: dark)").expect("a dark theme");
    let dark = rest.split_once("* {").expect("rules follow").0;
    [colours(light), colours(dark)]
}

/// WCAG's contrast of two colours, 1 to 21.
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let luminance = |colour: Rgb| {
        let linear = colour.map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn contrast_is_wcags() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
    let grey = [f64::from(0x76) / 255.0; 3]; // the lightest grey that passes on white
    assert!((contrast(grey, [1.0; 3]) - 4.54).abs() < 0.01);
}

#[test]
fn text_and_lines_stand_out_in_both_themes() {
    for theme in themes() {
        let of = |name: &str| theme[name];
        for text in ["--ink", "--soft", "--link"] {
            for ground in ["--paper", "--panel"] {
                let found = contrast(of(text), of(ground));
                assert!(found >= 4.5, "{text} on {ground}: {found:.2}");
            }
        }
        for series in 1..=6 {
            let found = contrast(of(&format!("--s{series}")), of("--paper"));
            assert!(found >= 4.5, "series {series}: {found:.2}");
        }
    }
}

#[test]
fn counts_stand_out_from_every_shade() {
    let strongest = STYLE.matches("color-mix(in srgb, var(--right)").count() as f64 * 0.05;
    assert_eq!(strongest, 0.4, "eight shades, the last of 40 %");
    for theme in themes() {
        for colour in ["--right", "--wrong"] {
            let (tint, paper) = (theme[colour], theme["--paper"]);
            let shade: Vec<f64> =
                (0..3).map(|c| tint[c] * strongest + paper[c] * (1.0 - strongest)).collect();
            let found = contrast(theme["--ink"], [shade[0], shade[1], shade[2]]);
            assert!(found >= 4.5, "{colour}: {found:.2}");
        }
    }
}
