//! What the running daemon may do: ban, and read the logs; and what it gave up.

use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::actions::dryrun;
use crate::findings::{Finding, Host, Report};
use crate::privilege;

/// `CAP_NET_ADMIN` of linux/capability.h, as a bit of a set.
const NET_ADMIN: u64 = 1 << 12;

/// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`: either opens every log.
const DAC: u64 = 1 << 1 | 1 << 2;

/// What sshd may be seen in, besides what the daemon reads.
const LOGS: [&str; 3] = ["/var/log/auth.log", "/var/log/secure", "/var/log/btmp"];

/// Looks at the daemon whose `status` this is.
pub(super) fn look(host: &Host, status: &Value, report: &mut Report) {
    let process = format!("/proc/{}", status["pid"]);
    // A daemon in another process namespace has another number here.
    if host.text(&format!("{process}/comm")).trim_end() != "pillory" {
        return;
    }
    let threads = Thread::all(host, &process);
    let may = |capability: u64| threads.iter().any(|thread| thread.capabilities & capability != 0);
    if status["banaction"] != dryrun::NAME && !threads.is_empty() && !may(NET_ADMIN) {
        let what = format!("the daemon (process {}) lacks CAP_NET_ADMIN: it cannot ban", status["pid"]);
        let cure = "grant it in the unit: AmbientCapabilities=CAP_NET_ADMIN, and in CapabilityBoundingSet; or run it as root";
        report.find("daemon_not_permitted", what, cure);
    }
    if let Some(thread) = threads.first().filter(|_| !may(DAC)) {
        closed_logs(host, status, thread, report);
    }
    report.note("sandbox", privilege::words(&status["sandbox"]));
}

/// What proc_pid_status(5) says of a thread, in the lines `Uid:`, `Gid:`, `Groups:` and `CapEff:`.
struct Thread {
    user: u32,
    groups: Vec<u32>,
    capabilities: u64,
}

impl Thread {
    /// The threads of a process, the first one first.
    fn all(host: &Host, process: &str) -> Vec<Thread> {
        let tasks = std::fs::read_dir(host.path(&format!("{process}/task"))).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            tasks.map(|task| task.file_name().to_string_lossy().into_owned()).collect();
        names.sort_by_key(|name| name.parse::<u32>().ok());
        names
            .iter()
            .filter_map(|name| Thread::parse(&host.text(&format!("{process}/task/{name}/status"))))
            .collect()
    }

    fn parse(status: &str) -> Option<Thread> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let numbers = |name: &str| -> Vec<u32> {
            field(name).into_iter().flat_map(str::split_whitespace).filter_map(|n| n.parse().ok()).collect()
        };
        // Real, effective, saved, and that of file systems.
        let effective = |name: &str| numbers(name).get(1).copied();
        let mut groups = numbers("Groups:");
        groups.extend(effective("Gid:"));
        let capabilities = u64::from_str_radix(field("CapEff:")?, 16).ok()?;
        Some(Thread { user: effective("Uid:")?, groups, capabilities })
    }

    fn may_read(&self, file: &std::fs::Metadata) -> bool {
        let bit = match () {
            () if file.uid() == self.user => 0o400,
            () if self.groups.contains(&file.gid()) => 0o040,
            () => 0o004,
        };
        file.mode() & bit != 0
    }
}

/// Logs that the daemon's user may not read: a finding if a jail reads them, else a note.
fn closed_logs(host: &Host, status: &Value, daemon: &Thread, report: &mut Report) {
    let jails = status["jails"].as_array().into_iter().flatten();
    let sources: Vec<&Value> =
        jails.flat_map(|jail| jail["sources"].as_array().into_iter().flatten()).collect();
    let mut read: Vec<&str> = sources.iter().filter_map(|source| source["path"].as_str()).collect();
    read.sort_unstable();
    read.dedup();
    // What could be read in the place of a log that is not there is as good as one that is read.
    let waits = !read.iter().any(|path| host.exists(path));
    let journal = system_journal(host).filter(|_| !sources.iter().any(|source| source["kind"] == "journal"));
    let others = LOGS.into_iter().filter(|path| !read.contains(path)).map(|path| (path, false));
    let all = read.iter().map(|path| (*path, true)).chain(others);
    for (path, is_read) in all.chain(journal.as_deref().map(|path| (path, waits))) {
        let Ok(file) = std::fs::metadata(host.path(path)) else { continue };
        if !file.is_file() || daemon.may_read(&file) {
            continue;
        }
        let what = format!("the daemon (user {}) may not read {path}", daemon.user);
        let closed = Finding::new("log_closed", what, drop_in(host, &file));
        if is_read { &mut report.findings } else { &mut report.notes }.push(closed);
    }
}

/// The journal of this host.
fn system_journal(host: &Host) -> Option<String> {
    let machines = ["/var/log/journal", "/run/log/journal"].into_iter().flat_map(|directory| {
        let machines = std::fs::read_dir(host.path(directory)).into_iter().flatten().flatten();
        machines.map(move |machine| {
            format!("{directory}/{}/system.journal", machine.file_name().to_string_lossy())
        })
    });
    machines.into_iter().find(|path| host.exists(path))
}

/// The lines of the unit that let the daemon read this file.
fn drop_in(host: &Host, file: &std::fs::Metadata) -> String {
    // group(5): "adm:x:4:syslog". A static binary asks no name service.
    let groups = host.text("/etc/group");
    let group = groups.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(file.gid())).then(|| fields[0].to_owned())
    });
    let lines = match group {
        Some(group) if file.mode() & 0o040 != 0 && file.gid() != 0 => {
            format!("`SupplementaryGroups={group}`")
        }
        _ => "`AmbientCapabilities=CAP_DAC_READ_SEARCH` and `CapabilityBoundingSet=CAP_DAC_READ_SEARCH`"
            .to_owned(),
    };
    format!(
        "run `systemctl edit pillory`, write `[Service]` and {lines} there, each on a line of its own, and `systemctl restart pillory`"
    )
}
