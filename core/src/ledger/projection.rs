//! The projection: what the kernel shall hold, as a pure function of the ledger and the never-ban set.
//!
//! Single addresses (and IPv6 /64s) are elements of their own with the latest end of all jails that ban them.
//! Other prefixes are flattened within their scope: disjoint pieces, each with the latest end of the bans that
//! cover it. Everything that is never banned is subtracted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use crate::event::Scope;
use crate::jail::never::NeverBan;
use crate::net::Prefix;
use crate::table::PrefixMap;
use crate::time::{End, Span, Timestamp};

use super::kept::Until;
use super::{Ban, Ledger};

/// One element of the projection: this prefix, shut out in this scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// Which traffic.
    pub scope: Scope,
    /// Whose.
    pub prefix: Prefix,
}

/// One change to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The element shall be there until `End`; sets the end anew if it is there already.
    Set(Element, End),
    /// The element shall not be there; it is no error if it is not.
    Remove(Element),
}

/// What the kernel holds of ours: each element with its end, as far as the kernel knows ends.
pub type Installed = HashMap<Element, Option<End>>;

/// True for prefixes that are elements of their own: single addresses, and the /64s of IPv6.
pub fn is_point(prefix: Prefix) -> bool {
    prefix.is_host() || (!prefix.is_ipv4() && prefix.prefix_len() == 64)
}

/// The ends of touched elements before an update.
type Before = BTreeMap<Element, Option<End>>;

/// What the kernel shall hold, kept up to date ban by ban.
#[derive(Debug, Default)]
pub struct Projection {
    /// By each scope that a ban ever had, as many as there are jails at most: an element of its own for each point would
    /// take three times as much.
    points: BTreeMap<Scope, PrefixMap<Until>>,
    nets: BTreeMap<Element, End>,
    /// The prefixes of the ledger whose pieces are in `nets`.
    wide: BTreeSet<Prefix>,
}

/// Bytes of a point in the table of its scope.
pub(crate) const EACH: usize = size_of::<(Prefix, Until)>();

/// Ends that differ by less than this are taken as equal when the kernel is compared: it rounds and lags.
const END_TOLERANCE: Span = Span::from_millis(1_500);

/// What ends as close to now as this may be counted by the kernel or not: it cleans up every second.
const COUNT_TOLERANCE: Span = Span::from_secs(2);

impl Projection {
    /// Brings the projection up to date after the bans of `dirty` prefixes changed; returns what the kernel
    /// must be told, removals first. `never` must be the one of the last [`Projection::rebuild`].
    pub fn update(&mut self, dirty: &BTreeSet<Prefix>, ledger: &Ledger, never: &NeverBan) -> Vec<Change> {
        let mut before = Before::default();
        for prefix in dirty.iter().filter(|prefix| !is_net(**prefix, never)) {
            self.update_point(*prefix, &ledger.of(*prefix), never, &mut before);
        }
        self.update_nets(
            dirty.iter().copied().filter(|prefix| is_net(*prefix, never)),
            ledger,
            never,
            &mut before,
        );
        self.changes_since(before)
    }

    /// Computes everything anew, for example after the never-ban set changed; returns the difference.
    pub fn rebuild(&mut self, ledger: &Ledger, never: &NeverBan) -> Vec<Change> {
        let new = Projection::of(ledger, never);
        let mut before = Before::default();
        for (element, _) in self.elements().chain(new.elements()) {
            let end = self.end_of(&element);
            before.entry(element).or_insert(end);
        }
        *self = new;
        self.changes_since(before)
    }

    /// The projection of a ledger, computed from nothing.
    pub fn of(ledger: &Ledger, never: &NeverBan) -> Projection {
        let mut projection = Projection::default();
        for ban in ledger.iter() {
            projection.know(&ban.scope);
            if is_net(ban.prefix, never) {
                projection.wide.insert(ban.prefix);
            } else if counts(&ban, never)
                && let Some(points) = projection.points.get_mut(&ban.scope)
            {
                let end = points.entry(ban.prefix, || ban.until.into());
                *end = ban.until.max(End::from(*end)).into();
            }
        }
        let wide: Vec<Ban> = projection.wide.iter().flat_map(|prefix| ledger.of(*prefix)).collect();
        projection.nets = nets(&wide, never);
        projection
    }

    fn update_point(&mut self, prefix: Prefix, bans: &[Ban], never: &NeverBan, before: &mut Before) {
        bans.iter().for_each(|ban| self.know(&ban.scope));
        for (scope, points) in &mut self.points {
            let of_scope = bans.iter().filter(|ban| ban.scope == *scope && counts(ban, never));
            let element = Element { scope: scope.clone(), prefix };
            let in_nets = self.nets.get(&element).copied();
            before
                .entry(element)
                .or_insert_with(|| points.get(prefix).map(|end| End::from(*end)).max(in_nets));
            match of_scope.map(|ban| Until::from(ban.until)).max_by_key(|until| End::from(*until)) {
                Some(end) => *points.entry(prefix, || end) = end,
                None => drop(points.remove(prefix)),
            };
        }
    }

    fn know(&mut self, scope: &Scope) {
        // What shuts nobody out is no set of the kernel's.
        if *scope != Scope::Nothing && !self.points.contains_key(scope) {
            self.points.insert(scope.clone(), PrefixMap::default());
        }
    }

    /// Flattens anew where networks changed, and only there: prefixes nest, so all that one of them can touch lies inside
    /// the widest ban around it.
    fn update_nets(
        &mut self,
        dirty: impl Iterator<Item = Prefix>,
        ledger: &Ledger,
        never: &NeverBan,
        before: &mut Before,
    ) {
        let mut roots = BTreeSet::new();
        for prefix in dirty {
            let around = (0..prefix.prefix_len()).map(|len| prefix.widened(len));
            roots.insert(around.into_iter().find(|wider| self.wide.contains(wider)).unwrap_or(prefix));
            ledger.of(prefix).iter().for_each(|ban| self.know(&ban.scope));
            match ledger.of(prefix).is_empty() {
                true => self.wide.remove(&prefix),
                false => self.wide.insert(prefix),
            };
        }
        for root in roots {
            let inside = root..=Prefix::host(root.last_addr());
            let bans: Vec<Ban> =
                self.wide.range(inside.clone()).flat_map(|prefix| ledger.of(*prefix)).collect();
            let wanted = nets(&bans, never);
            let element = |scope: &Scope, prefix| Element { scope: scope.clone(), prefix };
            let old = self.points.keys().flat_map(|scope| {
                let within = element(scope, *inside.start())..=element(scope, *inside.end());
                self.nets.range(within).map(|(element, _)| element.clone())
            });
            let touched: BTreeSet<Element> = old.chain(wanted.keys().cloned()).collect();
            for element in touched {
                let new = wanted.get(&element).copied();
                if self.nets.get(&element).copied() == new {
                    continue;
                }
                before.entry(element.clone()).or_insert_with(|| self.end_of(&element));
                match new {
                    Some(end) => self.nets.insert(element, end),
                    None => self.nets.remove(&element),
                };
            }
        }
    }

    /// The element's end. A piece of a network may be a single address that is banned by itself, too.
    fn end_of(&self, element: &Element) -> Option<End> {
        self.point(element).max(self.nets.get(element).copied())
    }

    fn point(&self, element: &Element) -> Option<End> {
        self.points.get(&element.scope)?.get(element.prefix).map(|end| End::from(*end))
    }

    fn changes_since(&self, before: Before) -> Vec<Change> {
        let mut changes = Vec::new();
        for (element, old) in before {
            match self.end_of(&element) {
                new if new == old => {}
                Some(end) => changes.push(Change::Set(element, end)),
                None => changes.push(Change::Remove(element)),
            }
        }
        changes.sort_by_key(|change| matches!(change, Change::Set(..)));
        changes
    }

    /// Every element with its end.
    pub fn elements(&self) -> impl Iterator<Item = (Element, End)> {
        let points = self.points.iter().flat_map(|(scope, points)| {
            points.iter().map(|(prefix, until)| {
                let element = Element { scope: scope.clone(), prefix };
                let end = Some(End::from(*until)).max(self.nets.get(&element).copied());
                (element, end)
            })
        });
        let only_nets = self.nets.iter().filter(|(element, _)| self.point(element).is_none());
        let only_nets = only_nets.map(|(element, end)| (element.clone(), Some(*end)));
        points.chain(only_nets).filter_map(|(element, end)| Some((element, end?)))
    }

    /// Single addresses and IPv6 /64s with their ends: what the kernel's sets of points hold.
    fn points_of(&self) -> impl Iterator<Item = (Element, End)> {
        self.elements().filter(|(element, _)| is_point(element.prefix))
    }

    /// How many points are among the elements.
    pub fn points(&self) -> usize {
        let pieces =
            self.nets.keys().filter(|element| is_point(element.prefix) && self.point(element).is_none());
        self.points.values().map(PrefixMap::len).sum::<usize>() + pieces.count()
    }

    /// How many points of these a kernel may count at `now`: it lets those go that are over, sooner or later.
    pub fn points_at(&self, now: Timestamp) -> RangeInclusive<usize> {
        let (mut least, mut most) = (0, 0);
        for (_, end) in self.points_of() {
            least += usize::from(lasts_from(end, now));
            most += usize::from(!end.is_over(now - COUNT_TOLERANCE));
        }
        least..=most
    }

    /// The prefixes of all points, some of them more than once.
    pub fn point_prefixes(&self) -> Vec<Prefix> {
        let mut prefixes = Vec::with_capacity(self.points());
        prefixes.extend(self.points_of().map(|(element, _)| element.prefix));
        prefixes
    }

    /// Some `most` points or fewer, from all over; none that the kernel may let go at `now` already.
    pub fn sample(&self, most: usize, now: Timestamp) -> Vec<Element> {
        let step = self.points() / most.max(1) + 1;
        let lasting = self.points_of().filter(|(_, end)| lasts_from(*end, now));
        lasting.step_by(step).map(|(element, _)| element).collect()
    }

    /// The elements that are no points.
    pub fn networks(&self) -> impl Iterator<Item = &Element> {
        self.nets.keys().filter(|element| !is_point(element.prefix))
    }

    /// True for what the kernel must hold at `now`: not for what is about to end.
    pub fn lasts(&self, element: &Element, now: Timestamp) -> bool {
        self.end_of(element).is_some_and(|end| lasts_from(end, now))
    }

    /// A prefix in each scope that there is, banned or not.
    pub fn in_each_scope(&self, prefix: Prefix) -> impl Iterator<Item = Element> {
        self.points.keys().map(move |scope| Element { scope: scope.clone(), prefix })
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.elements().count()
    }

    /// True if the kernel shall hold nothing.
    pub fn is_empty(&self) -> bool {
        self.points.values().all(PrefixMap::is_empty) && self.nets.is_empty()
    }

    /// What must change in a kernel that holds `installed`, removals first. Elements whose time is over at
    /// `now` are not wanted any more.
    pub fn reconcile(&self, installed: &Installed, now: Timestamp) -> Vec<Change> {
        self.difference(self.elements(), installed, now)
    }

    /// The same of these elements only, of which the kernel holds `installed`.
    pub fn reconcile_some<'a>(
        &self,
        elements: impl Iterator<Item = &'a Element>,
        installed: &Installed,
        now: Timestamp,
    ) -> Vec<Change> {
        let wanted = elements.filter_map(|element| Some((element.clone(), self.end_of(element)?)));
        self.difference(wanted, installed, now)
    }

    fn difference(
        &self,
        wanted: impl Iterator<Item = (Element, End)>,
        installed: &Installed,
        now: Timestamp,
    ) -> Vec<Change> {
        let is_wanted = |element: &Element| self.end_of(element).is_some_and(|end| !end.is_over(now));
        let extra = installed.keys().filter(|element| !is_wanted(element));
        let mut changes: Vec<Change> = extra.cloned().map(Change::Remove).collect();
        for (element, end) in wanted.filter(|(_, end)| !end.is_over(now)) {
            match installed.get(&element) {
                Some(None) => {}
                Some(Some(there)) if same_end(*there, end) => {}
                _ => changes.push(Change::Set(element, end)),
            }
        }
        changes
    }
}

fn is_net(prefix: Prefix, never: &NeverBan) -> bool {
    !is_point(prefix) || (!prefix.is_host() && never.overlaps(prefix))
}

/// True if the kernel hears of this ban of a point.
fn counts(ban: &Ban, never: &NeverBan) -> bool {
    ban.scope != Scope::Nothing && (ban.forced || !never.overlaps(ban.prefix))
}

fn lasts_from(end: End, now: Timestamp) -> bool {
    !end.is_over(now + COUNT_TOLERANCE)
}

fn same_end(left: End, right: End) -> bool {
    match (left, right) {
        (End::At(left), End::At(right)) => left.since(right).max(right.since(left)) <= END_TOLERANCE,
        (left, right) => left == right,
    }
}

/// The pieces of networks: of any ban outside the never-ban set, of forced ones also inside.
fn nets(bans: &[Ban], never: &NeverBan) -> BTreeMap<Element, End> {
    let all = || bans.iter().filter(|ban| ban.scope != Scope::Nothing);
    let mut pieces = flatten(all(), |piece| never.subtract(piece));
    pieces.extend(flatten(all().filter(|ban| ban.forced), |piece| never.intersect(piece)));
    pieces
}

/// Disjoint pieces per scope, each with the latest end of the bans over it; `part`: what of a piece counts.
fn flatten<'a>(
    bans: impl Iterator<Item = &'a Ban>,
    part: impl Fn(Prefix) -> Vec<Prefix>,
) -> BTreeMap<Element, End> {
    let mut latest: BTreeMap<(Scope, Prefix), End> = BTreeMap::new();
    for ban in bans {
        let end = latest.entry((ban.scope.clone(), ban.prefix)).or_insert(ban.until);
        *end = (*end).max(ban.until);
    }
    // Bans that end later win; of equal ends the wider one, which then holds the narrower.
    let mut order: Vec<(Scope, Prefix, End)> =
        latest.into_iter().map(|((scope, prefix), end)| (scope, prefix, end)).collect();
    order.sort_by(|a, b| (b.2, a.1.prefix_len()).cmp(&(a.2, b.1.prefix_len())));
    let mut pieces: BTreeMap<Element, End> = BTreeMap::new();
    let mut taken: HashMap<Scope, BTreeSet<Prefix>> = HashMap::new();
    for (scope, prefix, end) in order {
        let taken = taken.entry(scope.clone()).or_default();
        let held = (0..=prefix.prefix_len()).any(|len| taken.contains(&prefix.widened(len)));
        if held {
            continue;
        }
        let inside: Vec<Prefix> = taken.range(prefix..=Prefix::host(prefix.last_addr())).copied().collect();
        for piece in prefix.without(&inside).into_iter().flat_map(&part) {
            pieces.insert(Element { scope: scope.clone(), prefix: piece }, end);
        }
        taken.insert(prefix);
    }
    pieces
}
