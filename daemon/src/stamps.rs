//! What is said of a log whose stamps are off: by a zone or by a clock, and the cure.

use pillory_core::time::Span;

/// From UTC-12 to UTC+14.
const MOST_ZONES_APART_S: u64 = 26 * 3600;

const ZONE_CURE: &str = "if its zone is another one, give that to the daemon as TZ (`systemctl edit pillory`, Environment=TZ=..); if the host's zone was changed, restart what writes the log";
const CLOCK_CURE: &str =
    "check the clock of what writes the log (`timedatectl`), and whether its lines come late";

/// What is said of a log whose stamps are so many seconds off.
pub(crate) fn words(off_s: i64) -> String {
    let (secs, way) = (off_s.unsigned_abs(), if off_s < 0 { "behind" } else { "ahead" });
    // Zones differ by quarters of an hour, and a line may be a moment old.
    let quarters = secs.saturating_add(450) / 900 * 900;
    let is_zone = (900..=MOST_ZONES_APART_S).contains(&quarters) && secs.abs_diff(quarters) <= 60;
    let (secs, cure) = if is_zone { (quarters, ZONE_CURE) } else { (secs, CLOCK_CURE) };
    let span = Span::from_secs(secs);
    format!(
        "the log's stamps are off, {span} {way}; lines are judged when they arrive, but by their stamps what is written while the daemon is down; {cure}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_quarters_of_an_hour_are_told_as_a_zone_and_all_else_as_a_clock() {
        for (off_s, span, cure) in [
            (-25_203, "7h behind", ZONE_CURE),
            (20_699, "5h45m ahead", ZONE_CURE),
            (-75, "1m15s behind", CLOCK_CURE),
            (3_700, "1h1m40s ahead", CLOCK_CURE),
        ] {
            let said = words(off_s);
            assert!(said.contains(&format!("off, {span};")) && said.ends_with(cure), "{said}");
        }
        // Whatever a hostile stamp makes of it.
        assert!(words(i64::MIN).ends_with(CLOCK_CURE));
    }
}
