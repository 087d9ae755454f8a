//! The order in which templates are tried: the adaptive part of the detector.
//!
//! Templates that hit move up, those that hit far from the beginning of a line less so; the template of the last line
//! is tried first, at the place where it hit. A hit elsewhere may come from the text of a message, so it only holds if
//! no other template does better.

use super::template::{Hit, Template};
use super::text::Text;

/// The state of a detector.
#[derive(Debug, Clone)]
pub(super) struct Order {
    slots: Vec<Slot>,
    /// Whether a template was ever found, by its index; a template may be found without being taken.
    seen: Vec<bool>,
    /// The slots before this one have hits.
    first_unused: usize,
    last: Option<Last>,
}

#[derive(Debug, Clone)]
struct Slot {
    template: usize,
    hits: u32,
    /// Milliseconds.
    last_used: i64,
    /// Where it hit last.
    distance: usize,
}

/// The last hit.
#[derive(Debug, Clone)]
struct Last {
    slot: usize,
    start: usize,
    end: usize,
    /// The characters around its beginning and its end.
    before: Option<char>,
    first: Option<char>,
    final_: Option<char>,
    after: Option<char>,
}

/// A slot moves past one that has not been used for so long, whatever their hits. Milliseconds.
const LONG_UNUSED: i64 = 300_000;
/// Where the last hit is taken to have been before there was one.
const FIRST_DISTANCE: usize = 1;

/// The best of the hits that another template may still beat.
struct Reserve {
    slot: usize,
    hit: Hit,
}

impl Order {
    pub(super) fn new(count: usize) -> Order {
        let slot = |template| Slot { template, hits: 0, last_used: 0, distance: usize::MAX };
        Order { slots: (0..count).map(slot).collect(), seen: vec![false; count], first_unused: 0, last: None }
    }

    /// The templates in the order in which they are tried.
    pub(super) fn templates(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().map(|slot| slot.template)
    }

    /// Finds the template whose date holds, and learns from it. `sift`: tells which templates the text may hold
    /// at all, asked only if the last template is not found where it was. `now`: milliseconds.
    pub(super) fn find(
        &mut self,
        templates: &mut [Template],
        text: &Text<'_>,
        now: i64,
        sift: impl FnOnce(&[Template]) -> Templates,
    ) -> Option<(usize, Hit)> {
        let (mut reserve, mut skip) = (None, None);
        let is_near = self.last.as_ref().is_some_and(|last| self.is_near(templates, text, last));
        let mut again = None;
        if is_near {
            again = self.again(templates, text, Templates::ALL, &mut reserve, &mut skip);
        }
        let (slot, hit) = match again {
            Some(again) => again,
            None => {
                let candidates = sift(templates);
                if !is_near {
                    again = self.again(templates, text, candidates, &mut reserve, &mut skip);
                }
                again
                    .or_else(|| self.search(templates, text, candidates, skip, &mut reserve))
                    .or_else(|| reserve.map(|reserve| (reserve.slot, reserve.hit)))?
            }
        };
        self.learn(templates, text, now, slot, &hit);
        Some((self.slots[self.last.as_ref().map_or(slot, |last| last.slot)].template, hit))
    }

    /// Learns that the last hit was found once more where it was, by a template that is tried there only.
    pub(super) fn repeat(&mut self, now: i64) {
        if let Some(slot) = self.last.as_ref().map(|last| last.slot) {
            self.count(slot, now);
        }
    }

    fn count(&mut self, slot: usize, now: i64) {
        let used = &mut self.slots[slot];
        used.hits = used.hits.saturating_add(1);
        used.last_used = now;
        if self.first_unused == slot {
            self.first_unused += 1;
        }
    }

    fn try_slot(&mut self, templates: &mut [Template], text: &Text<'_>, slot: usize) -> Option<Hit> {
        let index = self.slots[slot].template;
        let hit = templates[index].find(text, 0..text.bytes().len())?;
        self.seen[index] = true;
        Some(hit)
    }

    /// True if the last template is tried at one place only.
    fn is_near(&self, templates: &[Template], text: &Text<'_>, last: &Last) -> bool {
        templates[self.slots[last.slot].template].is_anchored || last.has_same_bounds(text)
    }

    /// Tries the last template first, if it may, only where it hit.
    fn again(
        &mut self,
        templates: &mut [Template],
        text: &Text<'_>,
        candidates: Templates,
        reserve: &mut Option<Reserve>,
        skip: &mut Option<usize>,
    ) -> Option<(usize, Hit)> {
        let last = self.last.clone()?;
        let index = self.slots[last.slot].template;
        let is_anchored = templates[index].is_anchored;
        let hit = if !is_anchored && last.has_same_bounds(text) {
            let end = last.end.min(text.bytes().len());
            let hit = templates[index].find(text, last.start.min(end)..end);
            self.seen[index] |= hit.is_some();
            hit?
        } else {
            *skip = Some(last.slot);
            if !candidates.has(index) {
                return None;
            }
            self.try_slot(templates, text, last.slot)?
        };
        let is_same = hit.span.start == last.start && hit.span.end == last.end;
        if self.slots.len() == 1 || is_anchored || is_same {
            return Some((last.slot, hit));
        }
        *reserve = Some(Reserve { slot: last.slot, hit });
        None
    }

    fn search(
        &mut self,
        templates: &mut [Template],
        text: &Text<'_>,
        candidates: Templates,
        skip: Option<usize>,
        reserve: &mut Option<Reserve>,
    ) -> Option<(usize, Hit)> {
        let last_distance = self.last.as_ref().map_or(FIRST_DISTANCE, |last| last.start);
        for slot in 0..self.slots.len() {
            let index = self.slots[slot].template;
            if skip == Some(slot) || !candidates.has(index) {
                continue;
            }
            let Some(hit) = self.try_slot(templates, text, slot) else { continue };
            let distance = hit.span.start;
            let next = self.slots.get(slot + 1);
            let beats_unused = distance == 0
                && self.slots[slot].hits > 0
                && next.is_some_and(|next| !self.seen[next.template]);
            let is_farther = distance > self.slots[slot].distance || distance > last_distance;
            if next.is_none() || templates[index].is_anchored || beats_unused || !is_farther {
                return Some((slot, hit));
            }
            if reserve.as_ref().is_none_or(|best| distance < best.hit.span.start) {
                *reserve = Some(Reserve { slot, hit });
            }
        }
        None
    }

    fn learn(&mut self, templates: &[Template], text: &Text<'_>, now: i64, mut slot: usize, hit: &Hit) {
        let (start, end) = (hit.span.start, hit.span.end);
        self.count(slot, now);
        self.slots[slot].distance = start;
        let last_slot = self.last.as_ref().map(|last| last.slot);
        if slot > 0 && last_slot != Some(slot) {
            slot = self.move_up(templates, slot);
        }
        let before = |place: usize| place.checked_sub(1).and_then(|place| text.char_at(place));
        self.last = Some(Last {
            slot,
            start,
            end,
            before: before(start),
            first: text.char_at(start),
            final_: before(end),
            after: text.char_at(end),
        });
    }

    /// Lets a slot move to the first one without hits, or half way up; failing that, one place. Returns where it is.
    fn move_up(&mut self, templates: &[Template], slot: usize) -> usize {
        let mut to = if self.first_unused < slot { self.first_unused } else { slot / 2 };
        if !self.may_pass(templates, slot, to) {
            if to == slot - 1 {
                return slot;
            }
            to = slot - 1;
            if !self.may_pass(templates, slot, to) {
                return slot;
            }
        }
        let moved = self.slots.remove(slot);
        self.slots.insert(to, moved);
        while self.slots.get(self.first_unused).is_some_and(|slot| slot.hits > 0) {
            self.first_unused += 1;
        }
        to
    }

    fn may_pass(&self, templates: &[Template], slot: usize, other: usize) -> bool {
        let weight = |slot: &Slot| {
            // Exact up to 2^53; hits and lines are fewer.
            f64::from(slot.hits) * templates[slot.template].weight / slot.distance.max(1) as f64
        };
        let (slot, other) = (&self.slots[slot], &self.slots[other]);
        weight(slot) > weight(other) || slot.last_used - LONG_UNUSED > other.last_used
    }
}

impl Last {
    /// The same characters around the place, or at its ends ones that are no letters.
    fn has_same_bounds(&self, text: &Text<'_>) -> bool {
        let is_mark = |c: Option<char>| !c.is_some_and(super::text::is_alphanumeric);
        let before = |place: usize| place.checked_sub(1).and_then(|place| text.char_at(place));
        let begins = before(self.start) == self.before
            || (text.char_at(self.start) == self.first && is_mark(self.first));
        begins
            && (text.char_at(self.end) == self.after
                || (before(self.end) == self.final_ && is_mark(self.final_)))
    }
}

/// A set of templates, by their indices; those beyond the first 64 always belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Templates(u64);

impl Templates {
    /// Every one.
    pub(super) const ALL: Templates = Templates(u64::MAX);

    /// Takes one out, if that can be told.
    pub(super) fn remove(&mut self, index: usize) {
        if index < 64 {
            self.0 &= !(1 << index);
        }
    }

    fn has(self, index: usize) -> bool {
        index >= 64 || self.0 & (1 << index) != 0
    }
}
