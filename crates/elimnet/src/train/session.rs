//! The loop over steps and epochs, from wherever a run stands to its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use elimnet_engine::{Engine, Images, Matrix, NamedTensor, Weights};

use super::config::CheckpointEvery;
use super::error::TrainError;
use super::job::{Job, Loaders, Outcome};
use super::judge::Judge;
use super::loss::{CrossEntropy, Imitation, LossValue, Targets};
use super::observer::{Phase, Started, StepReport};
use super::progress::{EpochRecord, Progress, Scores};
use super::rates::StepPlan;
use super::run::{RunDirectory, RunRecord};
use super::snapshot::Snapshot;
use super::start::Head;
use super::summary::{Held, Summary};
use crate::data::{DataError, LabeledBatch, Loader, Order};
use crate::evaluate::{Evaluation, MistakeCollector, Prediction, evaluate};
use crate::model::{ModelCard, load_model, save_model};
use crate::random::{Purpose, Random};

/// Images whose logits prove that a saved model is the trained one.
const PROOF_IMAGES: usize = 4;

/// Test images that are kept with their pictures: those that the network is most wrong about.
const MISTAKES: usize = 24;

/// Whether a part of the training came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Done,
    Interrupted,
}

/// What a training without a run directory came to.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// The best tensors.
    pub(crate) tensors: Vec<NamedTensor>,
    /// The class that they give each validation image.
    pub(crate) validation: Vec<usize>,
}

/// Where a training leaves what it comes to.
#[derive(Debug)]
pub(crate) enum Keeper {
    Run(RunDirectory),
    Memory(Option<Trial>),
}

impl Keeper {
    /// The run directory, where there is one.
    fn run(&self) -> Option<&RunDirectory> {
        match self {
            Self::Run(run) => Some(run),
            Self::Memory(_) => None,
        }
    }
}

/// A training on its way.
pub(crate) struct Session<'s, 'j> {
    job: &'s mut Job<'j>,
    loaders: Loaders,
    plan: StepPlan,
    loss: CrossEntropy,
    /// The network that is imitated, if one is.
    teacher: Option<Judge>,
    engine: Box<dyn Engine>,
    keeper: Keeper,
    progress: Progress,
    /// What the last validation predicted for each image.
    predicted: Vec<usize>,
    /// A few validation images, once they were needed.
    proof: Option<Images>,
    /// Up to when the clock of `progress` has counted.
    counted: Instant,
    saved: Instant,
}

impl<'s, 'j> Session<'s, 'j> {
    pub(crate) fn new(
        job: &'s mut Job<'j>,
        plan: StepPlan,
        engine: Box<dyn Engine>,
        keeper: Keeper,
        progress: Progress,
    ) -> Result<Self, TrainError> {
        let config = &job.setup.config;
        let mut loss = CrossEntropy::default().with_label_smoothing(config.label_smoothing);
        if let Some(tau) = config.logit_adjustment {
            loss = loss.with_logit_adjustment(tau, &job.dataset.train_counts());
        }
        let teacher =
            config.distillation.as_ref().map(|distillation| Judge::of(job.device, &distillation.teacher));
        let teacher = teacher.transpose()?;
        let loaders = Loaders::new(&job.setup, job.dataset);
        let now = Instant::now();
        Ok(Self {
            job,
            loaders,
            plan,
            loss,
            teacher,
            engine,
            keeper,
            progress,
            predicted: Vec::new(),
            proof: None,
            counted: now,
            saved: now,
        })
    }

    /// Puts a rival of the start in the place of the best tensors, where a resume finds it too.
    pub(crate) fn offer(&mut self, rival: Option<&[NamedTensor]>) -> Result<(), TrainError> {
        let Some(tensors) = rival else { return Ok(()) };
        let path = match &mut self.keeper {
            Keeper::Run(run) => run.best(),
            Keeper::Memory(best) => {
                *best = Some(Trial { tensors: tensors.to_vec(), validation: Vec::new() });
                return Ok(());
            }
        };
        Ok(save_model(&path, &self.card(&[]), tensors)?)
    }

    /// Trains what is left, tests and sums up.
    pub(crate) fn run(mut self, run: RunDirectory, record: &RunRecord) -> Result<Outcome, TrainError> {
        let flow = self.train(record)?;
        let summary = if flow == Flow::Done { self.finish(&run)? } else { None };
        let Progress { epoch: epochs, batch: steps, .. } = self.progress;
        Ok(match summary {
            Some(summary) => Outcome::Finished { run, summary: Box::new(summary) },
            None => Outcome::Interrupted { run, epochs, steps },
        })
    }

    /// Trains and gives the best weights; nothing where it was interrupted.
    pub(crate) fn try_out(mut self, record: &RunRecord) -> Result<Option<Trial>, TrainError> {
        let flow = self.train(record)?;
        Ok(match self.keeper {
            Keeper::Memory(trial) if flow == Flow::Done => trial,
            _ => None,
        })
    }

    fn train(&mut self, record: &RunRecord) -> Result<Flow, TrainError> {
        self.job.observer.started(&Started {
            run: self.keeper.run().map(RunDirectory::path),
            epochs: self.job.setup.config.epochs,
            batches: self.plan.steps_per_epoch(),
            left_out: self.job.left_out(),
            progress: &self.progress,
            fresh: &record.fresh,
        });
        let mut flow = Flow::Done;
        if record.head != Head::Fresh && self.progress.is_new() {
            flow = self.start()?;
        }
        while flow == Flow::Done && !self.progress.is_over(&self.job.setup.config) {
            flow = self.epoch()?;
        }
        if flow == Flow::Interrupted {
            self.save()?;
        }
        Ok(flow)
    }

    /// Validates the weights before the first step, and their running average with them: it is the same; and their rival.
    fn start(&mut self) -> Result<Flow, TrainError> {
        let Some(mut best) = self.evaluate_validation()? else { return Ok(Flow::Interrupted) };
        let mut rival = self.rival()?;
        if let Some(engine) = &mut rival {
            let predicted = self.predicted.clone();
            let found = self.with_engine(engine, Self::evaluate_validation)?;
            let Some(found) = found else { return Ok(Flow::Interrupted) };
            let select = self.job.setup.config.select;
            if !best.loss.is_finite() || select.is_better(&Scores::from(&found), &Scores::from(&best)) {
                best = found;
            } else {
                (self.predicted, rival) = (predicted, None);
            }
        }
        // Training normalises by other statistics and may do where these do not; such a start only can't be the best.
        if best.loss.is_finite() {
            self.count();
            let record = EpochRecord {
                epoch: 0,
                train: None,
                validation: Scores::from(&best),
                best: true,
                learning_rate: 0.0,
                seconds: self.progress.clock.seconds,
                images_per_second: 0.0,
                data_wait_share: 0.0,
            };
            match &mut rival {
                Some(engine) => self.with_engine(engine, |session| session.save_best(&record))?,
                None => self.save_best(&record)?,
            }
            self.progress.begin(record);
            self.keep()?;
        }
        Ok(Flow::Done)
    }

    /// An engine with the tensors that compete with the start: before the first epoch, the best ones are theirs.
    fn rival(&mut self) -> Result<Option<Box<dyn Engine>>, TrainError> {
        let tensors = match &mut self.keeper {
            Keeper::Run(run) if run.best().exists() => load_model(&run.best())?.tensors,
            Keeper::Memory(Some(trial)) => std::mem::take(&mut trial.tensors),
            _ => return Ok(None),
        };
        let mut engine = self.job.device.load(&self.job.setup.network)?;
        engine.set_tensors(&tensors)?;
        Ok(Some(engine))
    }

    /// Runs `function` with another engine in the place of the one that is trained.
    fn with_engine<R>(&mut self, engine: &mut Box<dyn Engine>, function: impl FnOnce(&mut Self) -> R) -> R {
        std::mem::swap(&mut self.engine, engine);
        let result = function(self);
        std::mem::swap(&mut self.engine, engine);
        result
    }

    fn epoch(&mut self) -> Result<Flow, TrainError> {
        if self.train_epoch()? == Flow::Interrupted {
            return Ok(Flow::Interrupted);
        }
        if self.job.setup.config.average_decay.is_some() {
            self.engine.select_weights(Weights::Averaged)?;
        }
        let Some(validation) = self.validate()? else {
            self.engine.select_weights(Weights::Current)?;
            return Ok(Flow::Interrupted);
        };
        let record = self.record(&validation)?;
        if record.best {
            self.save_best(&record)?;
        }
        self.engine.select_weights(Weights::Current)?;
        self.progress.next_epoch(record, self.job.dataset.classes.len());
        self.keep()?;
        Ok(Flow::Done)
    }

    /// Writes down what the last record says, and tells about it.
    fn keep(&mut self) -> Result<(), TrainError> {
        self.save()?;
        if let Some(run) = self.keeper.run() {
            run.write_metrics(&self.progress.history)?;
        }
        if let Some(record) = self.progress.history.last() {
            self.job.observer.epoch(record);
        }
        Ok(())
    }

    fn train_epoch(&mut self) -> Result<Flow, TrainError> {
        let left = self.plan.steps_per_epoch() - self.progress.batch;
        if left == 0 {
            return Ok(Flow::Done);
        }
        let mut batches = self.loaders.train_epoch(self.progress.epoch, self.progress.batch);
        let mut waited = self.loaders.train.waited();
        for _ in 0..left {
            if self.job.is_interrupted() {
                return Ok(Flow::Interrupted);
            }
            let began = Instant::now();
            let Some(batch) = batches.next() else { break };
            let report = self.step(&batch?)?;
            self.count_step(began.elapsed(), self.loaders.train.waited() - waited);
            waited = self.loaders.train.waited();
            self.job.observer.step(&report);
            if self.checkpoint_is_due() {
                self.save()?;
                self.job.observer.checkpoint(&self.progress);
            }
        }
        Ok(Flow::Done)
    }

    fn step(&mut self, batch: &LabeledBatch) -> Result<StepReport, TrainError> {
        let (epoch, step) = (self.progress.epoch, self.progress.batch);
        let settings = self.plan.step(epoch, step);
        let learning_rate = settings.learning_rates.last().copied().map_or(0.0, f64::from);
        let finite = |what, value: f64| match value.is_finite() {
            true => Ok(()),
            false => Err(TrainError::NotFinite { what, epoch: epoch + 1, step: step + 1, learning_rate }),
        };
        let key = [epoch as u64, step as u64];
        let seed = Random::new(self.job.setup.config.seed, Purpose::Dropout, key).next();
        let logits = self.engine.forward(&batch.images, seed)?;
        let value = self.value(&logits, batch)?;
        finite("loss", value.loss)?;
        self.engine.backward(&value.logit_gradient)?;
        let gradient_norm = self.engine.step(&settings)?;
        finite("gradient", gradient_norm.into())?;
        self.progress.tally.add(value.loss, &logits, &batch.labels);
        self.progress.batch += 1;
        self.progress.clock.images += batch.labels.len() as u64;
        Ok(StepReport {
            epoch: epoch + 1,
            batch: step + 1,
            loss: self.progress.tally.loss(),
            accuracy: self.progress.tally.accuracy(),
            learning_rate,
            gradient_norm,
            images_per_second: self.progress.clock.since(&self.progress.epoch_began).images_per_second(),
        })
    }

    /// The loss on the labels, mixed with the distance to the teacher where there is one.
    fn value(&mut self, logits: &Matrix, batch: &LabeledBatch) -> Result<LossValue, TrainError> {
        let value = self.loss.value(logits, Targets::Classes(&batch.labels));
        let (Some(teacher), Some(distillation)) = (&mut self.teacher, &self.job.setup.config.distillation)
        else {
            return Ok(value);
        };
        let teacher = teacher.engine().infer(&batch.images)?;
        let imitation = Imitation { temperature: distillation.temperature };
        Ok(value.mixed(&imitation.value(logits, &teacher), distillation.weight))
    }

    fn count_step(&mut self, training: Duration, waited: Duration) {
        self.progress.clock.training_seconds += training.as_secs_f64();
        self.progress.clock.waited_seconds += waited.as_secs_f64();
    }

    /// Evaluates the validation images; nothing where it was interrupted.
    fn evaluate_validation(&mut self) -> Result<Option<Evaluation>, TrainError> {
        self.predicted.resize(self.loaders.validation.images(), 0);
        let each = |image: Prediction| self.predicted[image.index] = image.predicted;
        evaluate_on(&mut *self.engine, &self.loaders.validation, Phase::Validation, self.job, each)
    }

    /// As [`Session::evaluate_validation`], after an epoch: its loss has to be finite.
    fn validate(&mut self) -> Result<Option<Evaluation>, TrainError> {
        let Some(evaluation) = self.evaluate_validation()? else { return Ok(None) };
        if evaluation.loss.is_finite() {
            return Ok(Some(evaluation));
        }
        let step = self.progress.batch;
        let rates = self.plan.step(self.progress.epoch, step.saturating_sub(1)).learning_rates;
        Err(TrainError::NotFinite {
            what: "validation loss",
            epoch: self.progress.epoch + 1,
            step,
            learning_rate: rates.last().copied().map_or(0.0, f64::from),
        })
    }

    fn record(&mut self, validation: &Evaluation) -> Result<EpochRecord, TrainError> {
        self.count();
        let Progress { epoch, batch, tally, clock, epoch_began, .. } = &self.progress;
        let validation = Scores::from(validation);
        let clock = clock.since(epoch_began);
        let rates = self.plan.step(*epoch, batch.saturating_sub(1)).learning_rates;
        Ok(EpochRecord {
            epoch: epoch + 1,
            train: Some(Scores::from(&tally.clone().finish())),
            validation,
            best: self.progress.would_be_best(&validation, self.job.setup.config.select),
            learning_rate: rates.last().copied().map_or(0.0, f64::from),
            seconds: clock.seconds,
            images_per_second: clock.images_per_second(),
            data_wait_share: clock.data_wait_share(),
        })
    }

    /// Writes the best model so far, reads it back and checks that it computes the same; a trial keeps it as it is.
    fn save_best(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let path = match &mut self.keeper {
            Keeper::Run(run) => run.best(),
            Keeper::Memory(best) => {
                let trial = Trial { tensors: self.engine.tensors(), validation: self.predicted.clone() };
                *best = Some(trial);
                return Ok(());
            }
        };
        let scores = [("train", record.train), ("validation", Some(record.validation))];
        let scores: Vec<_> =
            scores.into_iter().filter_map(|(split, scores)| Some((split, scores?))).collect();
        save_model(&path, &self.card(&scores), &self.engine.tensors())?;
        if self.proof.is_none() {
            self.proof = self.proof_images()?;
        }
        if let Some(images) = &self.proof {
            let logits = self.engine.infer(images)?;
            Judge::of(self.job.device, &path)?.confirm(&path, images, &logits)?;
        }
        Ok(())
    }

    /// The first validation images.
    fn proof_images(&self) -> Result<Option<Images>, DataError> {
        let first = self.loaders.validation.epoch(0, Order::Sequential).next().transpose()?;
        Ok(first.map(|batch| {
            let indices: Vec<usize> = (0..batch.images.count.min(PROOF_IMAGES)).collect();
            batch.images.select(&indices)
        }))
    }

    fn card(&self, scores: &[(&str, Scores)]) -> ModelCard {
        let setup = &self.job.setup;
        let named = |(split, scores): &(&str, Scores)| {
            [("loss", scores.loss), ("accuracy", scores.accuracy), ("macro_f1", scores.macro_f1)]
                .map(|(name, value)| (format!("{split}.{name}"), value))
        };
        ModelCard {
            network: setup.network.clone(),
            cut: setup.cut.clone(),
            classes: self.job.dataset.classes.clone(),
            preprocessing: setup.preprocessing.clone(),
            weights_from: setup.weights_from.clone(),
            metrics: scores.iter().flat_map(named).collect::<BTreeMap<_, _>>(),
            seed: setup.config.seed,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn checkpoint_is_due(&self) -> bool {
        match self.job.setup.config.checkpoint_every {
            CheckpointEvery::Epoch => false,
            CheckpointEvery::Minutes(minutes) => self.saved.elapsed().as_secs_f64() >= minutes * 60.0,
            CheckpointEvery::Steps(steps) => self.progress.batch.is_multiple_of(steps),
        }
    }

    /// Writes the checkpoint that a resume goes on from.
    fn save(&mut self) -> Result<(), TrainError> {
        self.count();
        if let Some(run) = self.keeper.run() {
            run.write_snapshot(Snapshot::of(&*self.engine, &self.progress))?;
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// Brings the clock up to now.
    fn count(&mut self) {
        let now = Instant::now();
        self.progress.clock.seconds += (now - self.counted).as_secs_f64();
        self.counted = now;
    }

    /// Writes down what the best model is most wrong about; a result without it is still a result.
    fn keep_mistakes(&mut self, run: &RunDirectory, mistakes: &MistakeCollector) {
        let dataset = self.job.dataset;
        let kept = mistakes
            .finish(&dataset.test, &dataset.classes)
            .map_err(TrainError::from)
            .and_then(|mistakes| run.write_mistakes(&mistakes));
        if let Err(error) = kept {
            self.job.observer.setback(&error);
        }
    }

    /// Tests the best model, as it is on the disk, and writes the summary; nothing where it was interrupted.
    fn finish(&mut self, run: &RunDirectory) -> Result<Option<Summary>, TrainError> {
        let mut judge = Judge::of(self.job.device, &run.best())?;
        let test = match &self.loaders.test {
            None => None,
            Some(loader) => {
                let mut mistakes = MistakeCollector::new(MISTAKES);
                let each = |prediction: Prediction| mistakes.add(&prediction);
                match evaluate_on(judge.engine(), loader, Phase::Test, self.job, each)? {
                    Some(evaluation) => {
                        self.keep_mistakes(run, &mistakes);
                        Some(evaluation)
                    }
                    None => return Ok(None),
                }
            }
        };
        self.count();
        let held = Held { precision: self.job.device.precision(), memory_bytes: self.engine.memory_bytes() };
        let Job { setup, dataset, .. } = &*self.job;
        let summary = Summary::new(setup, &dataset.classes, &self.progress, test.as_ref(), held)?;
        run.write_summary(&summary)?;
        self.job.observer.finished(&summary);
        Ok(Some(summary))
    }
}

/// Evaluates a split and tells the observer how far it is; nothing where it was interrupted.
fn evaluate_on(
    engine: &mut dyn Engine,
    loader: &Loader,
    phase: Phase,
    job: &mut Job<'_>,
    each: impl FnMut(Prediction),
) -> Result<Option<Evaluation>, TrainError> {
    let total = loader.batches();
    let mut interrupted = false;
    let mut done = 0;
    let batches = loader.epoch(0, Order::Sequential).map_while(|batch| {
        interrupted = job.is_interrupted();
        if interrupted {
            return None;
        }
        job.observer.evaluating(phase, done, total);
        done += 1;
        Some(batch)
    });
    let evaluation = evaluate(engine, batches, each)?;
    Ok((!interrupted).then_some(evaluation))
}
