//! The only reader of clocks. Everything else is told the time.
#![allow(clippy::disallowed_methods)]

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use pillory_core::time::{End, Span, Timestamp};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A larger file is none of a time zone; those that there are have a few kilobytes.
const MAX_ZONE_BYTES: u64 = 1024 * 1024;

const ZONE_CURE: &str = "set TZ to a name such as Europe/Berlin, or unset it";

/// The daemon's time now; see [`Reading`].
pub(crate) fn now() -> Timestamp {
    read().now
}

/// What the clocks show now.
pub(crate) fn read() -> Reading {
    #[cfg(test)]
    if let Some(reading) = simulated::read() {
        return reading;
    }
    let mut course = COURSE.lock().unwrap_or_else(PoisonError::into_inner);
    course.read(wall(), boot())
}

/// The daemon's time is not behind what an earlier daemon saw.
pub(crate) fn go_on_from(seen: Timestamp) {
    #[cfg(test)]
    if simulated::is_on() {
        return simulated::go_on_from(seen);
    }
    let mut course = COURSE.lock().unwrap_or_else(PoisonError::into_inner);
    course.read(seen, boot());
}

/// What claims to be of later than this was written by a clock that was wrong, or damaged since. A wall clock of before
/// this program is wrong itself, and doubts nothing but nonsense.
pub(crate) fn latest_believed() -> Timestamp {
    const YEAR: Span = Span::from_secs(31_557_600);
    const BEGIN_OF_2026: Timestamp = Timestamp::from_secs(1_767_225_600);
    const BEGIN_OF_2200: Timestamp = Timestamp::from_secs(7_258_118_400);
    let wall = read().wall;
    if wall < BEGIN_OF_2026 { BEGIN_OF_2200 } else { wall + YEAR }
}

static COURSE: Mutex<Course> = Mutex::new(Course(None));

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = match since {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    Timestamp::from_millis(millis)
}

/// Since boot, sleep included; nothing steps it.
fn boot() -> Span {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Span::from_millis(boot.tv_sec.unsigned_abs() * 1_000 + boot.tv_nsec.unsigned_abs() / 1_000_000)
}

/// While the daemon's time is ahead of the wall clock, it loses one part in so many.
const SLOWER: u64 = 16;

/// The daemon's time at one moment: that of the wall clock, but never less than was seen. While the wall clock is behind
/// that, the daemon's time goes on by the clock that never steps, a sixteenth slower, until they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The daemon's time.
    pub(crate) now: Timestamp,
    /// What the wall clock shows.
    pub(crate) wall: Timestamp,
    /// When the wall clock showed the daemon's time last.
    met: Timestamp,
}

impl Reading {
    /// How far the daemon's time is ahead of the wall clock.
    pub(crate) fn ahead(self) -> Span {
        self.now.since(self.wall)
    }

    /// How long it really takes until so much of the daemon's time has passed.
    fn really(self, span: Span) -> Span {
        let loses = (span.millis() / (SLOWER - 1)).min(self.ahead().millis());
        Span::from_millis(span.millis().saturating_add(loses))
    }

    /// An end in the daemon's time for somebody who counts real time from now on, as the kernel does.
    pub(crate) fn real_end(self, end: End) -> End {
        End::from_option(
            end.timestamp()
                .map(|at| if at > self.now { self.now + self.really(at.since(self.now)) } else { at }),
        )
    }

    /// The reverse of [`Reading::real_end`].
    pub(crate) fn own_end(self, end: End) -> End {
        let gains = |left: Span| Span::from_millis((left.millis() / SLOWER).min(self.ahead().millis()));
        End::from_option(end.timestamp().map(|at| at - gains(at.since(self.now))))
    }

    /// What the wall clock shows then, or showed.
    pub(crate) fn on_the_wall(self, at: Timestamp) -> Timestamp {
        if at >= self.now {
            return self.wall + self.really(at.since(self.now));
        }
        if at <= self.met {
            return at;
        }
        let past = self.now.since(at).millis();
        self.wall - Span::from_millis(past + past / (SLOWER - 1))
    }
}

/// What the daemon's time was when the wall clock showed it last, and what the clock that never steps showed then.
#[derive(Debug, Clone, Copy)]
struct Course(Option<(Timestamp, Span)>);

impl Course {
    fn read(&mut self, wall: Timestamp, boot: Span) -> Reading {
        if let Some((met, then)) = self.0 {
            let passed = boot.millis().saturating_sub(then.millis());
            let now = met + Span::from_millis(passed - passed / SLOWER);
            if now > wall {
                return Reading { now, wall, met };
            }
        }
        self.0 = Some((wall, boot));
        Reading { now: wall, wall, met: wall }
    }
}

/// The clocks of a simulation, which are its thread's alone.
#[cfg(test)]
pub(crate) mod simulated {
    use super::{Course, Reading, Span, Timestamp};
    use std::cell::Cell;

    thread_local! {
        static SHOWN: Cell<Option<(Timestamp, Span)>> = const { Cell::new(None) };
        static COURSE: Cell<Course> = const { Cell::new(Course(None)) };
        static OFFSET: Cell<Option<jiff::tz::Offset>> = const { Cell::new(None) };
    }

    /// From now on the host of the calling thread lies so many hours east.
    pub(crate) fn set_zone(hours: i8) {
        OFFSET.set(Some(jiff::tz::offset(hours)));
    }

    pub(super) fn zone() -> Option<jiff::tz::TimeZone> {
        OFFSET.get().map(jiff::tz::TimeZone::fixed)
    }

    /// From now on the wall clock and the one that never steps show this to the calling thread.
    pub(crate) fn set(wall: Timestamp, boot: Span) {
        SHOWN.set(Some((wall, boot)));
    }

    /// The daemon of the calling thread is another one.
    pub(crate) fn restart() {
        COURSE.set(Course(None));
    }

    /// True if the calling thread simulates.
    pub(crate) fn is_on() -> bool {
        SHOWN.get().is_some()
    }

    pub(super) fn read() -> Option<Reading> {
        let (wall, boot) = SHOWN.get()?;
        let mut course = COURSE.get();
        let reading = course.read(wall, boot);
        COURSE.set(course);
        Some(reading)
    }

    pub(super) fn go_on_from(seen: Timestamp) {
        if let Some((_, boot)) = SHOWN.get() {
            let mut course = COURSE.get();
            course.read(seen, boot);
            COURSE.set(course);
        }
    }
}

/// The zone of this host, for stamps that carry none and for people; UTC if it cannot be used.
pub(crate) fn zone() -> TimeZone {
    #[cfg(test)]
    if let Some(zone) = simulated::zone() {
        return zone;
    }
    match zone_problem() {
        None => TimeZone::system(),
        Some(_) => TimeZone::UTC,
    }
}

/// A time of the daemon's as people read it on this host, with the zone: what the daemon says may be read elsewhere.
pub(crate) fn told(at: Timestamp) -> String {
    let millis = read().on_the_wall(at).millis();
    let Ok(stamp) = jiff::Timestamp::from_millisecond(millis) else { return at.to_string() };
    stamp.to_zoned(zone()).strftime("%a %b %e %H:%M:%S %Y %Z").to_string()
}

/// What is wrong with the zone that `TZ` or `/etc/localtime` names, and what to do.
pub(crate) fn zone_problem() -> Option<&'static str> {
    static PROBLEM: OnceLock<Option<String>> = OnceLock::new();
    PROBLEM.get_or_init(find_zone_problem).as_deref()
}

fn find_zone_problem() -> Option<String> {
    let from_env = std::env::var_os("TZ").filter(|value| !value.is_empty());
    let name = from_env.as_deref().map_or(Cow::Borrowed("/etc/localtime"), OsStr::to_string_lossy);
    let path = name.strip_prefix(':').unwrap_or(&name);
    // Whatever the name leads to is read to its end: a device has none, and a pipe waits for its writer.
    if let Ok(status) = std::fs::metadata(path)
        && !status.is_dir()
        && (!status.is_file() || status.len() > MAX_ZONE_BYTES)
    {
        return Some(format!("{path} is no file of a time zone; {ZONE_CURE}"));
    }
    let is_unknown = from_env.is_some() && TimeZone::try_system().is_err();
    is_unknown.then(|| format!("TZ={name} is no time zone; {ZONE_CURE}"))
}

/// The kernel's word that the wall clock was set, or that the host woke; readable when there is one.
#[derive(Debug)]
pub(crate) struct SetNotice(OwnedFd);

impl SetNotice {
    /// Nothing where the kernel has no such notice: what the clock shows is then seen at the next look.
    pub(crate) fn new() -> Option<SetNotice> {
        let timer =
            timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK).ok()?;
        // A timer for the end of time. Each time the clock is set a read fails, and it stays armed (timerfd_create(2)).
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        let at = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
        timerfd_settime(&timer, flags, &Itimerspec { it_interval: at(0), it_value: at(i64::MAX) }).ok()?;
        Some(SetNotice(timer))
    }

    /// True if the clock was set since it was asked last.
    pub(crate) fn was_set(&self) -> bool {
        tells_of_a_step(rustix::io::read(&self.0, &mut [0; 8]))
    }
}

/// What reading the timer means. That it ran out is no less a reason to look at the clock.
fn tells_of_a_step(read: rustix::io::Result<usize>) -> bool {
    matches!(read, Ok(_) | Err(Errno::CANCELED))
}

impl AsFd for SetNotice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Measures how long something takes, unmoved by steps of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Clock ticks since boot, as the kernel stamps the start of processes: hundredths of a second on every machine that
/// Linux runs on today.
pub(crate) fn boot_ticks() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 100 + now.tv_nsec.unsigned_abs() / 10_000_000
}

/// The clock that never steps; for waits, and to tell how long something took.
pub(crate) fn instant() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn boot(secs: u64) -> Span {
        Span::from_secs(secs)
    }

    #[test]
    fn a_cancelled_timer_and_one_that_ran_out_tell_of_a_step_and_nothing_else_does() {
        let reads = [Err(Errno::CANCELED), Ok(8), Err(Errno::AGAIN), Err(Errno::INTR)];
        assert_eq!(reads.map(tells_of_a_step), [true, true, false, false]);
    }

    #[test]
    fn the_kernel_is_asked_to_tell_and_has_nothing_to_tell_of_a_clock_that_nobody_sets() {
        use std::os::fd::AsRawFd;
        let notice = SetNotice::new().unwrap();
        assert!(!notice.was_set());
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", notice.0.as_raw_fd())).unwrap();
        // CLOCK_REALTIME, and TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET in octal digits.
        assert!(info.contains("clockid: 0\n") && info.contains("settime flags: 03\n"), "{info}");
    }

    #[test]
    fn people_are_told_the_time_of_this_host() {
        simulated::set(at(1_795_374_900), boot(0));
        simulated::set_zone(1);
        assert_eq!(told(at(1_795_374_900)), "Sun Nov 22 20:15:00 2026 +01");
    }

    #[test]
    fn follows_the_wall_clock_and_its_steps_forward() {
        let mut course = Course(None);
        for (wall, since_boot) in [(0, 5), (1, 6), (7_200, 7), (7_201, 8)] {
            let reading = course.read(at(wall), boot(since_boot));
            assert_eq!((reading.now, reading.ahead()), (at(wall), boot(0)));
        }
    }

    #[test]
    fn goes_on_a_sixteenth_slower_until_the_wall_clock_is_met() {
        let mut course = Course(None);
        course.read(at(2 * HOUR), boot(0));
        assert_eq!(course.read(at(0), boot(0)).now, at(2 * HOUR));
        let later = course.read(at(16), boot(16));
        assert_eq!((later.now, later.ahead()), (at(2 * HOUR + 15), boot(7_199)));
        let met = course.read(at(32 * HOUR), boot(32 * 3_600));
        assert_eq!((met.now, met.ahead()), (at(32 * HOUR), boot(0)));
    }

    #[test]
    fn an_end_is_told_in_real_time_and_comes_back_the_same() {
        let mut course = Course(None);
        course.read(at(HOUR), boot(0));
        let reading = course.read(at(0), boot(0));
        // Fifteen hours of the daemon's time take sixteen; after that they are as long as any.
        for (lasts, really) in
            [(15, 15 + 1), (15 * 60, 16 * 60), (15 * HOUR, 16 * HOUR), (20 * HOUR, 21 * HOUR)]
        {
            let end = End::At(at(HOUR + lasts));
            assert_eq!(reading.real_end(end), End::At(at(HOUR + really)));
            assert_eq!(reading.own_end(reading.real_end(end)), end);
            assert_eq!(reading.on_the_wall(at(HOUR + lasts)), at(really));
        }
        assert_eq!(reading.real_end(End::Never), End::Never);
    }

    #[test]
    fn what_was_is_shown_as_the_wall_clock_showed_it() {
        let mut course = Course(None);
        course.read(at(HOUR), boot(0));
        let reading = course.read(at(160), boot(160));
        assert_eq!(reading.now, at(HOUR + 150));
        assert_eq!(reading.on_the_wall(at(HOUR + 75)), at(80));
        assert_eq!(reading.on_the_wall(at(HOUR - 5)), at(HOUR - 5));
    }
}
