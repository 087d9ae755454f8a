//! Jails that count the bans of other jails (`recidive`): they are told of each ban by the ledger, and read no log.
//!
//! Such a jail reads the log that fail2ban writes itself, and finds there the lines of bans. Which jails' bans those are
//! is asked of its own expressions, with the line that a ban of each jail would leave; so `_jailname` and whatever else
//! somebody changed hold.

use crate::event::{JailName, Line};
use crate::filter::Clock;
use crate::filter::fail2ban::{Fail2banFilter, Ruling, Timing};
use crate::time::{BanTime, Timestamp};

use super::{F2bJail, Fail2ban};

/// The filter of that name means bans, wherever its jail looks for them.
const NAME: &str = "recidive";

/// Where fail2ban writes its log if nobody says otherwise.
const USUAL_LOG: &str = "/var/log/fail2ban.log";

/// Finds out which jails count bans, and of whom, and says so.
pub(super) fn find(found: &mut Fail2ban) {
    let names: Vec<JailName> = found.jails.iter().map(|jail| jail.name.clone()).collect();
    let log = found.settings.log_file().unwrap_or(USUAL_LOG).to_owned();
    for jail in found.jails.iter_mut().filter(|jail| may_count_bans(jail, &log)) {
        jail.counts_bans_of = counted(jail, &names);
        if !jail.counts_bans_of.is_empty() {
            found.notices.push(format!(
                "jail {:?} counts the bans of other jails as they are made, and reads no log; bans by hand count for nothing",
                jail.name.as_str()
            ));
        }
    }
}

fn may_count_bans(jail: &F2bJail, log: &str) -> bool {
    let reads_it = |path: &super::LogPath| path.pattern == log || path.pattern == USUAL_LOG;
    jail.filter.name == NAME || (!jail.logpath.is_empty() && jail.logpath.iter().all(reads_it))
}

/// Whose bans a jail counts; nobody's if it looks for anything else, too.
fn counted(jail: &F2bJail, names: &[JailName]) -> Vec<JailName> {
    let Ok(mut filter) = Fail2banFilter::compile(&jail.filter.spec(), jail.filter.options()) else {
        return Vec::new();
    };
    let others = || names.iter().filter(|name| **name != jail.name);
    if others().any(|name| finds(&mut filter, name, "Unban") || finds(&mut filter, name, "Found")) {
        return Vec::new();
    }
    others().filter(|name| finds(&mut filter, name, "Ban")).cloned().collect()
}

/// True if a filter finds a failure in the line that this leaves in fail2ban's log: in its file, by syslog, or by the
/// journal.
fn finds(filter: &mut Fail2banFilter, jail: &JailName, what: &str) -> bool {
    // 2026-01-02T03:04:05Z, as both stamps below say.
    let now = Timestamp::from_secs(1_767_323_045);
    let clock = Clock { now, zone: jiff::tz::TimeZone::UTC };
    let told = format!("[4711]: NOTICE  [{jail}] {what} 192.0.2.7");
    let lines = [
        (format!("2026-01-02 03:04:05,678 fail2ban.actions        {told}"), None),
        (format!("Jan  2 03:04:05 host fail2ban.actions{told}"), None),
        (format!("host fail2ban-server{told}"), Some(now)),
    ];
    lines.into_iter().any(|(text, stamp)| {
        let line = Line { bytes: text.as_bytes(), stamp };
        matches!(filter.judge(&line, &clock, Timing::Any, now), Ruling::Failure(..))
    })
}

/// A ladder of ours has no more steps than that.
const MOST_STEPS: u32 = 20;

impl Fail2ban {
    /// How long the bans of a jail last, one after the other, with what a jail that counts them makes of it: the last
    /// step is for the ban that is one too many. Only the first step if its bans grow by themselves.
    pub(super) fn ladder_of(&self, jail: &F2bJail) -> Vec<BanTime> {
        let counting = self.jails.iter().filter(|other| other.counts_bans_of.contains(&jail.name));
        match counting.min_by_key(|other| other.maxretry).filter(|other| lengthens(other, jail)) {
            None => vec![jail.bantime],
            Some(other) => {
                let usual = (1..other.maxretry).map(|_| jail.bantime);
                usual.chain([other.bantime]).collect()
            }
        }
    }

    /// Why a jail that counts bans is not needed in a configuration of ours.
    pub(super) fn instead_of(&self, jail: &F2bJail) -> String {
        let counted = || self.jails.iter().filter(|other| jail.counts_bans_of.contains(&other.name));
        let others: Vec<&str> =
            counted().filter(|other| !lengthens(jail, other)).map(|other| other.name.as_str()).collect();
        let but = match others.as_slice() {
            [] => String::new(),
            others => format!(" but for those of {}, which last as they do", others.join(", ")),
        };
        format!(
            "in its place ban number {} of a source, by whichever jails, lasts {}{but}; past bans are forgiven over \
             `retention`, not after {}",
            jail.maxretry, jail.bantime, jail.findtime
        )
    }
}

/// True if the last step of a jail's ladder can do what a jail does that counts its bans.
fn lengthens(counting: &F2bJail, jail: &F2bJail) -> bool {
    !jail.increment && counting.bantime > jail.bantime && counting.maxretry <= MOST_STEPS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fail2ban::tests::read_all;

    const RECIDIVE: &str = "[recidive]\nenabled = true\n";
    const SSHD: &str = "[sshd]\nenabled = true\n[vsftpd]\nenabled = true\nbantime = 1h\n";

    fn counted(found: &Fail2ban, jail: &str) -> Vec<String> {
        let jail = found.jails.iter().find(|known| known.name.as_str() == jail).unwrap();
        jail.counts_bans_of.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn recidive_counts_the_bans_of_all_other_jails_without_a_log() {
        let mut found = read_all(&[("jail.local", &format!("{SSHD}{RECIDIVE}"))]);
        assert_eq!(found.problems, []);
        assert_eq!(counted(&found, "recidive"), ["sshd", "vsftpd"]);
        assert_eq!(counted(&found, "sshd"), Vec::<String>::new());
        assert!(found.notices.iter().any(|said| said.contains("counts the bans of other jails")));
        found.examine(2026, &|_| true);
        assert_eq!((found.problems.len(), found.jails.len()), (0, 3));
        let recidive = found.jails.iter().find(|jail| jail.name.as_str() == "recidive").unwrap();
        let jail = super::super::convert::jail(recidive);
        let rules = &jail.lines.as_ref().unwrap().rules;
        assert_eq!((jail.logpath.len(), rules.bans_of.len(), rules.findtime.secs()), (0, 2, 86_400));
        assert_eq!(rules.bantime, BanTime::For(crate::time::Span::from_secs(604_800)));
    }

    #[test]
    fn whose_bans_count_is_asked_of_the_filter() {
        let longer = "[longer]\nenabled = true\nfilter = recidive[_jailname=longer]\nlogpath = /var/log/fail2ban.log\n";
        let mine = "[mine]\nenabled = true\nfilter =\nlogpath = /var/log/fail2ban.log\n\
            failregex = fail2ban\\.actions .* \\[sshd\\] Ban <HOST>$\n";
        let found = read_all(&[("jail.local", &format!("{SSHD}{RECIDIVE}{longer}{mine}"))]);
        assert_eq!(counted(&found, "recidive").len(), 4);
        assert_eq!(counted(&found, "longer").len(), 4);
        assert_eq!(counted(&found, "mine"), ["sshd"]);
    }

    #[test]
    fn a_jail_that_looks_for_more_than_bans_reads_its_log() {
        let mine = "[mine]\nenabled = true\nfilter =\nlogpath = /var/log/fail2ban.log\nfailregex = \\] \\w+ <HOST>$\n";
        let found = read_all(&[("jail.local", &format!("{SSHD}{mine}"))]);
        assert_eq!(counted(&found, "mine"), Vec::<String>::new());
    }

    #[test]
    fn moved_it_is_the_last_step_of_the_others_ladder() {
        let sshd = SSHD.replace("bantime = 1h", "bantime.increment = true");
        let found = read_all(&[("jail.local", &format!("{sshd}{RECIDIVE}maxretry = 3\n"))]);
        let moved = found.moved();
        assert!(moved.toml.contains("bantime = [\"10m\", \"10m\", \"7d\"]\n"), "{}", moved.toml);
        assert!(!moved.toml.contains("[jail.recidive]"));
        let said = moved.lost.join("\n");
        assert!(
            said.contains("ban number 3 of a source, by whichever jails, lasts 7d but for those of vsftpd"),
            "{said}"
        );
    }
}
