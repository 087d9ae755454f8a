//! Moving house: a `pillory.toml` that does what a fail2ban directory says, and a list of what it cannot say.

use std::fmt::Write as _;

use crate::config::growth::is_factor;
use crate::config::keys::MAX_MAXLINES;
use crate::config::{Backend, JailConfig, MAX_MAXRETRY};
use crate::event::Points;
use crate::filter::fail2ban::Encoding;
use crate::filter::{Filter, FilterSpec, catalog};
use crate::jail::growth::Growth;
use crate::jail::lines::Reach;
use crate::time::{BanTime, Span};

use super::{F2bJail, Fail2ban, NativeAction, convert};

/// A configuration of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// The text of a `pillory.toml`; the same directory always gives the same text.
    pub toml: String,
    /// What has no equivalent, in sentences.
    pub lost: Vec<String>,
}

impl Fail2ban {
    /// The configuration that does what the jails of this directory do, as far as one of ours can.
    ///
    /// Call [`Fail2ban::examine`] first: a jail that cannot run has no equivalent.
    pub fn moved(&self) -> Moved {
        let mut writer = Writer::default();
        writer.top(self);
        for jail in &self.jails {
            let name = jail.name.as_str();
            match writer.jail(self, jail) {
                Ok(text) => writer.out.toml += &text,
                Err(why) => {
                    writer.lose(format!("jail {name:?} is left out: {why}"));
                    let _ = write!(writer.out.toml, "\n# The jail {name} is left out, see below.\n");
                }
            }
        }
        writer.end(self);
        writer.out
    }
}

#[derive(Default)]
struct Writer {
    out: Moved,
}

impl Writer {
    fn lose(&mut self, what: String) {
        if !self.out.lost.contains(&what) {
            self.out.lost.push(what);
        }
    }

    /// What holds for all jails.
    fn top(&mut self, found: &Fail2ban) {
        let toml = &mut self.out.toml;
        *toml += "# Taken over from a fail2ban directory.\n\n";
        let mut spared: Vec<String> = Vec::new();
        let of = |jail: &F2bJail| -> Vec<String> {
            let prefixes = jail.ignoreip.iter().map(|prefix| prefix.short());
            prefixes.chain(jail.ignoreip_names.iter().cloned()).collect()
        };
        for entry in found.jails.iter().flat_map(of) {
            if !spared.contains(&entry) {
                spared.push(entry);
            }
        }
        if !spared.is_empty() {
            let _ = writeln!(toml, "ignoreip = {}", list(&spared));
        }
        *toml += "# Every failure counts one.\npoints = { bad_user = 1, unknown_user = 1, root = 1, known_user = 1, \
                  good_user = 1, probe = 1, scan = 1, penalty = 1, web = 1 }\n";
        *toml += "# Single addresses are banned, never networks of neighbours.\nwiden = false\n";
        let reaches =
            || found.jails.iter().map(|jail| convert::jail(jail).lines.map(|lines| lines.rules.reach));
        let scope = if reaches().any(|reach| reach == Some(Reach::Ports)) { "ports" } else { "all" };
        let _ = writeln!(toml, "scope = {scope:?}");
        let natives = || found.jails.iter().flat_map(|jail| &jail.actions).map(|action| &action.native);
        if natives().any(|native| matches!(native, NativeAction::Nullroute(_)))
            && natives().all(|native| !matches!(native, NativeAction::Nftables { .. }))
        {
            *toml += "banaction = \"nullroute\"\n";
        }
        if !found.jails.is_empty() {
            self.lose(
                "names in the place of addresses count for nobody: try each jail with a log of yours, by `pillory scan \
                 --config`"
                    .to_owned(),
            );
            self.lose(
                "a failure is an attempt here, not a line, and an IPv6 offender is banned with its /64"
                    .to_owned(),
            );
        }
        if found.jails.iter().any(|jail| {
            of(jail).iter().any(|entry| !found.jails.iter().all(|other| of(other).contains(entry)))
        }) {
            self.lose("ignoreip holds for all jails, whichever of them said it".to_owned());
        }
    }

    /// One jail; or why it has no equivalent.
    fn jail(&mut self, found: &Fail2ban, jail: &F2bJail) -> Result<String, String> {
        if !jail.counts_bans_of.is_empty() {
            return Err(found.instead_of(jail));
        }
        let config = convert::jail(jail);
        let name = jail.name.as_str();
        let filter = equivalent(jail)?;
        let mut text = format!("\n[jail.{}]\n", quoted(name));
        match &filter {
            FilterText::BuiltIn(filter) => {
                self.lose(format!(
                    "jail {name:?}: the built-in filter {filter} stands in for the directory's, whatever its mode"
                ));
                let _ = writeln!(text, "# The built-in filter of that name stands in for fail2ban's.");
                if filter != name {
                    let _ = writeln!(text, "filter = {}", quoted(filter));
                }
            }
            FilterText::Own(spec) => own_filter(&mut text, spec),
        }
        text += "enabled = true\n";
        self.source(&mut text, jail, &config)?;
        self.counting(&mut text, found, jail)?;
        let mut port = config.port.clone();
        if config.lines.as_ref().is_some_and(|lines| lines.rules.reach == Reach::All)
            && self.out.toml.contains("scope = \"ports\"")
        {
            port = vec!["1:65535/tcp".to_owned(), "1:65535/udp".to_owned()];
        }
        if !port.is_empty() {
            let _ = writeln!(text, "port = {}", list(&port));
        }
        self.losses(jail);
        Ok(text)
    }

    fn source(&mut self, text: &mut String, jail: &F2bJail, config: &JailConfig) -> Result<(), String> {
        let name = jail.name.as_str();
        match config.backend {
            Backend::Journal => {
                *text += "backend = \"journal\"\n";
                let alternatives = config.filter.journalmatch.iter().map(|pairs| {
                    pairs
                        .iter()
                        .map(|(field, value)| format!("{field}={value}"))
                        .collect::<Vec<_>>()
                        .join(" ")
                });
                let words: Vec<String> = alternatives.collect();
                if config
                    .filter
                    .journalmatch
                    .iter()
                    .flatten()
                    .any(|(_, value)| value.contains(char::is_whitespace))
                {
                    return Err("its journalmatch has a blank in a value".to_owned());
                }
                let _ = writeln!(text, "journalmatch = {}", quoted(&words.join(" + ")));
                return Ok(());
            }
            Backend::File => *text += "backend = \"file\"\n",
            Backend::Auto | Backend::Btmp => {}
        }
        let usable = |path: &&String| path.starts_with('/') && !path.contains([' ', ',', '\t']);
        let (paths, odd): (Vec<&String>, Vec<&String>) = config.logpath.iter().partition(usable);
        for path in odd {
            self.lose(format!("jail {name:?}: logpath {path:?} is not absolute, or has a blank or a comma"));
        }
        match (paths.is_empty(), config.logpath.is_empty()) {
            (false, _) => {
                let paths: Vec<String> = paths.into_iter().cloned().collect();
                let _ = writeln!(text, "logpath = {}", list(&paths));
                Ok(())
            }
            (true, true) => Ok(()),
            (true, false) => Err("it has no logpath that can be written here".to_owned()),
        }
    }

    fn counting(&mut self, text: &mut String, found: &Fail2ban, jail: &F2bJail) -> Result<(), String> {
        let name = jail.name.as_str();
        let most = MAX_MAXRETRY.0 / Points(100).0;
        if jail.maxretry > most {
            self.lose(format!("jail {name:?}: maxretry {} becomes {most}", jail.maxretry));
        }
        let _ = writeln!(text, "maxretry = {}\nfindtime = \"{}\"", jail.maxretry.min(most), jail.findtime);
        if matches!(jail.bantime, BanTime::For(span) if span.secs() == 0) {
            return Err("its bantime is no time at all".to_owned());
        }
        let steps: Vec<String> = found.ladder_of(jail).iter().map(ToString::to_string).collect();
        let steps = if let [only] = steps.as_slice() { quoted(only) } else { list(&steps) };
        let _ = writeln!(text, "bantime = {steps}");
        if jail.increment {
            match unusable(jail) {
                Some(why) => self.lose(format!("jail {name:?}: its bans do not grow: {why}")),
                None => drop(writeln!(text, "growth = {}", growth(&jail.growth))),
            }
        }
        Ok(())
    }

    /// What a jail says that ours cannot say.
    fn losses(&mut self, jail: &F2bJail) {
        let name = jail.name.as_str();
        let mut lost: Vec<String> = Vec::new();
        for action in &jail.actions {
            match &action.native {
                NativeAction::Command => {
                    lost.push(format!(
                        "action {} runs its own commands, which nothing here runs",
                        action.name
                    ));
                }
                NativeAction::None(because) => {
                    lost.push(format!("action {} is left out: {because}", action.name));
                }
                NativeAction::Nftables { .. } | NativeAction::Nullroute(_) => {}
            }
        }
        let is_other =
            |encoding: &String| encoding.parse::<Encoding>().is_ok_and(|encoding| encoding != Encoding::Utf8);
        for (is_lost, what) in [
            (jail.ignorecommand.is_some(), "ignorecommand has no equivalent"),
            (
                jail.logtimezone.is_some(),
                "logtimezone has no equivalent: stamps are read in this host's zone",
            ),
            (
                jail.logencoding.as_ref().is_some_and(is_other),
                "logencoding has no equivalent: logs are UTF-8",
            ),
            (!jail.ignoreself, "ignoreself = false has no equivalent: own addresses are never banned"),
            (
                jail.logpath.iter().any(|log| log.from_end),
                "a logpath is read from its beginning, not from its tail",
            ),
        ] {
            if is_lost {
                lost.push(what.to_owned());
            }
        }
        lost.into_iter().for_each(|what| self.lose(format!("jail {name:?}: {what}")));
    }

    /// Built-in jails that the directory does not enable, and what is lost.
    fn end(&mut self, found: &Fail2ban) {
        let is_there = |name: &&str| found.jails.iter().any(|jail| jail.name.as_str() == *name);
        let others: Vec<&str> = catalog::names().filter(|name| !is_there(name)).collect();
        if !others.is_empty() {
            self.out.toml += "\n# Jails that would run by themselves where their service is found; the directory does \
                              not enable them.\n";
        }
        for name in others {
            let _ = writeln!(self.out.toml, "[jail.{}]\nenabled = false", quoted(name));
        }
        if !self.out.lost.is_empty() {
            self.out.toml += "\n# What has no equivalent here:\n";
        }
        for what in &self.out.lost {
            let _ = writeln!(self.out.toml, "# - {}", what.replace(char::is_control, " "));
        }
    }
}

/// What stands for a jail's filter.
enum FilterText {
    BuiltIn(String),
    Own(Box<FilterSpec>),
}

fn equivalent(jail: &F2bJail) -> Result<FilterText, String> {
    if catalog::text(&jail.filter.name).is_some() {
        return Ok(FilterText::BuiltIn(jail.filter.name.clone()));
    }
    let trimmed = |line: &String| line.trim() != line.as_str() || line.contains('\r');
    if jail.filter.failregex.iter().chain(&jail.filter.ignoreregex).any(trimmed) {
        return Err("an expression begins or ends with a blank".to_owned());
    }
    let lines = jail.filter.maxlines.map_or(1, |lines| lines as usize);
    if lines > MAX_MAXLINES {
        return Err(format!("its maxlines is more than {MAX_MAXLINES}"));
    }
    let spec = FilterSpec { name: jail.name.to_string(), maxlines: lines, own: true, ..jail.filter.spec() };
    match Filter::compile(&spec) {
        Ok(_) => Ok(FilterText::Own(Box::new(spec))),
        Err(errors) => {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            Err(format!("its filter cannot be used here: {first}"))
        }
    }
}

fn own_filter(text: &mut String, spec: &FilterSpec) {
    if let Some(prefix) = &spec.prefregex {
        let _ = writeln!(text, "prefregex = {}", quoted(prefix));
    }
    for (key, expressions) in [("failregex", &spec.failregex), ("ignoreregex", &spec.ignoreregex)] {
        if !expressions.is_empty() {
            let _ = writeln!(text, "{key} = {}", list(expressions));
        }
    }
    if spec.maxlines > 1 {
        let _ = writeln!(text, "maxlines = {}", spec.maxlines);
    }
    if let Some(pattern) = &spec.datepattern {
        let _ = writeln!(text, "datepattern = {}", quoted(pattern));
    }
}

/// Why a jail's growth cannot be said here.
fn unusable(jail: &F2bJail) -> Option<String> {
    if jail.growth.factor.is_some_and(|factor| !is_factor(factor)) {
        return Some("bantime.factor is out of range".to_owned());
    }
    let (earlier, why) = jail.growth.gap(jail.bantime)?;
    Some(format!("bantime.formula gives nothing after {earlier} bans: {why}"))
}

fn growth(growth: &Growth) -> String {
    let mut rows = vec!["increment = true".to_owned()];
    let span = |name: &str, span: Span| format!("{name} = {}", quoted(&span.to_string()));
    let multipliers = growth.multipliers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    rows.extend(growth.factor.map(|factor| format!("factor = {factor}")));
    rows.extend((!multipliers.is_empty()).then(|| format!("multipliers = [{multipliers}]")));
    rows.extend(growth.formula.as_ref().map(|formula| format!("formula = {}", quoted(formula.text()))));
    rows.extend(growth.rndtime.filter(|most| most.secs() > 0).map(|most| span("rndtime", most)));
    rows.extend(growth.maxtime.filter(|most| most.secs() > 0).map(|most| span("maxtime", most)));
    rows.extend(growth.overalljails.then(|| "overalljails = true".to_owned()));
    format!("{{ {} }}", rows.join(", "))
}

fn list(texts: &[String]) -> String {
    match texts {
        [one] => format!("[{}]", quoted(one)),
        many if many.iter().map(String::len).sum::<usize>() < 80 => {
            format!("[{}]", many.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
        }
        many => {
            format!("[\n{}]", many.iter().map(|text| format!("    {},\n", quoted(text))).collect::<String>())
        }
    }
}

/// A TOML string: literal if it can be, for expressions are full of backslashes.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:*=+, ".contains(c);
    if !text.contains('\'') && !text.contains(char::is_control) && !text.chars().all(is_plain) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}
