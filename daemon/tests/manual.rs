//! What `pillory generate` makes: manual pages that man(1) takes, with all that there is, and completions in real shells.

use std::path::Path;

use pillory_core::config::keys::{JAIL_KEYS, POLICY_KEYS, TOP_KEYS, WITHIN};
use pillory_core::filter::regex::tags::{GROUPS, TAGS};
use pillory_core::filter::spec::SETTINGS;

use crate::lab::{Daemon, Host, Place, World, binary, need, quiet_server};
use crate::markdown::root;

const PAGES: [&str; 3] = ["man/man1/pillory.1", "man/man5/pillory-filter.5", "man/man5/pillory.toml.5"];
/// The same pages as chapters of the book.
const CHAPTERS: [&str; 3] = ["book/pillory-filter.5.md", "book/pillory.1.md", "book/pillory.toml.5.md"];
const COMPLETIONS: [&str; 3] =
    ["completions/_pillory", "completions/pillory.bash", "completions/pillory.fish"];

fn generate(place: &Place) {
    let answer = place.run(&["generate", "--out", &place.0.display().to_string()]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.out.is_empty() && answer.err.is_empty(), "{answer:?}");
}

/// Every file below a directory, by its path from there.
fn files(directory: &Path, below: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join(below)).expect("a directory");
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.expect("an entry");
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => found.extend(files(directory, &format!("{name}/"))),
            false => found.push(name),
        }
    }
    found.sort();
    found
}

/// The text of a page without the escapes of its language.
fn page(place: &Place, name: &str) -> String {
    let text = std::fs::read_to_string(place.0.join(name)).expect("a page");
    ["\\fB", "\\fI", "\\fR", "\\&", "\\"].iter().fold(text, |text, escape| text.replace(escape, ""))
}

#[test]
fn the_files_have_the_names_that_packages_install() {
    let place = Place::new("generate");
    generate(&place);
    assert_eq!(files(&place.0, ""), [CHAPTERS, COMPLETIONS, PAGES].concat());
}

#[test]
fn the_books_reference_is_what_the_program_generates() {
    let place = Place::new("chapters");
    generate(&place);
    for name in CHAPTERS {
        let made = std::fs::read_to_string(place.0.join(name)).expect("a chapter");
        let chapter = root().join("docs/src").join(name.trim_start_matches("book/"));
        if std::env::var("GOLDEN").is_ok_and(|golden| golden == "write") {
            std::fs::write(&chapter, &made).expect("it can be written");
        }
        let kept = std::fs::read_to_string(&chapter).unwrap_or_default();
        let hint = "GOLDEN=write cargo test -p pillory --test lab the_books_reference writes it anew";
        assert!(kept == made, "{} is not what `pillory generate` makes: {hint}", chapter.display());
    }
}

#[test]
fn man_warns_of_nothing_in_the_pages() {
    let Some(world) = World::with(&["man", "groff"]) else { return };
    let Some(()) = world.server.install_tools() else { return };
    let place = Place::new("man");
    generate(&place);
    for name in PAGES {
        let path = place.0.join(name).display().to_string();
        let mut man = world.server.command("man");
        // In a narrow terminal, too, where a long word stands out.
        man.args(["-C", "/dev/null", "--warnings", "-l", &path])
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80");
        let output = man.output().expect("man starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && err.is_empty(), "{name}: {err}");
        assert!(out.contains("NAME") && out.contains("SEE ALSO"), "{name}: {out}");
    }
}

#[test]
fn every_command_and_option_is_in_the_first_page() {
    let place = Place::new("page-1");
    generate(&place);
    let page = page(&place, PAGES[0]);
    let help = place.run(&["--help"]).out;
    let commands =
        help.split("Commands:\n").nth(1).and_then(|text| text.split("\n\n").next()).expect("commands");
    let names: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let begin = format!(".SS \"pillory {name} ");
        let part = page.split(&begin).nth(1).and_then(|text| text.split("\n.SS ").next());
        let part = part.unwrap_or_else(|| panic!("no {name} in {page}"));
        let help = place.run(&[name, "--help"]).out;
        let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        for option in lines.filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--"))) {
            let is_common = ["--help", "--color", "--no-pager"].contains(&option);
            assert!(is_common || part.contains(option), "{name}: no {option} in {part}");
        }
        assert!(part.contains("# "), "{name} has no examples: {part}");
    }
    assert_eq!(page.matches("\n--no-pager\n").count(), 1, "it stands once, at the top");
    let rows = |chapter: &str, heading: &str| {
        let table = chapter.split(heading).nth(1).and_then(|text| text.split("\n#").next()).expect("a table");
        let rows = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
        rows.map(|row| {
            row.split(" | ").map(|cell| cell.trim_end_matches(" |").to_owned()).collect::<Vec<_>>()
        })
        .collect::<Vec<_>>()
    };
    for row in rows(include_str!("../../docs/src/commands.md"), "## Exit status\n") {
        assert!(page.contains(&format!("{}\n{}", row[0], row[1])), "{row:?}");
    }
    for row in rows(include_str!("../../docs/src/service.md"), "\n## Files\n")
        .iter()
        .filter(|row| row[0].starts_with("`/"))
    {
        assert!(page.contains(row[0].trim_matches('`')), "{row:?}");
    }
}

#[test]
fn the_first_page_tells_whoever_is_locked_out_what_the_chapter_does() {
    let place = Place::new("locked-out");
    generate(&place);
    let page = page(&place, PAGES[0]);
    let part = page.split(".SH \"LOCKED OUT\"").nth(1).and_then(|text| text.split("\n.SH ").next());
    let part = part.expect("there is such a section");
    let chapter = include_str!("../../docs/src/locked-out.md");
    let ways = [
        "pillory rescue HOST",
        "pillory unban",
        "pillory off",
        "systemctl disable --now pillory",
        "nft delete table inet pillory",
        "ip route flush proto 199",
        "systemd.mask=pillory.service",
    ];
    for way in ways {
        assert!(chapter.contains(way) && part.contains(way), "{way}: {part}");
    }
}

#[test]
fn every_key_setting_and_tag_is_in_its_page() {
    let place = Place::new("page-5");
    generate(&place);
    let (filter, configuration) = (page(&place, PAGES[1]), page(&place, PAGES[2]));
    let has = |page: &str, name: &str| page.contains(&format!(".TP\n{name}\n"));
    let keys =
        POLICY_KEYS.iter().chain(JAIL_KEYS).map(|key| key.name).chain(TOP_KEYS.iter().map(|key| key.name));
    let within = WITHIN.iter().flat_map(|(_, rows)| rows.iter().map(|(name, _)| *name));
    for name in keys.chain(within) {
        assert!(has(&configuration, name), "{name} is not in {configuration}");
    }
    for (name, _) in SETTINGS {
        assert!(has(&filter, name), "{name} is not in {filter}");
    }
    for tag in TAGS {
        assert!(tag.names.iter().all(|name| filter.contains(&format!("<{name}>"))), "{:?}", tag.names);
    }
    for (name, _) in GROUPS {
        assert!(has(&filter, &format!("<{name}>..</{name}>")), "{name} is not in {filter}");
    }
}

/// A server with a daemon that has banned somebody, on which `pillory` and its completions are installed.
fn completing(shell: &str) -> Option<(World, Host, Daemon)> {
    if !need(&[shell]) {
        return None;
    }
    let (world, server) = quiet_server()?;
    server.install_tools()?;
    let daemon = Daemon::start(&server, "");
    for banned in ["203.0.113.77", "2001:db8:9::7"] {
        assert_eq!(daemon.ask(&["ban", banned]).code, Some(0));
    }
    let place = Place::new(shell);
    generate(&place);
    for name in COMPLETIONS {
        server.write(format!("/run/{name}"), std::fs::read(place.0.join(name)).expect("a script"));
    }
    server.run("ln", &["-s", &binary().display().to_string(), "/run/completions/pillory"]);
    Some((world, server, daemon))
}

/// What a shell says to a script.
fn said(server: &Host, shell: &str, args: &[&str]) -> String {
    let mut command = server.command("env");
    command.args([
        "PATH=/run/completions:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "TERM=dumb",
        "LC_ALL=C.UTF-8",
    ]);
    command.args(["timeout", "60", shell]).args(args);
    let output = command.output().expect("the shell starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

/// A line, and what completes its last word to what; a network is completed to its begin behind the last colon in bash.
const LINES: [(&str, &str); 5] = [
    ("pillory stat", "status"),
    ("pillory status s", "sshd"),
    ("pillory list --jail s", "sshd"),
    ("pillory unban 203", "203.0.113.77"),
    ("pillory explain 2001:db8:9", "2001:db8:9::7"),
];

#[test]
fn bash_completes_jails_and_banned_addresses() {
    let Some((_world, server, daemon)) = completing("bash") else { return };
    let script = "COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'; . /run/completions/pillory.bash\n\
        for COMP_LINE; do COMP_POINT=${#COMP_LINE}; _pillory; printf '%s|' \"${COMPREPLY[@]}\"; echo; done";
    let lines = LINES.map(|(line, _)| line);
    let completed = |more: &[&str]| said(&server, "bash", &[&["-c", script, "bash"], more].concat());
    let expected = LINES.map(|(line, word)| match line.contains(':') {
        // Readline keeps what stands before.
        true => format!("{}|\n", word.trim_start_matches("2001:db8:")),
        false => format!("{word}|\n"),
    });
    assert_eq!(completed(&lines), expected.concat());
    assert_eq!(completed(&["pillory ban --fo"]), "--for|--force|\n");
    // What bash-completion hands over of a line behind sudo: the word before is gone, the blank is not.
    assert_eq!(completed(&[" pillory stat"]), "status|\n");
    daemon.stop();
    assert_eq!(
        completed(&["pillory status s", "pillory unban "]),
        "|\n|\n",
        "it says nothing without a daemon"
    );
}

#[test]
fn fish_completes_jails_and_banned_addresses() {
    let Some((_world, server, _daemon)) = completing("fish") else { return };
    for (line, word) in LINES {
        let script = format!("source /run/completions/pillory.fish; complete -C '{line}'");
        let said = said(&server, "fish", &["--no-config", "-c", &script]);
        let words: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(words, [word], "{line}: {said}");
    }
}

#[test]
fn zsh_completes_jails_and_banned_addresses() {
    let Some((_world, server, _daemon)) = completing("zsh") else { return };
    for (line, word) in LINES.into_iter().chain([("sudo pillory stat", "status")]) {
        // A shell with a terminal of its own: a tab completes, then the line is printed in the place of being run.
        let script = format!(
            "zmodload zsh/zpty; zpty z zsh -f -i
            zpty -w z 'PS1= PS2=; fpath=(/run/completions $fpath); autoload -Uz compinit; compinit -u -D; print load\"\"ed'
            zpty -r z said $'*\\nloaded*'
            zpty -w -n z $'{line}\\t\\C-aprint -r -- R:\\C-e:E\\n'
            zpty -r z said $'*\\nR:*:E*'; print -r -- $said"
        );
        let said = said(&server, "zsh", &["-f", "-c", &script]);
        let completed = format!("\nR:{}{word}", &line[..line.rfind(' ').map_or(0, |at| at + 1)]);
        assert!(said.contains(&completed), "{line}: {said}");
    }
}
