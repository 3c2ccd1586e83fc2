//! What it came to, in plain words and a few large numbers.

use crate::report::detail::RunDetail;
use crate::report::findings::Findings;
use crate::report::markup::{Element, element};
use crate::report::number::{duration, percent, score, short, three_digits, whole, wilson};
use crate::report::run::Origin;
use crate::scan::ScanRecord;

/// Title and top of the page about one directory.
pub(super) fn of_one(findings: &Findings) -> (String, Element) {
    let Findings { name, run, scans, elimination, .. } = findings;
    let (kind, subject, lede, figures) = match (run, elimination) {
        (Some(run), None) => ("Training", run.summary.model.clone(), lede(run), figures(run)),
        (Some(run), Some(record)) => {
            ("Elimination", run.summary.model.clone(), super::elimination::lede(record), figures(run))
        }
        (None, _) => ("Scan", backbones(scans), super::cuts::lede(scans), Vec::new()),
    };
    let figures = (!figures.is_empty()).then(|| element("dl").class("figures").children(figures));
    let header = element("header")
        .child(element("p").class("over").text(format!("{kind} report")))
        .child(element("h1").text(&subject))
        .child(element("p").class("meta").text(name))
        .child(element("p").class("lede").text(lede))
        .children(figures);
    (format!("{subject}: {} report", kind.to_lowercase()), header)
}

fn lede(run: &RunDetail) -> String {
    let sentences = [quality(run), unbeaten(run), size(run), confusion(run)];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Each backbone once.
fn backbones(scans: &[ScanRecord]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for scan in scans {
        if !names.contains(&scan.backbone.as_str()) {
            names.push(&scan.backbone);
        }
    }
    names.join(", ")
}

/// The top of the page about several.
pub(super) fn of_several(count: usize, runs: &[&RunDetail]) -> Element {
    let mut ranked = runs.to_vec();
    ranked.sort_by(|a, b| b.macro_f1().total_cmp(&a.macro_f1()));
    let best = ranked.first().map(|best| {
        format!(
            "{} has the highest macro-F1 on its {} images, {}, with {} parameters.",
            best.result.label(),
            best.judged_on(),
            score(best.macro_f1()),
            short(best.summary.parameters as f64)
        )
    });
    let smallest = runs.iter().min_by_key(|run| run.summary.parameters).map(|smallest| {
        let parameters = short(smallest.summary.parameters as f64);
        let name = smallest.result.label();
        format!("The smallest is {name}: {parameters} parameters, macro-F1 {}.", score(smallest.macro_f1()))
    });
    let lede: Vec<String> = best.into_iter().chain(smallest).collect();
    element("header")
        .child(element("p").class("over").text("Comparison"))
        .child(element("h1").text(format!("{count} runs side by side")))
        .child(element("p").class("lede").text(lede.join(" ")))
        .children(differing_data(runs))
}

/// Scores of different images can't be compared, so it is said.
fn differing_data(runs: &[&RunDetail]) -> Option<Element> {
    let first = runs.first()?;
    let differs = runs.iter().any(|run| run.record.data_fingerprint != first.record.data_fingerprint);
    let warning = "Not all of these runs have the same images in the same splits, so their scores are not about the \
                   same thing.";
    differs.then(|| element("p").child(element("strong").text("Note: ")).text(warning))
}

fn quality(run: &RunDetail) -> Option<String> {
    let summary = &run.summary;
    let Some(test) = &summary.test else {
        let best = run.history.iter().rev().find(|epoch| epoch.best)?;
        let when = match best.epoch {
            0 => "Before its first step".to_owned(),
            epoch => format!("After its best epoch, the {} of {}", ordinal(epoch), summary.epochs),
        };
        return Some(format!(
            "{when}, the network has a macro-F1 of {} and an accuracy of {} on the \
             validation images. There are no test images, so the epoch was chosen by the images that judge it here.",
            score(summary.validation.macro_f1),
            percent(summary.validation.accuracy)
        ));
    };
    let total = test.confusion.total();
    let right = (test.accuracy * total as f64).round();
    let (low, high) = wilson(right, total.max(1) as f64);
    Some(format!(
        "The network names {right} of {} test images right, {} (95\u{202F}% interval {:.1} to {:.1}\u{202F}%). Its macro-F1, the mean \
         over the {} classes, is {}.",
        whole(total),
        percent(test.accuracy),
        low * 100.0,
        high * 100.0,
        summary.classes.len(),
        score(test.macro_f1)
    ))
}

fn unbeaten(run: &RunDetail) -> Option<String> {
    let is_start = run.summary.best_epoch == Some(0);
    is_start.then(|| "No epoch was better than the start, whose weights were kept.".to_owned())
}

fn size(run: &RunDetail) -> Option<String> {
    let uncut = run.uncut.as_ref()?;
    let share = |part: f64, whole: f64| format!("{}\u{202F}%", three_digits(part / whole * 100.0));
    let parameters = share(run.summary.parameters as f64, uncut.parameters as f64);
    let operations = uncut.multiply_adds.map(|uncut| share(run.summary.multiply_adds as f64, uncut as f64));
    let operations = operations.map(|share| format!(" and {share} of its multiply-adds")).unwrap_or_default();
    match run.result.origin {
        Origin::Pretrained => None,
        Origin::Eliminated | Origin::Scratch if run.summary.parameters == uncut.parameters => None,
        Origin::Eliminated | Origin::Scratch => {
            Some(format!("It has {parameters} of the parameters of the uncut {}{operations}.", uncut.name))
        }
    }
}

fn confusion(run: &RunDetail) -> Option<String> {
    let test = run.summary.test.as_ref()?;
    let classes = &run.summary.classes;
    let (truth, predicted, count) = super::classes::worst(&test.confusion).into_iter().next()?;
    let support: u64 = test.confusion.rows()[truth].iter().sum();
    Some(format!(
        "Most often it takes {} for {}: {count} of {support} images.",
        quoted(&classes[truth]),
        quoted(&classes[predicted])
    ))
}

fn quoted(name: &str) -> String {
    format!("“{name}”")
}

fn ordinal(number: usize) -> String {
    let suffix = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

fn figures(run: &RunDetail) -> Vec<Element> {
    let summary = &run.summary;
    let figure = |name: &str, number: String, more: String| {
        element("div")
            .child(element("dt").text(name))
            .child(element("dd").text(number))
            .child(element("dd").class("more").text(more))
    };
    let accuracy = summary.test.as_ref().map_or(summary.validation.accuracy, |test| test.accuracy);
    let on = format!("on {} images", run.judged_on());
    let mut figures = vec![
        figure("Macro-F1", score(run.macro_f1()), on.clone()),
        figure("Accuracy", percent(accuracy), on),
        figure("Parameters", short(summary.parameters as f64), whole(summary.parameters as u64)),
        figure(
            "Multiply-adds",
            short(summary.multiply_adds as f64),
            format!("an image of {0} × {0}", summary.image_size),
        ),
    ];
    if let (Some(latency), Some(timing)) = (run.latency_ms(), &run.result.timing) {
        let more = format!("an image, {} at once", timing.batch_size);
        figures.push(figure("Time", format!("{} ms", three_digits(latency)), more));
    }
    let speed = format!("{} epochs, {} images/s", summary.epochs, three_digits(summary.images_per_second));
    figures.push(figure("Training", duration(summary.seconds), speed));
    figures
}

#[cfg(test)]
mod tests {
    #[test]
    fn ordinals_are_english() {
        for (number, expected) in
            [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (23, "23rd"), (112, "112th")]
        {
            assert_eq!(super::ordinal(number), expected);
        }
    }
}
