//! From a fail2ban directory to a [`Config`]: its jails beside nothing else.

use crate::config::{Backend, Config, Enabled, JailConfig, LineJail};
use crate::filter::FilterSpec;
use crate::jail::lines::{LineRules, Reach as Shut};
use crate::net::PrefixSet;

use super::native::{Block, Reach, Way};
use super::{F2bAction, F2bJail, Fail2ban, NativeAction, UseDns};

/// Every port: how a jail of fail2ban's names all ports of a protocol.
const ALL_PORTS: &str = "1:65535";

impl Fail2ban {
    /// The configuration with the jails of this directory in the place of `base`'s own; what `base` says of the host
    /// (who is never banned, say) stays.
    pub fn config(&self, base: Config) -> Config {
        let mut jails: Vec<JailConfig> = self.jails.iter().map(jail).collect();
        jails.sort_by(|a, b| a.name.cmp(&b.name));
        // What our own file names goes before what the directory does.
        let ban_log = base.ban_log.clone().or_else(|| self.settings.log_file().map(Into::into));
        let mut config = Config { jails, ban_log, ..base };
        let names = self.jails.iter().flat_map(|jail| &jail.ignoreip_names);
        config.ignoreip_names.extend(names.cloned());
        config.ignoreip_names.sort();
        config.ignoreip_names.dedup();
        let natives = || self.jails.iter().flat_map(|jail| &jail.actions).map(|action| &action.native);
        let only_routes = natives().all(|native| !matches!(native, NativeAction::Nftables { .. }))
            && natives().any(|native| matches!(native, NativeAction::Nullroute(_)));
        if config.banaction == "auto" && only_routes {
            config.banaction = "nullroute".to_owned();
        }
        config
    }
}

pub(super) fn jail(jail: &F2bJail) -> JailConfig {
    let (reach, port) = reach(&jail.actions);
    let (block, way) = treatment(&jail.actions);
    let stands_in = jail.filter.stand_in.is_some();
    let filter = match &jail.filter.stand_in {
        Some(stand_in) => FilterSpec { ignoreregex: jail.filter.ignoreregex.clone(), ..stand_in.clone() },
        None => jail.filter.spec(),
    };
    let rules = LineRules {
        maxretry: jail.maxretry,
        findtime: jail.findtime,
        bantime: jail.bantime,
        growth: jail.increment.then(|| jail.growth.clone()),
        ignore: PrefixSet::new(jail.ignoreip.iter().copied()),
        reach,
        maxmatches: jail.maxmatches,
        skips_history: !jail.logpath.is_empty() && jail.logpath.iter().all(|log| log.from_end),
        asks: jail.ignorecommand.is_some(),
        resolves: matches!(jail.filter.usedns, UseDns::Yes | UseDns::Warn),
        runs_commands: jail.actions.iter().any(|action| action.native == NativeAction::Command),
        by_attempts: stands_in,
        bans_of: jail.counts_bans_of.clone(),
    };
    let mut options = jail.filter.options();
    let commands: Vec<F2bAction> =
        jail.actions.iter().filter(|action| action.native == NativeAction::Command).cloned().collect();
    options.keep_matches = !commands.is_empty() || jail.ignorecommand.is_some();
    // What is not known has been said; the usual encoding stands in.
    options.encoding = jail.logencoding.as_deref().and_then(|name| name.parse().ok()).unwrap_or_default();
    options.zone = jail.logtimezone.as_deref().and_then(|zone| zone.parse().ok());
    JailConfig {
        name: jail.name.clone(),
        enabled: if jail.enabled { Enabled::Yes } else { Enabled::No },
        backend: backend(jail),
        logpath: match jail.counts_bans_of.is_empty() {
            true => jail.logpath.iter().map(|log| log.pattern.clone()).collect(),
            false => Vec::new(),
        },
        filter,
        policy: jail.policy(),
        port,
        block,
        way,
        lines: Some(LineJail {
            rules,
            options,
            ignorecommand: jail.ignorecommand.clone(),
            ignorecache: jail.ignorecache.clone(),
            commands,
        }),
    }
}

fn backend(jail: &F2bJail) -> Backend {
    match (jail.backend.starts_with("systemd"), jail.logpath.is_empty()) {
        (true, _) => Backend::Journal,
        (false, false) => Backend::File,
        // Nothing says what it reads: whatever is best for a filter of ours.
        (false, true) => Backend::Auto,
    }
}

/// Which traffic the jail's actions shut out together, and the ports if it is limited to them.
fn reach(actions: &[F2bAction]) -> (Shut, Vec<String>) {
    let mut port: Vec<String> = Vec::new();
    let mut shut = Shut::Nothing;
    for action in actions {
        let own = match &action.native {
            NativeAction::Nullroute(_) | NativeAction::Nftables { reach: Reach::All, .. } => None,
            NativeAction::Nftables { reach: Reach::Protocols(protocols), .. } => {
                ports(&[ALL_PORTS.to_owned()], protocols)
            }
            NativeAction::Nftables { reach: Reach::Ports { ports: list, protocols }, .. } => {
                ports(list, protocols)
            }
            NativeAction::None(_) | NativeAction::Command => continue,
        };
        match own {
            None => return (Shut::All, Vec::new()),
            Some(own) => {
                shut = Shut::Ports;
                port.extend(own.into_iter().filter(|own| !port.contains(own)).collect::<Vec<_>>());
            }
        }
    }
    (shut, port)
}

/// What becomes of packets to the jail's ports: as its first native action has it.
fn treatment(actions: &[F2bAction]) -> (Block, Way) {
    let native = |action: &F2bAction| match &action.native {
        NativeAction::Nftables { block, way, .. } => Some((*block, *way)),
        _ => None,
    };
    actions.iter().find_map(native).unwrap_or_default()
}

/// `ssh` and `tcp` as `ssh/tcp`; nothing if a protocol has no ports, or is every protocol.
fn ports(list: &[String], protocols: &[String]) -> Option<Vec<String>> {
    let known = protocols.iter().all(|protocol| matches!(protocol.as_str(), "tcp" | "udp"));
    known.then(|| {
        let one = |port: &String, protocol: &String| {
            let port = port.strip_prefix("0:").map_or_else(|| port.clone(), |last| format!("1:{last}"));
            format!("{port}/{protocol}")
        };
        list.iter().flat_map(|port| protocols.iter().map(move |protocol| one(port, protocol))).collect()
    })
}
