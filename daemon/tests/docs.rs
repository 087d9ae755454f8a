//! The book's reference agrees with the program: its commands, its options, its configuration, its built-in filters. So does the
//! table of drills with the tests that there are.

use std::process::Command;

use pillory_core::config::keys::{JAIL_KEYS, POLICY_KEYS, TOP_KEYS, WITHIN};
use pillory_core::filter::catalog;

use crate::lab::Place;

const COMMANDS: &str = include_str!("../../docs/src/commands.md");
const CONFIGURATION: &str = include_str!("../../docs/src/configuration.md");

fn pillory(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pillory")).args(args).output().expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The table of commands: a command's name with its row's first cell.
fn documented() -> Vec<(String, String)> {
    let rows = COMMANDS.lines().filter(|line| line.starts_with("| `pillory "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells
        .flat_map(|cell| {
            let parts = cell.split("`pillory ").skip(1);
            parts.map(|part| {
                let name = part.split([' ', '`']).next().unwrap_or_default();
                (name.to_owned(), part.to_owned())
            })
        })
        .collect()
}

#[test]
fn the_book_lists_the_commands_that_there_are() {
    let (_, help) = pillory(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).and_then(|text| text.split("\n\n").next());
    let mut there: Vec<&str> =
        commands.into_iter().flat_map(str::lines).filter_map(|line| line.split_whitespace().next()).collect();
    there.retain(|name| *name != "help");
    there.sort_unstable();
    let documented = documented();
    let mut listed: Vec<&str> = documented.iter().map(|(name, _)| name.as_str()).collect();
    listed.sort_unstable();
    // One command may have two rows.
    listed.dedup();
    assert_eq!(listed, there);
}

#[test]
fn every_option_in_the_books_table_is_one_of_its_command() {
    for (name, row) in documented() {
        let (code, help) = pillory(&[&name, "--help"]);
        assert_eq!(code, Some(0), "{name}: {help}");
        let options = row.split(['[', ' ', '|', ']']).filter(|word| word.starts_with("--"));
        for option in options.map(|option| option.trim_end_matches(['`', '\\'])) {
            assert!(help.contains(option), "{name} has no {option}:\n{help}");
        }
    }
}

#[test]
fn the_books_configuration_is_valid_and_has_every_key() {
    let example = CONFIGURATION.split("```toml\n").nth(1).and_then(|text| text.split("```").next());
    let example = example.expect("there is an example");
    let path = std::env::temp_dir().join(format!("pillory-readme-{}.toml", std::process::id()));
    std::fs::write(&path, example).expect("the file is written");
    let (code, said) = pillory(&["check", "--config", &path.display().to_string()]);
    std::fs::remove_file(path).expect("it was there");
    assert_eq!(code, Some(0), "{said}");
    let keys = TOP_KEYS.iter().map(|key| key.name);
    let of_jails = JAIL_KEYS.iter().chain(POLICY_KEYS).map(|key| key.name);
    for key in keys.chain(of_jails) {
        let has = example.lines().any(|line| {
            ['.', ']'].iter().any(|end| line.starts_with(&format!("[{key}{end}")))
                || line.split(" =").next().is_some_and(|word| word.trim().trim_start_matches("# ") == key)
        });
        assert!(has, "the example lacks {key}");
    }
    for (key, rows) in WITHIN {
        let sections = example.split("\n[").filter(|section| {
            section.starts_with(&format!("{key}]")) || section.starts_with(&format!("{key}."))
        });
        let mut within: String = sections.collect();
        // A table that is a value.
        within.extend(example.lines().filter(|line| line.starts_with(&format!("{key} "))));
        for (name, _) in *rows {
            let has = within.split(name).skip(1).any(|behind| behind.trim_start().starts_with("= "));
            assert!(has, "the example lacks {name} of {key}");
        }
    }
}

#[test]
fn the_readme_names_every_built_in_filter() {
    let list = catalog::names().collect::<Vec<_>>().join(", ");
    assert!(CONFIGURATION.contains(&format!("Built-in filters: {list}.")), "{list}");
}

/// The lab's tests that SECURITY.md's table of drills names, as `module::test`; a name alone is a test elsewhere.
fn drills() -> Vec<&'static str> {
    let table = include_str!("../../SECURITY.md").split("\n## Drills\n").nth(1);
    let table = table.and_then(|text| text.split("\n## ").next()).expect("there is a table of drills");
    let last_cells = table.lines().filter_map(|row| row.strip_suffix(" |")?.rsplit(" | ").next());
    last_cells.flat_map(|cell| cell.split('`')).filter(|word| word.contains("::")).collect()
}

#[test]
fn every_drill_names_a_test_that_there_is() {
    let own = std::env::current_exe().expect("this program has a path");
    let listed =
        Command::new(own).args(["--list", "--format", "terse"]).output().expect("it lists its tests");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let there: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let drills = drills();
    assert!(drills.len() >= 25, "{drills:?}");
    let missing: Vec<&&str> = drills.iter().filter(|drill| !there.contains(drill)).collect();
    assert!(missing.is_empty(), "SECURITY.md names tests that are none: {missing:?}");
}

/// The table of drills that `scripts/drills.sh` makes of a run's log, by row: result and drill; and its exit code.
fn table_of(log: &str) -> (Vec<(String, String)>, Option<i32>) {
    let place = Place::new("drills");
    let path = place.write("test.log", log);
    let mut command = Command::new("sh");
    command.args(["scripts/drills.sh", &path]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = command.output().expect("sh starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().skip(2).filter_map(|row| row.strip_prefix("  "));
    let cut = |row: &str| {
        (row.split_at_checked(8)).map(|(result, rest)| (result.trim().to_owned(), rest.to_owned()))
    };
    (rows.filter_map(cut).collect(), output.status.code())
}

#[test]
fn a_drill_is_ok_only_if_the_log_names_each_of_its_tests_as_passed() {
    let table = include_str!("../../SECURITY.md").split("\n## Drills\n").nth(1).expect("a table of drills");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter_map(|row| row.strip_suffix(" |")?.rsplit(" | ").next());
    let words = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let tests: Vec<&str> = words.filter(|word| word.contains('_') && !word.contains("soak_")).collect();
    let log = |fate: fn(usize) -> Option<&'static str>| -> String {
        let lines = tests.iter().enumerate();
        lines.filter_map(|(at, test)| Some(format!("test {test} ... {}\n", fate(at)?))).collect()
    };
    let results =
        |table: &[(String, String)], result: &str| table.iter().filter(|row| row.0 == result).count();
    let (all, code) = table_of(&log(|_| Some("ok")));
    assert!(all.len() > 50 && results(&all, "ok") == all.len() && code == Some(0), "{code:?} {all:?}");
    // The lab was killed before its first test, or after some.
    let (none, code) = table_of("");
    assert!(results(&none, "not run") == all.len() && code == Some(1), "{code:?} {none:?}");
    let (most, code) = table_of(&log(|at| (at != 3).then_some("ok")));
    assert!(results(&most, "not run") == 1 && code == Some(1), "{code:?} {most:?}");
    let (most, code) = table_of(&log(|at| Some(if at == 3 { "FAILED" } else { "ok" })));
    assert!(results(&most, "FAILED") == 1 && code == Some(0), "{code:?} {most:?}");
    // A panic's words before it, and what a test says between its name and its result.
    let between = format!("Killed{}", log(|_| Some("measured: 7\nok")));
    let (all, code) = table_of(&between);
    assert!(results(&all, "ok") + 1 == all.len() && code == Some(0), "{code:?} {all:?}");
}
