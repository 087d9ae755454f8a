//! What commands print on a terminal of 80 and of 120 columns, with and without colour, compared with files under
//! `golden`: the real program's words, with a mark for what differs from one time to the next. `GOLDEN=write cargo test
//! -p pillory golden` writes them anew; look at what has changed before you commit it. What needs days and a crowd to
//! be seen is rendered in `src/cli/golden.rs`.
//!
//! Where width or colour make no difference one file has both: `NAME.txt` holds for all four forms.

use std::process::Command;

use rustix::process::Signal;

use crate::forms::{compare, marked};
use crate::lab::{
    Daemon, Host, LOG, PASSWORD, SOON, Scene, Terminal, WebServer, binary, failed_line, failed_lines,
    quiet_server, wait_for, without_colour,
};
use crate::whois::{RDAP, registry};

/// A file's name, and the commands that are typed for it, one after the other, once for each form. So each session leaves
/// all as it was.
type Session = (&'static str, &'static [&'static str]);

const SESSIONS: &[Session] = &[
    ("bare", &["pillory"]),
    ("help", &["pillory --help", "pillory ban --help"]),
    (
        "check",
        &["pillory check", "pillory check --config /run/slips.toml", "pillory check --config /run/no.toml"],
    ),
    ("test-filter", &["pillory test-filter sshd /run/sshd.log --now 1795374900 --tz UTC"]),
    ("restrict", &["pillory restrict web", "pillory restrict ssh", "pillory restrict ssh --suggest"]),
    ("rescue-code", &["pillory rescue-code -n 2"]),
    ("off-on-reload", &["pillory off --for 1h", "pillory on", "pillory off", "pillory on", "pillory reload"]),
    (
        "import",
        &[
            "pillory import /run/list --dry-run",
            "pillory import /run/list",
            "pillory import /run/list",
            "pillory unban 203.0.113.77 2001:db8:9::7 203.0.113.128/25",
        ],
    ),
    ("notify", &["pillory notify", "pillory notify --test chat", "pillory notify --test nobody"]),
    ("reports", &["pillory reports", "pillory reports review </dev/null", "pillory reports --dry-run"]),
    (
        "unlist",
        &[
            "pillory unlist",
            "pillory unlist 203.0.113.7 2001:db8:9::/48",
            "pillory unlist",
            "pillory unlist --remove 203.0.113.7 2001:db8:9::/48 192.0.2.77",
        ],
    ),
    ("wall-text", &["pillory wall --text"]),
    ("explain-whois", &["pillory explain 198.51.100.70 --whois"]),
    (
        "ban-net",
        &[
            "pillory ban 198.51.100.70 --net </dev/null",
            "pillory ban 198.51.100.70 --net --yes",
            "pillory unban 198.51.100.0/25",
        ],
    ),
    ("status-jail", &["pillory status sshd", "pillory status shd"]),
    ("check-fail2ban", &["pillory check --fail2ban /run/fail2ban"]),
    (
        "import-fail2ban",
        &[
            "pillory import --fail2ban /run/fail2ban",
            "pillory import --fail2ban /run/fail2ban --out /run/moved.toml",
            "pillory import --fail2ban /run/fail2ban --out /run/list",
        ],
    ),
    (
        "rescue",
        &[
            "pillory rescue 127.0.0.1 2200 abcd-efgh",
            "pillory rescue 127.0.0.1 2200 \"$(pillory rescue-code -n 1 | head -n 1)\" 203.0.113.9",
            "pillory rescue 127.0.0.1 2201 abcd-efgh",
        ],
    ),
    (
        "habits",
        &[
            "pillory banned",
            "pillory set sshd banip 203.0.113.99",
            "pillory set sshd unbanip 203.0.113.99",
            "pillory set sshd maxretry 3",
            "pillory get sshd findtime",
            "pillory restart",
        ],
    ),
    (
        "slips",
        &[
            "pillory statsu",
            "pillory ban",
            "pillory ban 203.0.113",
            "pillory unban 203.0.113.99",
            "pillory list --jail shd",
            "pillory ban 203.0.113.99 --bantime 1x",
        ],
    ),
    ("wall", &["pillory wall --out /srv/wall", "pillory wall --out /srv", "pillory wall --out /etc"]),
    ("export", &["pillory export"]),
    (
        "not-permitted",
        &[
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory status",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory unban 203.0.113.77 --json",
        ],
    ),
];

/// These where no daemon runs.
const WITHOUT_A_DAEMON: Session = (
    "without-a-daemon",
    &[
        "pillory",
        "pillory status",
        "pillory list",
        "pillory on",
        "setpriv --reuid=1001 --regid=1001 --clear-groups pillory",
        "setpriv --reuid=1001 --regid=1001 --clear-groups pillory run",
    ],
);

/// These are typed over ssh.
const APPLY_CONFIRM: Session = (
    "apply-confirm",
    &[
        "pillory apply /run/new.toml",
        "pillory confirm",
        "pillory apply /run/new.toml --confirm 5m",
        "pillory confirm --take-back",
        "pillory confirm",
    ],
);

#[test]
fn what_commands_say_is_as_it_was() {
    let Some((_world, server)) = quiet_server() else { return };
    let (_web, _registry, _daemon) = (WebServer::start(&server, 8080), asked(&server), scene(&server));
    let command = |line: &str| {
        let mut command = server.command("sh");
        command.args(["-c", line]);
        command
    };
    for session in SESSIONS {
        play(session, command, || ());
    }
}

#[test]
fn what_is_said_where_no_daemon_runs_is_as_it_was() {
    let Some((_world, server)) = quiet_server() else { return };
    let command = |line: &str| {
        let mut command = server.command("sh");
        command.args(["-c", line]);
        command
    };
    play(&WITHOUT_A_DAEMON, command, || ());
}

#[test]
fn what_apply_and_confirm_say_is_as_it_was() {
    let Some(scene) = Scene::new("maxretry = 7\n") else { return };
    scene.world.server.write("/run/new.toml", "maxretry = 9\n");
    let friend = scene.world.friend("203.0.113.9");
    // What is confirmed is in the file from then on.
    let before = || scene.world.server.write(crate::lab::CONFIG, "maxretry = 7\n");
    play(&APPLY_CONFIRM, |line| friend.in_terminal("root", PASSWORD, line), before);
}

#[test]
fn the_screen_of_run_is_as_it_was() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write(LOG, "");
    server.write(crate::lab::CONFIG, "");
    std::fs::create_dir_all(server.path("/run/pillory")).expect("it is made");
    let mut forms = Vec::new();
    for columns in [80, 120] {
        for (colour, switch) in [("", "NO_COLOR=1"), (".colour", "TZ=UTC")] {
            let mut command = server.command("sh");
            let seat = "SSH_CONNECTION='192.0.2.254 50000 192.0.2.1 22'";
            command.args(["-c", &format!("{} {seat}; exec pillory run", environment(switch))]);
            let terminal = Terminal::start(command, columns);
            wait_for(SOON, "the first screen", || {
                terminal.text().contains("so far: no attempt was seen\n").then_some(())
            });
            terminal.signal(Signal::INT);
            let (code, text) = terminal.end();
            assert_eq!(code, Some(0), "{text}");
            // Its log goes to the same terminal, whenever something is to be logged.
            let screen: String = text.split_inclusive('\n').filter(|line| !line.contains(" INFO ")).collect();
            let screen = format!("$ pillory run\n{}", marked("pillory run", &screen));
            forms.push((format!(".{columns}"), colour, screen));
        }
    }
    compare("run", &forms);
}

/// Has what the commands ask for; nothing is told to anybody while they do.
const CONFIG: &str = "widen = false\n\
    [rescue]\nport = 2200\n\
    [restrict.web]\nport = 8443\nallow = [\"203.0.113.0/24\", \"2001:db8:5::/48\"]\n\
    [wall]\ncontact = \"abuse@example.net\"\nmin_attempts = 2\ndelay = \"0s\"\n\
    [notify.owner]\nkind = \"syslog\"\nserver = \"udp://127.0.0.1:514\"\non = \"stop\"\n\
    [notify.chat]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:8080/alerts\"\non = [\"stop\", \"start\"]\n\
    [report.abuseipdb]\nurl = \"http://127.0.0.1:8080/api/v2\"\nkey_file = \"/srv/key\"\ndelay = \"1s\"\n";

/// Of a configuration with three slips.
const SLIPS: &str = "maxretries = 3\nbantime = \"10x\"\n[jail.ssh]\nfilter = \"shd\"\n";

/// A list with all that a list may have.
const LIST: &str = "# from a friend\n203.0.113.77  # guesses at the shop\n2001:db8:9::7\n203.0.113.130/25\n\
    198.18.0.0/15\n127.0.0.1\nnot an address\n192.0.2.300\n";

/// What somebody who comes from fail2ban may have: a jail that is built in, one of their own with what has no counterpart,
/// and one with a slip.
const FAIL2BAN: [(&str, &str); 3] = [
    (
        "jail.local",
        "[DEFAULT]\nignoreip = 127.0.0.1/8 203.0.113.0/24\nbantime = 1h\n\n\
         [sshd]\nenabled = true\nlogpath = /var/log/auth.log\nmaxretry = 3\n\n\
         [shop]\nenabled = true\nfilter = shop\nlogpath = /srv/shop.log\naction = tell\n\n\
         [till]\nenabled = true\nfilter = shop[\nlogpath = /srv/shop.log\nport = nosuchport\n",
    ),
    ("filter.d/shop.conf", "[Definition]\nfailregex = ^no from <HOST>$\n"),
    ("action.d/tell.conf", "[Definition]\nactionban = tell <ip>\n"),
];

/// Lines of sshd: a failure of a user, one of nobody, a good login, and one that is nothing.
const SSHD: &str = "Nov 22 19:14:01 web sshd[811]: Failed password for root from 198.51.100.7 port 50022 ssh2\n\
    Nov 22 19:14:02 web sshd[812]: Invalid user admin from 2001:db8:1::10 port 50023\n\
    Nov 22 19:14:03 web sshd[813]: Accepted publickey for alice from 192.0.2.10 port 50024 ssh2: ED25519 SHA256:abc\n\
    Nov 22 19:14:04 web sshd[1]: Server listening on 0.0.0.0 port 22.\n";

/// A registry that knows one network.
fn asked(server: &Host) -> WebServer {
    let rdap = WebServer::start(server, 8081);
    rdap.says(&registry());
    rdap
}

/// A daemon that has seen logins, one of them by an attacker who is banned and waits to be reported.
fn scene(server: &Host) -> Daemon {
    for (path, text) in
        [("/run/slips.toml", SLIPS), ("/run/list", LIST), ("/run/sshd.log", SSHD), ("/srv/key", "key\n")]
    {
        server.write(path, text);
    }
    for (name, text) in FAIL2BAN {
        server.write(format!("/run/fail2ban/{name}"), text);
    }
    server.write("/srv/shop.log", "");
    let daemon = Daemon::start(server, &format!("{CONFIG}{RDAP}"));
    // What is written before that is counted as of the time before.
    daemon.wait_for(SOON, "what the logs of before tell", || {
        let status = daemon.status();
        (status["learnt"]["done"] == true && status["effect"]["a_day"]["counted"] == true).then_some(())
    });
    let good = |first, addr| failed_lines(first, 3, "alice", addr).replace("Failed", "Accepted");
    server.append(LOG, good(5000, "203.0.113.9") + &good(5100, "2001:db8:5::9"));
    // All of one second, so that they are told in one way.
    let line = failed_line(6000, "root", "198.51.100.7");
    let of = |pid: u32| line.replace("[6000]", &format!("[{pid}]")).replace("36000", &format!("3{pid}"));
    server.append(LOG, (6000..6006).map(of).collect::<String>());
    daemon.wait_for(2 * SOON, "a report that waits for its review", || {
        let reports = crate::lab::pillory(server, &["reports", "--json"]).json();
        (reports[0]["counts"]["held"] == 1).then_some(())
    });
    daemon
}

/// What a shell is told first, so that it finds the program by its name.
fn environment(switch: &str) -> String {
    let program = binary().display().to_string();
    format!(
        "mkdir -p /run/bin; ln -sf '{program}' /run/bin/pillory; \
         export PATH=/run/bin:\"$PATH\" TERM=xterm PAGER=cat TZ=UTC {switch}"
    )
}

/// Types all of it in each form, and compares.
fn play((name, lines): &Session, command: impl Fn(&str) -> Command, before: impl Fn()) {
    let mut forms = Vec::new();
    for columns in [80, 120] {
        for (colour, switch) in [("", "NO_COLOR=1"), (".colour", "TZ=UTC")] {
            let typed = |line: &&str| {
                let line_here = format!("{}; {line}", environment(switch));
                let (_, text) = Terminal::start(command(&line_here), columns).end();
                assert!(!colour.is_empty() || text == without_colour(&text), "{line}: coloured: {text:?}");
                format!("$ {line}\n{}", marked(line, &text))
            };
            before();
            let text: String = lines.iter().map(typed).collect();
            forms.push((format!(".{columns}"), colour, text));
        }
    }
    compare(name, &forms);
}
