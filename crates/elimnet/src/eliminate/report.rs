//! The record of an elimination: scores, intervals, times and what can be said about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::choose::Pick;
use super::error::EliminationError;
use super::prove::Judgement;
use super::record::{Comparison, Considered, EliminationRecord, NetworkRecord, SeedRecord, Verdict};
use super::run::{Full, Search, Subject, labels, network};
use super::timing::{Rounds, in_turns};
use crate::scan::{Estimate, Tuned};
use crate::train::RunDirectory;

/// The three networks that are compared.
pub(super) struct Chosen {
    pub(super) winner: Pick,
    pub(super) uncut: Pick,
    pub(super) baseline: Pick,
}

impl Chosen {
    fn subjects(&self) -> [Subject; 3] {
        [Subject::Candidate(self.winner), Subject::Uncut(self.uncut.scan), Subject::Candidate(self.baseline)]
    }
}

impl Search<'_, '_, '_> {
    /// What the search came to.
    pub(super) fn record(
        &self,
        chosen: &Chosen,
        candidates: &[Pick],
        full: &Full,
        search_seconds: f64,
    ) -> Result<EliminationRecord, EliminationError> {
        let dataset = self.place.dataset;
        let (split, images) = match dataset.test.is_empty() {
            true => ("validation", &dataset.validation),
            false => ("test", &dataset.test),
        };
        let judge = Judgement::new(labels(images), self.classes(), self.recipe.config.seed);
        let report = Report { search: self, judge, full, times: self.times(chosen, full)? };
        let [winner, uncut, baseline] = chosen.subjects();
        Ok(EliminationRecord {
            winner: report.network(winner, chosen.winner),
            uncut: report.network(uncut, chosen.uncut),
            baseline: report.network(baseline, chosen.baseline),
            considered: self.considered(candidates),
            search_seconds,
            split: split.to_owned(),
            images: report.judge.images(),
            budget: self.options.budget,
            epochs: self.recipe.config.epochs,
            regret: report.difference(baseline, winner),
            against_uncut: report.comparison(winner, uncut),
            against_baseline: report.comparison(winner, baseline).filter(|_| winner != baseline),
            seconds: self.started.elapsed().as_secs_f64(),
        })
    }

    /// End-to-end times of the networks that were trained, all in turns.
    fn times(&self, chosen: &Chosen, full: &Full) -> Result<Times, EliminationError> {
        let mut subjects: Vec<Subject> = Vec::new();
        for subject in chosen.subjects() {
            if full.count(subject) > 0 && !subjects.contains(&subject) {
                subjects.push(subject);
            }
        }
        let files: Vec<PathBuf> = subjects.iter().map(|&subject| full.first(subject).run.best()).collect();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let rounds = in_turns(&files, &self.pairs[0].1.latency_batches, self.place.device)?;
        Ok(Times { subjects, rounds })
    }

    fn considered(&self, candidates: &[Pick]) -> Vec<Considered> {
        let mut others: Vec<Pick> =
            self.rungs.keys().filter(|pick| !candidates.contains(pick)).copied().collect();
        others.sort();
        candidates.iter().chain(&others).map(|&pick| self.considered_one(pick)).collect()
    }

    fn considered_one(&self, pick: Pick) -> Considered {
        let (scan, cut) = (&self.scans[pick.scan].record, pick.record(&self.scans));
        Considered {
            backbone: scan.backbone.clone(),
            cut: cut.address(),
            image_size: scan.image_size,
            parameters: cut.parameters,
            latency_ms: cut.latency_ms.clone(),
            probe_macro_f1: cut.probe.macro_f1,
            predicted_macro_f1: cut.predicted_macro_f1,
            rungs: self.rungs.get(&pick).cloned().unwrap_or_default(),
        }
    }
}

/// Measured rounds and whose they are.
struct Times {
    subjects: Vec<Subject>,
    rounds: BTreeMap<usize, Rounds>,
}

impl Times {
    fn place(&self, subject: Subject) -> Option<usize> {
        self.subjects.iter().position(|other| *other == subject)
    }
}

/// Everything that the record is written from.
struct Report<'s, 'a, 'p, 'r> {
    search: &'s Search<'a, 'p, 'r>,
    judge: Judgement,
    full: &'s Full,
    times: Times,
}

impl Report<'_, '_, '_, '_> {
    /// What each seed's network says about the final images.
    fn predictions(&self, subject: Subject) -> Vec<Vec<usize>> {
        let has_test = !self.search.place.dataset.test.is_empty();
        let of = |tuned: &Tuned| if has_test { tuned.test.clone() } else { tuned.validation.clone() };
        self.full.of(subject).iter().map(|(_, tuned)| of(tuned)).collect()
    }

    fn network(&self, subject: Subject, pick: Pick) -> NetworkRecord {
        let search = self.search;
        let (scan, cut) = (&search.scans[pick.scan].record, pick.record(&search.scans));
        let (backbone, options) = &search.pairs[pick.scan];
        let is_uncut = matches!(subject, Subject::Uncut(_));
        let network = network(subject, backbone, &search.scans[pick.scan].candidates[pick.line]);
        let input = network.input_shape(scan.image_size);
        let predictions = self.predictions(subject);
        let mean = (!predictions.is_empty()).then(|| self.judge.mean(&predictions));
        NetworkRecord {
            run: self.full.of(subject).first().map(|(_, tuned)| tuned.run.path().to_owned()),
            backbone: scan.backbone.clone(),
            cut: (!is_uncut).then(|| cut.address()),
            image_size: scan.image_size,
            parameters: network.parameters(),
            multiply_adds: network.multiply_adds(input).unwrap_or(cut.multiply_adds),
            file_bytes: crate::scan::file_bytes(network, &scan.classes, &options.preprocessing),
            latency_ms: self.latency(subject).unwrap_or_else(|| cut.latency_ms.clone()),
            predicted_macro_f1: cut.predicted_macro_f1,
            macro_f1: mean.map(|mean| mean.value),
            low: mean.map(|mean| mean.low),
            high: mean.map(|mean| mean.high),
            seeds: self.seeds(subject, &predictions),
        }
    }

    fn latency(&self, subject: Subject) -> Option<BTreeMap<usize, f64>> {
        let place = self.times.place(subject)?;
        Some(self.times.rounds.iter().map(|(&batch, rounds)| (batch, rounds.median_ms(place))).collect())
    }

    fn seeds(&self, subject: Subject, predictions: &[Vec<usize>]) -> Vec<SeedRecord> {
        let runs = self.full.of(subject).iter().zip(predictions);
        let record = |((seed, tuned), predicted): (&(u64, Tuned), &Vec<usize>)| SeedRecord {
            seed: *seed,
            run: tuned.run.path().to_owned(),
            macro_f1: self.judge.score(predicted),
            validation_macro_f1: tuned.summary.validation.macro_f1,
            seconds: tuned.summary.seconds,
        };
        runs.map(record).collect()
    }

    /// Difference of the seeds that both have.
    fn difference(&self, a: Subject, b: Subject) -> Option<Estimate> {
        let (a, b) = (self.predictions(a), self.predictions(b));
        let seeds = a.len().min(b.len());
        (seeds > 0).then(|| self.judge.difference(&a[..seeds], &b[..seeds]))
    }

    fn comparison(&self, winner: Subject, other: Subject) -> Option<Comparison> {
        let difference = self.difference(winner, other)?;
        let (own, place) = (self.times.place(winner)?, self.times.place(other)?);
        let ratios = self.times.rounds.iter();
        let latency_ratio: BTreeMap<usize, Estimate> =
            ratios.map(|(&batch, rounds)| (batch, rounds.ratio(own, place))).collect();
        let latency = latency_ratio.values().next().map_or(Verdict::WithinNoise, |r| Verdict::of(r, 1.0));
        let card = |subject: Subject| self.full.first(subject);
        let parameters = |subject| card(subject).summary.parameters as f64;
        let bytes =
            |run: &RunDirectory| fs_err::metadata(run.best()).map_or(f64::NAN, |data| data.len() as f64);
        Some(Comparison {
            macro_f1_difference: difference,
            macro_f1: Verdict::of(&difference, 0.0),
            latency_ratio,
            latency,
            parameters_ratio: parameters(winner) / parameters(other),
            file_bytes_ratio: bytes(&card(winner).run) / bytes(&card(other).run),
        })
    }
}
