//! Memory for the time of a call, which threads keep from one call to the next: fresh pages cost more than the arithmetic of a
//! small layer. Once a thread has seen a problem's sizes, its kernels take nothing from the allocator.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use bumpalo::Bump;
use bumpalo::collections::Vec as List;

use crate::element::Bf16;

/// Bytes of a cache line, and of a row of an AMX tile.
const LINE: usize = 64;

/// Types that a thread keeps buffers of.
pub(crate) trait Stored: Copy + Default + 'static {
    /// Runs `function` with this thread's store; `None` on a thread that is ending.
    fn with_store<R>(function: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> Option<R>;
}

macro_rules! stored {
    ($type:ty) => {
        impl Stored for $type {
            fn with_store<R>(function: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> Option<R> {
                thread_local! {
                    static BUFFERS: RefCell<Vec<Vec<$type>>> = const { RefCell::new(Vec::new()) };
                }
                BUFFERS.try_with(|buffers| function(&mut buffers.borrow_mut())).ok()
            }
        }
    };
}
stored!(f32);
stored!(f64);
stored!(usize);
stored!(Bf16);

/// A buffer of **unspecified values**, borrowed from the calling thread's store. It starts on a cache line.
#[derive(Debug)]
pub(crate) struct Scratch<T: Stored = f32> {
    buffer: Vec<T>,
    first: usize,
    length: usize,
}

impl<T: Stored> Scratch<T> {
    pub(crate) fn new(length: usize) -> Self {
        if length == 0 {
            return Self { buffer: Vec::new(), first: 0, length };
        }
        let with_slack = length + LINE / size_of::<T>();
        let found = T::with_store(|buffers| match best_fit(buffers, with_slack).or(smallest(buffers)) {
            Some(index) => buffers.swap_remove(index),
            None => Vec::new(),
        });
        let mut buffer = found.unwrap_or_default();
        if buffer.len() < with_slack {
            buffer = vec![T::default(); with_slack];
        }
        let first = first_on_a_line(&buffer);
        Self { buffer, first, length }
    }

    /// Of one value everywhere.
    pub(crate) fn filled(length: usize, value: T) -> Self {
        let mut buffer = Self::new(length);
        buffer.fill(value);
        buffer
    }

    /// Of the iterator's values, which are counted first.
    pub(crate) fn of(values: impl Iterator<Item = T> + Clone) -> Self {
        let mut buffer = Self::new(values.clone().count());
        buffer.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        buffer
    }
}

/// Values before the first that starts a cache line.
pub(crate) fn first_on_a_line<T>(values: &[T]) -> usize {
    values.as_ptr().align_offset(LINE)
}

/// The smallest buffer that is long enough.
fn best_fit<T>(buffers: &[Vec<T>], length: usize) -> Option<usize> {
    let fitting = buffers.iter().enumerate().filter(|(_, buffer)| buffer.len() >= length);
    fitting.min_by_key(|(_, buffer)| buffer.len()).map(|(index, _)| index)
}

/// The one that a longer one takes the place of.
fn smallest<T>(buffers: &[Vec<T>]) -> Option<usize> {
    best_fit(buffers, 0)
}

impl<T: Stored> Drop for Scratch<T> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            T::with_store(|buffers| buffers.push(buffer));
        }
    }
}

impl<T: Stored> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.buffer[self.first..self.first + self.length]
    }
}

impl<T: Stored> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer[self.first..self.first + self.length]
    }
}

thread_local! {
    static BUMPS: RefCell<Vec<Bump>> = const { RefCell::new(Vec::new()) };
}

/// Room for lists of anything, borrowed from the calling thread's store.
pub(crate) struct Room {
    bump: Bump,
}

impl Room {
    pub(crate) fn new() -> Self {
        let found = BUMPS.try_with(|bumps| bumps.borrow_mut().pop());
        Self { bump: found.ok().flatten().unwrap_or_default() }
    }

    pub(crate) fn list<T>(&self, items: impl Iterator<Item = T>) -> List<'_, T> {
        List::from_iter_in(items, &self.bump)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut bump = std::mem::take(&mut self.bump);
        bump.reset();
        // A thread that is ending keeps nothing.
        let _ = BUMPS.try_with(|bumps| bumps.borrow_mut().push(bump));
    }
}

/// Bytes that the calling thread keeps for calls of kernels to come.
pub fn kept_bytes() -> usize {
    let bumps = BUMPS.try_with(|bumps| bumps.borrow().iter().map(Bump::allocated_bytes).sum());
    kept::<f32>() + kept::<f64>() + kept::<usize>() + kept::<Bf16>() + bumps.unwrap_or(0)
}

fn kept<T: Stored>() -> usize {
    let bytes = |buffers: &mut Vec<Vec<T>>| buffers.iter().map(|buffer| size_of_val(&buffer[..])).sum();
    T::with_store(bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_buffer_has_the_length_asked_for_and_comes_back() {
        let address = Scratch::<f32>::new(100).as_ptr();
        let again = Scratch::<f32>::new(60);
        assert_eq!((again.len(), again.as_ptr()), (60, address));
    }

    #[test]
    fn a_scratch_buffer_of_an_iterator_has_its_values() {
        assert_eq!(*Scratch::of((0..100_usize).step_by(7)), Vec::from_iter((0..100).step_by(7)));
        assert_eq!(*Scratch::filled(3, 1.5), [1.5; 3]);
    }

    #[test]
    fn what_is_kept_is_counted() {
        let before = kept_bytes();
        drop((Scratch::<f64>::new(1000), Scratch::<Bf16>::new(1000)));
        assert!((10_000..11_000).contains(&(kept_bytes() - before)));
    }

    #[test]
    fn a_list_has_its_items_and_drops_them() {
        let counted = std::rc::Rc::new(());
        let room = Room::new();
        let list = room.list((0..100).map(|number| (number, counted.clone())));
        assert_eq!((list[99].0, std::rc::Rc::strong_count(&counted)), (99, 101));
        drop(list);
        assert_eq!(std::rc::Rc::strong_count(&counted), 1);
    }

    #[test]
    fn a_room_that_was_used_has_room() {
        let room = Room::new();
        assert_eq!(room.list(0..1000).len(), 1000);
        drop(room);
        assert!(Room::new().bump.chunk_capacity() >= 1000 * size_of::<i32>());
    }
}
