//! What Pillory does itself in the place of fail2ban's stock actions.
//!
//! A table by the name of the action's file; a name counts only while the action still bans the way that file does
//! (an `actionban` of the operator's own is a command like any other).

use std::fmt;

use super::F2bAction;
use super::action::Kind;

/// What becomes of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NativeAction {
    /// A rule and a set of nftables.
    Nftables {
        /// Which traffic is blocked.
        reach: Reach,
        /// What happens to a packet.
        block: Block,
        /// Which packets are looked at.
        way: Way,
        /// What is not as fail2ban has it; empty if nothing.
        differs: &'static str,
    },
    /// A route that leads nowhere.
    Nullroute(RouteBlock),
    /// Nothing is done, and why.
    None(&'static str),
    /// Its own commands are run.
    Command,
}

/// Which traffic of an offender is blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    All,
    /// All ports of these protocols.
    Protocols(Vec<String>),
    /// These ports of these protocols.
    Ports {
        /// Names, numbers, ranges `1000:2000`.
        ports: Vec<String>,
        /// `tcp`, `udp` and so on.
        protocols: Vec<String>,
    },
}

/// What happens to a packet of an offender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Block {
    /// It vanishes.
    #[default]
    Drop,
    /// It is answered with an error.
    Reject(Reject),
}

/// Which error a packet is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// The port is unreachable.
    Port,
    /// The host is unreachable.
    Host,
    /// There is no route.
    Route,
    /// It is forbidden.
    Forbidden,
    /// The connection is reset; what is no TCP vanishes.
    Reset,
}

/// Which packets a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Way {
    /// All that arrive, with the ports that they were sent to.
    #[default]
    Arriving,
    /// Those that are passed on, with the ports that they reach: containers see other ones than were sent to.
    Forwarded,
}

/// What a route does with packets to an offender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteBlock {
    /// The sender on this host gets an error.
    Unreachable,
    /// They vanish.
    Blackhole,
    /// The sender on this host is told that it is forbidden.
    Prohibit,
}

/// How the parameters of a stock action are read.
#[derive(Clone, Copy)]
enum How {
    /// `type`: oneport, multiport or allports.
    ByType(&'static str),
    /// `port` and `protocol`.
    Ports,
    /// Every packet.
    All,
    /// `actiontype`: `<multiport>` or `<allports>`.
    Firewalld,
    /// A route.
    Route,
    /// Every packet, unless `application` or `destination` narrows it.
    Ufw,
    /// Nothing, because of this.
    Nothing(&'static str),
}

struct Stock {
    file: &'static str,
    how: How,
    /// What `actionban` of the stock file holds.
    mark: &'static str,
    /// Lines of `actionban` in the stock file, at most.
    lines: usize,
    differs: &'static str,
}

const fn row(file: &'static str, how: How, mark: &'static str) -> Stock {
    Stock { file, how, mark, lines: 1, differs: "" }
}

const fn but(stock: Stock, differs: &'static str) -> Stock {
    Stock { differs, ..stock }
}

const NO_LOG: &str = "blocked packets are not logged";
const ALL_STATES: &str = "open connections are blocked too, not only new ones";
const FOREIGN: &str = "it drives a firewall that Linux does not have";

/// The stock actions that are not simply commands.
const STOCK: [Stock; 29] = [
    row("iptables", How::ByType("oneport"), " -I f2b-"),
    row("iptables-multiport", How::ByType("multiport"), " -I f2b-"),
    row("iptables-allports", How::ByType("allports"), " -I f2b-"),
    but(row("iptables-new", How::ByType("oneport"), " -I f2b-"), ALL_STATES),
    but(row("iptables-multiport-log", How::Ports, "-log"), NO_LOG),
    row("iptables-ipset", How::ByType("oneport"), "ipset "),
    row("iptables-ipset-proto4", How::ByType("oneport"), "ipset "),
    row("iptables-ipset-proto6", How::ByType("multiport"), "ipset "),
    row("iptables-ipset-proto6-allports", How::ByType("allports"), "ipset "),
    row("iptables-xt_recent-echo", How::All, "/proc/net/xt_recent/"),
    row("nftables", How::ByType("multiport"), "add element"),
    row("nftables-multiport", How::ByType("multiport"), "add element"),
    row("nftables-allports", How::ByType("allports"), "add element"),
    but(row("firewallcmd-new", How::Ports, "firewall-cmd "), ALL_STATES),
    but(row("firewallcmd-multiport", How::Ports, "firewall-cmd "), ALL_STATES),
    row("firewallcmd-allports", How::All, "firewall-cmd "),
    row("firewallcmd-ipset", How::Firewalld, "ipset"),
    row("firewallcmd-rich-rules", How::Ports, "firewall-cmd "),
    but(row("firewallcmd-rich-logging", How::Ports, "firewall-cmd "), NO_LOG),
    row("route", How::Route, "ip route add "),
    Stock { lines: 8, ..row("ufw", How::Ufw, "ufw ") },
    row("shorewall", How::All, "shorewall"),
    row("ipfilter", How::Nothing(FOREIGN), "ipf"),
    row("bsd-ipfw", How::Nothing(FOREIGN), "ipfw"),
    row("ipfw", How::Nothing(FOREIGN), "ipfw"),
    row("npf", How::Nothing(FOREIGN), "npfctl"),
    row("osx-ipfw", How::Nothing(FOREIGN), "ipfw"),
    row("pf", How::Nothing(FOREIGN), "pfctl"),
    Stock { lines: 2, ..row("dummy", How::Nothing("it only writes to a file, for tests"), "printf ") },
];

/// True if Pillory knows what an action of this name does without its file.
pub(super) fn is_known(file: &str) -> bool {
    STOCK.iter().any(|stock| stock.file == file)
}

/// What becomes of an action.
pub(super) fn of(action: &F2bAction) -> NativeAction {
    if action.kind == Kind::Python {
        return NativeAction::None(
            "it is a Python program of fail2ban's own; name a command that does the same",
        );
    }
    let Some(stock) = STOCK.iter().find(|stock| stock.file == action.file) else {
        return NativeAction::Command;
    };
    if action.kind == Kind::Commands && !is_as_in_stock(stock, text(action, "actionban")) {
        return NativeAction::Command;
    }
    native(stock, action).unwrap_or(NativeAction::Command)
}

fn is_as_in_stock(stock: &Stock, ban: &str) -> bool {
    let lines = ban.lines().filter(|line| !line.trim().is_empty()).count();
    ban.contains(stock.mark) && lines <= stock.lines
}

fn text<'a>(action: &'a F2bAction, key: &str) -> &'a str {
    action.properties.get(key).map(String::as_str).unwrap_or_default()
}

/// Nothing if the parameters mean something that is not built in.
fn native(stock: &Stock, action: &F2bAction) -> Option<NativeAction> {
    let reach = match stock.how {
        How::Nothing(because) => return Some(NativeAction::None(because)),
        How::Route => return Some(NativeAction::Nullroute(route_block(text(action, "blocktype"))?)),
        How::All => Reach::All,
        How::Ports => ports(action),
        How::Ufw => {
            let is_narrow =
                !text(action, "application").is_empty() || !matches!(text(action, "destination"), "" | "any");
            (!is_narrow).then_some(Reach::All)?
        }
        How::Firewalld => match text(action, "actiontype") {
            "" | "<multiport>" => ports(action),
            "<allports>" => Reach::Protocols(protocols(action)),
            written if written.contains("--dports") => ports(action),
            _ => return None,
        },
        How::ByType(usual) => {
            match Some(text(action, "type")).filter(|kind| !kind.is_empty()).unwrap_or(usual) {
                "oneport" | "multiport" => ports(action),
                "allports" => Reach::Protocols(protocols(action)),
                _ => return None,
            }
        }
    };
    let (reach, block) = (usable(reach)?, block(action)?);
    Some(NativeAction::Nftables { reach, block, way: way(action), differs: stock.differs })
}

fn list(text: &str, usual: &str) -> Vec<String> {
    let text = if text.trim().is_empty() { usual } else { text };
    text.split([',', ' ', '\n']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn protocols(action: &F2bAction) -> Vec<String> {
    list(text(action, "protocol"), "tcp")
}

fn ports(action: &F2bAction) -> Reach {
    Reach::Ports { ports: list(text(action, "port"), "ssh"), protocols: protocols(action) }
}

/// Nothing for protocols that a rule of ours does not know.
fn usable(reach: Reach) -> Option<Reach> {
    let is_all = |protocols: &[String]| protocols.iter().any(|protocol| protocol == "all");
    let is_known =
        |protocols: &[String]| protocols.iter().all(|protocol| matches!(protocol.as_str(), "tcp" | "udp"));
    match reach {
        Reach::Protocols(protocols) if is_all(&protocols) => Some(Reach::All),
        // Only these have ports.
        Reach::Ports { ports, protocols } if is_all(&protocols) => {
            Some(Reach::Ports { ports, protocols: ["tcp", "udp"].map(str::to_owned).into() })
        }
        Reach::Protocols(protocols) | Reach::Ports { protocols, .. } if !is_known(&protocols) => None,
        known => Some(known),
    }
}

/// A verdict as iptables, nft, firewalld and ufw write it, in any case; nothing if it is another one.
fn block(action: &F2bAction) -> Option<Block> {
    let error = text(action, "rejecttype");
    let written = match text(action, "blocktype") {
        "" => format!("reject {error}"),
        written => written.replace("<rejecttype>", error),
    };
    let words: Vec<String> = written
        .split_whitespace()
        .map(str::to_lowercase)
        .filter(|word| !matches!(word.as_str(), "counter" | "with" | "--reject-with" | "type"))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let error = match words.as_slice() {
        ["drop" | "deny"] => return Some(Block::Drop),
        [] | ["reject"] => Reject::Port,
        ["reject", "tcp-reset"] | ["reject", "tcp", "reset"] => Reject::Reset,
        ["reject", error] | ["reject", "icmp" | "icmpv6" | "icmpx", error] => by_name(error)?,
        _ => return None,
    };
    Some(Block::Reject(error))
}

/// An error of ICMP by its name, in the same words for both families.
fn by_name(error: &str) -> Option<Reject> {
    let bare = error.strip_prefix("icmp6-").or_else(|| error.strip_prefix("icmp-")).unwrap_or(error);
    match bare {
        "port-unreachable" | "port-unreach" | "proto-unreachable" | "prot-unreachable" => Some(Reject::Port),
        "host-unreachable" | "host-unreach" | "addr-unreachable" | "addr-unreach" => Some(Reject::Host),
        "net-unreachable" | "net-unreach" | "no-route" => Some(Reject::Route),
        _ if bare.ends_with("-prohibited") => Some(Reject::Forbidden),
        _ => None,
    }
}

/// By the hook of an own chain (nft), or by the name of the chain that leads there.
fn way(action: &F2bAction) -> Way {
    let (hook, chain) = (text(action, "chain_hook"), text(action, "chain").to_uppercase());
    let is_forwarded = match hook {
        "" => chain.contains("FORWARD") || chain.starts_with("DOCKER"),
        hook => hook == "forward",
    };
    if is_forwarded { Way::Forwarded } else { Way::Arriving }
}

fn route_block(written: &str) -> Option<RouteBlock> {
    match written {
        "" | "unreachable" => Some(RouteBlock::Unreachable),
        "blackhole" => Some(RouteBlock::Blackhole),
        "prohibit" => Some(RouteBlock::Prohibit),
        _ => None,
    }
}

/// The sentence that is said of it.
impl fmt::Display for NativeAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NativeAction::Nftables { reach, block, way, differs } => {
                let passed_on = match (way, reach) {
                    // Bans of everything hold for what arrives, and so for what is passed on, too.
                    (Way::Arriving, _) | (_, Reach::All) => "",
                    (Way::Forwarded, _) => " that are passed on",
                };
                write!(f, "done natively by nftables: {reach} of an offender{passed_on} ")?;
                match (block, reach) {
                    (Block::Drop, _) => f.write_str("dropped"),
                    (Block::Reject(_), Reach::All) => f.write_str("dropped, where fail2ban rejects"),
                    (Block::Reject(error), _) => write!(f, "rejected ({error})"),
                }?;
                if differs.is_empty() { Ok(()) } else { write!(f, "; {differs}") }
            }
            NativeAction::Nullroute(block) => {
                let kind = match block {
                    RouteBlock::Unreachable => "unreachable",
                    RouteBlock::Blackhole => "blackhole",
                    RouteBlock::Prohibit => "prohibit",
                };
                write!(f, "done natively by a route: {kind}")
            }
            NativeAction::None(because) => write!(f, "left out: {because}"),
            NativeAction::Command => f.write_str("runs its own commands"),
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reject::Port => "port unreachable",
            Reject::Host => "host unreachable",
            Reject::Route => "no route",
            Reject::Forbidden => "forbidden",
            Reject::Reset => "reset",
        })
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::All => f.write_str("all packets"),
            Reach::Protocols(protocols) => write!(f, "all {} packets", protocols.join(" and ")),
            Reach::Ports { ports, protocols } => {
                write!(f, "{} packets to port {}", protocols.join(" and "), ports.join(", "))
            }
        }
    }
}
