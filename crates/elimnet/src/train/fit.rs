//! Starting a training and going on with one.

use elimnet_arch::{Network, Op};
use elimnet_engine::Engine;

use super::error::TrainError;
use super::job::{Job, Outcome};
use super::progress::Progress;
use super::rates::StepPlan;
use super::run::{NewRun, RunDirectory};
use super::session::{Keeper, Session, Trial};
use super::snapshot::Snapshot;
use super::start::StartingTensors;
use crate::model::read_card;

/// Trains a network and leaves a run directory behind.
///
/// Each epoch: training, validation, a checkpoint; at the end a test with the weights of the best epoch. Where the head of
/// `start` is not fresh, the start and its rival are validated, too, and may be the best. The result is a function of the
/// setup, the data and the starting tensors: the same on every run on one device, whatever the number of threads, and the same when it was killed
/// and [`resume`]d.
///
/// # Errors
/// See [`TrainError`]. Where the training could not begin, there is no run directory; later, the run keeps its last
/// checkpoint.
pub fn fit(mut job: Job<'_>, start: &StartingTensors, place: &NewRun) -> Result<Outcome, TrainError> {
    let (plan, mut engine) = prepare(&job)?;
    engine.set_tensors(&start.tensors)?;
    engine.start_training(&plan.training())?;
    let progress = Progress::new(job.dataset.classes.len());
    let snapshot = Snapshot::of(&*engine, &progress);
    let record = job.record(&start.fresh, start.head);
    let run = RunDirectory::create(place, &record, &job.dataset.split_names(), snapshot)?;
    let mut session = Session::new(&mut job, plan, engine, Keeper::Run(run.clone()), progress)?;
    session.offer(start.rival.as_deref())?;
    session.run(run, &record)
}

/// Trains as [`fit`] does, but leaves nothing behind: no files, no test. Nothing where it was interrupted.
pub(crate) fn trial(mut job: Job<'_>, start: &StartingTensors) -> Result<Option<Trial>, TrainError> {
    let (plan, mut engine) = prepare(&job)?;
    engine.set_tensors(&start.tensors)?;
    engine.start_training(&plan.training())?;
    let (progress, record) = (Progress::new(job.dataset.classes.len()), job.record(&start.fresh, start.head));
    let mut session = Session::new(&mut job, plan, engine, Keeper::Memory(None), progress)?;
    session.offer(start.rival.as_deref())?;
    session.try_out(&record)
}

/// Goes on with a run from its last checkpoint, to the result that it would have had without the interruption.
///
/// # Errors
/// [`TrainError::Differs`] where `job` is not what the run was started with, [`TrainError::Finished`] where nothing is
/// left to do; otherwise as [`fit`].
pub fn resume(mut job: Job<'_>, run: RunDirectory) -> Result<Outcome, TrainError> {
    let before = run.record()?;
    let differences = job.record(&before.fresh, before.head).differences(&before);
    let path = || run.path().to_owned();
    if !differences.is_empty() {
        return Err(TrainError::Differs { path: path(), differences });
    }
    if run.summary()?.is_some() {
        return Err(TrainError::Finished { path: path() });
    }
    let (plan, mut engine) = prepare(&job)?;
    let mut snapshot = run.snapshot()?;
    snapshot.sort(&job.setup.network);
    engine.set_tensors(&snapshot.tensors)?;
    engine.start_training(&plan.training())?;
    engine.set_optimizer_state(&snapshot.optimizer)?;
    run.write_metrics(&snapshot.progress.history)?;
    Session::new(&mut job, plan, engine, Keeper::Run(run.clone()), snapshot.progress)?.run(run, &before)
}

/// Checks everything that can be checked before the first step.
fn prepare(job: &Job<'_>) -> Result<(StepPlan, Box<dyn Engine>), TrainError> {
    let setup = &job.setup;
    setup.config.validate()?;
    for (split, images) in [("training", &job.dataset.train), ("validation", &job.dataset.validation)] {
        if images.is_empty() {
            return Err(TrainError::NoImages { split });
        }
    }
    let (outputs, classes) = (setup.network.classes(), job.dataset.classes.len());
    if outputs != classes {
        return Err(TrainError::Classes { network: setup.network.name.clone(), outputs, classes });
    }
    let plan = StepPlan::new(&setup.config, &setup.network, job.batches())?;
    check_teacher(job)?;
    let single = setup.config.batch_size == 1 || job.dataset.train.len() == 1;
    check_shapes(&setup.network, setup.preprocessing.image_size, single, plan.training().frozen_blocks)?;
    Ok((plan, job.device.load(&setup.network)?))
}

/// Checks that the network to be imitated is there and knows the same classes.
fn check_teacher(job: &Job<'_>) -> Result<(), TrainError> {
    let Some(distillation) = &job.setup.config.distillation else { return Ok(()) };
    let card = read_card(&distillation.teacher)?;
    if card.classes == job.dataset.classes {
        return Ok(());
    }
    Err(TrainError::Teacher {
        path: distillation.teacher.clone(),
        knows: card.classes.join(", "),
        expected: job.dataset.classes.join(", "),
    })
}

/// Checks that the images fit the network and, where a batch has a `single` image, that no trained batch
/// normalisation is left with one value a channel.
fn check_shapes(network: &Network, image_size: usize, single: bool, frozen: usize) -> Result<(), TrainError> {
    let shapes = network.shapes(network.input_shape(image_size))?;
    for (block, shapes) in network.all_blocks().zip(&shapes).skip(frozen) {
        let norms = block.layers.iter().zip(shapes).filter(|(layer, _)| matches!(layer.op, Op::BatchNorm(_)));
        if single && norms.into_iter().any(|(_, shape)| shape.pixels() == 1) {
            return Err(TrainError::SingleValue { block: block.name.clone() });
        }
    }
    Ok(())
}
