//! `make bench QUICK=1`: instructions of the release binary on small inputs, counted by callgrind, beside those that
//! were recorded and beside `wc -l`'s. They are nearly the same in each run, however busy the machine is.
//! `QUICK=debug` counts those of the build that the tests use, on smaller ones: every run of continuous integration does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::grid::Grid;
use crate::inputs::Input;
use crate::lab::{find, tools_dir};
use crate::process::{FILE, Words, command, words};
use crate::scan::programs;
use crate::stock;

/// Which build is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The one that people use.
    Release,
    /// The one that the tests use; it takes several times as many.
    Debug,
}

impl Build {
    /// The build of that name; the release for any other.
    pub fn named(name: &str) -> Build {
        if name == "debug" { Build::Debug } else { Build::Release }
    }

    fn title(self) -> &'static str {
        match self {
            Build::Release => "100,000 records, release",
            Build::Debug => "20,000 records, debug build",
        }
    }

    fn records(self) -> u64 {
        match self {
            Build::Release => 100_000,
            Build::Debug => 20_000,
        }
    }

    /// A line each: name, instructions, times `wc -l`, with tabs between.
    fn file(self) -> PathBuf {
        let name = match self {
            Build::Release => "quick.tsv",
            Build::Debug => "quick-debug.tsv",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches").join(name)
    }
}

/// So much more than recorded fails.
const TOLERANCE: f64 = 1.10;

/// A figure that was recorded: instructions, and those as a multiple of `wc -l`'s.
#[derive(Debug, Clone, Copy)]
struct Count {
    instructions: f64,
    by_wc: f64,
}

/// Counts, and compares or, with `record`, writes the figures down. Exit status 77 if something could not be counted or
/// compared, and nothing is worse.
pub fn run(build: Build, record: bool) -> ExitCode {
    let recorded = std::fs::read_to_string(build.file()).unwrap_or_default();
    let mut grid =
        Grid::new(&[build.title(), "million instructions", "recorded", "times `wc -l`", "recorded", ""]);
    let (mut lines, mut is_worse, mut is_unknown) = (String::new(), false, false);
    for (name, input, ours) in cases() {
        let log = input.file(build.records());
        let counted = ours.and_then(|ours| {
            let wc = instructions(&words("wc", &["-l", FILE])?, &log)?;
            let instructions = instructions(&ours, &log)?;
            Ok(Count { instructions, by_wc: instructions / wc })
        });
        let before = find_recorded(&recorded, name);
        let verdict = match (&counted, before) {
            (Err(why), _) => why.as_str(),
            (Ok(_), None) => "not recorded",
            (Ok(now), Some(before)) if now.is_worse_than(before) => "WORSE",
            (Ok(_), Some(_)) => "ok",
        };
        is_worse |= verdict == "WORSE";
        // What cannot be counted or compared guards nothing.
        is_unknown |= verdict != "ok" && verdict != "WORSE";
        grid.row(row(name, counted.as_ref().ok().copied(), before, verdict));
        if let Ok(count) = counted {
            lines += &format!("{name}\t{:.0}\t{:.2}\n", count.instructions, count.by_wc);
        }
    }
    print!("{grid}");
    if record {
        std::fs::write(build.file(), lines).expect("the figures are written down");
        println!("recorded in {}", build.file().display());
        return ExitCode::SUCCESS;
    }
    println!("more than {TOLERANCE} times what was recorded is worse; with RECORD=1 it is recorded anew");
    match (is_worse, is_unknown) {
        (true, _) => 1.into(),
        (false, true) => 77.into(),
        (false, false) => ExitCode::SUCCESS,
    }
}

impl Count {
    fn is_worse_than(self, before: Count) -> bool {
        self.instructions > before.instructions * TOLERANCE || self.by_wc > before.by_wc * TOLERANCE
    }
}

fn row(name: &str, now: Option<Count>, before: Option<Count>, verdict: &str) -> Vec<String> {
    let millions =
        |count: Option<Count>| count.map_or_else(String::new, |c| format!("{:.1}", c.instructions / 1e6));
    let times = |count: Option<Count>| count.map_or_else(String::new, |c| format!("{:.1}", c.by_wc));
    vec![name.into(), millions(now), millions(before), times(now), times(before), verdict.into()]
}

fn cases() -> [(&'static str, Input, Result<Words, String>); 4] {
    [
        ("scan auth.log", Input::Auth, Ok(programs::scan(Input::Auth))),
        ("scan access.log", Input::Access, Ok(programs::scan(Input::Access))),
        ("scan btmp", Input::Btmp, Ok(programs::scan(Input::Btmp))),
        ("fail2ban's sshd filter", Input::Auth, stock::speed("sshd")),
    ]
}

fn find_recorded(text: &str, name: &str) -> Option<Count> {
    let mut cells = text
        .lines()
        .map(|line| line.split('\t'))
        .find_map(|mut cells| (cells.next()? == name).then_some(cells))?;
    Some(Count { instructions: cells.next()?.parse().ok()?, by_wc: cells.next()?.parse().ok()? })
}

/// All that a command executes.
fn instructions(ours: &Words, log: &Path) -> Result<f64, String> {
    // On one processor: with several a program may read with as many threads, each with filters of its own.
    let mut all = words("taskset", &["-c", "0"])?;
    // valgrind lays the memory out anew, and its version in Debian 12 lets a program ask the kernel (by prctl) where
    // things were before, which ours does. Without an answer it reads /proc/self/auxv, as valgrind makes it.
    all.extend(words("strace", &["-f", "-o", "/dev/null", "-e", "inject=prctl:error=EINVAL"])?);
    all.extend(words("valgrind", &["--tool=callgrind", "--callgrind-out-file=/dev/null"])?);
    all.extend(ours.iter().cloned());
    let mut command = command(&all, log);
    if find("valgrind").is_some_and(|tool| tool.libraries.is_some()) {
        command.env("VALGRIND_LIB", tools_dir().join("usr/libexec/valgrind"));
    }
    let output = command.output().map_err(|error| format!("cannot run {all:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    // Half a run is no figure.
    count.filter(|_| output.status.success()).ok_or_else(|| format!("it failed ({}): {said}", output.status))
}
