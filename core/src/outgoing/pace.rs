//! When the next message or report may leave: gathering, rates, daily budgets, and waiting after a failure.

use serde::{Deserialize, Serialize};

use crate::time::{Span, Timestamp};

const HOUR: Span = Span::from_secs(3_600);
const DAY: Span = Span::from_secs(86_400);

/// When so many mailboxes refuse in a row it is about who writes to them.
const REFUSERS: usize = 3;

/// So many mailboxes are known to refuse, the last ones, and none whose name is longer than this. Source: RFC 5321,
/// section 4.5.3.1.3.
const MOST_REFUSED: usize = 200;
const MOST_MAILBOX_BYTES: usize = 254;

/// What a destination is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// So long after the first event that waits a message leaves, with all that came meanwhile.
    pub gather: Span,
    /// So many messages an hour; what is beyond waits and becomes one. Nothing: as many as there are.
    pub hourly: Option<u32>,
    /// So many within a day of UTC. Nothing: as many as there are.
    pub daily: Option<u32>,
    /// How long is waited after the first failure; doubled at each further one, up to an hour.
    pub retry: Span,
}

/// Why something was not taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Setback {
    /// The other side said for how long it wants to be left alone.
    pub retry_after: Option<Span>,
    /// Trying again will not help before somebody mends something.
    pub is_lasting: bool,
}

/// How it went with a destination so far; kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Failures since it went well last.
    pub failures: u32,
    /// Nothing leaves before this.
    not_before: Timestamp,
    /// When something left within the last hour, at most as often as the limit says.
    lately: Vec<Timestamp>,
    /// A day of UTC, and how many left in it.
    today: (i64, u32),
    /// Different mailboxes that refused since one took something, at most [`REFUSERS`]; none whose refusal says that it is
    /// about the mailbox.
    #[serde(default)]
    refusers: Vec<String>,
    /// Mailboxes that refused within a day, and when, the newest last; none that refused because of who writes, as it seems.
    #[serde(default)]
    refused: Vec<(String, Timestamp)>,
}

impl Progress {
    /// When what waits since `first` may leave, which may be in the past.
    pub fn due(&self, pace: &Pace, first: Timestamp, now: Timestamp) -> Timestamp {
        // A clock that was wrong must not silence anything for longer than an honest wait could.
        let held = if self.not_before > now + DAY + DAY { Timestamp::default() } else { self.not_before };
        // `first` may be of such a clock, too.
        let gathered = first.min(now) + pace.gather;
        gathered.max(held).max(self.rate_allows(pace, now)).max(self.budget_allows(pace, now))
    }

    fn rate_allows(&self, pace: &Pace, now: Timestamp) -> Timestamp {
        let within: Vec<Timestamp> = self.recent(now).collect();
        let over = pace.hourly.and_then(|hourly| within.len().checked_sub(hourly.max(1) as usize));
        over.and_then(|over| within.get(over)).map_or(Timestamp::default(), |oldest| *oldest + HOUR)
    }

    fn budget_allows(&self, pace: &Pace, now: Timestamp) -> Timestamp {
        match pace.daily {
            Some(daily) if self.sent_today(now) >= daily => {
                Timestamp::from_secs((day(now) + 1) * DAY.secs() as i64)
            }
            _ => Timestamp::default(),
        }
    }

    /// What left within the last hour, the oldest first.
    fn recent(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.lately.iter().copied().filter(move |at| *at <= now && now.since(*at) < HOUR)
    }

    /// How many left today.
    pub fn sent_today(&self, now: Timestamp) -> u32 {
        if self.today.0 == day(now) { self.today.1 } else { 0 }
    }

    /// Until when nothing leaves because of a failure; nothing if that is over.
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.not_before).filter(|until| *until > now)
    }

    /// So many left together.
    pub fn sent(&mut self, pace: &Pace, number: u32, now: Timestamp) {
        self.today = (day(now), self.sent_today(now).saturating_add(number));
        self.lately = self.recent(now).collect();
        if pace.hourly.is_some() {
            self.lately.push(now);
        }
        self.failures = 0;
        self.not_before = Timestamp::default();
    }

    /// It was not taken. `dice`: any number; it moves the wait by up to a quarter, so that many hosts do not come back at
    /// once.
    pub fn failed(&mut self, pace: &Pace, setback: Setback, dice: u64, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let doubled = pace.retry.millis().max(1_000) << (self.failures - 1).min(12);
        let wait = if setback.is_lasting { HOUR.millis() } else { doubled.min(HOUR.millis()) };
        // Never earlier than was asked for, but nobody is believed who asks for weeks.
        let asked = setback.retry_after.unwrap_or_default().millis().min(DAY.millis());
        let wait = wait.max(asked);
        self.not_before = now + Span::from_millis(wait + wait / 4 * (dice % 1_000) / 1_000);
    }

    /// A mailbox refused what it was sent; `is_about_it`: it was said that this is about the mailbox, and not about who
    /// writes. True if so many different ones did without saying that, and none took anything meanwhile, that it is hardly
    /// about them.
    pub fn refused_by(&mut self, mailbox: &str, is_about_it: bool, now: Timestamp) -> bool {
        let is_known = self.refusers.iter().any(|known| known == mailbox);
        if !is_about_it && !is_known && self.refusers.len() < REFUSERS {
            self.refusers.push(mailbox.to_owned());
        }
        let is_suspect = !is_about_it && self.refusers.len() >= REFUSERS;
        let refusers = &self.refusers;
        self.refused.retain(|(known, at)| {
            // Once that is mended they may take it.
            let may_take = is_suspect && refusers.contains(known);
            is_of_a_day(*at, now) && known != mailbox && !may_take
        });
        if !is_suspect && mailbox.len() <= MOST_MAILBOX_BYTES {
            let over = (self.refused.len() + 1).saturating_sub(MOST_REFUSED);
            self.refused.drain(..over);
            self.refused.push((mailbox.to_owned(), now));
        }
        is_suspect
    }

    /// True if a mailbox refused within a day, and not because of who writes, as it seems.
    pub fn is_refuser(&self, mailbox: &str, now: Timestamp) -> bool {
        self.refused.iter().any(|(known, at)| known == mailbox && is_of_a_day(*at, now))
    }

    /// Something was taken, so who refused before spoke of itself.
    pub fn taken(&mut self) {
        self.refusers.clear();
    }

    /// Somebody mended something: the next try may be made at once.
    pub fn forgive(&mut self) {
        self.failures = 0;
        self.not_before = Timestamp::default();
    }
}

/// True if it was within the last day; what claims to be of later was not.
fn is_of_a_day(at: Timestamp, now: Timestamp) -> bool {
    at <= now && now.since(at) < DAY
}

fn day(at: Timestamp) -> i64 {
    at.secs().div_euclid(DAY.secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn pace(hourly: Option<u32>, daily: Option<u32>) -> Pace {
        Pace { gather: Span::from_secs(60), hourly, daily, retry: Span::from_secs(30) }
    }

    #[test]
    fn a_message_waits_for_others_and_then_leaves() {
        let due = Progress::default().due(&pace(Some(3), None), NOW, NOW);
        assert_eq!(due, NOW + Span::from_secs(60));
        // What claims to be of tomorrow waits no longer than what is of now.
        assert_eq!(Progress::default().due(&pace(Some(3), None), NOW + DAY, NOW), due);
    }

    #[test]
    fn failures_double_the_wait_and_a_success_ends_it() {
        let (pace, mut progress) = (pace(None, None), Progress::default());
        let mut waits = Vec::new();
        for _ in 0..10 {
            progress.failed(&pace, Setback::default(), 0, NOW);
            waits.push(progress.waits_until(NOW).unwrap().since(NOW).secs());
        }
        assert_eq!(waits[..4], [30, 60, 120, 240]);
        assert_eq!(waits[9], 3_600);
        progress.sent(&pace, 1, NOW);
        assert_eq!((progress.waits_until(NOW), progress.failures), (None, 0));
    }

    #[test]
    fn what_will_not_help_is_tried_hourly_and_a_far_away_hold_is_no_hold() {
        let (pace, mut progress) = (pace(None, None), Progress::default());
        progress.failed(&pace, Setback { is_lasting: true, retry_after: None }, 0, NOW);
        assert_eq!(progress.waits_until(NOW), Some(NOW + HOUR));
        // The clock was years ahead when this was written.
        progress.failed(&pace, Setback::default(), 0, NOW + Span::from_secs(100_000_000));
        assert_eq!(progress.due(&pace, NOW, NOW), NOW + pace.gather);
    }

    #[test]
    fn three_mailboxes_that_refuse_in_a_row_are_one_too_many() {
        let mut progress = Progress::default();
        let refuses = |progress: &mut Progress, who: &str| progress.refused_by(who, false, NOW);
        assert_eq!(["a@x", "b@x", "a@x", "b@x"].map(|who| refuses(&mut progress, who)), [false; 4]);
        progress.sent(&pace(None, None), 1, NOW);
        assert!(refuses(&mut progress, "c@x") && refuses(&mut progress, "a@x"));
        // It is hardly about them, so they are asked again.
        assert!(!["a@x", "b@x", "c@x"].iter().any(|who| progress.is_refuser(who, NOW)));
        progress.taken();
        assert!(!refuses(&mut progress, "a@x"));
    }

    #[test]
    fn mailboxes_that_are_gone_by_their_own_word_are_no_sign_of_anything_else() {
        let mut progress = Progress::default();
        for number in 0..2 * MOST_REFUSED {
            assert!(!progress.refused_by(&format!("{number}@x"), true, NOW));
        }
        assert_eq!(progress.refused.len(), MOST_REFUSED);
        assert!(!progress.refused_by("a@x", false, NOW));
        // It is remembered for a day, however the clock was set meanwhile.
        let knows = |progress: &Progress, at| progress.is_refuser("399@x", at);
        assert!(knows(&progress, NOW) && knows(&progress, NOW + Span::from_secs(86_399)));
        assert!(!knows(&progress, NOW + DAY) && !knows(&progress, NOW - DAY));
        let kept = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&kept).unwrap(), progress);
    }

    proptest! {
        #[test]
        fn neither_the_rate_nor_the_budget_is_ever_exceeded(
            steps in prop::collection::vec((0u64..4_000_000, any::<bool>(), any::<u64>()), 1..300),
            hourly in 1u32..5,
            daily in 1u32..20,
        ) {
            let pace = pace(Some(hourly), Some(daily));
            let (mut progress, mut now) = (Progress::default(), NOW);
            let mut left: Vec<Timestamp> = Vec::new();
            for (step, goes_well, dice) in steps {
                now = now + Span::from_millis(step);
                if progress.due(&pace, now - pace.gather, now) > now {
                    continue;
                }
                match goes_well {
                    true => {
                        progress.sent(&pace, 1, now);
                        left.push(now);
                    }
                    false => progress.failed(&pace, Setback::default(), dice, now),
                }
                // What is kept says the same.
                let kept = serde_json::to_string(&progress).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Progress>(&kept).unwrap(), &progress);
            }
            for at in &left {
                let in_hour = left.iter().filter(|other| *other <= at && at.since(**other) < HOUR).count();
                let in_day = left.iter().filter(|other| day(**other) == day(*at)).count();
                prop_assert!(in_hour <= hourly as usize && in_day <= daily as usize);
            }
        }

        #[test]
        fn nobody_is_asked_again_before_the_time_that_was_named(
            failures in 0u32..40, asked in 0u64..200_000, dice: u64, is_lasting: bool
        ) {
            let pace = pace(None, None);
            let mut progress = Progress { failures, ..Progress::default() };
            let setback = Setback { retry_after: Some(Span::from_secs(asked)), is_lasting };
            progress.failed(&pace, setback, dice, NOW);
            let wait = progress.waits_until(NOW).unwrap().since(NOW);
            prop_assert!(wait >= Span::from_secs(asked.min(86_400)));
            prop_assert!(wait.millis() <= DAY.millis() * 5 / 4);
        }
    }
}
