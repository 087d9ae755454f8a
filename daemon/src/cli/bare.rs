//! `pillory` without a command: the status, or where no daemon answers what to do next on this host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use pillory_core::filter::catalog;

use crate::{clock, guard, service};

use super::{Failure, Outcome, STATE_DIR, count, done, exit, offline, parse};

/// Where journald keeps its files.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

const BTMP: &str = "/var/log/btmp";

/// What is done without a command.
pub(super) fn status_or_next_step() -> Outcome {
    let status =
        parse(["pillory", "status"].map(OsString::from)).ok().and_then(|arguments| arguments.command);
    let outcome = status.map_or(Ok(exit::USAGE), done);
    outcome.map_err(|failure| match failure.exit {
        exit::UNREACHABLE => Failure::new(failure.exit, next_step(&failure.message)),
        _ => failure,
    })
}

/// What to do where no daemon answers, and why it is known that none does.
fn next_step(why: &str) -> String {
    if let Some(holder) = guard::holder() {
        return format!("{why}\n{holder}; {}", holder.cure());
    }
    let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo " };
    let mut steps = Vec::new();
    if service::has_unit() {
        steps
            .push((format!("{sudo}systemctl enable --now pillory"), "protects it as a service, from now on"));
    }
    steps.push((format!("{sudo}pillory run"), "protects this host until Ctrl-C"));
    if let Some((log, may_read)) = a_log() {
        let sudo = if may_read { "" } else { sudo };
        let what = "who attacked so far, without a daemon";
        steps.push((format!("{sudo}pillory scan {}", log.display()), what));
    }
    steps.push(("pillory --help".to_owned(), "everything else"));
    let steps: String = steps.iter().map(|(step, what)| format!("\n  {step:<40}{what}")).collect();
    // Where there is no service, what to do stands below.
    let cause = why.split_once("; ").map_or(why, |(cause, _)| cause);
    let why = if service::has_unit() { why } else { cause };
    format!("{}\n{why}\n\nnext:{steps}", protected())
}

/// What holds where no daemon runs: bans may outlive it.
fn protected() -> String {
    let in_kernel = || -> Option<usize> {
        let mut found = 0;
        for mut action in offline::kernel_actions().ok()? {
            found += action.installed(clock::now()).ok()?.len();
        }
        Some(found)
    };
    match in_kernel() {
        Some(0) => "this host is not protected: no daemon answers".to_owned(),
        Some(bans) => format!(
            "no daemon answers, so nobody new is banned; {} of before stay{} in force in the kernel",
            count(bans as u64, "ban"),
            if bans == 1 { "s" } else { "" }
        ),
        // Where a daemon never ran it left nothing.
        None if !Path::new(STATE_DIR).exists() => "this host is not protected: no daemon answers".to_owned(),
        None => {
            let tell = if rustix::process::geteuid().is_root() { "" } else { " (`sudo pillory` tells)" };
            format!("no daemon answers, so nobody new is banned; bans of before may still be in force{tell}")
        }
    }
}

/// Where this host's failed logins are, and whether this user may read that.
fn a_log() -> Option<(PathBuf, bool)> {
    let logs: Vec<String> = catalog::builtin("sshd").map(|spec| spec.logpath).unwrap_or_default();
    let logs = || logs.iter().map(PathBuf::from).filter(|path| path.is_file());
    let holds_any = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|status| status.len() > 0);
    let file = |path: PathBuf| {
        let may_read = may_read(&path);
        (path, may_read)
    };
    let journal = || JOURNALS.iter().find_map(|directory| journal(Path::new(directory)));
    let written = logs().find(holds_any).map(file).or_else(journal);
    let btmp = || Some(PathBuf::from(BTMP)).filter(holds_any).map(file);
    written.or_else(btmp).or_else(|| logs().next().map(file))
}

/// A directory of journals, if it holds one, and whether that may be read.
fn journal(directory: &Path) -> Option<(PathBuf, bool)> {
    let inside = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut files = inside(directory).flat_map(|machine| inside(&machine.path())).map(|file| file.path());
    let file = files.find(|path| path.extension().is_some_and(|end| end == "journal"))?;
    Some((directory.to_owned(), may_read(&file)))
}

fn may_read(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}
