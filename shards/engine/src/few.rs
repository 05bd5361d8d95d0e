//! A queue that is nearly always empty, and then costs one word: what every connection and every user has, and hardly
//! any of them uses.

use std::collections::VecDeque;
use std::ops::Index;

use crate::memory::{block, items};

/// A [`VecDeque`] that owns memory only while something is in it.
#[derive(Debug)]
#[allow(clippy::box_collection)] // the box is the point: empty, it is one word
pub struct Few<T>(Option<Box<VecDeque<T>>>);

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few(None)
    }
}

impl<T> Few<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    /// Bytes that it owns.
    pub fn memory(&self) -> usize {
        let of = |queue: &VecDeque<T>| block(size_of::<VecDeque<T>>()) + items::<T>(queue.capacity());
        self.0.as_deref().map_or(0, of)
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds at the end.
    pub fn push_back(&mut self, value: T) {
        self.0.get_or_insert_with(|| Box::new(VecDeque::with_capacity(1))).push_back(value);
    }

    /// Takes the first.
    pub fn pop_front(&mut self) -> Option<T> {
        self.remove(0)
    }

    /// Takes one out of the line.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        let queue = self.0.as_mut()?;
        let value = queue.remove(index);
        if queue.is_empty() {
            self.0 = None;
        }
        value
    }

    /// The first.
    pub fn front(&self) -> Option<&T> {
        self.0.as_ref()?.front()
    }

    /// The first.
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.front_mut()
    }

    /// The one at that place.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.0.as_mut()?.get_mut(index)
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|queue| queue.iter())
    }

    /// In their order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flat_map(|queue| queue.iter_mut())
    }
}

impl<T> Index<usize> for Few<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        self.0.as_ref().and_then(|queue| queue.get(index)).expect("an index below the length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_no_memory_when_empty() {
        let mut few = Few::default();
        assert!(few.is_empty() && few.pop_front().is_none());
        (1..=3).for_each(|n| few.push_back(n));
        assert_eq!((few.remove(1), few.len(), few[1]), (Some(2), 2, 3));
        assert_eq!((few.pop_front(), few.pop_front(), few.pop_front()), (Some(1), Some(3), None));
        assert!(few.0.is_none());
        assert_eq!(size_of::<Few<[u64; 9]>>(), size_of::<usize>());
    }
}
