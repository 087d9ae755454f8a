//! `pillory top` in a terminal: what it draws, read back from what it sends.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use rustix::process::Signal;

use crate::lab::{CONTROL, Daemon, Host, LOG, SOON, binary, failed_lines, quiet_server, sshd_line, wait_for};
use crate::web::{WEB, get};

/// A terminal with a program in it.
struct Terminal {
    child: Child,
    keys: std::fs::File,
    screen: Arc<Mutex<Screen>>,
}

/// What a terminal shows, as far as the program's sequences go (ECMA-48): the cursor moved, text, erased parts.
struct Screen {
    cells: Vec<Vec<char>>,
    at: (usize, usize),
    /// Bytes that were sent.
    sent: usize,
    /// The other screen is shown, and the cursor hidden.
    is_other: bool,
    is_hidden: bool,
    rest: Vec<u8>,
}

impl Screen {
    fn new(columns: usize, rows: usize) -> Screen {
        let cells = vec![vec![' '; columns]; rows];
        Screen { cells, at: (0, 0), sent: 0, is_other: false, is_hidden: false, rest: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.sent += bytes.len();
        self.rest.extend_from_slice(bytes);
        let text = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.to_owned(),
            // A letter is cut in two.
            Err(error) => String::from_utf8_lossy(&self.rest[..error.valid_up_to()]).into_owned(),
        };
        let mut left = text.as_str();
        while let Some(first) = left.chars().next() {
            if first != '\x1b' {
                self.put(first);
                left = &left[first.len_utf8()..];
                continue;
            }
            let end = left.char_indices().skip(2).find(|(_, c)| ('@'..='~').contains(c));
            let Some((at, last)) = end else { break };
            self.obey(&left[2..at], last);
            left = &left[at + last.len_utf8()..];
        }
        let taken = text.len() - left.len();
        self.rest.drain(..taken);
    }

    fn put(&mut self, letter: char) {
        let (row, column) = self.at;
        match letter {
            '\r' => self.at.1 = 0,
            '\n' => self.at.0 += 1,
            _ => {
                if let Some(cell) = self.cells.get_mut(row).and_then(|row| row.get_mut(column)) {
                    *cell = letter;
                }
                self.at.1 += 1;
            }
        }
    }

    fn obey(&mut self, parameters: &str, what: char) {
        let number = |at: usize| parameters.split(';').nth(at).and_then(|n| n.parse().ok()).unwrap_or(1);
        match (what, parameters) {
            ('H', _) => self.at = (number(0) - 1, number(1) - 1),
            ('J', "2") => self.cells.iter_mut().for_each(|row| row.fill(' ')),
            ('h' | 'l', "?1049") => {
                self.is_other = what == 'h';
                self.cells.iter_mut().for_each(|row| row.fill(' '));
                self.at = (0, 0);
            }
            ('h' | 'l', "?25") => self.is_hidden = what == 'l',
            ('m' | 'h' | 'l' | 'J' | 'K', _) => {}
            _ => panic!("it sends what this terminal does not know: {parameters:?} {what:?}"),
        }
    }

    fn text(&self) -> String {
        let lines = self.cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Terminal {
    fn start(host: &Host, columns: u16, rows: u16) -> Terminal {
        Terminal::start_with(host, (columns, rows), &[])
    }

    fn start_with(host: &Host, (columns, rows): (u16, u16), environment: &[(&str, &str)]) -> Terminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a terminal");
        let end = || std::process::Stdio::from(pair.slave.try_clone().expect("a descriptor"));
        let mut command = host.command(&binary().display().to_string());
        command.args(["top", "--control", CONTROL]).env("TERM", "xterm").env_remove("NO_COLOR");
        command.envs(environment.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("nsenter starts");
        let screen = Arc::new(Mutex::new(Screen::new(columns.into(), rows.into())));
        let (kept, mut master) = (Arc::clone(&screen), std::fs::File::from(pair.master));
        let keys = master.try_clone().expect("a descriptor");
        // It ends with the last program in the terminal.
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut part) {
                kept.lock().expect("nobody panics holding it").take(&part[..count]);
            }
        });
        Terminal { child, keys, screen }
    }

    fn press(&mut self, key: &str) {
        self.keys.write_all(key.as_bytes()).expect("it takes a key");
    }

    #[track_caller]
    fn wait_for(&self, what: &str) -> String {
        let shows = || {
            let text = self.screen.lock().expect("the reader does not panic").text();
            text.contains(what).then_some(text)
        };
        crate::lab::wait_until(SOON, shows)
            .unwrap_or_else(|| panic!("no {what:?} in:\n{}", self.screen.lock().expect("it lives").text()))
    }

    /// Waits for its end; its status, and whether the terminal is as it was.
    fn ends(&mut self) -> (Option<i32>, bool) {
        let status = wait_for(SOON, "its end", || self.child.try_wait().ok().flatten());
        let restored = || {
            let screen = self.screen.lock().expect("the reader does not panic");
            (!screen.is_other && !screen.is_hidden).then_some(())
        };
        (status.code(), crate::lab::wait_until(Duration::from_secs(2), restored).is_some())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_draws_what_happens_in_any_width_and_quits_with_a_key() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "widen = false\n");
    for (columns, rows, last) in [(80, 24, 7), (40, 24, 8)] {
        let mut terminal = Terminal::start(&server, columns, rows);
        terminal.wait_for("protected by nftables");
        assert!(terminal.screen.lock().expect("it lives").is_other);
        server.append(LOG, failed_lines(9000 + 100 * last, 3, "root", &format!("198.51.100.{last}")));
        let text = terminal.wait_for(&format!("ban 198.51.100.{last} sshd"));
        for word in ["attempts: ", "sshd (", "root", "▁", "q quit  ? help"] {
            let is_drawn = text.contains(word) || word == "▁" && text.contains('█');
            assert!(is_drawn, "{word}:\n{text}");
        }
        terminal.press("?");
        terminal.wait_for("Ctrl-C   quit");
        terminal.press("?");
        terminal.wait_for("failures by jail");
        terminal.press("q");
        assert_eq!(terminal.ends(), (Some(0), true));
    }
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn it_sends_little_and_gives_the_terminal_back_after_a_signal() {
    let Some((_world, server)) = quiet_server() else { return };
    let mut daemon = Daemon::start(&server, "");
    let mut terminal = Terminal::start(&server, 80, 24);
    terminal.wait_for("protected by nftables");
    let sent = |terminal: &Terminal| terminal.screen.lock().expect("it lives").sent;
    let up = |terminal: &Terminal| {
        let text = terminal.screen.lock().expect("it lives").text();
        text.split(" up ").nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
    };
    // Three answers further on.
    let first = sent(&terminal);
    for _ in 0..3 {
        let before = up(&terminal);
        wait_for(SOON, "another second", || (up(&terminal) != before).then_some(()));
    }
    let idle = sent(&terminal) - first;
    assert!(idle < 600, "{idle} bytes for nothing new in three seconds, {first} for the whole screen");
    // A daemon that goes and comes back.
    daemon = {
        daemon.stop();
        terminal.wait_for("cannot reach");
        Daemon::start(&server, "")
    };
    terminal.wait_for("protected by nftables");
    for signal in [Signal::TERM, Signal::INT] {
        rustix::process::kill_process(rustix::process::Pid::from_child(&terminal.child), signal)
            .expect("it runs");
        assert_eq!(terminal.ends(), (Some(0), true));
        terminal = Terminal::start(&server, 80, 24);
        terminal.wait_for("protected by nftables");
    }
    terminal.press("\x03");
    assert_eq!(terminal.ends(), (Some(0), true));
    // Without a terminal it prints once.
    let once = daemon.ask(&["top"]);
    assert!(
        once.code == Some(0) && once.out.starts_with("protected by nftables") && !once.out.contains('\x1b'),
        "{once:?}"
    );
    daemon.stop();
    let gone = crate::lab::pillory(&server, &["top", "--control", CONTROL]);
    assert_eq!((gone.code, gone.out.as_str()), (Some(69), ""), "{gone:?}");
}

#[test]
fn who_belongs_here_is_not_named_where_others_look_on() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, &format!("goodusers = [\"user57\"]\n{WEB}"));
    let warnings = || daemon.status()["warnings"].to_string();
    server.append(LOG, failed_lines(5000, 9, "user57", "203.0.113.9"));
    let accepted = |pid: u32, addr: &str| {
        sshd_line(pid, &format!("Accepted password for alice from {addr} port 9 ssh2"))
    };
    server.append(LOG, accepted(6000, "192.0.2.7"));
    for number in 1..=7u32 {
        server.append(LOG, failed_lines(6000 + 10 * number, 1, "alice", &format!("198.51.100.{number}")));
    }
    daemon.wait_for(SOON, "the attack", || warnings().contains("are guessed at").then_some(()));
    server.append(LOG, accepted(6200, "203.0.113.5"));
    daemon.wait_for(SOON, "who got in", || warnings().contains("alice logged in from").then_some(()));
    assert!(warnings().contains("user57 from 203.0.113.9 is one failure from a ban"), "{}", warnings());
    let seen = ["--once", "--json"].map(|how| daemon.ask(&["top", how]).out);
    let pages = ["/", "/metrics"].map(|path| get(&server, path));
    for told in seen.iter().chain(&pages) {
        assert!(!told.contains("user57") && !told.contains("alice"), "{told}");
    }
    for told in [&seen[1], &pages[0]] {
        for words in ["somebody from 203.0.113.9 is one", "for it: (hidden)", "tells who"] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}

#[test]
fn a_fault_gives_the_terminal_back_and_is_told_there() {
    let Some((_world, server)) = quiet_server() else { return };
    let _daemon = Daemon::start(&server, "");
    let fault = [("PILLORY_CRASH_AT", "drawn"), ("PILLORY_CRASH_BY", "panic")];
    let mut terminal = Terminal::start_with(&server, (80, 24), &fault);
    assert_eq!(terminal.ends(), (Some(101), true));
    terminal.wait_for("a test asked for this fault");
    assert!(terminal.screen.lock().expect("it lives").sent > 200, "it had drawn");
}
