use std::rc::Rc;

use super::element::Element;
use super::fault::Fault;
use super::pickle::{Heap, Id, Object};
use super::pickle_global::Global;

/// A part of a storage, as a pickle refers to it.
#[derive(Debug, Clone)]
pub(super) struct StorageView {
    pub(super) key: Rc<str>,
    pub(super) element: Element,
    /// Elements of the whole storage.
    pub(super) length: usize,
    /// First element of this part; only early legacy files have parts.
    offset: usize,
}

impl StorageView {
    /// Reads `("storage", class, key, device, length[, None or (key, offset, length)])`.
    pub(super) fn from_persistent_id(heap: &Heap, id: Id) -> Option<Self> {
        let (&[tag, class, key, _device, length], part) = heap.sequence(id)?.split_first_chunk()?;
        let Object::Global(Global::Storage(element)) = *heap.get(class) else { return None };
        if heap.text(tag)? != "storage" {
            return None;
        }
        let key = match heap.get(key) {
            Object::Text(key) => key.as_str().into(),
            Object::Int(key) => key.to_string().into(),
            _ => return None,
        };
        let offset = match part.first().map(|&part| (heap.get(part), heap.sequence(part))) {
            None | Some((Object::None, _)) => 0,
            Some((_, Some(&[_key, offset, _length]))) => size(heap, offset)?,
            Some(_) => return None,
        };
        Some(Self { key, element, length: size(heap, length)?, offset })
    }
}

/// A tensor of a pickle: how to find its values in a storage.
#[derive(Debug, Clone)]
pub(super) struct TensorView {
    pub(super) storage: StorageView,
    offset: usize,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
}

impl TensorView {
    /// Reads `(storage, offset, shape, strides, ...)`.
    pub(super) fn rebuild(heap: &Heap, arguments: &[Id]) -> Option<Self> {
        let (&[storage, offset, shape, strides], _) = arguments.split_first_chunk()?;
        let Object::Storage(storage) = heap.get(storage) else { return None };
        let offset = size(heap, offset)?.checked_add(storage.offset)?;
        let (shape, strides) = (sizes(heap, shape)?, sizes(heap, strides)?);
        (shape.len() == strides.len()).then(|| Self { storage: storage.clone(), offset, shape, strides })
    }

    /// Number of values; none where the product overflows.
    pub(super) fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side))
    }

    /// Checks that every value lies in the storage.
    pub(super) fn check(&self, name: &str) -> Result<(), Fault> {
        match self.end() {
            Some(end) if end <= self.storage.length => Ok(()),
            _ => Err(Fault::TensorOutside {
                tensor: name.to_owned(),
                shape: self.shape.clone(),
                strides: self.strides.clone(),
                offset: self.offset,
                storage_length: self.storage.length,
            }),
        }
    }

    /// One past the last element in the storage.
    fn end(&self) -> Option<usize> {
        if self.count()? == 0 {
            return Some(0);
        }
        let mut steps = self.shape.iter().zip(&self.strides);
        let last = steps.try_fold(self.offset, |index, (side, stride)| {
            index.checked_add((side - 1).checked_mul(*stride)?)
        });
        last?.checked_add(1)
    }

    /// Collects the values, in row-major order, from the storage's bytes. [`Self::check`] comes first.
    pub(super) fn gather(&self, storage: &[u8]) -> Vec<f32> {
        let (element, count) = (self.storage.element, self.count().unwrap_or(0));
        if count == 0 {
            return Vec::new();
        }
        let bytes = &storage[self.offset * element.size()..];
        if self.is_contiguous() {
            element.decode(&bytes[..count * element.size()])
        } else {
            element.decode(&self.reorder(bytes, count))
        }
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == expected;
            expected *= side;
            fits
        })
    }

    /// The elements' bytes in row-major order, wherever their strides put them.
    fn reorder(&self, bytes: &[u8], count: usize) -> Vec<u8> {
        let size = self.storage.element.size();
        let mut ordered = Vec::with_capacity(count * size);
        let mut index = vec![0; self.shape.len()];
        let mut position = 0usize;
        for _ in 0..count {
            ordered.extend_from_slice(&bytes[position * size..][..size]);
            for axis in (0..index.len()).rev() {
                // The stride of a side of one can be any number: it is added and taken away again.
                position = position.wrapping_add(self.strides[axis]);
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                position = position.wrapping_sub(self.strides[axis].wrapping_mul(self.shape[axis]));
                index[axis] = 0;
            }
        }
        ordered
    }
}

fn size(heap: &Heap, id: Id) -> Option<usize> {
    usize::try_from(heap.int(id)?).ok()
}

fn sizes(heap: &Heap, id: Id) -> Option<Vec<usize>> {
    heap.sequence(id)?.iter().map(|&id| size(heap, id)).collect()
}
