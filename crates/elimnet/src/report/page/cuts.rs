//! What a scan found: every cut by cost, by depth, and as a table.

use super::pareto::{self, Candidate};
use super::table::{Cell, Column, sortable};
use super::{scrolling, section};
use crate::eliminate::{EliminationRecord, NetworkRecord};
use crate::report::chart::{Curve, Legend, LineChart, Marker, Plot, Scale, Size, legend};
use crate::report::markup::{Element, element};
use crate::report::number::{score, short, three_digits};
use crate::scan::{CutRecord, Estimate, ScanRecord};

/// Quality against cost of every cut, with what was fine-tuned in full.
pub(super) fn pareto(scans: &[ScanRecord], elimination: Option<&EliminationRecord>) -> Option<Element> {
    let cuts = scans
        .iter()
        .enumerate()
        .flat_map(|(series, scan)| scan.cuts.iter().map(move |cut| candidate(series, scan, cut)));
    let networks = elimination.into_iter().flat_map(networks);
    let achieved = networks.filter_map(|(role, network)| achieved(role, network, scans));
    let candidates: Vec<Candidate> = cuts.chain(achieved).collect();
    let names: Vec<String> = scans.iter().map(name_of).collect();
    let figure = pareto::figure(&candidates, &names)?;
    let mut introduction = "Every cut by what it costs and by the macro-F1 to expect on the validation images: \
                            predicted from short fine-tunes where there were some, else that of a linear probe, which \
                            is biased for deep cuts. Lines are 95 % intervals; the dotted one joins the cuts that \
                            nothing beats at their price."
        .to_owned();
    if let Some(elimination) = elimination {
        introduction +=
            &format!(" Filled points were fine-tuned in full and judged on {} images.", elimination.split);
    }
    Some(section("scores", "What a smaller network is expected to give up", &introduction).child(figure))
}

fn candidate(series: usize, scan: &ScanRecord, cut: &CutRecord) -> Candidate {
    let probe = Estimate { value: cut.probe.macro_f1, low: cut.probe.low, high: cut.probe.high };
    let expected = cut.predicted_macro_f1.unwrap_or(probe);
    Candidate {
        series,
        name: format!("{}@{} at {} px", scan.backbone, cut.address(), scan.image_size),
        macro_f1: expected.value,
        interval: Some((expected.low, expected.high)),
        parameters: cut.parameters as f64,
        multiply_adds: cut.multiply_adds as f64,
        latency_ms: cut.latency_ms.get(&1).copied(),
        is_achieved: false,
    }
}

fn achieved(role: &str, network: &NetworkRecord, scans: &[ScanRecord]) -> Option<Candidate> {
    let is_its =
        |scan: &ScanRecord| (&scan.backbone, scan.image_size) == (&network.backbone, network.image_size);
    Some(Candidate {
        series: scans.iter().position(is_its).unwrap_or(0),
        name: format!("{role}, {}, fine-tuned", address(network)),
        macro_f1: network.macro_f1?,
        interval: network.low.zip(network.high),
        parameters: network.parameters as f64,
        multiply_adds: network.multiply_adds as f64,
        latency_ms: network.latency_ms.get(&1).copied(),
        is_achieved: true,
    })
}

/// The networks that were fine-tuned in full, each once.
pub(super) fn networks(elimination: &EliminationRecord) -> Vec<(&'static str, &NetworkRecord)> {
    let EliminationRecord { winner, uncut, baseline, .. } = elimination;
    let mut networks = vec![("winner", winner)];
    let others = [("uncut", uncut), ("deepest cut that fits", baseline)];
    networks.extend(others.into_iter().filter(|(_, other)| address(other) != address(winner)));
    networks
}

/// `resnet18@layer2.1 at 64 px`.
pub(super) fn address(network: &NetworkRecord) -> String {
    let cut = network.cut.as_ref().map(|cut| format!("@{cut}")).unwrap_or_default();
    format!("{}{cut} at {} px", network.backbone, network.image_size)
}

fn name_of(scan: &ScanRecord) -> String {
    format!("{} at {} px", scan.backbone, scan.image_size)
}

/// A chart for each backbone and image size: the score to expect, from the stem up.
pub(super) fn depth(scans: &[ScanRecord], elimination: Option<&EliminationRecord>) -> Option<Element> {
    let charts: Vec<Element> = scans.iter().filter_map(|scan| depth_chart(scan, elimination)).collect();
    if charts.is_empty() {
        return None;
    }
    let introduction = "How much the features after each block know about the classes, without fine-tuning. The band \
                        is the 95 % interval of the probe; the ringed cut is the knee, behind which more computation \
                        brings the least.";
    let has_predictions =
        scans.iter().flat_map(|scan| &scan.cuts).any(|cut| cut.predicted_macro_f1.is_some());
    let has_anchors = scans.iter().any(|scan| !scan.anchors.is_empty());
    let shown = [
        Some("linear probe"),
        has_predictions.then_some("predicted after fine-tuning"),
        has_anchors.then_some("short fine-tune"),
        elimination.map(|_| "fine-tuned in full"),
    ];
    let entries = shown.into_iter().enumerate().filter_map(|(series, name)| {
        Some(Legend { series, name: name?.to_owned(), marker: Marker::of(series) })
    });
    let figure = element("figure").child(legend(entries)).children(charts);
    Some(section("depth", "How deep is deep enough", introduction).child(figure))
}

fn depth_chart(scan: &ScanRecord, elimination: Option<&EliminationRecord>) -> Option<Element> {
    let curves = [probe(scan), predicted(scan), anchors(scan), fine_tuned(scan, elimination)];
    let curves: Vec<Curve> = curves.into_iter().filter(|curve| !curve.points.is_empty()).collect();
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value, _)| *value));
    let bands = curves.iter().flat_map(|curve| curve.band.iter().flat_map(|&(_, low, high)| [low, high]));
    let y = Scale::share(values.chain(bands))?;
    let last = scan.plain_cuts().map(|cut| cut.index + 1).max()?;
    let plot = Plot {
        size: Size::Wide,
        title: format!("Macro-F1 by depth of {}", name_of(scan)),
        description: format!("{last} blocks, from the stem to the whole network"),
        x: Scale::counting(1, last),
        y,
        x_title: "blocks kept",
    };
    let name = name_of(scan);
    let chart = scrolling(&name, LineChart { plot, curves }.drawn());
    Some(element("div").class("panel").child(element("h3").text(name)).child(chart))
}

fn curve(series: usize) -> Curve {
    let marker = Marker::of(series);
    Curve {
        series,
        marker,
        points: Vec::new(),
        band: Vec::new(),
        marked: None,
        is_secondary: false,
        is_joined: true,
    }
}

fn probe(scan: &ScanRecord) -> Curve {
    let cuts: Vec<&CutRecord> = scan.plain_cuts().collect();
    let point = |cut: &&CutRecord| {
        let name = format!(
            "{}: probe {} ({} to {}), {} parameters",
            cut.name,
            score(cut.probe.macro_f1),
            score(cut.probe.low),
            score(cut.probe.high),
            short(cut.parameters as f64)
        );
        ((cut.index + 1) as f64, cut.probe.macro_f1, name)
    };
    Curve {
        points: cuts.iter().map(point).collect(),
        band: cuts.iter().map(|cut| ((cut.index + 1) as f64, cut.probe.low, cut.probe.high)).collect(),
        marked: cuts.iter().position(|cut| scan.knee.as_ref() == Some(&cut.name)),
        ..curve(0)
    }
}

fn predicted(scan: &ScanRecord) -> Curve {
    let point = |cut: &CutRecord| {
        let Estimate { value, low, high } = cut.predicted_macro_f1?;
        let name = format!("{}: predicted {} ({} to {})", cut.name, score(value), score(low), score(high));
        Some(((cut.index + 1) as f64, value, name))
    };
    Curve { points: scan.plain_cuts().filter_map(point).collect(), is_secondary: true, ..curve(1) }
}

fn anchors(scan: &ScanRecord) -> Curve {
    let points = scan.anchors.iter().map(|anchor| {
        let name =
            format!("{}: {} after {} epochs", anchor.name, score(anchor.tuned_macro_f1), anchor.epochs);
        ((anchor.index + 1) as f64, anchor.tuned_macro_f1, name)
    });
    Curve { points: points.collect(), is_joined: false, ..curve(2) }
}

fn fine_tuned(scan: &ScanRecord, elimination: Option<&EliminationRecord>) -> Curve {
    let networks = elimination.into_iter().flat_map(networks);
    let points = networks.filter_map(|(role, network)| {
        if (&network.backbone, network.image_size) != (&scan.backbone, scan.image_size) {
            return None;
        }
        let cut = match &network.cut {
            Some(address) => scan.cuts.iter().find(|cut| cut.address() == *address)?,
            None => scan.plain_cuts().last()?,
        };
        let value = network.macro_f1?;
        Some(((cut.index + 1) as f64, value, format!("{role}, {}: {} in full", cut.address(), score(value))))
    });
    Curve { points: points.collect(), is_joined: false, ..curve(3) }
}

/// What the scans say in words: for each the knee beside the whole network.
pub(super) fn lede(scans: &[ScanRecord]) -> String {
    let sentences = scans.iter().filter_map(|scan| {
        let (knee, last) = (scan.knee.as_ref()?, scan.plain_cuts().last()?);
        let knee = scan.plain_cuts().find(|cut| cut.name == *knee)?;
        let share = |part: f64, whole: f64| format!("{}\u{202F}%", three_digits(part / whole * 100.0));
        Some(format!(
            "{}: {} cuts. The knee is {}, with a macro-F1 of {} ({} to {}), {} of the parameters and {} of the \
             multiply-adds of the whole network, which has {}.",
            name_of(scan),
            scan.plain_cuts().count(),
            knee.name,
            score(knee.expected_macro_f1()),
            score(knee.probe.low),
            score(knee.probe.high),
            share(knee.parameters as f64, last.parameters as f64),
            share(knee.multiply_adds as f64, last.multiply_adds as f64),
            score(last.expected_macro_f1())
        ))
    });
    sentences.collect::<Vec<_>>().join(" ")
}

/// Every number of every cut.
pub(super) fn table(scans: &[ScanRecord]) -> Element {
    use Column::{Numbers, Words};
    let columns = [
        Words("Cut"),
        Words("Backbone"),
        Numbers("Pixels"),
        Numbers("Channels"),
        Numbers("Parameters"),
        Numbers("Multiply-adds"),
        Numbers("File, MB"),
        Numbers("Memory, MB"),
        Numbers("One image, ms"),
        Numbers("Probe F1"),
        Numbers("from"),
        Numbers("to"),
        Numbers("Predicted F1"),
        Numbers("k-NN"),
        Numbers("Class mean"),
        Numbers("LogME"),
    ];
    let rows = scans.iter().flat_map(|scan| scan.cuts.iter().map(move |cut| row(scan, cut)));
    let images = scans.first().map(|scan| (scan.train_images, scan.validation_images)).unwrap_or_default();
    let introduction = format!(
        "Probes were fitted to {} training images and judged on {} validation images; k-NN and class mean are \
         accuracies.",
        images.0, images.1
    );
    let table = sortable("Every cut", &columns, rows);
    section("cuts", "Cut by cut", &introduction).child(table)
}

fn row(scan: &ScanRecord, cut: &CutRecord) -> (String, Vec<Cell>) {
    let megabytes = |bytes: f64| Cell::number(bytes, three_digits(bytes / 1e6));
    let count = |count: f64| Cell::number(count, short(count));
    let whole = |count: usize| Cell::number(count as f64, count.to_string());
    let cells = vec![
        Cell::words(&scan.backbone),
        whole(scan.image_size),
        whole(cut.out_channels),
        count(cut.parameters as f64),
        count(cut.multiply_adds as f64),
        megabytes(cut.file_bytes as f64),
        megabytes(cut.peak_activation_bytes as f64),
        Cell::known(cut.latency_ms.get(&1).copied(), three_digits),
        Cell::score(Some(cut.probe.macro_f1)).with_bar(cut.probe.macro_f1),
        Cell::score(Some(cut.probe.low)),
        Cell::score(Some(cut.probe.high)),
        Cell::score(cut.predicted_macro_f1.map(|predicted| predicted.value)),
        Cell::score(Some(cut.knn_accuracy)),
        Cell::score(Some(cut.class_mean_accuracy)),
        Cell::known(cut.logme, three_digits),
    ];
    let is_knee = cut.is_plain() && scan.knee.as_ref() == Some(&cut.name);
    (if is_knee { format!("{} (knee)", cut.name) } else { cut.address() }, cells)
}
