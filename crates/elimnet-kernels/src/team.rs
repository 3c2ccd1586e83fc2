//! A team: a pool's threads that follow one thread's loops, for work whose loops end within microseconds.
//!
//! Rayon hands half of a loop over when a thread that looks for work has found it in a queue; in a pass over one
//! image, with a hundred loops in a few milliseconds, each thread spent a seventh of its time between loops. A
//! team's threads watch one word. Each has its own share of a loop's tasks, the same part of every loop, so that it finds in
//! its caches what it made in the loop before; who is done with it takes from the others' shares.
#![allow(unsafe_code)] // tasks that borrow, handed to threads that outlive the borrow

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Looks at the word after which a waiting thread offers its core to others, some 50 µs.
const LOOKS: u32 = 2048;

/// Runs `work` on a thread of `pool`, and the kernels' loops in it on all of its threads, as soon as they are awake.
///
/// The pool's threads do nothing else until `work` ends. Two calls on one pool at a time would wait for each other's threads.
pub fn with_team<T: Send>(pool: &rayon::ThreadPool, work: impl FnOnce() -> T + Send) -> T {
    pool.install(|| {
        let leader = rayon::current_thread_index();
        let team = Arc::new(Team::new(rayon::current_num_threads()));
        rayon::scope(|scope| {
            let members = Arc::clone(&team);
            scope.spawn_broadcast(move |_, context| {
                if Some(context.index()) != leader {
                    members.follow();
                }
            });
            let _end = EndOnDrop(&team);
            let _current = Current::set(Some(Arc::clone(&team)));
            work()
        })
    })
}

/// The team that the calling thread leads, unless it is in one of its loops.
pub(crate) fn current() -> Option<Arc<Team>> {
    CURRENT.with_borrow(Option::clone)
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Team>>> = const { RefCell::new(None) };
}

/// Puts the team before back when dropped.
struct Current {
    before: Option<Arc<Team>>,
}

impl Current {
    fn set(team: Option<Arc<Team>>) -> Self {
        Self { before: CURRENT.replace(team) }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// Calls of it, each with another number, are a loop.
type Task<'t> = &'t (dyn Fn(usize) + Sync);

pub(crate) struct Team {
    /// Of the loops: [`Word`].
    word: AtomicUsize,
    task: Mutex<Option<Task<'static>>>,
    /// The leader's first, then the members' in the order in which they joined.
    shares: Vec<Share>,
    /// Threads that joined, the leader among them.
    joined: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Tasks of the current loop that one thread begins with. On lines of its own: the processor fetches pairs of them.
#[derive(Default)]
#[repr(align(128))]
struct Share {
    next: AtomicUsize,
    end: AtomicUsize,
}

/// What the members watch: how many of them are in the current loop, whether it can be entered, and its number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(usize);

impl Word {
    const INSIDE: usize = (1 << 12) - 1;
    const IS_OPEN: usize = 1 << 12;
    const HAS_ENDED: usize = 1 << 13;
    const LOOP: usize = 1 << 14;

    fn number(self) -> usize {
        self.0 / Self::LOOP
    }

    fn is(self, flag: usize) -> bool {
        self.0 & flag != 0
    }
}

impl Team {
    fn new(threads: usize) -> Self {
        Self {
            word: AtomicUsize::new(0),
            task: Mutex::new(None),
            shares: (0..threads.min(Word::INSIDE)).map(|_| Share::default()).collect(),
            joined: AtomicUsize::new(1),
            panic: Mutex::new(None),
        }
    }

    /// Takes part in all loops.
    fn follow(&self) {
        let member = self.joined.fetch_add(1, Ordering::Relaxed);
        let (mut seen, mut wait) = (0, Wait::default());
        loop {
            let word = Word(self.word.load(Ordering::Acquire));
            if word.is(Word::HAS_ENDED) {
                return;
            }
            if !word.is(Word::IS_OPEN) || word.number() == seen {
                wait.once();
                continue;
            }
            let entered = self.word.compare_exchange(word.0, word.0 + 1, Ordering::AcqRel, Ordering::Relaxed);
            if entered.is_ok() {
                (seen, wait) = (word.number(), Wait::default());
                self.take_part(member);
                self.word.fetch_sub(1, Ordering::Release);
            }
        }
    }

    fn take_part(&self, member: usize) {
        let task = *lock(&self.task);
        let work = || task.map_or((), |task| self.run_tasks(member, task));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            lock(&self.panic).get_or_insert(panic);
        }
    }

    /// The tasks of one's own share, then what the others have not begun.
    fn run_tasks(&self, member: usize, task: Task<'_>) {
        let (before, from) = self.shares.split_at(member.min(self.shares.len()));
        for share in from.iter().chain(before) {
            let end = share.end.load(Ordering::Relaxed);
            loop {
                let index = share.next.fetch_add(1, Ordering::Relaxed);
                if index >= end {
                    break;
                }
                task(index);
            }
        }
    }

    /// Calls `task` with all numbers below `count`; the leader's alone.
    ///
    /// # Panics
    /// If a call does, or a loop of this team is running.
    pub(crate) fn run(&self, count: usize, task: Task<'_>) {
        let (_none, size) = (Current::set(None), self.shares.len());
        if size == 1 || count < 2 {
            return (0..count).for_each(task);
        }
        assert!(!Word(self.word.load(Ordering::Relaxed)).is(Word::IS_OPEN), "a loop within a loop");
        for (member, share) in self.shares.iter().enumerate() {
            share.next.store(member * count / size, Ordering::Relaxed);
            share.end.store((member + 1) * count / size, Ordering::Relaxed);
        }
        // SAFETY: a member calls the task while it is inside the loop alone. `CloseOnDrop`, which is dropped before the borrow
        // ends however this function is left, lets nobody in any more and waits until nobody is inside.
        let lasting = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        *lock(&self.task) = Some(lasting);
        let open = CloseOnDrop::open(self);
        self.run_tasks(0, task);
        drop(open);
        if let Some(panic) = lock(&self.panic).take() {
            resume_unwind(panic);
        }
    }
}

/// Ends the loop.
struct CloseOnDrop<'t>(&'t Team);

impl<'t> CloseOnDrop<'t> {
    fn open(team: &'t Team) -> Self {
        team.word.fetch_add(Word::LOOP + Word::IS_OPEN, Ordering::Release);
        Self(team)
    }
}

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        let mut word = Word(self.0.word.fetch_sub(Word::IS_OPEN, Ordering::AcqRel));
        let mut wait = Wait::default();
        while word.is(Word::INSIDE) {
            wait.once();
            word = Word(self.0.word.load(Ordering::Acquire));
        }
    }
}

/// Sends the members home, also where the work panics.
struct EndOnDrop<'t>(&'t Team);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.word.fetch_or(Word::HAS_ENDED, Ordering::Release);
    }
}

/// Waiting for another thread, which is not far.
#[derive(Default)]
struct Wait {
    looks: u32,
}

impl Wait {
    fn once(&mut self) {
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
    }

    fn run(count: usize, task: Task<'_>) {
        current().expect("a team").run(count, task);
    }

    #[test]
    fn each_task_of_each_loop_is_run_once_and_done_when_the_loop_is() {
        let loops = if cfg!(miri) { 20 } else { 2000 };
        for threads in [1, 2, 3] {
            with_team(&pool(threads), || {
                for round in 0..loops {
                    let count = round % 7;
                    let calls: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                    run(count, &|index| _ = calls[index].fetch_add(1, Ordering::Relaxed));
                    assert!(calls.into_iter().all(|calls| calls.into_inner() == 1));
                }
            });
        }
    }

    #[test]
    fn a_member_takes_what_the_leader_has_not_begun() {
        let seen = Mutex::new(Vec::new());
        with_team(&pool(2), || {
            // The leader's first task ends when all others have been run, by the member.
            run(8, &|index| {
                let mut wait = Wait::default();
                while index == 0 && lock(&seen).len() < 7 {
                    wait.once();
                }
                lock(&seen).push(index);
            });
            assert_eq!(seen.lock().unwrap()[7], 0);
        });
    }

    #[test]
    fn a_panic_reaches_the_leader_and_the_team_goes_on() {
        with_team(&pool(2), || {
            for culprit in [0, 3] {
                let result = catch_unwind(|| run(4, &|index| assert_ne!(index, culprit)));
                assert!(result.is_err());
            }
            let sum = AtomicUsize::new(0);
            run(4, &|index| _ = sum.fetch_add(index, Ordering::Relaxed));
            assert_eq!(sum.into_inner(), 6);
        });
    }

    #[test]
    fn work_that_panics_lets_the_threads_go() {
        let pool = pool(2);
        let work = AssertUnwindSafe(|| with_team(&pool, || panic!("out")));
        assert!(catch_unwind(work).is_err());
        assert_eq!(pool.broadcast(|_| 1), [1, 1]);
    }

    #[test]
    fn there_is_no_team_within_a_loop_nor_behind_the_work() {
        with_team(&pool(2), || {
            run(2, &|_| assert!(current().is_none()));
            assert!(current().is_some());
        });
        assert!(current().is_none());
    }
}
