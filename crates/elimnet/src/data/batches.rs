//! The threads behind [`Loader::epoch`](super::Loader::epoch) and the queue between them and their consumer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::error::DataError;
use super::loader::{LabeledBatch, Plan, Recipe};
use super::resize::Scaler;

/// The batches of an epoch in order. Ends after the first error.
///
/// Dropping it stops and joins the workers.
#[derive(Debug)]
pub struct Batches {
    queue: Arc<Queue>,
    workers: Vec<JoinHandle<()>>,
    next: usize,
    end: usize,
    waited: Arc<AtomicU64>,
}

impl Batches {
    pub(super) fn start(recipe: Arc<Recipe>, plan: Plan, workers: usize, waited: Arc<AtomicU64>) -> Self {
        let (next, end) = (plan.batches.start, plan.batches.end);
        let queue = Arc::new(Queue::new(next, end, workers + 1));
        let plan = Arc::new(plan);
        let spawn = |_| {
            let (recipe, plan, queue) = (Arc::clone(&recipe), Arc::clone(&plan), Arc::clone(&queue));
            thread::spawn(move || work(&recipe, &plan, &queue))
        };
        Self { workers: (0..workers).map(spawn).collect(), queue, next, end, waited }
    }

    fn stop(&mut self) -> Result<(), Box<dyn std::any::Any + Send>> {
        self.queue.stop();
        self.workers.drain(..).map(JoinHandle::join).fold(Ok(()), Result::and)
    }
}

impl Iterator for Batches {
    type Item = Result<LabeledBatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let start = Instant::now();
        let batch = self.queue.take(self.next);
        self.waited.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        match batch {
            Some(Ok(batch)) => {
                self.next += 1;
                Some(Ok(batch))
            }
            Some(Err(error)) => {
                self.next = self.end;
                Some(Err(error))
            }
            // A worker is gone without having delivered: it panicked, and so do we, with its message.
            None => match self.stop() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => unreachable!("workers leave only when all is done or they are told to"),
            },
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.end - self.next))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // A panic of a worker was either passed on by `next` or concerns a batch that nobody wants any more.
        let _ = self.stop();
    }
}

fn work(recipe: &Recipe, plan: &Plan, queue: &Queue) {
    let leave = StopOnPanic(queue);
    let mut scaler = Scaler::new();
    while let Some(number) = queue.claim() {
        queue.deliver(number, recipe.batch(plan, number, &mut scaler));
    }
    drop(leave);
}

/// Wakes the consumer when a worker unwinds; it would wait for ever.
struct StopOnPanic<'a>(&'a Queue);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

/// Hands numbers of batches out to workers in order, and batches to the consumer in the same order.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// How far claims may run ahead of the consumer.
    ahead: usize,
    end: usize,
}

#[derive(Debug)]
struct State {
    unclaimed: usize,
    wanted: usize,
    done: HashMap<usize, Result<LabeledBatch, DataError>>,
    stopped: bool,
}

impl Queue {
    fn new(first: usize, end: usize, ahead: usize) -> Self {
        let state = State { unclaimed: first, wanted: first, done: HashMap::new(), stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), ahead, end }
    }

    /// The state stays consistent between its statements, so a panic elsewhere leaves nothing broken behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch to make, once there is room for it; `None` when there is nothing left to do.
    fn claim(&self) -> Option<usize> {
        let full = |state: &mut State| {
            !state.stopped && state.unclaimed < self.end && state.unclaimed >= state.wanted + self.ahead
        };
        let mut state = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if state.stopped || state.unclaimed >= self.end {
            return None;
        }
        state.unclaimed += 1;
        Some(state.unclaimed - 1)
    }

    fn deliver(&self, number: usize, batch: Result<LabeledBatch, DataError>) {
        self.lock().done.insert(number, batch);
        self.changed.notify_all();
    }

    /// Waits for batch `number`; `None` if it will never come.
    fn take(&self, number: usize) -> Option<Result<LabeledBatch, DataError>> {
        let pending = |state: &mut State| !state.stopped && !state.done.contains_key(&number);
        let mut state = self.changed.wait_while(self.lock(), pending).unwrap_or_else(PoisonError::into_inner);
        let batch = state.done.remove(&number)?;
        state.wanted = number + 1;
        self.changed.notify_all();
        Some(batch)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}
