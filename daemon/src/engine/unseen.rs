//! The look at each point that the kernel shall hold, after a start that has counted them only. A few hundred are looked
//! up at a time, so that no ban waits for it; what is found to lack is healed as ever.
//!
//! Bans end, are lifted and last longer meanwhile, so what is not as it should be is asked a second time before all is
//! read.

use tracing::info;

use pillory_core::ledger::projection::Projection;
use pillory_core::ledger::{Change, Element, Installed};
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::kernel::Job;

use super::Engine;

/// Some 1 ms of the kernel's thread.
const AT_ONCE: usize = if cfg!(test) { 2 } else { 512 };

/// What a start has not looked at yet.
#[derive(Debug)]
pub(super) struct Unseen {
    rest: Vec<Prefix>,
    /// What is being looked up was not as it should be the first time.
    is_second: bool,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    LookUp(Vec<Element>),
    /// All were found.
    Close,
    /// Something lacks.
    ReadAll,
}

impl Unseen {
    /// The next points that the kernel must hold at `now`.
    fn go_on(&mut self, projection: &Projection, now: Timestamp) -> Next {
        self.is_second = false;
        while !self.rest.is_empty() {
            let some = self.rest.split_off(self.rest.len().saturating_sub(AT_ONCE));
            let points = some.into_iter().flat_map(|prefix| projection.in_each_scope(prefix));
            let points: Vec<Element> = points.filter(|point| projection.lasts(point, now)).collect();
            if !points.is_empty() {
                return Next::LookUp(points);
            }
        }
        Next::Close
    }

    /// Of `points` the kernel held those that were `found`.
    fn answered(
        &mut self,
        (points, found): (&[Element], &Installed),
        projection: &Projection,
        now: Timestamp,
    ) -> Next {
        let wrong = projection.reconcile_some(points.iter(), found, now).into_iter();
        // What was lifted or ended since is none of this look's.
        let element = |change| match change {
            Change::Set(element, _) | Change::Remove(element) => element,
        };
        let doubtful: Vec<Element> =
            wrong.map(element).filter(|element| projection.lasts(element, now)).collect();
        match doubtful.is_empty() {
            true => self.go_on(projection, now),
            false if std::mem::replace(&mut self.is_second, true) => Next::ReadAll,
            false => Next::LookUp(doubtful),
        }
    }
}

impl Engine {
    /// Begins to look at each point, if a start has counted them only.
    pub(crate) fn begin_unseen(&mut self, is_unseen: bool) {
        if is_unseen {
            let projection = self.machine.projection();
            let mut unseen = Unseen { rest: projection.point_prefixes(), is_second: false };
            let next = unseen.go_on(projection, clock::now());
            self.unseen = Some(unseen);
            self.go_on_looking(next);
        }
    }

    /// Of `points` the kernel holds those that were found.
    pub(super) fn found(&mut self, points: &[Element], found: Option<&Installed>) {
        // What the kernel has yet to be told would look as if it lacked.
        self.flush();
        let Some(unseen) = &mut self.unseen else { return };
        if !self.machine.is_enforcing() {
            self.unseen = None;
            return;
        }
        let (projection, now) = (self.machine.projection(), clock::now());
        let next = match found {
            Some(found) => unseen.answered((points, found), projection, now),
            None => Next::ReadAll,
        };
        self.go_on_looking(next);
    }

    fn go_on_looking(&mut self, next: Next) {
        let job = match next {
            Next::LookUp(points) => Job::Find(points),
            Next::Close => {
                info!("each ban was found in the kernel");
                // Nothing lacks; whether something is too much is told by their number.
                Job::Verify(self.machine.projection().points())
            }
            Next::ReadAll => Job::Prepare(self.readers.ports.clone()),
        };
        if !matches!(job, Job::Find(_)) {
            self.unseen = None;
        }
        self.tell_kernel(job);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pillory_core::event::{JailName, Origin, Scope};
    use pillory_core::jail::never::NeverBan;
    use pillory_core::ledger::{Ban, Ledger};
    use pillory_core::time::{End, Span};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn prefix(number: usize) -> Prefix {
        format!("192.0.2.{number}").parse().unwrap()
    }

    fn ban(number: usize, left_s: u64) -> Ban {
        Ban {
            prefix: prefix(number),
            jail: JailName::new("sshd").unwrap(),
            since: Timestamp::default(),
            until: End::At(NOW + Span::from_secs(left_s)),
            failures: 3,
            reason: "".into(),
            origin: Origin::Local,
            scope: Scope::All,
            forced: false,
        }
    }

    /// Twelve bans, a look at them that has begun, and what it asked first.
    fn begun() -> (Ledger, Projection, Unseen, Vec<Element>) {
        let mut ledger = Ledger::default();
        (1..=12).for_each(|number| drop(ledger.ban(ban(number, 600))));
        let projection = Projection::of(&ledger, &NeverBan::default());
        let mut rest = projection.point_prefixes();
        rest.sort();
        let mut unseen = Unseen { rest, is_second: false };
        let Next::LookUp(asked) = unseen.go_on(&projection, NOW) else { panic!("bans are there") };
        assert_eq!(asked.len(), AT_ONCE);
        (ledger, projection, unseen, asked)
    }

    fn held(points: &[Element], left_s: u64) -> Installed {
        let end = End::At(NOW + Span::from_secs(left_s));
        points.iter().map(|point| (point.clone(), Some(end))).collect()
    }

    fn asks_for(next: &Next, numbers: &[usize]) -> bool {
        let of = |number: &usize| Element { scope: Scope::All, prefix: prefix(*number) };
        let wanted: BTreeSet<Element> = numbers.iter().map(of).collect();
        matches!(next, Next::LookUp(points) if points.iter().cloned().collect::<BTreeSet<_>>() == wanted)
    }

    #[test]
    fn goes_on_behind_points_of_which_none_is_left() {
        let (mut ledger, mut projection, mut unseen, asked) = begun();
        let gone: BTreeSet<Prefix> = (3..=10).map(prefix).collect();
        gone.iter().for_each(|prefix| drop(ledger.unban(*prefix, None)));
        projection.update(&gone, &ledger, &NeverBan::default());
        let next = unseen.answered((&asked, &held(&asked, 600)), &projection, NOW);
        assert!(asks_for(&next, &[1, 2]), "{next:?}");
        let Next::LookUp(last) = next else { unreachable!() };
        assert_eq!(unseen.answered((&last, &held(&last, 600)), &projection, NOW), Next::Close);
    }

    #[test]
    fn what_lacks_is_asked_twice_before_all_is_read() {
        let (_, projection, mut unseen, asked) = begun();
        let next = unseen.answered((&asked, &held(&asked[1..], 600)), &projection, NOW);
        assert_eq!(next, Next::LookUp(asked[..1].to_vec()));
        assert_eq!(unseen.answered((&asked[..1], &Installed::new()), &projection, NOW), Next::ReadAll);
    }

    #[test]
    fn a_ban_that_lasts_longer_since_is_asked_again_and_each_question_may_be_asked_twice() {
        let (mut ledger, mut projection, mut unseen, mut asked) = begun();
        for longer in [12, 10] {
            ledger.ban(ban(longer, 900));
            projection.update(&BTreeSet::from([prefix(longer)]), &ledger, &NeverBan::default());
            let again = unseen.answered((&asked, &held(&asked, 600)), &projection, NOW);
            assert!(asks_for(&again, &[longer]), "{again:?}");
            let Next::LookUp(again) = again else { unreachable!() };
            match unseen.answered((&again, &held(&again, 900)), &projection, NOW) {
                Next::LookUp(next) => asked = next,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(asked.iter().map(|point| point.prefix).collect::<Vec<_>>(), [7, 8].map(prefix));
    }

    #[test]
    fn a_ban_that_was_lifted_since_or_is_about_to_end_is_not_asked_again() {
        let (mut ledger, mut projection, mut unseen, asked) = begun();
        ledger.unban(prefix(12), None);
        projection.update(&BTreeSet::from([prefix(12)]), &ledger, &NeverBan::default());
        let next = unseen.answered((&asked, &held(&asked, 600)), &projection, NOW);
        assert!(asks_for(&next, &[9, 10]), "{next:?}");
        let Next::LookUp(asked) = next else { unreachable!() };
        let late = NOW + Span::from_secs(599);
        assert_eq!(unseen.answered((&asked, &Installed::new()), &projection, late), Next::Close);
    }
}
