//! Items under numbers that stay, where others come and go: the numbers of those that went are given again.

use super::pieces::Pieces;

/// See the module.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    items: Pieces<T>,
    free: Pieces<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { items: Pieces::default(), free: Pieces::default() }
    }
}

impl<T> Slab<T> {
    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// Keeps an item; returns its number.
    pub(crate) fn add(&mut self, item: T) -> u32 {
        match self.free.pop() {
            Some(number) => {
                *self.items.of_mut(number) = item;
                number
            }
            None => self.items.push(item),
        }
    }

    /// The item of a number that is in use.
    pub(crate) fn of(&self, number: u32) -> &T {
        self.items.of(number)
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, number: u32) -> &mut T {
        self.items.of_mut(number)
    }

    /// Every item, and what was kept under numbers that were given back.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// Gives a number back. What was kept there lies there until the number is given again.
    pub(crate) fn remove(&mut self, number: u32) {
        self.free.push(number);
        if self.free.len() == self.items.len() {
            *self = Slab::default();
        }
    }

    /// True if most of the room that it takes is free.
    pub(crate) fn is_sparse(&self) -> bool {
        self.free.len() > 4_096 && self.len() * 4 < self.items.len()
    }
}
