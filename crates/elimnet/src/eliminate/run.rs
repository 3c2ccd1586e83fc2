//! The way from backbones and a budget to a winner.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use super::budget::Budget;
use super::choose::{Pick, best_uncut, contenders, fastest_within, pareto, static_baseline};
use super::error::EliminationError;
use super::prove::Judgement;
use super::record::{EliminationRecord, Rung};
use super::report::Chosen;
use crate::data::Split;
use crate::scan::{
    AnchorOptions, Backbone, Candidate, CutRecord, FineTune, FineTuning, Place, Recipe, Scan, ScanError,
    ScanOptions, ScanRecord, Tuned, correct, scan, try_out, tune,
};
use crate::train::{Distillation, Head, StartingTensors};
use elimnet_arch::Network;

/// Settings of an elimination.
#[derive(Clone, Debug)]
pub struct EliminateOptions {
    /// What the winner may cost.
    pub budget: Budget,
    /// The cuts to choose from, by [`CutRecord::address`]; all where it is empty.
    pub cuts: Vec<String>,
    /// Short fine-tunes that correct the probes; they share their epochs with the first rung of successive halving.
    pub anchors: AnchorOptions,
    /// Candidates on the first rung.
    pub candidates: usize,
    /// Seeds of the full fine-tunes, from the recipe's seed on.
    pub seeds: usize,
    /// Whether the winner imitates the fine-tuned uncut network.
    pub distill: bool,
    /// Whether the uncut network and the baseline are fine-tuned, too, to compare with.
    pub prove: bool,
    /// Folder of the full fine-tunes' runs.
    pub root: PathBuf,
}

impl EliminateOptions {
    fn wants(&self, cut: &CutRecord) -> bool {
        self.cuts.is_empty() || self.cuts.contains(&cut.address())
    }
}

/// What an elimination came to.
#[derive(Clone, Debug)]
pub struct Elimination {
    /// The winner and how it compares.
    pub record: EliminationRecord,
    /// The scans that it was chosen from.
    pub scans: Vec<ScanRecord>,
}

/// Chooses, fine-tunes and compares: see the [module](super).
///
/// # Errors
/// [`EliminationError::Infeasible`] where nothing fits the budget, before anything is trained; otherwise as a scan or a training.
/// # Panics
/// If there are no backbones, no candidates or no seeds.
pub fn eliminate(
    pairs: &[(&Backbone, ScanOptions)],
    options: &EliminateOptions,
    recipe: &mut Recipe<'_>,
    place: &mut Place<'_>,
) -> Result<Elimination, EliminationError> {
    assert!(!pairs.is_empty() && options.candidates > 0 && options.seeds > 0, "something to choose from");
    let started = Instant::now();
    let mut scans = Vec::with_capacity(pairs.len());
    for (backbone, options) in pairs {
        scans.push(scan(backbone, options, place)?);
    }
    let rungs = HashMap::new();
    Search { pairs, options, recipe, place, scans, rungs, started }.run()
}

/// What is fine-tuned in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Candidate(Pick),
    /// The whole network of a scan's backbone.
    Uncut(usize),
}

pub(super) struct Search<'a, 'p, 'r> {
    pub(super) pairs: &'a [(&'a Backbone, ScanOptions)],
    pub(super) options: &'a EliminateOptions,
    pub(super) recipe: &'a mut Recipe<'r>,
    pub(super) place: &'a mut Place<'p>,
    pub(super) scans: Vec<Scan>,
    /// Short fine-tunes, in the order in which they were made.
    pub(super) rungs: HashMap<Pick, Vec<Rung>>,
    pub(super) started: Instant,
}

impl Search<'_, '_, '_> {
    fn run(mut self) -> Result<Elimination, EliminationError> {
        let feasible = self.feasible()?;
        self.correct()?;
        let uncut = best_uncut(&self.scans).expect("every scan has a cut");
        let baseline = static_baseline(&feasible, &self.scans).unwrap_or(feasible[0]);
        let candidates = self.candidates(&feasible, uncut);
        let mut full = Full::default();
        if self.options.distill || self.options.budget.max_f1_drop.is_some() {
            self.tune(Subject::Uncut(uncut.scan), &mut full, 1)?;
        }
        let winner = match self.options.budget.max_f1_drop {
            None => self.halve(&candidates)?,
            Some(drop) => self.descend(&candidates, uncut, drop, &mut full)?,
        };
        self.tune(Subject::Candidate(winner), &mut full, 1)?;
        let search_seconds = self.started.elapsed().as_secs_f64();
        self.tune(Subject::Candidate(winner), &mut full, self.options.seeds)?;
        if self.options.prove {
            self.tune(Subject::Uncut(uncut.scan), &mut full, self.options.seeds)?;
            self.tune(Subject::Candidate(baseline), &mut full, self.options.seeds)?;
        }
        let chosen = Chosen { winner, uncut, baseline };
        let record = self.record(&chosen, &candidates, &full, search_seconds)?;
        full.first(Subject::Candidate(winner)).run.make_latest().map_err(ScanError::from)?;
        let scans = self.scans.into_iter().map(|scan| scan.record).collect();
        Ok(Elimination { record, scans })
    }

    /// What keeps the budget of costs.
    fn feasible(&self) -> Result<Vec<Pick>, EliminationError> {
        let budget = &self.options.budget;
        let wanted: Vec<Pick> =
            Pick::all(&self.scans).filter(|pick| self.options.wants(pick.record(&self.scans))).collect();
        let addresses = || Pick::all(&self.scans).map(|pick| pick.record(&self.scans).address());
        if let Some(name) =
            self.options.cuts.iter().find(|name| !addresses().any(|address| address == **name))
        {
            return Err(EliminationError::UnknownCut { name: name.clone(), cuts: addresses().collect() });
        }
        let fits = |pick: &Pick| budget.allows(pick.record(&self.scans));
        let feasible: Vec<Pick> = wanted.iter().copied().filter(fits).collect();
        if !feasible.is_empty() {
            return Ok(feasible);
        }
        let named = wanted.iter().map(|pick| (pick.name(&self.scans), pick.record(&self.scans)));
        Err(EliminationError::Infeasible { bindings: budget.bindings(named) })
    }

    /// Anchors among what fits, for every backbone and image size.
    fn correct(&mut self) -> Result<(), EliminationError> {
        let all = self.options;
        for ((backbone, options), scan) in self.pairs.iter().zip(&mut self.scans) {
            let fits = |cut: &CutRecord| all.wants(cut) && all.budget.allows(cut);
            correct(scan, backbone, options, all.anchors, &fits, self.recipe, self.place)?;
        }
        for (index, scan) in self.scans.iter().enumerate() {
            for anchor in &scan.record.anchors {
                let is_it = |cut: &CutRecord| cut.is_plain() && cut.name == anchor.name;
                let line = scan.record.cuts.iter().position(is_it).expect("an anchor is one of the cuts");
                let rung = Rung { epochs: anchor.epochs, macro_f1: anchor.tuned_macro_f1 };
                self.rungs.entry(Pick { scan: index, line }).or_default().push(rung);
            }
        }
        Ok(())
    }

    /// The candidates in the order in which they deserve a fine-tune.
    fn candidates(&self, feasible: &[Pick], uncut: Pick) -> Vec<Pick> {
        let front = pareto(feasible, &self.scans);
        let reference = uncut.record(&self.scans).expected_macro_f1();
        let mut order = match self.options.budget.max_f1_drop {
            Some(drop) => fastest_within(&front, &self.scans, reference, drop),
            None => contenders(&front, &self.scans),
        };
        order.truncate(self.options.candidates);
        order
    }

    /// Fine-tunes all for a short time, the better half for twice as long, and so on until one is left, or the next rung would
    /// make the race longer than the full fine-tune that it decides about: then the best so far wins.
    fn halve(&mut self, candidates: &[Pick]) -> Result<Pick, EliminationError> {
        let mut left = candidates.to_vec();
        let (mut epochs, mut spent, full) = (self.options.anchors.epochs, 0, self.recipe.config.epochs);
        while left.len() > 1 && epochs < full {
            let cost: usize = left.iter().map(|pick| epochs.saturating_sub(self.epochs_tried(*pick))).sum();
            if spent > 0 && spent + cost > full {
                break;
            }
            spent += cost;
            let mut scored = Vec::with_capacity(left.len());
            for pick in left {
                scored.push((self.rung(pick, epochs)?, pick));
            }
            // A stable sort: of equal ones the one that was expected to be better stays first.
            scored.sort_by(|a, b| b.0.total_cmp(&a.0));
            scored.truncate(scored.len() / 2);
            left = scored.into_iter().map(|(_, pick)| pick).collect();
            epochs *= 2;
        }
        self.scans.iter_mut().for_each(|scan| scan.tried.clear());
        Ok(left[0])
    }

    /// Epochs of the short fine-tunes of a candidate so far.
    fn epochs_tried(&self, pick: Pick) -> usize {
        self.rungs.get(&pick).and_then(|rungs| rungs.last()).map_or(0, |rung| rung.epochs)
    }

    /// Macro-F1 on the validation images after so many epochs; an anchor is not fine-tuned again, and a candidate goes on from
    /// where it was.
    fn rung(&mut self, pick: Pick, epochs: usize) -> Result<f64, EliminationError> {
        let known = self.rungs.get(&pick).into_iter().flatten().find(|rung| rung.epochs == epochs);
        if let Some(rung) = known {
            return Ok(rung.macro_f1);
        }
        let (seed, before) = (self.recipe.config.seed, self.epochs_tried(pick));
        let scan = &mut self.scans[pick.scan];
        let prepared = match scan.tried.remove(&pick.line) {
            Some(trial) => Prepared {
                scan: pick.scan,
                network: scan.candidates[pick.line].network.clone(),
                start: StartingTensors {
                    tensors: trial.tensors,
                    fresh: Vec::new(),
                    head: Head::Kept,
                    rival: None,
                },
                // Not the order and the augmentation of the epochs before.
                seed: seed.wrapping_add((before as u64) << 32),
            },
            None => self.prepare(Subject::Candidate(pick), seed)?,
        };
        let wanted = prepared.fine_tune(self.pairs, epochs - before, "candidate");
        let trial = try_out(&wanted, self.recipe, self.place)?;
        let split = &self.place.dataset.validation;
        let macro_f1 = Judgement::new(labels(split), self.classes(), seed).score(&trial.validation);
        self.scans[pick.scan].tried.insert(pick.line, trial);
        self.rungs.entry(pick).or_default().push(Rung { epochs, macro_f1 });
        Ok(macro_f1)
    }

    /// Fine-tunes candidates in full, in their order, until one is close enough to the uncut network on the validation
    /// images; where none is, the best.
    fn descend(
        &mut self,
        candidates: &[Pick],
        uncut: Pick,
        drop: f64,
        full: &mut Full,
    ) -> Result<Pick, EliminationError> {
        let judge = Judgement::new(labels(&self.place.dataset.validation), self.classes(), 0);
        let score = |tuned: &Tuned| judge.score(&tuned.validation);
        let reference = score(full.first(Subject::Uncut(uncut.scan)));
        let mut best: Option<(f64, Pick)> = None;
        for &pick in candidates {
            self.tune(Subject::Candidate(pick), full, 1)?;
            let macro_f1 = score(full.first(Subject::Candidate(pick)));
            if macro_f1 >= reference - drop {
                return Ok(pick);
            }
            if best.is_none_or(|(highest, _)| macro_f1 > highest) {
                best = Some((macro_f1, pick));
            }
        }
        Ok(best.expect("there is at least one candidate").1)
    }

    /// Fine-tunes in full with the first `seeds` seeds, as far as that has not been done.
    fn tune(&mut self, subject: Subject, full: &mut Full, seeds: usize) -> Result<(), EliminationError> {
        let (epochs, first) = (self.recipe.config.epochs, self.recipe.config.seed);
        for number in full.count(subject)..seeds {
            let seed = first + number as u64;
            let purpose = format!("in full, seed {seed}");
            let teacher = match subject {
                Subject::Candidate(_) if self.options.distill => full.any_uncut(),
                _ => None,
            };
            self.recipe.config.distillation = teacher.map(Distillation::of);
            let prepared = self.prepare(subject, seed)?;
            let wanted = prepared.fine_tune(self.pairs, epochs, &purpose);
            let tuned = tune(&wanted, &self.options.root, self.recipe, self.place);
            self.recipe.config.distillation = None;
            full.0.entry(subject).or_default().push((seed, tuned?));
        }
        Ok(())
    }

    /// The network and what it starts from.
    fn prepare(&mut self, subject: Subject, seed: u64) -> Result<Prepared, EliminationError> {
        let (scan, line) = match subject {
            Subject::Candidate(Pick { scan, line }) => (scan, line),
            // The deepest cut's head fits the uncut network where nothing but a Linear follows its pooling.
            Subject::Uncut(scan) => (scan, deepest(&self.scans[scan])),
        };
        let (backbone, options) = &self.pairs[scan];
        let network = network(subject, backbone, &self.scans[scan].candidates[line]).clone();
        let how = FineTuning::new(backbone, options, self.recipe);
        let start = self.scans[scan].start(line, &network, &how, seed, self.place)?;
        Ok(Prepared { scan, network, start, seed })
    }

    pub(super) fn classes(&self) -> usize {
        self.place.dataset.classes.len()
    }
}

pub(super) fn labels(split: &Split) -> Vec<usize> {
    split.samples.iter().map(|sample| sample.label).collect()
}

fn deepest(scan: &Scan) -> usize {
    scan.record.cuts.iter().rposition(CutRecord::is_plain).expect("every scan has a cut")
}

/// A network ready to be fine-tuned.
struct Prepared {
    scan: usize,
    network: Network,
    start: StartingTensors,
    seed: u64,
}

impl Prepared {
    fn fine_tune<'a>(
        &'a self,
        pairs: &'a [(&'a Backbone, ScanOptions)],
        epochs: usize,
        purpose: &'a str,
    ) -> FineTune<'a> {
        let (backbone, options) = &pairs[self.scan];
        let Self { network, start, seed, .. } = self;
        FineTune { backbone, options, network, start, epochs, seed: *seed, purpose }
    }
}

pub(super) fn network<'a>(subject: Subject, backbone: &'a Backbone, candidate: &'a Candidate) -> &'a Network {
    match subject {
        Subject::Candidate(_) => &candidate.network,
        Subject::Uncut(_) => &backbone.network,
    }
}

/// Full fine-tunes by network, each seed's.
#[derive(Debug, Default)]
pub(super) struct Full(HashMap<Subject, Vec<(u64, Tuned)>>);

impl Full {
    pub(super) fn count(&self, subject: Subject) -> usize {
        self.of(subject).len()
    }

    pub(super) fn of(&self, subject: Subject) -> &[(u64, Tuned)] {
        self.0.get(&subject).map_or(&[], Vec::as_slice)
    }

    pub(super) fn first(&self, subject: Subject) -> &Tuned {
        &self.of(subject)[0].1
    }

    /// The model file of the fine-tuned uncut network.
    fn any_uncut(&self) -> Option<PathBuf> {
        let uncut = self.0.iter().find(|(subject, _)| matches!(subject, Subject::Uncut(_)));
        // A run keeps the path, and may be resumed from another folder.
        let file = uncut?.1.first()?.1.run.best();
        Some(fs_err::canonicalize(&file).unwrap_or(file))
    }
}
