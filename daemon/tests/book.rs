//! The book's command lines run, as its reader types them: each chapter is played on a host of the lab with a real
//! systemd and the shipped unit. So a chapter is written by these rules:
//!
//! - In a block `console` a line that begins with `# ` or `$ ` is a command, and ends with status 0, or 1 where the answer
//!   is no; in a block `console,fails` it is refused. What stands below it is printed by it, line by line in this order;
//!   lines may be left out, `..` stands for anything, and numbers, days and months are not compared.
//! - A block `console,terminal` shows what a terminal of 80 columns shows over ssh, from this host's gateway.
//! - The output below `cat FILE` is written into that file before.
//! - A block `toml` is a valid configuration, and if its first line is `# /path`, it is written there.
//! - `<!-- attack ADDRESS -->` is somebody who guesses from there until banned.
//!
//! What cannot be run there ([`ELSEWHERE`]) is left out, but `make` must know its target.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{
    Answer, Outcome, Place, SYSTEMD, Systemd, Terminal, World, say_skipped, stock_fail2ban, without_colour,
};
use crate::markdown::{Block, Piece, chapters, code_spans, documents, pieces, root};

/// Programs that a host of the lab does not run: they get or build the program, or are typed elsewhere.
const ELSEWHERE: [&str; 5] = ["git", "apt", "dnf", "cargo", "ssh"];

/// What the environment of whoever came over ssh has, in a terminal.
const SEEN: [&str; 4] =
    ["TERM=xterm", "PAGER=cat", "LC_ALL=C.UTF-8", "SSH_CONNECTION=192.0.2.254 50000 192.0.2.1 22"];

/// What is to become of a line that is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It is done, or answered with no.
    Works,
    /// The same, and the chapter has what a terminal shows.
    Seen,
    /// It is refused.
    Fails,
}

/// What a chapter has its reader do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Write a file.
    Write { path: String, text: String },
    /// Be attacked from here.
    Attacked(IpAddr),
    /// Type a line.
    Type { line: String, shown: Vec<String>, how: How },
}

/// The steps of a chapter, in order.
fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Line(line) => {
                let order =
                    line.trim().strip_prefix("<!-- attack ").and_then(|rest| rest.strip_suffix(" -->"));
                steps.extend(order.map(|addr| Step::Attacked(addr.parse().expect("an address"))));
            }
            Piece::Block(block) if block.info.starts_with("console") => typed(&block, &mut steps),
            Piece::Block(block) if block.info == "toml" => {
                let path = block.lines.first().and_then(|line| line.strip_prefix("# /"));
                steps.extend(path.map(|path| Step::Write {
                    path: format!("/{path}"),
                    text: block.lines.join("\n") + "\n",
                }));
            }
            Piece::Block(_) => {}
        }
    }
    steps
}

/// The commands of a block.
fn typed(block: &Block, steps: &mut Vec<Step>) {
    let how = match block.info.as_str() {
        "console,fails" => How::Fails,
        "console,terminal" => How::Seen,
        _ => How::Works,
    };
    let first = steps.len();
    for line in &block.lines {
        match line.strip_prefix("# ").or_else(|| line.strip_prefix("$ ")) {
            Some(command) => steps.push(Step::Type { line: command.to_owned(), shown: Vec::new(), how }),
            None => match steps.get_mut(first..).and_then(<[Step]>::last_mut) {
                Some(Step::Type { shown, .. }) => shown.push(line.clone()),
                _ => panic!("no command stands above {line:?}"),
            },
        }
    }
    let files: Vec<Step> = steps[first..].iter().filter_map(file_shown).collect();
    steps.splice(first..first, files);
}

/// What `cat FILE` shows is what that file holds.
fn file_shown(step: &Step) -> Option<Step> {
    let Step::Type { line, shown, .. } = step else { return None };
    let path = line.strip_prefix("cat ")?.to_owned();
    Some(Step::Write { path, text: shown.join("\n") + "\n" })
}

/// A line without what differs from one time to the next: its numbers, its days and months, and its indentation.
fn plain(line: &str) -> String {
    const CALENDAR: [&str; 19] = [
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
        "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let word = |word: &str| {
        if CALENDAR.contains(&word) {
            return "day".to_owned();
        }
        let mut plain = String::new();
        for c in word.chars() {
            if !c.is_ascii_digit() {
                plain.push(c);
            } else if !plain.ends_with('0') {
                plain.push('0');
            }
        }
        plain
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// True if a line of the book, in which `..` stands for anything, is this line of output.
fn is_line(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (plain(shown), plain(printed));
    let parts: Vec<&str> = shown.split("..").map(str::trim).collect();
    let [first, middle @ .., last] = parts.as_slice() else { return shown == printed };
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The first line of the book that was not printed, where it should have been.
fn missing<'s>(shown: &'s [String], printed: &str) -> Option<&'s String> {
    let mut lines = printed.lines();
    shown
        .iter()
        .filter(|line| !line.trim().is_empty())
        .find(|line| !lines.any(|printed| is_line(line, printed)))
}

/// Plays a chapter on a host with these files.
fn play(chapter: &str, world: &World, files: &[(&str, &str)]) {
    let Some(host) = Systemd::boot(&world.server, files) else { return };
    let text = &chapters()[&root().join("docs/src").join(chapter)];
    let steps = steps(text);
    let commands = steps.iter().filter(|step| matches!(step, Step::Type { .. })).count();
    assert!(commands > 1, "{chapter} has {commands} commands");
    for step in steps {
        match step {
            Step::Write { path, text } => {
                let path = host.path(&path);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
                std::fs::write(path, text).expect("the file is written");
            }
            Step::Attacked(addr) => attack(world, &host, addr),
            Step::Type { line, shown, how } => answered(chapter, &host, &line, &shown, how),
        }
    }
}

/// Somebody guesses at a real sshd until nobody answers.
fn attack(world: &World, host: &Systemd, addr: IpAddr) {
    let attacker = world.attacker(&addr.to_string());
    let guesses = (0..20).take_while(|_| attacker.try_password("root", "wrong") == Outcome::Denied).count();
    assert!(guesses < 20, "{addr} was not banned\n{}", host.journal());
    host.wait("the ban", || world.kernel().is_banned(addr).then_some(()));
}

/// Types a line; its answer must be what the chapter says.
fn answered(chapter: &str, host: &Systemd, line: &str, shown: &[String], how: How) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["make", target, ..] => return assert_target(chapter, target),
        [program, ..] if ELSEWHERE.contains(program) => return,
        _ => {}
    }
    let (code, printed) = match how {
        How::Seen => {
            let words = [&["env"], &SEEN[..], &["sh", "-c", line]].concat();
            let (code, text) = Terminal::start(host.command(&words), 80).end();
            (code, without_colour(&text))
        }
        How::Works | How::Fails => {
            let answer = host.run(&["sh", "-c", line]);
            (answer.code, answer.out + &answer.err)
        }
    };
    let wanted = if how == How::Fails { code > Some(1) } else { matches!(code, Some(0 | 1)) };
    assert!(wanted, "{chapter}: {line}: status {code:?}\n{printed}\n{}", host.journal());
    let missing = missing(shown, &printed);
    assert_eq!(missing, None, "{chapter}: {line} did not print that there, but:\n{printed}");
}

fn assert_target(chapter: &str, target: &str) {
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("a text");
    let rules = makefile.lines().filter_map(|line| line.split_once(':'));
    let is_there = rules.flat_map(|(targets, _)| targets.split(' ')).any(|known| known == target);
    assert!(is_there, "{chapter}: there is no `make {target}`");
}

fn world() -> Option<World> {
    World::with(&SYSTEMD)
}

#[test]
fn the_commands_of_ten_minutes_run() {
    let Some(world) = world() else { return };
    play("ten-minutes.md", &world, &[]);
}

#[test]
fn the_commands_of_coming_from_fail2ban_run() {
    let (Some(world), Some(stock)) = (world(), stock_fail2ban()) else { return };
    world.server.run("cp", &["-r", &stock.display().to_string(), "/etc/fail2ban"]);
    play("from-fail2ban.md", &world, &[]);
}

#[test]
fn the_commands_of_writing_a_filter_run() {
    let Some(world) = world() else { return };
    play("writing-a-filter.md", &world, &[]);
}

#[test]
fn the_commands_of_the_policy_run() {
    let Some(world) = world() else { return };
    play("policy.md", &world, &[]);
}

#[test]
fn the_commands_for_who_is_locked_out_run() {
    let Some(world) = world() else { return };
    let drop_in = std::fs::read_to_string(root().join("packaging/drop-ins/network.conf")).expect("a text");
    // The chapter has its reader copy it from where it was installed.
    play("locked-out.md", &world, &[("/etc/systemd/system/pillory.service.d/network.conf", &drop_in)]);
}

#[test]
fn the_commands_of_privacy_run() {
    let Some(world) = world() else { return };
    play("privacy.md", &world, &[]);
}

#[test]
fn every_chapter_with_commands_is_played() {
    let own = include_str!("book.rs");
    for (path, text) in chapters() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_played = own.contains(&format!("play(\"{name}\""));
        let has_commands = steps(&text).iter().any(|step| matches!(step, Step::Type { .. }));
        assert_eq!(has_commands, is_played, "{name}");
    }
}

#[test]
fn every_configuration_in_the_book_is_valid() {
    let place = Place::new("book");
    // The directory that one of them names.
    let fail2ban = place.0.join("fail2ban");
    std::fs::create_dir(&fail2ban).expect("a folder");
    place.write("fail2ban/jail.local", "[sshd]\nenabled = true\n");
    let mut checked = 0;
    for (path, text) in chapters() {
        for piece in pieces(&text) {
            let Piece::Block(Block { info, lines }) = piece else { continue };
            if info != "toml" {
                continue;
            }
            let text = lines.join("\n").replace("/etc/fail2ban", &fail2ban.display().to_string());
            let file = place.write("book.toml", text);
            let answer = place.run(&["check", "--config", &file]);
            assert_eq!(answer.code, Some(0), "{}: {answer:?}\n{}", path.display(), lines.join("\n"));
            checked += 1;
        }
    }
    assert!(checked > 4, "{checked} were found");
}

/// The help of the command that a piece of code names, and what stands behind `pillory`.
fn help(code: &str) -> Option<(String, Answer)> {
    let place = Place::new("help");
    let mut words = code.strip_prefix("pillory ")?.split_whitespace();
    let name = words.next().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))?;
    let answer = place.run(&[name, "--help"]);
    let second = words.next().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    let second = second.filter(|word| answer.out.contains(&format!("\n  {word} ")));
    let args: Vec<&str> = [name].into_iter().chain(second).chain(["--help"]).collect();
    Some((args.join(" "), place.run(&args)))
}

/// What documents name in their text, and type in their blocks, as `pillory ..`.
fn named(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Line(line) => named.extend(code_spans(&line).map(str::to_owned)),
            Piece::Block(block) if block.info.starts_with("console") => {
                let commands = block.lines.iter().filter_map(|line| line.strip_prefix(['#', '$']));
                named.extend(
                    commands.filter_map(|line| Some(format!("pillory {}", line.split_once("pillory ")?.1))),
                );
            }
            Piece::Block(_) => {}
        }
    }
    named
}

#[test]
fn every_command_and_option_that_the_documents_name_is_one() {
    let mut seen = 0;
    for (path, text) in documents() {
        for code in named(&text) {
            let Some((name, answer)) = help(&code) else { continue };
            seen += 1;
            assert_eq!(answer.code, Some(0), "{}: {code}: {answer:?}", path.display());
            let words = code.split(['[', ' ', '|', ']', '\\', '/']);
            for option in words.filter(|word| word.starts_with("--")) {
                assert!(answer.out.contains(option), "{}: {code}: {name} lacks {option}", path.display());
            }
        }
    }
    assert!(seen > 100, "only {seen} were found");
}

#[test]
fn a_chapter_is_read_by_its_rules() {
    let text = "\
# Title
<!-- attack 198.51.100.66 -->
```toml
# /etc/pillory/pillory.toml
maxretry = 3
```
```console
$ cat /srv/a.log
one
# pillory list
198.51.100.66 .. left
```
```console,fails
# pillory check
```
```console,terminal
# pillory status
```
";
    let typed = |line: &str, shown: &[&str], how| Step::Type {
        line: line.into(),
        shown: shown.iter().map(|&line| line.into()).collect(),
        how,
    };
    let wanted = [
        Step::Attacked("198.51.100.66".parse().unwrap()),
        Step::Write {
            path: "/etc/pillory/pillory.toml".into(),
            text: "# /etc/pillory/pillory.toml\nmaxretry = 3\n".into(),
        },
        Step::Write { path: "/srv/a.log".into(), text: "one\n".into() },
        typed("cat /srv/a.log", &["one"], How::Works),
        typed("pillory list", &["198.51.100.66 .. left"], How::Works),
        typed("pillory check", &[], How::Fails),
        typed("pillory status", &[], How::Seen),
    ];
    assert_eq!(steps(text), wanted);
    for (shown, printed, same) in [
        ("3 bans since Sun Nov 22", "  71 bans  since Mon Dec 1", true),
        ("3 bans", "3 bans more", false),
        ("3 bans ..", "3 bans more", true),
        (".. by jail .. left", "it is banned by jail sshd, 23h left", true),
        (".. by jail .. left", "it is banned by jail sshd, 23h", false),
    ] {
        assert_eq!(is_line(shown, printed), same, "{shown:?} {printed:?}");
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(missing(&lines("a\nc"), "a\nb\nc\n"), None);
    assert_eq!(missing(&lines("c\na"), "a\nb\nc\n"), Some(&"a".to_owned()));
}

/// Every link of the book that stays in it, with the page; that page aside which a web server shows where there is none.
fn links(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut pages: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the book can be listed")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    pages.retain(|path| {
        path.extension().is_some_and(|ending| ending == "html") && !path.ends_with("404.html")
    });
    let mut links = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        for mark in ["href=\"", "src=\""] {
            let targets = text.split(mark).skip(1).filter_map(|rest| rest.split('"').next());
            let inside = targets.filter(|target| !target.contains(':') && !target.is_empty());
            links.extend(inside.map(|target| (page.clone(), target.to_owned())));
        }
    }
    links
}

#[test]
fn the_book_is_built_and_leads_nowhere_else() {
    let place = Place::new("built");
    let mdbook = root().join("target/tools/bin/mdbook");
    if !mdbook.exists() {
        return say_skipped("no mdbook here; `make book` fetches it");
    }
    let mut command = Command::new("sh");
    command.args(["scripts/book.sh", &place.0.display().to_string()]).current_dir(root());
    let answer = Answer::from(command.output().expect("sh starts"));
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let links = links(&place.0);
    assert!(links.len() > 100, "{}", links.len());
    for (page, target) in links {
        let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let leads_to = if file.is_empty() { page.clone() } else { place.0.join(file) };
        let text = std::fs::read(&leads_to).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.unwrap_or_else(|_| panic!("{}: {target} leads nowhere", page.display()));
        let is_there = anchor.is_empty() || text.contains(&format!("id=\"{anchor}\""));
        assert!(is_there, "{}: {target} has no such place", page.display());
    }
}
