//! Other tools that ban: two of them on one host ban twice and unban each other's.

use crate::clock;
use crate::netlink::netfilter::{self, Table};

use super::{Finding, Host, Report};

/// A tool that bans, what shows it, and how to stop it.
struct Rival {
    name: &'static str,
    programs: &'static [&'static str],
    /// Where it listens as long as it runs; nothing if it does nowhere.
    sockets: &'static [&'static str],
    /// What else it leaves as long as it runs.
    files: &'static [&'static str],
    /// In words, commands in backquotes.
    stop: &'static str,
}

const RIVALS: [Rival; 7] = [
    Rival {
        name: "fail2ban",
        programs: &["fail2ban-server"],
        sockets: &["/run/fail2ban/fail2ban.sock", "/var/run/fail2ban/fail2ban.sock"],
        files: &[],
        stop: "`systemctl disable --now fail2ban`",
    },
    Rival {
        name: "sshguard",
        programs: &["sshguard", "sshg-parser", "sshg-blocker"],
        sockets: &[],
        files: &["/run/sshguard.pid"],
        stop: "`systemctl disable --now sshguard`",
    },
    Rival {
        name: "CrowdSec",
        programs: &["crowdsec", "crowdsec-firewall-bouncer", "crowdsec-firewal"],
        sockets: &[],
        files: &["/run/crowdsec.sock"],
        stop: "`systemctl disable --now crowdsec-firewall-bouncer`",
    },
    Rival {
        name: "DenyHosts",
        programs: &["denyhosts", "denyhosts.py"],
        sockets: &[],
        files: &["/run/denyhosts.pid"],
        stop: "`systemctl disable --now denyhosts`",
    },
    Rival {
        name: "fail2ban-rs",
        programs: &["fail2ban-rs"],
        sockets: &["/run/fail2ban-rs/fail2ban-rs.sock"],
        files: &[],
        stop: "`systemctl disable --now fail2ban-rs`",
    },
    Rival {
        name: "reaction",
        programs: &["reaction"],
        sockets: &["/run/reaction/reaction.sock", "/run/reaction.sock"],
        files: &[],
        stop: "`systemctl disable --now reaction`",
    },
    Rival {
        name: "BlockHosts",
        programs: &["blockhosts.py"],
        sockets: &[],
        files: &[],
        stop: "take blockhosts.py out of /etc/hosts.allow and cron",
    },
];

impl Rival {
    fn found(&self, sign: &str) -> Finding {
        Finding::new(
            "rival",
            format!("{} seems to ban here too ({sign}): each unbans by its own clock", self.name),
            format!("let one of them do it: {}, then `pillory import` its bans", self.stop),
        )
    }

    fn process<'a>(&self, processes: &'a [String]) -> Option<&'a String> {
        processes.iter().find(|process| self.programs.contains(&process.as_str()))
    }
}

/// Is another tool banning too?
pub(crate) fn look(host: &Host, processes: &[String], report: &mut Report) {
    let before = report.findings.len();
    for rival in &RIVALS {
        let mut files = rival.sockets.iter().chain(rival.files);
        let sign = match (rival.process(processes), files.find(|file| host.exists(file))) {
            (Some(process), _) => format!("process {process}"),
            (None, Some(file)) => (*file).to_owned(),
            (None, None) => continue,
        };
        report.findings.push(rival.found(&sign));
    }
    if report.findings.len() == before {
        let names: Vec<&str> = RIVALS.iter().map(|rival| rival.name).collect();
        report
            .note("no_rival", format!("no other tool that bans runs here (looked for {})", names.join(", ")));
    }
}

/// The same as the daemon sees it, which may see no process of others, and sees those of containers where it does: who
/// listens counts by its socket in this network namespace.
pub(crate) fn running(host: &Host) -> Vec<Finding> {
    let processes = host.processes();
    let listening = host.text("/proc/self/net/unix");
    let is_open = |socket: &&&str| listening.lines().any(|line| line.ends_with(&format!(" {socket}")));
    let found = |rival: &Rival| {
        let sign = match rival.sockets {
            [] => {
                let process = rival.process(&processes).map(|process| format!("process {process}"));
                process.or_else(|| Some((*rival.files.iter().find(|file| host.exists(file))?).to_owned()))
            }
            sockets => sockets.iter().find(is_open).map(|socket| (*socket).to_owned()),
        };
        sign.map(|sign| rival.found(&sign))
    };
    RIVALS.iter().filter_map(found).collect()
}

/// How the tables, chains and ipsets of a tool begin, in lower case.
const MARKS: [(&str, &[&str]); 5] = [
    ("fail2ban", &["f2b-", "fail2ban"]),
    ("sshguard", &["sshguard"]),
    ("CrowdSec", &["crowdsec"]),
    ("blocklistd", &["blocklistd", "blacklistd"]),
    ("reaction", &["reaction"]),
];

/// So many places of one tool are named.
const MAX_PLACES: usize = 4;

/// Where a tool's bans are in the kernel, and what takes them away.
struct Held {
    name: String,
    place: String,
    cure: String,
}

/// What the kernel holds of other tools' bans.
pub(crate) fn held() -> Vec<Finding> {
    let mut report = Report::default();
    kernel(&Host { root: "/".into(), now: clock::now() }, &mut report);
    report.findings
}

/// Does the kernel hold another tool's bans? They outlive it, and nothing of ours lifts them.
pub(crate) fn kernel(host: &Host, report: &mut Report) {
    let before = report.findings.len();
    // What may not be read is said elsewhere; asking for ipsets would load the module.
    let tables = netfilter::tables();
    let is_read = tables.is_ok();
    let tables = tables.unwrap_or_default();
    let chains = netfilter::chains().unwrap_or_default();
    let ipsets = match host.exists("/sys/module/ip_set") {
        true => netfilter::ipsets().unwrap_or_default(),
        false => Vec::new(),
    };
    let mut held: Vec<Held> = tables.iter().map(of_table).collect();
    let is_inside = |chain: &netfilter::Chain| owner(&chain.table.name).is_none();
    held.extend(chains.iter().filter(|chain| is_inside(chain)).map(of_chain));
    held.extend(ipsets.iter().map(|name| Held {
        name: name.clone(),
        place: format!("ipset {name}"),
        cure: format!("ipset destroy {name}"),
    }));
    for (tool, _) in MARKS {
        let own: Vec<&Held> = held.iter().filter(|held| owner(&held.name) == Some(tool)).collect();
        if own.is_empty() {
            continue;
        }
        let more = own.len().saturating_sub(MAX_PLACES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let join = |text: fn(&Held) -> String| {
            own.iter().take(MAX_PLACES).map(|held| text(held)).collect::<Vec<_>>().join(", ")
        };
        report.find(
            "rival_bans",
            format!(
                "the kernel holds what bans for {tool} ({}{more}): `pillory unban` does not reach it",
                join(|held| held.place.clone())
            ),
            format!("stop {tool}, then take it away: {}", join(|held| format!("`{}`", held.cure))),
        );
    }
    if is_read && report.findings.len() == before {
        report.note("no_rival_bans", "the kernel holds no bans of another tool");
    }
}

/// The tool that names things so.
fn owner(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let is_its = |marks: &[&str]| marks.iter().any(|mark| name.starts_with(mark));
    MARKS.iter().find(|(_, marks)| is_its(marks)).map(|(tool, _)| *tool)
}

fn of_table(Table { family, name }: &Table) -> Held {
    Held {
        name: name.clone(),
        place: format!("nft table {family} {name}"),
        cure: format!("nft delete table {family} {name}"),
    }
}

fn of_chain(chain: &netfilter::Chain) -> Held {
    let (family, table, name) = (chain.table.family, &chain.table.name, &chain.name);
    Held {
        name: name.clone(),
        place: format!("chain {family} {table} {name}"),
        cure: format!("nft flush chain {family} {table} {name}"),
    }
}
