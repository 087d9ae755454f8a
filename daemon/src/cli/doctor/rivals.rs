//! Other tools that ban: two of them on one host ban twice and unban each other's.

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
}
