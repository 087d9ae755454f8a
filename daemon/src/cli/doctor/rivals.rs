//! Other tools that ban: two of them on one host ban twice and unban each other's.

use crate::netlink::netfilter::{self, Table};

use super::{Host, Report};

/// A tool, the processes and files that show it, and how to stop it.
const RIVALS: [(&str, &[&str], &[&str], &str); 6] = [
    (
        "fail2ban",
        &["fail2ban-server"],
        &["/run/fail2ban/fail2ban.sock", "/var/run/fail2ban/fail2ban.sock"],
        "systemctl disable --now fail2ban",
    ),
    (
        "sshguard",
        &["sshguard", "sshg-parser", "sshg-blocker"],
        &["/run/sshguard.pid"],
        "systemctl disable --now sshguard",
    ),
    (
        "CrowdSec",
        &["crowdsec", "crowdsec-firewall-bouncer", "crowdsec-firewal"],
        &["/run/crowdsec.sock"],
        "systemctl disable --now crowdsec-firewall-bouncer",
    ),
    (
        "DenyHosts",
        &["denyhosts", "denyhosts.py"],
        &["/run/denyhosts.pid"],
        "systemctl disable --now denyhosts",
    ),
    (
        "fail2ban-rs",
        &["fail2ban-rs"],
        &["/run/fail2ban-rs/fail2ban-rs.sock"],
        "systemctl disable --now fail2ban-rs",
    ),
    ("BlockHosts", &["blockhosts.py", "reaction"], &["/run/reaction.sock"], "stop it"),
];

/// Is another tool banning too?
pub(super) fn look(host: &Host, processes: &[String], report: &mut Report) {
    let before = report.findings.len();
    for (name, programs, files, stop) in RIVALS {
        let runs = processes.iter().find(|process| programs.contains(&process.as_str()));
        let file = files.iter().find(|file| host.exists(file));
        let sign = match (runs, file) {
            (Some(process), _) => format!("process {process}"),
            (None, Some(file)) => (*file).to_owned(),
            (None, None) => continue,
        };
        report.find(
            "rival",
            format!("{name} seems to ban here too ({sign}): each unbans by its own clock"),
            format!("let one of them do it: `{stop}`, then `pillory import` its bans"),
        );
    }
    if report.findings.len() == before {
        let names: Vec<&str> = RIVALS.iter().map(|(name, ..)| *name).collect();
        report
            .note("no_rival", format!("no other tool that bans runs here (looked for {})", names.join(", ")));
    }
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

/// Does the kernel hold another tool's bans? They outlive it, and nothing of ours lifts them.
pub(super) fn kernel(host: &Host, report: &mut Report) {
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
