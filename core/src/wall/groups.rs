//! Offenders taken together: by network, by whose network it is, and by country.

use crate::hash::FastMap;
use crate::jail::networks::Networks;
use crate::net::Prefix;

use super::past::shown_by;
use super::{Group, Offender, TOP, Wall};

impl Wall {
    /// Says of each offender whose network it is in and where that is, and which operators and countries have the most.
    pub fn place(&mut self, networks: &dyn Networks) {
        for offender in &mut self.offenders {
            let addr = offender.prefix.addr();
            offender.country = networks.country(addr);
            offender.operator = networks.asn(addr).map(|number| match networks.operator(addr) {
                Some(name) => format!("AS{number} {name}"),
                None => format!("AS{number}"),
            });
        }
        self.operators = top(&self.offenders, |offender| offender.operator.clone());
        self.operators.truncate(TOP);
        self.countries = top(&self.offenders, |offender| Some(offender.country?.to_string()));
    }
}

/// The /24, or /48 of IPv6, and wider networks as they are; but for those that are hidden. What hides others has a name of
/// its own already.
pub(super) fn networks(offenders: &[Offender], is_hidden: impl Fn(Prefix) -> bool) -> Vec<Group> {
    let mut groups = top(offenders, |offender| {
        let network = shown_by(offender.prefix);
        (offender.is_masked || !is_hidden(network)).then(|| network.to_string())
    });
    groups.truncate(TOP);
    groups
}

/// All groups, those with the most attempts first.
fn top(offenders: &[Offender], name: impl Fn(&Offender) -> Option<String>) -> Vec<Group> {
    let mut sums: FastMap<String, (u64, u64)> = FastMap::default();
    for (name, offender) in offenders.iter().filter_map(|offender| Some((name(offender)?, offender))) {
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + offender.attempts, sum.1 + u64::from(offender.sources));
    }
    let group = |(name, (attempts, offenders))| Group { name, attempts, offenders };
    let mut groups: Vec<Group> = sums.into_iter().map(group).collect();
    groups.sort_by(|a, b| (b.attempts, &a.name).cmp(&(a.attempts, &b.name)));
    groups
}
