//! How much memory the tables take at most: the sizes of their entries, times how many there may be, times what their
//! kind of table adds. `core/tests/memory` holds a flood to it.

use crate::hash::table_bytes as table;
use crate::jail::widen::neighbours::{self, MAX_OFFENDERS};
use crate::jail::{bantime, campaign, connections, names, rate, window};
use crate::ledger::{self, projection};
use crate::table::crowd_bytes as crowd;

/// Bytes of a B-tree of so many entries of so many bytes: a node has room for eleven, of which five are taken at least,
/// and 16 bytes more; every sixth has twelve pointers, too. Entries in no order fill two thirds.
pub const fn tree(entries: usize, each: usize) -> usize {
    entries.div_ceil(5) * (11 * each + 16 + 12 * 8 / 6)
}

/// What a machine may hold at once, as far as attackers can fill it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sources that are counted by points, each with so many failures.
    pub sources: (usize, usize),
    /// Sources of jails that count lines.
    pub rates: usize,
    /// Bans in force, each for what a jail counted.
    pub bans: usize,
    /// Prefixes whose past bans are remembered, and counts of single jails.
    pub past: (usize, usize),
    /// Offenders of jails that widen.
    pub offenders: usize,
    /// Jails that count points.
    pub jails: usize,
}

impl Limits {
    /// Each table by name with its bytes, and last the most that is needed while one of them makes room: a copy of the
    /// largest one's entries.
    pub fn bytes(&self) -> Vec<(&'static str, usize)> {
        let (sources, failures) = self.sources;
        let bans = self.bans;
        let [ban, end] = ledger::EACH;
        let [past, of_jail] = bantime::EACH;
        vec![
            ("windows", crowd(sources, window::EACH[0]) + crowd(sources * (failures - 1), window::EACH[1])),
            ("rates", table(self.rates, rate::EACH)),
            ("bans", crowd(bans, ban)),
            // A vector that doubles.
            ("ends of bans", 3 * bans * end),
            ("elements", crowd(bans, projection::EACH)),
            ("past bans", crowd(self.past.0, past) + table(self.past.1, of_jail)),
            ("offenders", tree(self.offenders.min(MAX_OFFENDERS * self.jails), neighbours::EACH)),
            ("connections", connections::MOST_BYTES),
            ("campaigns", campaign::MOST_BYTES * self.jails),
            ("names tried", table(names::MOST_TRIED, names::EACH_TRIED)),
            ("making room", sources.max(self.rates) * window::EACH[0].max(rate::EACH)),
        ]
    }
}
