//! Drills: somebody sets the wall clock. The daemon runs under libfaketime, which shows it another one; the kernel's
//! clock, and all the others, go on.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

use crate::lab::{
    Daemon, DaemonOptions, Host, Kernel, SOON, World, failed_lines, module_dir, need, quiet_server,
    say_skipped, wait_until,
};

/// What the wall clock is off, for libfaketime; in a directory that the sandbox lets the daemon read.
const OFF_BY: &str = "/etc/pillory/clock";

/// libfaketime tells nobody that the clock was set, and the daemon looks every 30 s.
const NEXT_LOOK: Duration = Duration::from_secs(40);

const LOG: &str = "/var/log/auth.log";

struct Clocked {
    daemon: Daemon,
    kernel: Kernel,
    host: Host,
    _world: World,
}

impl Clocked {
    fn start() -> Option<Clocked> {
        if !need(&["faketime"]) {
            return None;
        }
        let (world, host) = quiet_server()?;
        host.write(OFF_BY, "+0\n");
        let daemon = Clocked::begin(&host);
        Some(Clocked { daemon, kernel: Kernel::new(host.clone()), host, _world: world })
    }

    fn begin(host: &Host) -> Daemon {
        let library = module_dir("faketime").expect("it comes with its library").join("libfaketimeMT.so.1");
        let through = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={OFF_BY}"),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        let options = DaemonOptions {
            config: Some(String::new()),
            through: through.into(),
            ..DaemonOptions::default()
        };
        Daemon::start_with(host, &options)
    }

    /// The daemon is killed, and another one starts.
    fn restarted(self) -> Clocked {
        self.daemon.kill();
        Clocked { daemon: Clocked::begin(&self.host), ..self }
    }

    /// The wall clock shows this much more or less from now on, and the daemon has seen it.
    #[track_caller]
    fn set_clock(&self, off_by: &str) {
        self.host.write(OFF_BY, format!("{off_by}\n"));
        // Whatever is asked, it looks at its clock.
        self.daemon.list();
    }

    /// The timer that the kernel cancels when somebody sets the clock; nothing, with a word, if nobody may take it here.
    #[track_caller]
    fn timer(&self) -> Option<OwnedFd> {
        let process = format!("/proc/{}", self.daemon.pid());
        let all = std::fs::read_dir(format!("{process}/fd")).expect("it runs").flatten();
        let is_timer = |path: &std::path::Path| {
            std::fs::read_link(path).is_ok_and(|to| to.as_os_str() == "anon_inode:[timerfd]")
        };
        let timers: Vec<_> = all.filter(|fd| is_timer(&fd.path())).map(|fd| fd.file_name()).collect();
        let [timer] = &timers[..] else { panic!("{timers:?}") };
        let number = timer.to_str().expect("digits");
        let info = std::fs::read_to_string(format!("{process}/fdinfo/{number}")).expect("it is open");
        // CLOCK_REALTIME, and TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET in octal digits.
        assert!(info.contains("clockid: 0\n") && info.contains("settime flags: 03\n"), "{info}");
        let pid = Pid::from_raw(self.daemon.pid().cast_signed()).expect("a process");
        let taken = pidfd_open(pid, PidfdFlags::empty()).and_then(|process| {
            pidfd_getfd(process, number.parse().expect("digits"), PidfdGetfdFlags::empty())
        });
        taken.inspect_err(|error| say_skipped(&format!("nobody may take a descriptor here: {error}"))).ok()
    }

    #[track_caller]
    fn ban(&self, addr: &str, length: &str) -> Instant {
        let answer = self.daemon.ask(&["ban", addr, "--for", length]);
        assert_eq!(answer.code, Some(0), "{answer:?}\n{}", self.daemon.errors());
        assert!(self.kernel.holds("ban4", addr), "{addr}");
        Instant::now()
    }

    /// Waits until a ban of so many seconds is over, and holds that it was in the kernel until then and no longer.
    #[track_caller]
    fn lasts(&self, addr: &str, begun: Instant, seconds: u64) {
        let over = wait_until(NEXT_LOOK, || (!self.kernel.holds("ban4", addr)).then(|| begun.elapsed()));
        let lasted = over.unwrap_or_else(|| panic!("{addr} is not lifted:\n{}", self.daemon.errors()));
        // A sixteenth slower is the daemon's time at most, and the test does not look all the time.
        let allowed = Duration::from_secs(seconds - 1)..Duration::from_secs(seconds + seconds / 15 + 3);
        assert!(allowed.contains(&lasted), "{addr} was banned for {lasted:?} instead of {seconds} s");
        let prefix = format!("{addr}/32");
        self.daemon
            .wait_for(SOON, "the end in the list", || self.daemon.ban_of(&prefix).is_none().then_some(()));
    }

    /// Whoever attacks now is banned for the day that the policy says.
    #[track_caller]
    fn bans_attackers(&self, addr: &str) {
        self.host.append(LOG, failed_lines(7_000, 3, "root", addr));
        self.daemon.wait_for(SOON, "the ban", || self.kernel.holds("ban4", addr).then_some(()));
        let left = self.seconds_left(addr);
        assert!((86_300..=86_400 * 16 / 15).contains(&left), "a day by the kernel's clock: {left} s");
    }

    /// How long the kernel will still keep a ban.
    #[track_caller]
    fn seconds_left(&self, addr: &str) -> u64 {
        let prefix = format!("{addr}/32").parse().expect("a prefix");
        let found = self.kernel.set("ban4").into_iter().find(|element| element.prefix == prefix);
        let found = found.unwrap_or_else(|| panic!("{addr} is not banned:\n{}", self.daemon.errors()));
        found.expires_s.expect("it ends")
    }
}

#[test]
fn bans_end_when_they_should_although_the_clock_was_set_back_two_hours() {
    let Some(clocked) = Clocked::start() else { return };
    let before = clocked.ban("203.0.113.1", "12s");
    clocked.ban("203.0.113.2", "1h");
    clocked.set_clock("-2h");
    let after = clocked.ban("203.0.113.3", "14s");
    clocked.bans_attackers("198.51.100.7");
    clocked.lasts("203.0.113.1", before, 12);
    clocked.lasts("203.0.113.3", after, 14);
    let left = clocked.seconds_left("203.0.113.2");
    assert!((3_500..=3_600 * 16 / 15).contains(&left), "an hour, and not three: {left} s");
    let warnings = clocked.daemon.status()["warnings"].to_string();
    assert!(warnings.contains("the wall clock shows less"), "{warnings}");
    // Who asks is told by the wall clock, as it is now.
    let ban = clocked.daemon.ban_of("203.0.113.2/32").expect("it is listed");
    let until: jiff::Timestamp = ban["until"].as_str().expect("an end").parse().expect("a time");
    let shown = until.as_second() - (jiff::Timestamp::now().as_second() - 2 * 3_600);
    assert!((3_500..=3_600 * 16 / 15).contains(&shown), "{shown} s by the wall clock");
}

#[test]
fn bans_that_are_over_by_a_clock_set_forward_two_hours_are_lifted_and_no_others() {
    let Some(clocked) = Clocked::start() else { return };
    clocked.ban("203.0.113.1", "1h");
    clocked.ban("203.0.113.2", "3h");
    clocked.host.write(OFF_BY, "+2h\n");
    // Nobody asks: it sees that by itself.
    let lifted = wait_until(NEXT_LOOK, || (!clocked.kernel.holds("ban4", "203.0.113.1")).then_some(()));
    assert!(lifted.is_some(), "{}", clocked.daemon.errors());
    let said = clocked.daemon.errors();
    assert!(!said.contains("changed by somebody else"), "{said}");
    let ban = clocked.daemon.ban_of("203.0.113.2/32").expect("it is listed");
    let until: jiff::Timestamp = ban["until"].as_str().expect("an end").parse().expect("a time");
    let left = until.as_second() - (jiff::Timestamp::now().as_second() + 2 * 3_600);
    assert!((3_500..=3_600).contains(&left), "an hour is left: {left} s");
    clocked.bans_attackers("198.51.100.7");
}

/// Only who sets the host's clock has the kernel cancel the timer; so it runs out instead, which the daemon hears the
/// same way.
#[test]
fn a_clock_of_which_the_kernel_says_that_it_was_set_is_looked_at_at_once() {
    let Some(clocked) = Clocked::start() else { return };
    let Some(timer) = clocked.timer() else { return };
    let at = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
    let past = Itimerspec { it_interval: at(0), it_value: at(1) };
    // It might look by chance, but not each time.
    for hour in 1..=3 {
        let addr = format!("203.0.113.{hour}");
        clocked.ban(&addr, "30m");
        clocked.host.write(OFF_BY, format!("+{hour}h\n"));
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &past).expect("it runs out");
        let told = Instant::now();
        let lifted = wait_until(SOON, || (!clocked.kernel.holds("ban4", &addr)).then(|| told.elapsed()));
        let lifted = lifted.unwrap_or_else(|| panic!("{addr} is not lifted:\n{}", clocked.daemon.errors()));
        assert!(lifted < Duration::from_secs(1), "{addr} was lifted after {lifted:?}");
    }
}

#[test]
fn a_clock_set_forward_a_day_by_mistake_and_back_leaves_no_ban_a_day_too_long() {
    let Some(mut clocked) = Clocked::start() else { return };
    clocked.ban("203.0.113.1", "3d");
    clocked.set_clock("+1d");
    let meanwhile = clocked.ban("203.0.113.2", "12s");
    clocked.ban("203.0.113.3", "1h");
    clocked.set_clock("+0");
    let after = clocked.ban("203.0.113.4", "14s");
    clocked.lasts("203.0.113.2", meanwhile, 12);
    clocked.lasts("203.0.113.4", after, 14);
    // A restart finds the last write a day ahead, and goes on from there.
    clocked = clocked.restarted();
    let left = clocked.seconds_left("203.0.113.3");
    assert!((3_400..=3_600 * 16 / 15).contains(&left), "an hour, and not a day and an hour: {left} s");
    let left = clocked.seconds_left("203.0.113.1");
    assert!(
        (2 * 86_400 - 100..=3 * 86_400).contains(&left),
        "three days, but for the day that was skipped: {left} s"
    );
    clocked.bans_attackers("198.51.100.7");
}
