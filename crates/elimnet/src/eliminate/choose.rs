//! Which candidates are worth a fine-tune.

use crate::scan::{CutRecord, Scan};

/// A candidate of one of the scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pick {
    /// Index of the scan.
    pub(crate) scan: usize,
    /// Index of the line.
    pub(crate) line: usize,
}

impl Pick {
    pub(crate) fn record(self, scans: &[Scan]) -> &CutRecord {
        &scans[self.scan].record.cuts[self.line]
    }

    /// All candidates of all scans.
    pub(crate) fn all(scans: &[Scan]) -> impl Iterator<Item = Self> {
        scans
            .iter()
            .enumerate()
            .flat_map(|(scan, found)| (0..found.record.cuts.len()).map(move |line| Self { scan, line }))
    }

    /// `resnet18@layer2.1 at 64x64`.
    pub(crate) fn name(self, scans: &[Scan]) -> String {
        let record = &scans[self.scan].record;
        let size = record.image_size;
        format!("{}@{} at {size}x{size}", record.backbone, self.record(scans).address())
    }
}

/// The uncut trunk that is expected to be best.
pub(crate) fn best_uncut(scans: &[Scan]) -> Option<Pick> {
    let uncut = scans.iter().enumerate().filter_map(|(scan, found)| {
        let line = found.record.cuts.iter().rposition(CutRecord::is_plain)?;
        Some(Pick { scan, line })
    });
    uncut.max_by(|a, b| expected(*a, scans).total_cmp(&expected(*b, scans)))
}

/// Those of `front`, best first, that the first of them does not beat by a standard error of theirs, whatever they cost: the
/// others have no chance where the highest macro-F1 wins.
pub(crate) fn contenders(front: &[Pick], scans: &[Scan]) -> Vec<Pick> {
    let Some(&best) = front.first() else { return Vec::new() };
    let in_reach =
        |pick: &Pick| expected(*pick, scans) + standard_error(pick.record(scans)) >= expected(best, scans);
    front.iter().copied().filter(in_reach).collect()
}

fn expected(pick: Pick, scans: &[Scan]) -> f64 {
    pick.record(scans).expected_macro_f1()
}

/// What one would take without looking at the images: the deepest cut that fits, of several backbones and image sizes the
/// one with the most multiply-adds.
pub(crate) fn static_baseline(feasible: &[Pick], scans: &[Scan]) -> Option<Pick> {
    let plain = feasible.iter().copied().filter(|pick| pick.record(scans).is_plain());
    plain.max_by_key(|pick| pick.record(scans).multiply_adds)
}

/// Those that no other one beats in expected macro-F1, parameters and latency at once, best macro-F1 first.
///
/// Macro-F1 is an estimate: another network has to be better by a standard error to beat one, for what the scan takes for
/// equally good, a fine-tune may tell apart.
pub(crate) fn pareto(feasible: &[Pick], scans: &[Scan]) -> Vec<Pick> {
    let costs = |pick: &Pick| {
        let cut = pick.record(scans);
        (cut.parameters, cut.latency_ms.get(&1).copied().unwrap_or(0.0))
    };
    let beaten = |pick: &&Pick| {
        let (own, standard_error) = (expected(**pick, scans), standard_error(pick.record(scans)));
        feasible.iter().any(|other| {
            let (other_costs, own_costs) = (costs(other), costs(pick));
            let cheaper = other_costs.0 <= own_costs.0 && other_costs.1 <= own_costs.1;
            other != *pick && cheaper && expected(*other, scans) > own + standard_error
        })
    };
    let mut front: Vec<Pick> = feasible.iter().filter(|pick| !beaten(pick)).copied().collect();
    front.sort_by(|a, b| expected(*b, scans).total_cmp(&expected(*a, scans)).then(a.cmp(b)));
    front
}

/// A 95 % interval of a normal distribution is 3.92 standard errors wide.
fn standard_error(cut: &CutRecord) -> f64 {
    let (low, high) = cut.predicted_macro_f1.map_or((cut.probe.low, cut.probe.high), |p| (p.low, p.high));
    (high - low) / 3.92
}

/// Those expected to stay within `drop` of `reference`, fastest first; then all others, best first.
pub(crate) fn fastest_within(front: &[Pick], scans: &[Scan], reference: f64, drop: f64) -> Vec<Pick> {
    let (mut within, others): (Vec<Pick>, Vec<Pick>) =
        front.iter().partition(|pick| expected(**pick, scans) >= reference - drop);
    let latency = |pick: &Pick| pick.record(scans).latency_ms.get(&1).copied().unwrap_or(0.0);
    within.sort_by(|a, b| latency(a).total_cmp(&latency(b)));
    within.into_iter().chain(others).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::scan::{ProbeScores, ScanRecord};

    pub(crate) fn cut(name: &str, macro_f1: f64, parameters: usize, latency: f64) -> CutRecord {
        CutRecord {
            name: name.to_owned(),
            index: 0,
            out_channels: 8,
            parameters,
            multiply_adds: parameters as u64,
            file_bytes: 4 * parameters as u64,
            peak_activation_bytes: 1,
            latency_ms: [(1, latency)].into(),
            probe: ProbeScores { accuracy: macro_f1, macro_f1, low: macro_f1, high: macro_f1 },
            knn_accuracy: 0.5,
            class_mean_accuracy: 0.5,
            logme: None,
            predicted_macro_f1: None,
            dropped: Vec::new(),
            tail: None,
        }
    }

    fn scan(backbone: &str, cuts: Vec<CutRecord>) -> Scan {
        let record = ScanRecord {
            backbone: backbone.to_owned(),
            image_size: 64,
            images: 2,
            seconds: 1.0,
            forward_seconds: 1.0,
            probe_seconds: 0.0,
            cached: false,
            train_images: 1,
            validation_images: 1,
            classes: Vec::new(),
            device: "cpu".to_owned(),
            precision: "f32".to_owned(),
            weights_from: "scratch".to_owned(),
            knee: None,
            cuts,
            anchors: Vec::new(),
        };
        Scan { record, candidates: Vec::new(), settled: Default::default(), tried: Default::default() }
    }

    fn scans() -> Vec<Scan> {
        let a = vec![cut("a0", 0.4, 10, 1.0), cut("a1", 0.7, 20, 2.0), cut("a2", 0.69, 40, 3.0)];
        let mut tail = cut("b0", 0.9, 90, 1.5);
        tail.tail = Some("conv:8x1".to_owned());
        vec![scan("a", a), scan("b", vec![cut("b0", 0.5, 15, 0.5), cut("b1", 0.72, 50, 4.0), tail])]
    }

    fn names(picks: &[Pick], scans: &[Scan]) -> Vec<String> {
        picks.iter().map(|pick| pick.record(scans).address()).collect()
    }

    #[test]
    fn what_may_be_as_good_is_not_beaten() {
        let mut scans = scans();
        let feasible: Vec<Pick> = Pick::all(&scans).filter(|pick| pick.scan == 0).collect();
        assert_eq!(names(&pareto(&feasible, &scans), &scans), ["a1", "a0"], "a2 is a hundredth below a1");
        let probe = &mut scans[0].record.cuts[2].probe;
        (probe.low, probe.high) = (probe.macro_f1 - 0.05, probe.macro_f1 + 0.05);
        assert_eq!(names(&pareto(&feasible, &scans), &scans), ["a1", "a2", "a0"]);
    }

    #[test]
    fn who_is_a_standard_error_behind_has_no_chance() {
        let mut scans = scans();
        let front: Vec<Pick> = Pick::all(&scans).filter(|pick| pick.scan == 0).collect();
        let front = pareto(&front, &scans);
        assert_eq!(names(&contenders(&front, &scans), &scans), ["a1"]);
        let probe = &mut scans[0].record.cuts[0].probe;
        (probe.low, probe.high) = (0.0, 1.2);
        assert_eq!(names(&contenders(&front, &scans), &scans), ["a1", "a0"], "0.4 may be 0.7");
        assert_eq!(contenders(&[], &scans), []);
    }

    #[test]
    fn what_is_beaten_in_everything_is_left_out() {
        let scans = scans();
        let feasible: Vec<Pick> = Pick::all(&scans).filter(|pick| pick.record(&scans).is_plain()).collect();
        let front = pareto(&feasible, &scans);
        assert_eq!(names(&front, &scans), ["b1", "a1", "b0", "a0"]);
        assert_eq!(front[1].name(&scans), "a@a1 at 64x64");
    }

    #[test]
    fn the_baseline_is_the_largest_plain_cut_that_fits() {
        let scans = scans();
        let all: Vec<Pick> = Pick::all(&scans).collect();
        assert_eq!(names(&[static_baseline(&all, &scans).unwrap()], &scans), ["b1"]);
        assert_eq!(names(&[static_baseline(&all[..3], &scans).unwrap()], &scans), ["a2"]);
        assert_eq!(static_baseline(&[], &scans), None);
        assert_eq!(names(&[best_uncut(&scans).unwrap()], &scans), ["b1"]);
    }

    #[test]
    fn a_small_drop_is_traded_for_speed() {
        let scans = scans();
        let feasible: Vec<Pick> = Pick::all(&scans).filter(|pick| pick.record(&scans).is_plain()).collect();
        let front = pareto(&feasible, &scans);
        let order = |drop| names(&fastest_within(&front, &scans, 0.72, drop), &scans);
        assert_eq!(order(0.03), ["a1", "b1", "b0", "a0"]);
        assert_eq!(order(0.3), ["b0", "a1", "b1", "a0"]);
        assert_eq!(order(0.0), ["b1", "a1", "b0", "a0"]);
    }
}
