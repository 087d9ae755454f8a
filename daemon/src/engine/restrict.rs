//! `[restrict.<name>]`: who may connect to a port at all, as it stands now, and how it is said.

use serde_json::{Value, json};
use tracing::warn;

use pillory_core::config::{self, Config};
use pillory_core::jail::never::{NeverBan, Why};
use pillory_core::net::Prefix;

use crate::actions::Restriction;
use crate::allowed::addresses;
use crate::kernel::Job;
use crate::ports;

use super::Engine;
use super::jails::Facts;

/// The restrictions of a configuration with the addresses that names have now. Who is never banned may always connect,
/// but for those who are spared because of an open session: it stays open in any case, and while it lets its address in
/// anew nobody would notice that this address is not on the list.
pub(crate) fn wanted(config: &Config, facts: &Facts, never: &NeverBan) -> Vec<Restriction> {
    let one = |restriction: &config::Restriction| {
        let named = restriction.allow_names.iter().flat_map(|name| addresses(name, &facts.named));
        let spared =
            never.entries().iter().filter(|(_, why)| *why != Why::Session).map(|(prefix, _)| *prefix);
        let mut all: Vec<Prefix> = restriction.allow.iter().copied().chain(named).chain(spared).collect();
        // Sorted by address and then by length: what a network holds follows it.
        all.sort();
        all.dedup_by(|later, earlier| earlier.contains(*later));
        Restriction { name: restriction.name.clone(), ports: ports::numbers(&restriction.port), allowed: all }
    };
    config.restrict.iter().map(one).collect()
}

/// Says who may connect where, in a log that somebody may read who cannot.
pub(crate) fn say(config: &Config, off: &str) {
    for restriction in &config.restrict {
        let (name, port) = (&restriction.name, restriction.port.join(", "));
        warn!(name, port, allow = %listed(restriction).join(" "), "only these and who is never banned may connect; `{off}` lifts it");
    }
}

fn listed(restriction: &config::Restriction) -> Vec<String> {
    let prefixes = restriction.allow.iter().map(|prefix| prefix.short());
    prefixes.chain(restriction.allow_names.iter().cloned()).collect()
}

impl Engine {
    /// Brings the kernel up to date with who may connect.
    pub(super) fn restrict(&mut self) {
        let wanted = match self.machine.is_enforcing() {
            true => wanted(&self.setup.config, &self.facts, &self.machine.judge.never),
            false => Vec::new(),
        };
        if wanted != self.restricted {
            self.restricted.clone_from(&wanted);
            self.jobs += 1;
            self.tell_kernel(Job::Restrict(self.jobs, wanted));
        }
    }

    /// Why a reload may not bring this configuration: it changes who may connect at all.
    pub(super) fn restricts_anew(&self, new: &Config) -> Option<String> {
        let is_new = !new.restrict.is_empty() && new.restrict != self.setup.config.restrict;
        is_new.then(|| {
            let place = self.setup.place.path().display();
            format!(
                "[restrict] would change who may connect at all; use `pillory apply {place}`, which takes it back if you \
                 cannot come in any more"
            )
        })
    }

    /// As `status` lists them.
    pub(super) fn restrictions(&self) -> Value {
        let all = self.setup.config.restrict.iter().map(|restriction| {
            let named = restriction.allow_names.iter().flat_map(|name| addresses(name, &self.facts.named));
            let prefixes: Vec<String> =
                restriction.allow.iter().copied().chain(named).map(Prefix::short).collect();
            json!({"name": restriction.name, "port": restriction.port, "allow": listed(restriction),
                "prefixes": prefixes})
        });
        Value::Array(all.collect())
    }
}
