//! The memory of a pass: an arena of pixels, as elements, and one of vectors, as f32.

use std::ops::Range;

use elimnet_kernels::Kernels;

use crate::arena::{Arena, BufferId, Layout, Lifetime};

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As elements.
    Pixels,
    /// As f32: what is pooled over all pixels is small, and decides much.
    Vector,
}

/// Places of all buffers of a pass, in their arenas.
#[derive(Debug)]
pub(crate) struct Placement {
    pixels: Layout,
    vectors: Layout,
}

impl Placement {
    /// Places buffers.
    pub(crate) fn new(buffers: &[(Kept, Lifetime)]) -> Self {
        let only = |wanted: Kept| {
            let of = |&(kept, lifetime): &(Kept, Lifetime)| match kept == wanted {
                true => lifetime,
                false => Lifetime { len: 0, ..lifetime },
            };
            Layout::new(&buffers.iter().map(of).collect::<Vec<_>>())
        };
        Self { pixels: only(Kept::Pixels), vectors: only(Kept::Vector) }
    }
}

/// Both arenas.
#[derive(Debug, Default)]
pub(crate) struct Slabs<E> {
    pub(crate) pixels: Arena<E>,
    pub(crate) vectors: Arena<f32>,
}

impl<E: Kernels> Slabs<E> {
    /// Makes room for `count` images.
    pub(crate) fn reserve(&mut self, placement: &Placement, count: usize) {
        self.pixels.reserve(placement.pixels.len(count));
        self.vectors.reserve(placement.vectors.len(count));
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.pixels.bytes() + self.vectors.bytes()
    }
}

/// Where the buffers of so many images are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    pub(crate) placement: &'a Placement,
    pub(crate) count: usize,
}

impl Places<'_> {
    pub(crate) fn pixels(&self, buffer: BufferId) -> Range<usize> {
        self.placement.pixels.range(buffer, self.count)
    }

    pub(crate) fn vector(&self, buffer: BufferId) -> Range<usize> {
        self.placement.vectors.range(buffer, self.count)
    }

    pub(crate) fn of(&self, kept: Kept, buffer: BufferId) -> Range<usize> {
        match kept {
            Kept::Pixels => self.pixels(buffer),
            Kept::Vector => self.vector(buffer),
        }
    }
}
