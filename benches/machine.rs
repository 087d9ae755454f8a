//! What is measured on and with: the machine, the kernel, the versions of all programs.

use std::process::Command;

use crate::grid::Grid;
use crate::lab::tools_dir;
use crate::process::{binary, words};

/// The processor, its cores, memory, kernel and distribution, in a line.
pub fn machine() -> String {
    let cpu = field("/proc/cpuinfo", "model name", ':').unwrap_or_else(|| std::env::consts::ARCH.into());
    let kib: u64 = field("/proc/meminfo", "MemTotal", ':')
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = field("/etc/os-release", "PRETTY_NAME", '=').unwrap_or_default();
    format!(
        "{cpu}, {} cores, {:.0} GiB, Linux {}, {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        kib as f64 / f64::from(1 << 20),
        kernel.trim(),
        system.trim_matches('"')
    )
}

/// When and on what source, and how busy the machine was with other work: a thread that is woken waits for its turn.
pub fn moment() -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    let commit = said("git", &["describe", "--always", "--dirty", "--exclude=*"]).unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    format!("{now}, commit {commit}, load before {load}")
}

/// The programs, each with what it says of itself.
pub fn versions() -> Grid {
    let mut grid = Grid::new(&["program", "version"]);
    let mut add = |name: &str, version: Option<String>| {
        grid.row(vec![name.into(), version.unwrap_or_else(|| "not here".into())]);
    };
    add("pillory", said(&binary().display().to_string(), &["--version"]));
    add("rustc", said("rustc", &["--version"]));
    add("wc, cat", said("wc", &["--version"]));
    add("lastb", said("lastb", &["--version"]));
    let tool = |name: &str, option: &str| {
        let words = words(name, &[option]).ok()?;
        let mut words = words.iter().map(|word| word.to_string_lossy().into_owned());
        let program = words.next()?;
        said(&program, &words.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>())
    };
    add("ripgrep", tool("rg", "--version"));
    add("fail2ban", fail2ban());
    add("its Python", said("python3", &["--version"]));
    add("sshguard", sshguard());
    let rs = tools_dir().join("fail2ban-rs/bin/fail2ban-rs").display().to_string();
    add("fail2ban-rs", said(&rs, &["--version"]));
    add("OpenSSH", tool("ssh", "-V"));
    grid
}

/// What the package says of itself: its programs want a configuration first.
fn fail2ban() -> Option<String> {
    let text = std::fs::read_to_string(tools_dir().join("usr/lib/python3/dist-packages/fail2ban/version.py"))
        .ok()?;
    let line = text.lines().find(|line| line.starts_with("version"))?;
    Some(line.split('"').nth(1)?.to_owned())
}

/// A line of the script that starts it.
fn sshguard() -> Option<String> {
    let places = [std::path::PathBuf::from("/usr/sbin/sshguard"), tools_dir().join("usr/sbin/sshguard")];
    let text = places.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    let line = text.lines().find_map(|line| line.strip_prefix("version="))?;
    Some(line.trim_matches('"').to_owned())
}

/// The value of the first line of a file that begins with this name.
fn field(file: &str, name: &str, separator: char) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(separator)?.1.trim().to_owned())
}

/// The first line that a program prints.
fn said(program: &str, options: &[&str]) -> Option<String> {
    let output = Command::new(program).args(options).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
}
