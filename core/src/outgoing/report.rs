//! What others are told of an attacker: what is known of its attempts, and nothing of this host.
//!
//! A log's line is not sent, however it were scrubbed: what an attacker or an owner typed may stand anywhere in it. The
//! lines of a report are made of what a filter read from the log: when, which service, from where, and the name that was
//! tried if everybody guesses at it and no account here has it. So own names, users and addresses cannot be in it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::JailConfig;
use crate::event::{Attempt, Class, JailName};
use crate::filter::{FilterSpec, catalog};
use crate::time::Timestamp;
use crate::wall::Service;

/// So many attempts have a line, the last ones.
const MOST_LINES: usize = 20;

/// So many names are told.
const MOST_NAMES: usize = 10;

/// Longer names are told to nobody.
const MOST_NAME_BYTES: usize = 32;

/// What is told of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whom.
    pub addr: IpAddr,
    /// Which jail banned it; only [`Report::service`] of it is told.
    pub jail: JailName,
    /// When its first and its last attempt was.
    pub first: Timestamp,
    /// See `first`.
    pub last: Timestamp,
    /// How often it tried.
    pub tries: u64,
    /// Names that it tried, those that may be told.
    pub names: Vec<String>,
    /// The last attempts, a line each.
    pub lines: Vec<String>,
}

/// True if attempts at what this jail guards are made over connections that were answered. Of a service that is not known
/// to speak TCP only, a sender may be forged; and what lines other filters than the built-in ones read (a firewall's, of a
/// packet) nobody knows, however the jail is called.
pub fn is_answered(jail: &JailConfig) -> bool {
    let reads_as_built_in = |built: FilterSpec| {
        (&built.failregex, &built.prefregex) == (&jail.filter.failregex, &jail.filter.prefregex)
    };
    jail.lines.is_none()
        && !jail.filter.own
        && catalog::builtin(&jail.filter.name).is_some_and(reads_as_built_in)
        && Service::of_jail(jail.name.as_str()) != Service::Other
}

/// True if this attempt proves that somebody at its address tried to get in. A scan or a refused connection does not, and
/// who tried a good user's name may be that user.
fn proves(attempt: &Attempt) -> bool {
    matches!(
        attempt.class,
        Some(
            Class::BadUser | Class::UnknownUser | Class::Root | Class::KnownUser | Class::Probe | Class::Web
        )
    )
}

impl Report {
    /// What may be told of an address that a jail banned, one whose attempts are [answered](is_answered); nothing if that is
    /// nothing. `attempts`: those from there, in the order of time. `shows`: whether a name may leave the host.
    pub fn new(
        addr: IpAddr,
        jail: &JailName,
        attempts: &[Attempt],
        shows: impl Fn(&str) -> bool,
    ) -> Option<Report> {
        // Who ever logged in from there belongs here; a login that names nobody can be forged.
        if attempts.iter().any(|attempt| attempt.class.is_none() && attempt.user.is_some()) {
            return None;
        }
        let proofs: Vec<&Attempt> = attempts
            .iter()
            .filter(|attempt| attempt.addr == addr && attempt.jail == *jail && proves(attempt))
            .collect();
        let (first, last) = (proofs.first()?.time, proofs.last()?.time);
        let mut names: Vec<String> = Vec::new();
        for name in proofs.iter().filter_map(|attempt| shown(attempt, &shows)) {
            if names.len() < MOST_NAMES && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let skipped = proofs.len().saturating_sub(MOST_LINES);
        let service = Service::of_jail(jail.as_str());
        Some(Report {
            addr,
            jail: jail.clone(),
            first,
            last,
            tries: proofs.iter().map(|attempt| u64::from(attempt.tries)).sum(),
            names,
            lines: proofs.iter().skip(skipped).map(|attempt| line(attempt, service, &shows)).collect(),
        })
    }

    /// What was attacked.
    pub fn service(&self) -> Service {
        Service::of_jail(self.jail.as_str())
    }

    /// All of it in a sentence.
    pub fn sentence(&self) -> String {
        let names = match self.names.is_empty() {
            true => String::new(),
            false => format!("; names tried: {}", self.names.join(", ")),
        };
        let when = match self.first == self.last {
            true => format!("at {}", self.first),
            false => format!("from {} to {}", self.first, self.last),
        };
        format!("{} {} {when}{names}", self.tries, self.service().attempts())
    }
}

/// The name, if it may be told: not one that the service knows, or that was judged like an account.
fn shown<'a>(attempt: &'a Attempt, shows: &impl Fn(&str) -> bool) -> Option<&'a str> {
    let is_nobodys = matches!(attempt.class, Some(Class::BadUser | Class::UnknownUser));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    attempt.user.as_deref().filter(|user| {
        let is_name = !user.is_empty() && user.len() <= MOST_NAME_BYTES && user.bytes().all(is_plain);
        is_nobodys && is_name && shows(user)
    })
}

/// `2026-11-29T16:00:00Z ssh: login as admin failed, from 192.0.2.7`
fn line(attempt: &Attempt, service: Service, shows: &impl Fn(&str) -> bool) -> String {
    let what = match (attempt.class, shown(attempt, shows), &attempt.user) {
        (Some(Class::Web), ..) => "a request that only attackers send".to_owned(),
        (_, Some(user), _) => format!("login as {user} failed"),
        (_, None, Some(_)) => "login as somebody (name not shown) failed".to_owned(),
        (_, None, None) => "login failed".to_owned(),
    };
    let service = match service {
        Service::Ssh => "ssh",
        Service::WordPress | Service::Web => "http",
        Service::Mail => "mail",
        Service::Ftp => "ftp",
        Service::Other => "login",
    };
    let times = if attempt.tries > 1 { format!(" {} times", attempt.tries) } else { String::new() };
    format!("{} {service}: {what}{times}, from {}", attempt.time, attempt.addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{raw, resolve};
    use crate::event::Points;
    use crate::jail::names::is_common;
    use proptest::prelude::*;

    fn addr() -> IpAddr {
        [192, 0, 2, 7].into()
    }

    fn jail(name: &str) -> JailName {
        JailName::new(name).unwrap()
    }

    fn attempt(secs: i64, user: Option<&str>, class: Option<Class>) -> Attempt {
        Attempt {
            time: Timestamp::from_secs(1_800_000_000 + secs),
            jail: jail("sshd"),
            addr: addr(),
            user: user.map(Into::into),
            class,
            points: Points(100),
            tries: 1,
            connection: None,
        }
    }

    #[test]
    fn it_tells_when_what_and_from_where_and_only_common_names() {
        let attempts = [
            attempt(0, Some("oracle"), Some(Class::BadUser)),
            attempt(60, Some("Tr0ub4dor&3"), Some(Class::UnknownUser)),
            attempt(90, None, Some(Class::Scan)),
            // An account of the service, or of this host.
            attempt(120, Some("git"), Some(Class::KnownUser)),
        ];
        let report = Report::new(addr(), &jail("sshd"), &attempts, is_common).unwrap();
        assert_eq!(
            report.lines,
            [
                "2027-01-15T08:00:00Z ssh: login as oracle failed, from 192.0.2.7",
                "2027-01-15T08:01:00Z ssh: login as somebody (name not shown) failed, from 192.0.2.7",
                "2027-01-15T08:02:00Z ssh: login as somebody (name not shown) failed, from 192.0.2.7",
            ]
        );
        let sentence =
            "3 ssh attempts from 2027-01-15T08:00:00Z to 2027-01-15T08:02:00Z; names tried: oracle";
        assert_eq!(report.sentence(), sentence);
    }

    #[test]
    fn without_a_proof_there_is_nothing_to_tell() {
        let of = |name: &str, attempts: &[Attempt]| Report::new(addr(), &jail(name), attempts, is_common);
        let failed = attempt(0, Some("root"), Some(Class::Root));
        assert!(of("sshd", std::slice::from_ref(&failed)).is_some());
        for class in [Class::Scan, Class::Penalty, Class::GoodUser] {
            assert_eq!(of("sshd", &[attempt(0, None, Some(class))]), None, "{class:?}");
        }
        assert_eq!(of("sshd", &[]), None);
        // Somebody logged in from there.
        assert_eq!(of("sshd", &[failed.clone(), attempt(9, Some("alice"), None)]), None);
        // Or so a web server's answer claims.
        assert!(of("sshd", &[failed, attempt(9, None, None)]).is_some());
    }

    #[test]
    fn what_a_filter_of_ones_own_reads_proves_no_connection() {
        let text = "[jail.game]\nlogpath = \"/l\"\nfailregex = '^denied <HOST>$'\n\
            [jail.ssh-syn]\nlogpath = \"/l\"\nfailregex = '^SYN <HOST>$'\n[jail.ssh-alt]\nfilter = \"sshd\"\n\
            [jail.ssh-fw]\nfilter = \"sshd\"\nfailregex = '^SYN <HOST>$'\n\
            [jail.other]\nfilter = \"sshd\"\n[jail.sshd]\n[jail.postfix-sasl]\n";
        let config = resolve::resolve(&raw::parse("p", text).unwrap()).unwrap();
        let answered = |name: &str| {
            is_answered(config.jails.iter().find(|jail| jail.name.as_str() == name).expect("it is there"))
        };
        let names = ["sshd", "ssh-alt", "postfix-sasl", "game", "ssh-syn", "ssh-fw", "other"];
        assert_eq!(names.map(answered), [true, true, true, false, false, false, false]);
    }

    proptest! {
        #[test]
        fn a_name_that_may_not_be_told_is_nowhere_in_it(
            users in prop::collection::vec("\\PC{1,40}", 1..30), marked in "[a-z]{3}Zq[0-9]{4}"
        ) {
            let all = users.iter().map(String::as_str).chain([marked.as_str(), "root"]);
            let attempts: Vec<Attempt> =
                (0..).zip(all).map(|(at, user)| attempt(at, Some(user), Some(Class::UnknownUser))).collect();
            let report = Report::new(addr(), &jail("sshd"), &attempts, is_common).unwrap();
            let told = format!("{}\n{}", report.lines.join("\n"), report.sentence());
            prop_assert!(!told.contains(&marked));
            prop_assert!(report.names.iter().all(|name| is_common(name)), "{:?}", report.names);
            // Nor does it matter what else a name holds: each line is a line.
            let plain = |c: char| c.is_ascii_graphic() || c == ' ';
            prop_assert!(report.lines.iter().all(|line| line.chars().all(plain)));
            prop_assert!(report.lines.len() <= MOST_LINES);
        }
    }
}
