//! What changes mean for each set, and how much of it goes into one transaction.

use std::collections::{BTreeMap, HashMap};

use pillory_core::time::{Span, Timestamp};

use crate::actions::Change;

use super::elements::{Want, Wanted};
use super::sets::SetId;

/// At most so many changes in one transaction.
///
/// While anybody on the host listens to nf_tables, in whatever namespace, and the daemon does, the kernel makes a
/// notice of each element, a page long, and keeps all of them until the transaction is done (Linux 6.18,
/// `nf_tables_setelem_notify`). 100,000 bans at once took 1.7 s of kernel time where it had to find the memory first,
/// in parts of this size 0.15 s.
const CHANGES_A_TRANSACTION: usize = 2_000;

/// What each set's elements shall become; of several changes of one element the last counts.
pub(super) fn gather(changes: &[Change], now: Timestamp) -> BTreeMap<SetId, Wanted> {
    let mut wanted: BTreeMap<SetId, Wanted> = BTreeMap::new();
    for change in changes {
        let (element, want) = match change {
            Change::Remove(element) => (element, Want::Absent),
            Change::Set(element, end) if end.is_over(now) => (element, Want::Absent),
            Change::Set(element, end) => (element, Want::present(end.remaining(now).map(Span::millis))),
        };
        wanted.entry(SetId::of(element)).or_default().insert(element.prefix, want);
    }
    wanted
}

/// Takes out what is too much for one transaction, a part at a time; nothing if the rest fits into one.
///
/// Who is added comes first, and everything else stays together and comes last: networks must not overlap, and what
/// replaces a removed element is there before it goes.
pub(super) fn take_part(wanted: &mut BTreeMap<SetId, Wanted>) -> Option<BTreeMap<SetId, Wanted>> {
    let surplus = wanted.values().map(HashMap::len).sum::<usize>().saturating_sub(CHANGES_A_TRANSACTION);
    let hashed = wanted.iter_mut().filter(|(set, _)| surplus > 0 && !set.kind.is_interval());
    let mut parts = hashed.map(|(set, elements)| {
        let added = elements.extract_if(|_, want| *want != Want::Absent);
        BTreeMap::from([(set.clone(), added.take(surplus.min(CHANGES_A_TRANSACTION)).collect::<Wanted>())])
    });
    parts.find(|part| part.values().any(|elements| !elements.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pillory_core::event::Scope;
    use pillory_core::net::Prefix;
    use pillory_core::time::End;

    use super::*;
    use crate::actions::Element;
    use crate::netlink::lab::scattered;

    #[test]
    fn many_changes_are_parts_and_what_goes_or_is_a_network_comes_last_and_together() {
        let point = |n: u32| Element { scope: Scope::All, prefix: Prefix::host(scattered(n)) };
        let net = Element { scope: Scope::All, prefix: "192.0.2.0/24".parse().unwrap() };
        let mut changes: Vec<Change> = (0..10_000).map(|n| Change::Set(point(n), End::Never)).collect();
        changes.extend((10_000..13_000).map(|n| Change::Remove(point(n))));
        changes.push(Change::Set(net.clone(), End::Never));
        let mut wanted = gather(&changes, Timestamp::default());
        let parts: Vec<_> = std::iter::from_fn(|| take_part(&mut wanted)).collect();
        let elements = |part: &BTreeMap<SetId, Wanted>| {
            part.values().flatten().map(|(prefix, want)| (*prefix, *want == Want::Absent)).collect::<Vec<_>>()
        };
        let mut all = BTreeSet::new();
        for part in &parts {
            let part = elements(part);
            assert!(part.len() <= CHANGES_A_TRANSACTION && part.iter().all(|(_, goes)| !goes));
            all.extend(part);
        }
        assert_eq!(all.len(), 10_000);
        assert!(!all.contains(&(net.prefix, false)));
        all.extend(elements(&wanted));
        assert_eq!(all.len(), changes.len());
    }

    #[test]
    fn few_changes_stay_in_one_transaction() {
        let element = Element { scope: Scope::All, prefix: Prefix::host(scattered(1)) };
        let mut wanted = gather(&[Change::Set(element, End::Never)], Timestamp::default());
        assert_eq!(take_part(&mut wanted), None);
        assert_eq!(wanted.len(), 1);
    }
}
