//! One action of one jail: which of its commands runs when.
//!
//! As fail2ban has it: `actionstart` comes first, or waits for the first ban of an address' family; a command that
//! fails is tried once more if `actioncheck` says that something was missing and `actionrepair`, or a new start,
//! brought it back; `actionflush` stands for all unbans at the end, if there is one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use pillory_core::config::fail2ban::F2bAction;
use pillory_core::config::fail2ban::render::{self, ShellCommand};
use pillory_core::event::JailName;
use pillory_core::filter::settings::Options;

use crate::{clock, names};

use super::facts::of_nobody;
use super::outside::{Order, Outside};

/// `inet4`, `inet6`, or nothing where the action makes no difference.
pub(crate) type Family = Option<&'static str>;

/// What a ban brings into the commands.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The family of the address.
    pub(crate) family: Family,
    /// The address, if it is of one.
    pub(crate) addr: Option<IpAddr>,
    /// `ip`, `failures`, `bantime`, `matches` and so on.
    pub(crate) tags: Options,
    /// What the filter captured, by the names of its groups.
    pub(crate) captures: Options,
    /// It was in force before the daemon started.
    pub(crate) restored: bool,
}

/// What an action is asked to do.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// The jail starts.
    Start,
    /// Somebody is banned.
    Ban(Box<Facts>),
    /// A ban is over.
    Unban(Box<Facts>),
    /// The jail stops: whoever is left is unbanned, and then `actionstop` runs.
    Stop(Vec<Facts>),
}

/// Why an action did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("action {action:?} of jail {jail:?}: {operation}: {cause}")]
pub(crate) struct LaneError {
    jail: JailName,
    action: String,
    operation: &'static str,
    cause: String,
}

/// One action of one jail.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) jail: JailName,
    action: F2bAction,
    /// What runs the commands.
    outside: Outside,
    /// `usedns` lets names be looked up.
    resolves: bool,
    /// Families that were started, and whether somebody is banned in them.
    started: BTreeMap<Family, bool>,
}

/// So long the name of an address is looked for; only this action waits.
const NAME_LIMIT: Duration = Duration::from_secs(5);

const FAMILIES: [Family; 2] = [Some("inet4"), Some("inet6")];

/// What can be asked of an action.
const OPERATIONS: [&str; 7] =
    ["actionstart", "actionstop", "actioncheck", "actionrepair", "actionflush", "actionban", "actionunban"];

/// The names of this host, which commands may contain.
#[derive(Debug)]
pub(crate) struct Hosts(Options);

impl Hosts {
    pub(crate) fn own() -> Hosts {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let short = host.split('.').next().unwrap_or(&host).to_owned();
        Hosts([("fq-hostname".to_owned(), host), ("sh-hostname".to_owned(), short)].into_iter().collect())
    }

    /// Every command of an action, as it is before a ban's values are filled in.
    pub(crate) fn commands_of(&self, action: &F2bAction) -> Vec<String> {
        let families = [None].into_iter().chain(FAMILIES);
        let all = families.flat_map(|family| OPERATIONS.map(|operation| (operation, family)));
        all.filter_map(|(operation, family)| action.command(operation, family, &self.0).ok()).collect()
    }
}

impl Lane {
    pub(crate) fn new(jail: JailName, action: F2bAction, outside: Outside, resolves: bool) -> Lane {
        Lane { jail, action, outside, resolves, started: BTreeMap::new() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.action.name
    }

    /// True if some command has this text.
    pub(crate) fn asks_for(&self, text: &str) -> bool {
        self.action.properties.values().any(|property| property.contains(text))
    }

    /// Does one task.
    /// # Errors
    /// [`LaneError`] of the first command that failed for good.
    pub(crate) fn work(&mut self, task: &Task) -> Result<(), LaneError> {
        match task {
            Task::Start if self.action.starts_on_demand() => Ok(()),
            Task::Start => self.families().into_iter().try_for_each(|family| self.start(family)),
            Task::Ban(facts) if facts.restored && self.action.skips_restored() => Ok(()),
            Task::Ban(facts) => self.ban(facts),
            Task::Unban(facts) => self.unban(facts),
            Task::Stop(left) => self.stop(left),
        }
    }

    fn families(&self) -> Vec<Family> {
        if self.action.has_families() { FAMILIES.to_vec() } else { vec![None] }
    }

    fn family(&self, facts: &Facts) -> Family {
        facts.family.filter(|_| self.action.has_families())
    }

    fn start(&mut self, family: Family) -> Result<(), LaneError> {
        self.operation("actionstart", family)?;
        self.started.entry(family).or_insert(false);
        Ok(())
    }

    fn ban(&mut self, facts: &Facts) -> Result<(), LaneError> {
        let family = self.family(facts);
        if self.action.starts_on_demand() && !self.started.contains_key(&family) {
            self.start(family)?;
        }
        self.for_somebody("actionban", facts, true)?;
        self.started.insert(family, true);
        Ok(())
    }

    fn unban(&mut self, facts: &Facts) -> Result<(), LaneError> {
        if self.started.get(&self.family(facts)) != Some(&true) {
            return Ok(());
        }
        self.for_somebody("actionunban", facts, false)
    }

    fn stop(&mut self, left: &[Facts]) -> Result<(), LaneError> {
        let mut result = Ok(());
        let flushes = self.action.properties.get("actionflush").is_some_and(|text| !text.trim().is_empty());
        let filled: Vec<Family> =
            self.started.iter().filter(|(_, filled)| **filled).map(|(family, _)| *family).collect();
        if flushes {
            for family in filled {
                result = result.and(self.operation("actionflush", family));
            }
        } else {
            for facts in left {
                result = result.and(self.unban(facts));
            }
        }
        let started: Vec<Family> = self.started.keys().copied().collect();
        let mut done: Vec<ShellCommand> = Vec::new();
        for family in started {
            // One command may serve both families: it runs once.
            let order = self.order("actionstop", family, None)?;
            let command = render::render(&order.command, &order.tags, &order.captures);
            if !done.contains(&command) {
                result = result.and(self.execute("actionstop", &order));
                done.push(command);
            }
        }
        self.started.clear();
        result
    }

    /// Runs a command for one ban; if it fails, looks whether the ground it stands on is there, and tries again.
    fn for_somebody(
        &mut self,
        operation: &'static str,
        facts: &Facts,
        repairs: bool,
    ) -> Result<(), LaneError> {
        let family = self.family(facts);
        let command = self.order(operation, family, Some(facts))?;
        let Err(error) = self.execute(operation, &command) else { return Ok(()) };
        let check = self.order("actioncheck", family, None)?;
        if check.command.trim().is_empty() {
            return Err(error);
        }
        if self.execute("actioncheck", &check).is_err() {
            let repairs = repairs || self.is_set("actionrepair_on_unban");
            if !repairs {
                return Err(error);
            }
            self.repair(family)?;
            self.execute("actioncheck", &check)?;
        }
        self.execute(operation, &command)
    }

    fn repair(&mut self, family: Family) -> Result<(), LaneError> {
        let repair = self.order("actionrepair", family, None)?;
        if !repair.command.trim().is_empty() {
            return self.execute("actionrepair", &repair);
        }
        // Whatever is left of it may not even stop any more.
        let _ = self.operation("actionstop", family);
        self.operation("actionstart", family)
    }

    fn is_set(&self, switch: &str) -> bool {
        self.action
            .properties
            .get(switch)
            .is_some_and(|text| matches!(text.to_lowercase().as_str(), "1" | "on" | "true" | "yes"))
    }

    fn operation(&self, operation: &'static str, family: Family) -> Result<(), LaneError> {
        let command = self.order(operation, family, None)?;
        self.execute(operation, &command)
    }

    fn order(
        &self,
        operation: &'static str,
        family: Family,
        facts: Option<&Facts>,
    ) -> Result<Order, LaneError> {
        let text = self
            .action
            .command(operation, family, &Hosts::own().0)
            .map_err(|error| self.error(operation, error.to_string()))?;
        let tags = match facts {
            None => of_nobody(family, clock::now()),
            Some(facts) => {
                let mut tags = facts.tags.clone();
                if text.contains("<ip-host>") {
                    tags.insert("ip-host".to_owned(), self.host_of(facts.addr));
                }
                tags
            }
        };
        let captures = facts.map(|facts| facts.captures.clone()).unwrap_or_default();
        let limit = Duration::from_millis(self.action.timeout.millis());
        Ok(Order { command: text, tags, captures, limit })
    }

    /// The name of an address; `None`, as fail2ban has it, if there is none or names are not to be looked up.
    fn host_of(&self, addr: Option<IpAddr>) -> String {
        let name = addr.filter(|_| self.resolves).and_then(|addr| names::name_of(addr, NAME_LIMIT));
        name.unwrap_or_else(|| "None".to_owned())
    }

    fn execute(&self, operation: &'static str, order: &Order) -> Result<(), LaneError> {
        if order.command.trim().is_empty() {
            return Ok(());
        }
        self.outside.run(order).map_err(|error| self.error(operation, error.to_string()))
    }

    fn error(&self, operation: &'static str, cause: String) -> LaneError {
        LaneError { jail: self.jail.clone(), action: self.action.name.clone(), operation, cause }
    }
}
