//! Buffers that are used again: after the first step no activation is allocated.

/// Free buffers by length.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: Vec<Vec<f32>>,
}

impl Buffers {
    /// A buffer of `len` numbers; what they are is not said.
    pub(crate) fn take(&mut self, len: usize) -> Vec<f32> {
        let fitting = self.free.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= len);
        let best = fitting.min_by_key(|(_, buffer)| buffer.capacity()).map(|(index, _)| index);
        let mut buffer = match best {
            Some(index) => self.free.swap_remove(index),
            None => Vec::with_capacity(len),
        };
        buffer.truncate(len);
        buffer.resize(len, 0.0);
        buffer
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, buffer: Vec<f32>) {
        self.free.push(buffer);
    }

    /// Forgets all free buffers, as for another image size.
    pub(crate) fn clear(&mut self) {
        self.free.clear();
    }

    /// Bytes of the free buffers.
    pub(crate) fn bytes(&self) -> usize {
        self.free.iter().map(|buffer| buffer.capacity() * size_of::<f32>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Buffers;

    #[test]
    fn the_smallest_fitting_buffer_is_used_again() {
        let mut buffers = Buffers::default();
        let (small, large) = (buffers.take(10), buffers.take(100));
        let (small_at, large_at) = (small.as_ptr(), large.as_ptr());
        buffers.give(large);
        buffers.give(small);
        let (first, second) = (buffers.take(8), buffers.take(8));
        assert_eq!([first.as_ptr(), second.as_ptr()], [small_at, large_at]);
        assert_eq!(buffers.bytes(), 0);
    }
}
