//! Failures of who is never banned: counted apart, so that nobody is banned for them, now or later, and said once
//! anybody else would be banned for them.

use std::net::IpAddr;

use crate::event::{JailName, Points};
use crate::net::Prefix;
use crate::time::Timestamp;

use super::policy::Policy;
use super::window::{Failure, Windows, evidence};
use super::{Jail, JailIndex, Judge};

/// At most so many such sources are counted.
pub(super) const MAX_SPARED: usize = 10_000;

/// What somebody did who is never banned, and what anybody else would be banned for.
#[derive(Debug, Clone, PartialEq)]
pub struct Spared {
    /// The jail that would ban.
    pub jail: JailName,
    /// Who it is.
    pub prefix: Prefix,
    /// The evidence in words.
    pub evidence: String,
}

impl Judge {
    /// Counts a failure of an address that is never banned; returns what it says once it is enough for a ban.
    pub(super) fn spared_failure(
        &mut self,
        (index, jail): (JailIndex, &Jail),
        addr: IpAddr,
        failure: Failure,
    ) -> Option<Spared> {
        enough(&mut self.spared, (index, &jail.name, &jail.policy), addr, failure)
    }

    /// The same for a jail that counts lines, each of them one.
    pub(super) fn spared_line(
        &mut self,
        (index, jail): (JailIndex, &Jail),
        addr: IpAddr,
        time: Timestamp,
        (maxretry, findtime): (u32, crate::time::Span),
    ) -> Option<Spared> {
        let failure = Failure { time, points: Points(100), tries: 1, user: 0, connection: 0 };
        let policy = Policy { maxretry: Points(maxretry.saturating_mul(100)), findtime, ..Policy::default() };
        enough(&mut self.spared, (index, &jail.name, &policy), addr, failure)
    }
}

fn enough(
    windows: &mut Windows,
    (index, name, policy): (JailIndex, &JailName, &Policy),
    addr: IpAddr,
    failure: Failure,
) -> Option<Spared> {
    let (prefix, when) = (Prefix::host(addr), failure.time);
    if windows.add(index, prefix, failure, policy) < policy.maxretry {
        return None;
    }
    let evidence = evidence(&windows.take(index, prefix), when).to_string();
    Some(Spared { jail: name.clone(), prefix, evidence })
}
