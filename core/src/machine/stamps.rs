//! Stamps of lines that are read as they are written: is the clock or the zone of whoever writes them another one?

use crate::jail::JailIndex;
use crate::time::Timestamp;

use super::{Effect, Machine, Notice};

/// A stamp further off than this is doubted. Source: fail2ban 1.0, log times more than 60 s off.
const TOLERANCE_S: u64 = 60;

/// After so many right stamps in a row a jail's clock is believed again.
const RIGHT_AGAIN: u32 = 10;

/// What a jail's stamps have shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stamps {
    /// How far the last wrong one was off, in seconds; behind is negative.
    off_s: Option<i64>,
    /// Right ones since then.
    right: u32,
    is_said: bool,
}

impl Stamps {
    /// Takes one stamp; true if it is wrong and that has not been said.
    fn take(&mut self, stamp: Timestamp, now: Timestamp) -> bool {
        let off = stamp.since(now).secs().max(now.since(stamp).secs());
        if off <= TOLERANCE_S {
            self.right += 1;
            if self.right >= RIGHT_AGAIN {
                self.off_s = None;
                self.right = 0;
            }
            return false;
        }
        self.off_s = Some((stamp.millis() - now.millis()) / 1000);
        self.right = 0;
        !std::mem::replace(&mut self.is_said, true)
    }
}

impl Machine {
    /// How many seconds the stamps of a jail's lines are off, behind is negative; nothing if they are right.
    pub fn stamps_off(&self, jail: JailIndex) -> Option<i64> {
        self.stamps.get(usize::from(jail)).and_then(|stamps| stamps.off_s)
    }

    /// A service whose clock or zone is off is said once a jail.
    pub(super) fn doubt_stamp(
        &mut self,
        jail: JailIndex,
        stamp: Timestamp,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let is_news = self.stamps.get_mut(usize::from(jail)).is_some_and(|stamps| stamps.take(stamp, now));
        let (true, Some(off_s)) = (is_news, self.stamps_off(jail)) else { return };
        let name = self.judge.jails().get(usize::from(jail)).map(|jail| jail.name.clone());
        out.extend(name.map(|name| Effect::Say(Notice::StampOff(name, off_s))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_wrong_stamp_is_said_once_and_stands_until_ten_in_a_row_are_right() {
        let mut stamps = Stamps::default();
        assert!(!stamps.take(at(100_060), at(100_000)) && stamps.off_s.is_none());
        assert!(stamps.take(at(96_400), at(100_000)));
        assert_eq!(stamps.off_s, Some(-3_600));
        for _ in 0..9 {
            assert!(!stamps.take(at(100_000), at(100_000)));
        }
        // Not said again, and what was right before counts no longer.
        assert!(!stamps.take(at(103_600), at(100_000)));
        assert_eq!(stamps.off_s, Some(3_600));
        for _ in 0..9 {
            stamps.take(at(100_000), at(100_000));
            assert_eq!(stamps.off_s, Some(3_600));
        }
        stamps.take(at(100_000), at(100_000));
        assert_eq!(stamps.off_s, None);
    }
}
