//! What commands print on a terminal of 80 and of 120 columns, with and without colour, compared with files under
//! `golden`: the real program's words, with a mark for what differs from one time to the next. `GOLDEN=write cargo test
//! -p pillory golden` writes them anew; look at what has changed before you commit it. What needs days and a crowd to
//! be seen is rendered in `src/cli/golden.rs`.
//!
//! Where width or colour make no difference one file has both: `NAME.txt` holds for all four forms.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{
    Daemon, Host, LOG, PASSWORD, SOON, Scene, Terminal, WebServer, binary, failed_line, failed_lines,
    quiet_server, without_colour,
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
];

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

/// What stands between these, on a line, differs from one time to the next.
const DIFFERS: &[(&str, &str)] = &[
    (", up ", ","),
    ("/var/log/auth.log (", " ago)"),
    ("sandboxed by ", "\n"),
    ("  198.51.100.7  sshd, ", " ago"),
    ("3 failures ", ", 6 points"),
    ("6 attempts in the ", " s"),
    ("so far, since ", ": "),
    ("good logins since ", " ("),
    ("by itself, ", "\n"),
    ("timestamp=", "&"),
    ("attempts+at+", "\n"),
    ("Made ", ","),
    ("valid until ", "\n"),
    (" – ", "."),
];

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
fn what_apply_and_confirm_say_is_as_it_was() {
    let Some(scene) = Scene::new("maxretry = 7\n") else { return };
    scene.world.server.write("/run/new.toml", "maxretry = 9\n");
    let friend = scene.world.friend("203.0.113.9");
    // What is confirmed is in the file from then on.
    let before = || scene.world.server.write(crate::lab::CONFIG, "maxretry = 7\n");
    play(&APPLY_CONFIRM, |line| friend.in_terminal("root", PASSWORD, line), before);
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

/// Types all of it in each form, and compares.
fn play((name, lines): &Session, command: impl Fn(&str) -> Command, before: impl Fn()) {
    let mut forms = Vec::new();
    for columns in [80, 120] {
        for (colour, switch) in [("", "NO_COLOR=1"), (".colour", "TZ=UTC")] {
            let typed = |line: &&str| {
                let program = line.replacen("pillory", &binary().display().to_string(), 1);
                let line_here = format!("export TERM=xterm PAGER=cat TZ=UTC {switch}; {program}");
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

/// The text with marks in the place of what differs.
fn marked(line: &str, text: &str) -> String {
    // What is told what time it is says the same each time.
    if line.contains("--now") {
        return text.to_owned();
    }
    let mut text = text.replace(concat!("pillory ", env!("CARGO_PKG_VERSION")), "pillory VERSION");
    for (before, after) in DIFFERS {
        text = between(&text, before, after);
    }
    text = without_times(&text);
    // Where these lines are broken hangs on the figures.
    if let Some(at) = text.find("1 ban since the start") {
        text.truncate(at);
        text.push_str("1 ban since the start; ..\n");
    }
    if line.starts_with("pillory rescue-code") {
        let codes =
            text.lines().take_while(|line| !line.contains(' ')).map(str::to_owned).collect::<Vec<_>>();
        text = codes.iter().fold(text, |text, code| text.replace(code, "CODE"));
    }
    text
}

/// Two dots wherever something stands between these, on a line.
fn between(text: &str, before: &str, after: &str) -> String {
    let mut marked = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once(before) {
        marked = marked + head + before;
        let end = tail.find(after).filter(|end| !tail[..*end].contains('\n'));
        rest = &tail[end.unwrap_or_default()..];
        marked += if end.is_some() { ".." } else { "" };
    }
    marked + rest
}

/// The same without what a time consists of: `2026-11-22T19:14:01Z`, `Sun Nov 22 20:14:01 2026 UTC`. Of one length, it breaks
/// lines as before.
fn without_times(text: &str) -> String {
    const SHAPES: [&str; 2] = ["0000-00-00T00:00:00Z", "Aaa Aaa .0 00:00:00 0000 "];
    let is_alike = |(c, shape): (char, char)| match shape {
        '0' => c.is_ascii_digit(),
        'A' => c.is_ascii_uppercase(),
        'a' => c.is_ascii_lowercase(),
        '.' => c == ' ' || c.is_ascii_digit(),
        _ => c == shape,
    };
    let mut text = text.to_owned();
    for at in 0..text.len() {
        for shape in SHAPES {
            let is_time = |part: &str| part.chars().zip(shape.chars()).all(is_alike);
            if text.get(at..at + shape.len()).is_some_and(is_time) {
                text.replace_range(at..at + shape.len(), shape);
            }
        }
    }
    text
}

/// Width, colour and text of a form.
type Form = (String, &'static str, String);

/// Which files hold these forms: one for those that are equal whatever the width, or whatever the colour.
fn files(name: &str, forms: &[Form]) -> Vec<(String, String)> {
    let is_same = |key: fn(&Form) -> &str| {
        forms.iter().all(|one| forms.iter().all(|other| key(one) != key(other) || one.2 == other.2))
    };
    let (any_width, any_colour) = (is_same(|form| form.1), is_same(|form| &form.0));
    let file = |(width, colour, text): &Form| {
        let width = if any_width { "" } else { width.as_str() };
        let colour = if any_colour { "" } else { colour };
        (format!("{name}{width}{colour}.txt"), text.clone())
    };
    let mut files: Vec<(String, String)> = forms.iter().map(file).collect();
    files.sort();
    files.dedup();
    files
}

fn compare(name: &str, forms: &[Form]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = files(name, forms);
    let may_be = |file: &str| {
        let rest = file.strip_prefix(name).and_then(|rest| rest.strip_suffix(".txt"));
        rest.is_some_and(|rest| {
            ["", ".80", ".120"]
                .iter()
                .any(|width| rest.strip_prefix(width).is_some_and(|rest| ["", ".colour"].contains(&rest)))
        })
    };
    let there = std::fs::read_dir(&folder).expect("a folder").flatten();
    let stale: Vec<PathBuf> = there
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|file| file.to_str())
                .is_some_and(|file| may_be(file) && files.iter().all(|(known, _)| known != file))
        })
        .collect();
    let writes = std::env::var_os("GOLDEN").is_some_and(|what| what == "write");
    if writes {
        stale.iter().for_each(|path| std::fs::remove_file(path).expect("it is there"));
        files.iter().for_each(|(file, text)| std::fs::write(folder.join(file), text).expect("it is written"));
    }
    assert!(writes || stale.is_empty(), "{stale:?} hold no form any more (GOLDEN=write removes them)");
    for (file, text) in files {
        let kept = std::fs::read_to_string(folder.join(&file)).unwrap_or_default();
        assert!(kept == text, "{file} differs (GOLDEN=write writes it anew); is:\n{text}\nwas:\n{kept}");
    }
}

#[test]
fn forms_that_are_equal_share_a_file() {
    let forms = |texts: [&str; 4]| -> Vec<Form> {
        let forms = [(".80", ""), (".80", ".colour"), (".120", ""), (".120", ".colour")];
        forms
            .iter()
            .zip(texts)
            .map(|((width, colour), text)| ((*width).to_owned(), *colour, text.to_owned()))
            .collect()
    };
    let names = |texts| files("a", &forms(texts)).into_iter().map(|(file, _)| file).collect::<Vec<_>>();
    assert_eq!(names(["x", "x", "x", "x"]), ["a.txt"]);
    assert_eq!(names(["x", "y", "x", "y"]), ["a.colour.txt", "a.txt"]);
    assert_eq!(names(["x", "x", "y", "y"]), ["a.120.txt", "a.80.txt"]);
    assert_eq!(names(["x", "y", "x", "z"]), ["a.120.colour.txt", "a.120.txt", "a.80.colour.txt", "a.80.txt"]);
    assert_eq!(without_times("at 2026-11-30T00:31:18Z."), "at 0000-00-00T00:00:00Z.");
    assert_eq!(between("up 3s, 1 up 4s, up\n5,", "up ", ","), "up .., 1 up .., up\n5,");
}
