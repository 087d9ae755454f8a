//! Crowds of attackers.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::{Drill, FROM, It, Outcome, start, within};
use crate::drills_load::{crowd, far_apart};
use crate::lab::{LOG, failed_lines};

const CROWD: u32 = 10_000;
/// What takes longer is not waited for.
const LONG: Duration = Duration::from_secs(100);

pub(super) const DRILLS: &[Drill] = &[
    ("10,000 attackers at once", |it| {
        it.settings().maxretry = 1;
        behind(it, far_apart)
    }),
    ("10,000 sources below maxretry", |it| behind(it, far_apart)),
    ("10,000 addresses of one IPv6 /64, a failure each", |it| behind(it, of_one_64)),
];

fn of_one_64(number: u32) -> String {
    let base = u128::from("2001:db8:1:1::".parse::<Ipv6Addr>().expect("an address"));
    let host = u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Ipv6Addr::from(base + u128::from(host)).to_string()
}

/// One failure of each of a crowd, and an attacker behind them.
fn behind(it: &mut It, addr: impl Fn(u32) -> String) -> Outcome {
    start(it)?;
    let before = it.peak_rss_mib();
    let host = it.host().clone();
    crowd(&host, CROWD, "root", addr);
    host.append(LOG, failed_lines(5000, 3, "root", FROM));
    let after = it.ban_after(FROM, LONG);
    let others = it.banned().len() - usize::from(after.is_some());
    Ok(format!(
        "the attacker behind them {}; {others} of the crowd in the kernel by then; RSS {:+.1} MiB",
        within("banned", after, LONG),
        it.peak_rss_mib() - before
    ))
}
