//! Keeps padded and resized images of files between epochs, while a budget lasts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::image::Image;

/// One place for each sample, filled at most once.
#[derive(Debug)]
pub(crate) struct PreparedCache {
    images: Vec<OnceLock<Arc<Image>>>,
    bytes_left: AtomicUsize,
}

impl PreparedCache {
    pub(crate) fn new(samples: usize, bytes: usize) -> Self {
        Self { images: (0..samples).map(|_| OnceLock::new()).collect(), bytes_left: AtomicUsize::new(bytes) }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Image>> {
        self.images[index].get()
    }

    /// Keeps the image if there is room for it. Two threads that bring the same image at once bring the same pixels.
    pub(crate) fn keep(&self, index: usize, image: &Arc<Image>) {
        let room = |left: usize| left.checked_sub(image.bytes());
        if self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
            && self.images[index].set(Arc::clone(image)).is_err()
        {
            self.bytes_left.fetch_add(image.bytes(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_never_exceeded_and_given_back() {
        let cache = PreparedCache::new(3, 12 * 2 + 5);
        let image = Arc::new(Image::filled(2, 2, [7; 3]));
        for index in [0, 0, 1, 2] {
            cache.keep(index, &image);
        }
        assert_eq!((cache.get(0), cache.get(1), cache.get(2)), (Some(&image), Some(&image), None));
        assert_eq!(cache.bytes_left.load(Ordering::Relaxed), 5);
    }
}
