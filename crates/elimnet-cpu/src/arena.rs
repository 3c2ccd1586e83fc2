//! One array for all buffers of a pass: where each lies follows from when it is in use.
//!
//! Everything is planned before the first step, for one image; a batch takes a multiple of it. So a pass touches no
//! fresh pages but in its first run, and what it needs is known beforehand.

use std::ops::Range;

use elimnet_kernels::Kernels;

/// Index of a buffer in a [`Layout`].
pub(crate) type BufferId = usize;

/// A buffer of one image and the moments at which it must keep its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// Elements for one image.
    pub(crate) len: usize,
    /// Moment at which it is written first.
    pub(crate) first: usize,
    /// Moment at which it is read last.
    pub(crate) last: usize,
}

impl Lifetime {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Places of buffers, such that no two that are in use at the same moment overlap.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Place and length of each, for one image.
    places: Vec<(usize, usize)>,
    len: usize,
}

/// Buffers start at multiples of this many elements: a cache line of the smaller type.
const LINE: usize = 32;

impl Layout {
    /// Places buffers, the largest first, each in the lowest gap between those that it meets.
    ///
    /// # Source
    /// Pisarchyk & Lee, *Efficient Memory Management for Deep Neural Net Inference*, 2020, "greedy by size".
    pub(crate) fn new(buffers: &[Lifetime]) -> Self {
        let mut order: Vec<BufferId> = (0..buffers.len()).collect();
        order.sort_by_key(|&buffer| (std::cmp::Reverse(buffers[buffer].len), buffer));
        let mut places: Vec<(usize, usize)> = buffers.iter().map(|buffer| (0, buffer.len)).collect();
        // Taken so far, ascending by place.
        let mut taken: Vec<(usize, BufferId)> = Vec::new();
        let mut len = 0;
        for buffer in order {
            let room = buffers[buffer].len.next_multiple_of(LINE);
            let mut place = 0;
            for &(start, other) in &taken {
                if !buffers[other].meets(&buffers[buffer]) {
                    continue;
                }
                if place + room <= start {
                    break;
                }
                place = place.max(start + buffers[other].len.next_multiple_of(LINE));
            }
            places[buffer].0 = place;
            len = len.max(place + room);
            let position = taken.partition_point(|&(start, _)| start <= place);
            taken.insert(position, (place, buffer));
        }
        Self { places, len }
    }

    /// Elements for `count` images.
    pub(crate) fn len(&self, count: usize) -> usize {
        self.len * count
    }

    /// Where a buffer for `count` images is.
    pub(crate) fn range(&self, buffer: BufferId, count: usize) -> Range<usize> {
        let (place, len) = self.places[buffer];
        place * count..(place + len) * count
    }
}

/// The array.
#[derive(Debug, Default)]
pub(crate) struct Arena<E> {
    values: Vec<E>,
    /// First element on a cache line's boundary.
    start: usize,
}

impl<E: Kernels> Arena<E> {
    /// Makes room for `len` elements; what they are is not said.
    pub(crate) fn reserve(&mut self, len: usize) {
        if self.values.len() < len + LINE {
            // Frees the old one first.
            self.values = Vec::new();
            self.values = vec![E::ZERO; len + LINE];
            self.start = self.values.as_ptr().align_offset(LINE * size_of::<u16>()).min(LINE);
        }
    }

    /// Some elements.
    pub(crate) fn read(&self, range: Range<usize>) -> &[E] {
        &self.values[self.start..][range]
    }

    /// Some elements, to be written.
    pub(crate) fn write(&mut self, range: Range<usize>) -> &mut [E] {
        &mut self.values[self.start..][range]
    }

    /// Some ranges to be written, and all else to be read.
    ///
    /// # Panics
    /// If ranges overlap.
    pub(crate) fn split<const N: usize>(
        &mut self,
        written: [Range<usize>; N],
    ) -> ([&mut [E]; N], Others<'_, E>) {
        let mut order: [usize; N] = std::array::from_fn(|index| index);
        order.sort_unstable_by_key(|&index| written[index].start);
        let mut targets: [&mut [E]; N] = std::array::from_fn(|_| &mut [][..]);
        let mut others = Others { parts: [(0, &[][..]); 4] };
        let (mut rest, mut position) = (&mut self.values[self.start..], 0);
        for (part, &index) in order.iter().enumerate() {
            let Range { start, end } = written[index].clone();
            if start == end {
                continue;
            }
            let (before, behind) = std::mem::take(&mut rest).split_at_mut(start - position);
            let (target, behind) = behind.split_at_mut(end - start);
            others.parts[part] = (position, before);
            targets[index] = target;
            (rest, position) = (behind, end);
        }
        others.parts[3] = (position, rest);
        (targets, others)
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.values[..])
    }
}

/// What lies between the ranges that are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others<'a, E> {
    parts: [(usize, &'a [E]); 4],
}

impl<'a, E> Others<'a, E> {
    /// Some elements.
    ///
    /// # Panics
    /// If they are not in one part.
    pub(crate) fn read(&self, range: Range<usize>) -> &'a [E] {
        let holds =
            |&&(start, part): &&(usize, &[E])| start <= range.start && range.end <= start + part.len();
        let (start, part) = self.parts.iter().find(holds).expect("nothing reads what is being written");
        &part[range.start - start..range.end - start]
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, Layout, Lifetime};

    #[test]
    fn buffers_that_meet_lie_apart_and_others_share() {
        let buffer = |len, first, last| Lifetime { len, first, last };
        let buffers =
            [buffer(100, 0, 1), buffer(64, 1, 2), buffer(100, 2, 3), buffer(30, 0, 3), buffer(7, 3, 3)];
        let layout = Layout::new(&buffers);
        for (a, one) in buffers.iter().enumerate() {
            for (b, other) in buffers.iter().enumerate().skip(a + 1) {
                let (left, right) = (layout.range(a, 3), layout.range(b, 3));
                let overlap = left.start < right.end && right.start < left.end;
                assert!(!(one.meets(other) && overlap), "{a} and {b}");
            }
        }
        assert_eq!(layout.len(1), 128 + 64 + 32, "the first and the third share");
        assert_eq!(layout.len(3), 3 * layout.len(1));
    }

    #[test]
    fn written_ranges_are_apart_from_what_is_read() {
        let mut arena = Arena::default();
        arena.reserve(10);
        let values: Vec<f32> = (0..10).map(|value| value as f32).collect();
        arena.write(0..10).copy_from_slice(&values);
        let ([late, none, early], others) = arena.split([7..9, 4..4, 2..3]);
        assert_eq!((&*late, none.len(), &*early), (&[7.0, 8.0][..], 0, &[2.0][..]));
        assert_eq!((others.read(3..7), others.read(0..2)), (&values[3..7], &values[..2]));
        late.fill(0.0);
        assert_eq!(others.read(9..10), [9.0]);
        assert_eq!(arena.read(6..10), [6.0, 0.0, 0.0, 9.0]);
    }

    #[test]
    #[should_panic(expected = "nothing reads what is being written")]
    fn what_is_written_can_not_be_read() {
        let mut arena = Arena::<f32>::default();
        arena.reserve(10);
        let written = 2..5;
        let (_, others) = arena.split([written]);
        others.read(4..6);
    }
}
