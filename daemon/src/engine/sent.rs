//! Words for what leaves the host: chats and mail servers are other people's, so what is sent names no address of a friend,
//! no entry of who is never banned, and no account. `pillory status` and the log say all of it here.

use pillory_core::event::JailName;
use pillory_core::jail::alarms::Alarm;
use pillory_core::jail::{campaign, outage, stealth};
use pillory_core::ledger::{Ban, Ended};
use pillory_core::machine::Reason;

use crate::clock;
use crate::logging;

use super::Engine;
use super::audience::{Audience, GOT_IN};
use super::lookout::NO_EFFECT;
use super::reload::REFUSED;

/// Where all of it is said.
const SEE: &str = "`pillory status` there says who";

/// Warnings of these keys name addresses or what the configuration holds; each with what is sent in its place.
const NAMING: [(&str, &str); 4] = [
    (NO_EFFECT, "a ban has no effect: attempts still come"),
    ("proxy ", "an address carries much of a web log's good traffic"),
    (REFUSED, "the last reload was refused, and the policy before it is in force"),
    ("trial", "the policy on trial cannot be taken back"),
];

impl Engine {
    /// The warnings that the owner is sent: those of `status`, but for what is told when it happens (what no single source
    /// shows) and for what cannot be told because nothing is sent.
    pub(super) fn warnings_to_send(&self) -> Vec<String> {
        let is_alarm = |key: &str| ["outage ", GOT_IN].iter().any(|begin| key.starts_with(begin));
        let own = self.warnings.iter().filter(|(key, _)| !is_alarm(key));
        let mut warnings: Vec<String> = own.map(|(key, text)| own_words(key, text)).collect();
        warnings.extend(self.readers.warnings.iter().cloned());
        warnings.extend(self.command_troubles(Audience::Onlookers));
        let unknown = "who is never banned is not all known; `pillory status` says why".to_owned();
        warnings.extend((!self.facts.troubles.is_empty()).then_some(unknown));
        warnings.extend(self.stream_troubles());
        warnings.extend(self.stamps_off());
        warnings.extend(self.friends());
        warnings.extend(self.limits());
        warnings.extend(self.trial_warning());
        warnings.extend(logging::troubles());
        warnings.extend(self.short_of_budget());
        if !self.machine.is_enforcing() {
            warnings.push("switched off: nothing is enforced; `pillory on` switches on".to_owned());
        }
        warnings
    }

    /// Who was not banned, and who is soon: each jail's are one warning.
    fn friends(&self) -> Vec<String> {
        let now = clock::now();
        let spared = self.machine.alerts(now).map(|alert| {
            let who = match alert.reason {
                Reason::Never(..) => "somebody who is never banned has",
                Reason::GoodLogins(..) => "a network from which people log in has",
            };
            format!("jail {}: {who} earned a ban and is not banned; {SEE}", alert.jail)
        });
        let soon = self.machine.soon_banned(now).map(|soon| {
            let words = match self.has_earned(soon) {
                true => "has earned a ban and is not banned yet",
                false => "is near a ban",
            };
            format!("jail {}: somebody who seems to belong here {words}; {SEE}", soon.jail)
        });
        let mut all: Vec<String> = spared.chain(soon).collect();
        all.sort();
        all.dedup();
        all
    }
}

fn own_words(key: &str, text: &str) -> String {
    let naming = NAMING.iter().find(|(begin, _)| key.starts_with(begin));
    naming.map_or_else(|| text.to_owned(), |(_, words)| format!("{words}; `pillory status` says more"))
}

/// The end of a ban.
pub(super) fn unban_words(ban: &Ban, how: Ended) -> String {
    match names_friend(how) {
        true => {
            format!(
                "jail {}: a ban was a mistake: people log in from there; `pillory history` says whose",
                ban.jail
            )
        }
        false => logging::unban_words(ban, how),
    }
}

/// True if a ban that ended so was of people who belong here.
pub(super) fn names_friend(how: Ended) -> bool {
    how == Ended::Mistaken
}

/// What no single source shows.
pub(super) fn alarm_words(alarm: &Alarm) -> String {
    let guessed = |jail: &JailName, places: usize, how: &str| {
        format!(
            "jail {jail}: accounts in use are {how} guessed at, from {places} places within a day, each too rarely to be banned for it; `pillory status` there says which, and have their owners use keys"
        )
    };
    match alarm {
        Alarm::Outage(outage::Change::Began(jail, ..)) => format!(
            "jail {jail}: an address fails again and again though logins from there used to succeed, and so do others, or nobody logs in: is the service's password database down, or a disk full? It is not banned until it has four times the points; {SEE}"
        ),
        Alarm::Stealth(stealth::Change::Began(jail, attack)) => guessed(jail, attack.places, "now"),
        Alarm::Stealth(stealth::Change::Grew(jail, attack)) => guessed(jail, attack.places, "still"),
        Alarm::Stealth(stealth::Change::GotIn { jail, .. }) => format!(
            "jail {jail}: somebody logged in from where nobody did before, to an account that is guessed at: if it was not its owner, the password is known; {SEE}"
        ),
        Alarm::Campaign(campaign::Change::Began { jail, campaign }) => format!(
            "jail {jail}: a campaign is on since {}: {} addresses within a day try the same names, a few times each; nothing need be done",
            clock::told(campaign.since),
            campaign.members
        ),
        Alarm::Campaign(campaign::Change::ListsBegan { jail, group }) => format!(
            "jail {jail}: {} places share lists of names that hardly anybody else tries, since {}; nothing need be done",
            group.places,
            clock::told(group.since)
        ),
        // These name nobody.
        Alarm::Outage(outage::Change::Ended(_))
        | Alarm::Stealth(stealth::Change::Ended(_))
        | Alarm::Campaign(
            campaign::Change::Ended(_)
            | campaign::Change::ListsEnded(_)
            | campaign::Change::SprayBegan { .. }
            | campaign::Change::SprayEnded(_)
            | campaign::Change::SystemBegan { .. }
            | campaign::Change::SystemEnded(..),
        ) => logging::alarm_words(alarm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillory_core::time::Timestamp;

    #[test]
    fn an_alarm_that_is_sent_names_neither_an_address_nor_an_account() {
        let jail = || JailName::new("sshd").unwrap();
        let (since, places, names) = (Timestamp::from_secs(1_800_000_000), 7, vec!["alice".into()]);
        let attack = stealth::Attack { since, places, users: vec!["alice".into()] };
        let place = "203.0.113.9/32".parse().unwrap();
        let campaign = campaign::Campaign { since, members: 7, names: names.clone() };
        let group = campaign::Group { since, places, names };
        let alarms = [
            Alarm::Outage(outage::Change::Began(jail(), [203, 0, 113, 9].into(), outage::Sign::Silence)),
            Alarm::Stealth(stealth::Change::Began(jail(), attack.clone())),
            Alarm::Stealth(stealth::Change::Grew(jail(), attack)),
            Alarm::Stealth(stealth::Change::GotIn { jail: jail(), place, user: "alice".into() }),
            Alarm::Campaign(campaign::Change::Began { jail: jail(), campaign }),
            Alarm::Campaign(campaign::Change::ListsBegan { jail: jail(), group }),
        ];
        for alarm in &alarms {
            let words = alarm_words(alarm);
            assert!(words.starts_with("jail sshd: "), "{words}");
            assert!(!words.contains("alice") && !words.contains("203.0.113"), "{words}");
        }
    }

    #[test]
    fn a_warning_that_names_somebody_is_told_in_other_words() {
        assert_eq!(own_words("kernel", "x"), "x");
        for key in ["no effect 192.0.2.7/32", "proxy web 192.0.2.7", REFUSED] {
            assert!(!own_words(key, "secret 192.0.2.7").contains("192.0.2.7"), "{key}");
        }
    }
}
