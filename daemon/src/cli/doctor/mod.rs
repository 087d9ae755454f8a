//! `pillory doctor`: is this host really protected? One line a finding, with the cure. Reads only.

mod logs;
mod rights;
mod storage;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use pillory_core::config::Problem;
use serde_json::{Value, json};

use crate::actions::{self, ActionError, dryrun};
use crate::clock;
use crate::control::Request;
use crate::control::client::{ClientError, ask_once};
use crate::engine::META_OFF;
use crate::escape::escape;
use crate::findings::{Finding, Host, Report, rivals};
use crate::service;
use crate::store::{self, query};

use super::configfile::DEFAULT_CONFIG;
use super::{Client, Outcome, check, count, exit, offline, print, print_json};

/// `pillory doctor`
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    state: offline::State,
    /// Look at a host whose root is mounted here.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// A warning of the running daemon.
const WARNING: &str = "warning";

/// What this command found itself need not be said by the daemon, too, which looks for some of the same.
fn say_once(report: &mut Report) {
    let subject = |what: &str| {
        let end = what.find(" (").into_iter().chain(what.find(" in ")).min();
        what.get(..end.unwrap_or(what.len())).unwrap_or_default().to_owned()
    };
    let own = report.findings.iter().filter(|finding| finding.id != WARNING);
    let own: Vec<String> = own.map(|finding| subject(&finding.what)).collect();
    report.findings.retain(|finding| finding.id != WARNING || !own.contains(&subject(&finding.what)));
}

impl Doctor {
    pub(crate) fn run(&self) -> Outcome {
        let host = Host { root: self.root.clone(), now: clock::now() };
        let mut report = Report::default();
        self.daemon(&host, &mut report);
        if self.root == Path::new("/") {
            kernel(&mut report);
            rivals::kernel(&host, &mut report);
        }
        let processes = host.processes();
        logs::sshd(&host, &processes, &mut report);
        logs::proxy(&host, &mut report);
        storage::btmp(&host, &mut report);
        storage::disk(&host, &mut report);
        rivals::look(&host, &processes, &mut report);
        say_once(&mut report);
        if self.client.json {
            print_json(&value(&report))?;
        } else {
            print(&text(&report))?;
        }
        Ok(if report.findings.is_empty() { 0 } else { exit::NO })
    }

    /// Is the daemon running, and does it enforce?
    fn daemon(&self, host: &Host, report: &mut Report) {
        match ask_once(&self.client.control, &Request::Status) {
            Ok(reply) => {
                if reply.value["banaction"] == dryrun::NAME {
                    let cure = "run it without --dry-run, and with another banaction";
                    report.find("dry_run", "Pillory only says what it would do, nothing is enforced", cure);
                } else if reply.value["enforcing"] == false {
                    report.find("off", "Pillory is switched off, nothing is enforced", "run `pillory on`");
                }
                rights::look(host, &reply.value, report);
                logs::silent(host, &reply.value, report);
                let warnings = reply.value["warnings"].as_array().into_iter().flatten();
                warnings.filter_map(Value::as_str).for_each(|warning| report.find(WARNING, warning, ""));
                if reply.value["jails"].as_array().is_none_or(Vec::is_empty) {
                    report.find("no_jail", "no jail runs", "name a logpath in /etc/pillory/pillory.toml");
                }
            }
            Err(ClientError::NotAllowed { .. }) => {
                report.find("not_root", "the daemon may not be asked by you", "run `sudo pillory doctor`");
            }
            Err(error) => {
                let cure = if service::has_unit() {
                    "start it: `systemctl enable --now pillory`"
                } else {
                    "start it: `pillory run`, or `make install` for a service"
                };
                configuration(host, report);
                report.find("no_daemon", format!("no daemon runs, nobody is judged: {error}"), cure);
                self.stored_off(report);
            }
        }
    }

    fn stored_off(&self, report: &mut Report) {
        let off = store::open_read_only(&self.state.state_dir)
            .ok()
            .and_then(|db| query::meta(&db, META_OFF).ok().flatten());
        if off.is_some_and(|off| !off.is_empty()) {
            let cure = "run `pillory on`, or it enforces nothing when it starts";
            report.find("off", "Pillory is switched off", cure);
        }
    }
}

/// What keeps a daemon from starting, as it reads the configuration.
fn configuration(host: &Host, report: &mut Report) {
    let path = (host.root != Path::new("/")).then(|| host.path(DEFAULT_CONFIG));
    if path.as_ref().is_some_and(|path| !path.exists()) {
        return;
    }
    for problem in check::problems(path) {
        let Problem { cure, .. } = problem.clone();
        report.find("config", Problem { cure: String::new(), ..problem }.to_string(), cure);
    }
}

/// Are we allowed to ban, and with what?
fn kernel(report: &mut Report) {
    match actions::best_kind() {
        (Some(kind), refused) => {
            for (worse, error) in refused {
                let what = format!("{} cannot be used here: {error}", worse.name);
                report.find("action", what, format!("{} is used instead: {}", kind.name, kind.about));
            }
            report.note("action", format!("bans by {}: {}", kind.name, kind.about));
        }
        (None, refused) => {
            let denied = refused.iter().any(|(_, error)| matches!(error, ActionError::NotPermitted { .. }));
            if denied {
                let what = "may not write nftables: CAP_NET_ADMIN is missing";
                report.find("not_permitted", what, "run it as root, or grant the capability in the unit");
                return;
            }
            for (kind, error) in refused {
                report.find(
                    "action",
                    format!("{}: {error}", kind.name),
                    "use a kernel with nf_tables or routes",
                );
            }
        }
    }
}

fn value(report: &Report) -> Value {
    let list = |findings: &[Finding]| -> Vec<Value> {
        let value =
            |finding: &Finding| json!({"id": finding.id, "finding": finding.what, "cure": finding.cure});
        findings.iter().map(value).collect()
    };
    json!({"findings": list(&report.findings), "notes": list(&report.notes)})
}

fn text(report: &Report) -> String {
    let line = |mark: &str, finding: &Finding| format!("{mark} {}\n", escape(&finding.words()));
    let mut text: String = report.findings.iter().map(|finding| line("!", finding)).collect();
    text.extend(report.notes.iter().map(|note| line("-", note)));
    match report.findings.len() as u64 {
        0 => text.push_str("nothing is wrong\n"),
        found => text
            .push_str(&format!("{} (!); what is not named was found to be right\n", count(found, "finding"))),
    }
    text
}
