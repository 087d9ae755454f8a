//! Most lines of a log concern no jail: judging one that was just written takes no memory at all.

use pillory_core::event::{JailName, Line};
use pillory_core::filter::{Clock, Filter, Verdict, catalog};
use pillory_core::jail::names::Names;
use pillory_core::jail::policy::Policy;
use pillory_core::jail::{Jail, Judge};
use pillory_core::machine::{Effect, Extractor, Machine, Phase, ScopeRule};
use pillory_core::net::PrefixSet;
use pillory_core::time::Timestamp;

use super::{START_MS, alone, heap};

/// Of a log that many programs write to, a web server's two logs, and what only looks like a stamp or a line.
const LINES: [&str; 12] = [
    "Jan 15 08:00:01 web01 CRON[{n}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
    "Jan 15 08:00:02 web01 sshd[{n}]: Connection from 198.51.100.{b} port {n} on 192.0.2.1 port 22 rdomain \"\"",
    "Jan 15 08:00:02 web01 sshd[{n}]: Received disconnect from 198.51.100.{b} port {n}:11: disconnected by user",
    "Jan 15 08:00:03 web01 systemd-logind[712]: New session {n} of user alice.",
    "2027-01-15T08:00:04.{n}+00:00 web01 kernel: [{n}.000001] eth0: link up",
    "Jan 15 08:00:05 web01 postfix/smtpd[{n}]: connect from mail{b}.example.net[203.0.113.{b}]",
    "Jan 15 08:00:06 web01 dovecot: imap(alice)<{n}><x>: Disconnected: Logged out in={n} out={n}",
    "198.51.100.{b} - - [15/Jan/2027:08:00:07 +0000] \"GET /page/{n} HTTP/1.1\" 200 {n} \"-\" \"Mozilla/5.0\"",
    "2027/01/15 08:00:08 [notice] {n}#{n}: signal process started",
    "[Fri Jan 15 08:00:09.{n} 2027] [mpm_event:notice] [pid {n}:tid {n}] AH00489: Apache configured",
    "a line without a stamp, of number {n}",
    "",
];

/// The lines with other numbers in each round, so that nothing which is remembered of a line fits the next one.
fn lines(round: usize) -> impl Iterator<Item = String> {
    let filled = move |line: &&str| {
        line.replace("{n}", &(10_000 + round * 7).to_string()).replace("{b}", &(round % 250).to_string())
    };
    LINES.iter().map(filled).collect::<Vec<_>>().into_iter()
}

fn clock() -> Clock {
    Clock { now: Timestamp::from_millis(START_MS), zone: jiff::tz::TimeZone::UTC }
}

#[test]
fn a_line_that_no_built_in_filter_knows_takes_no_memory() {
    let _alone = alone();
    for name in catalog::names() {
        let filter = || Filter::compile(&catalog::builtin(name).unwrap()).unwrap();
        let mut tells = filter();
        let mut is_miss = |line: &String| {
            let verdict = tells.judge(&Line { bytes: line.as_bytes(), stamp: None }, &clock());
            matches!(verdict, Verdict::Miss)
        };
        let missing: Vec<String> = (0..40).flat_map(lines).filter(&mut is_miss).collect();
        assert!(missing.len() >= 40 * (LINES.len() - 2), "{name} misses {} lines only", missing.len());
        let jail = Jail { name: JailName::new(name).unwrap(), policy: Policy::default(), lines: None };
        let judge = Judge::new(vec![jail], Names::default(), PrefixSet::default(), 1_000);
        let mut machine =
            Machine::new(judge, vec![vec![Extractor::Text(Box::new(filter()))]], ScopeRule::Auto);
        let mut out: Vec<Effect> = Vec::new();
        let clock = clock();
        let mut judge = |line: &String| {
            let line = Line { bytes: line.as_bytes(), stamp: None };
            let before = heap::times();
            machine.line((0, 0), &line, Phase::Live, &clock, &mut out);
            heap::times() - before
        };
        // What the automata build as they first meet a kind of line stays.
        let built: usize = missing.iter().take(missing.len() / 2).map(&mut judge).sum();
        assert!(built > 0, "{name}: the heap is not counted");
        for line in missing.iter().skip(missing.len() / 2) {
            assert_eq!(judge(line), 0, "{name}: {line}");
        }
    }
}
