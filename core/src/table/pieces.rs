//! A long row of items in pieces of one size, so that growing copies nothing and needs no second row beside the first.

/// So many items lie in one piece.
pub(super) const PIECE: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pieces<T> {
    /// All but the last hold [`PIECE`] items.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Pieces<T> {
        Pieces { pieces: Vec::new() }
    }
}

impl<T> Pieces<T> {
    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    /// The item at a place.
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.pieces.get(at as usize / PIECE)?.get(at as usize % PIECE)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.pieces.get_mut(at as usize / PIECE)?.get_mut(at as usize % PIECE)
    }

    /// The item at a place that is taken.
    pub(crate) fn of(&self, at: u32) -> &T {
        &self.pieces[at as usize / PIECE][at as usize % PIECE]
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, at: u32) -> &mut T {
        &mut self.pieces[at as usize / PIECE][at as usize % PIECE]
    }

    /// Puts an item behind the others and returns its place.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let at = self.len() as u32;
        match self.pieces.last_mut().filter(|last| last.len() < PIECE) {
            Some(last) => last.push(item),
            None => {
                // The first piece grows with what there is.
                let mut piece = Vec::with_capacity(if self.pieces.is_empty() { 4 } else { PIECE });
                piece.push(item);
                self.pieces.push(piece);
            }
        }
        at
    }

    /// Takes the last item out.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.pieces.last_mut()?;
        let item = last.pop();
        if last.is_empty() {
            self.pieces.pop();
        }
        item
    }

    /// Takes an item out; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, at: u32) -> Option<T> {
        let last = self.pop()?;
        match self.get_mut(at) {
            Some(place) => Some(std::mem::replace(place, last)),
            // It was the last one itself.
            None => Some(last),
        }
    }

    /// Every item, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }
}
