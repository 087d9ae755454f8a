//! The second step: from what the file says to a [`Config`] that can only hold valid values.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::JailName;
use crate::filter::{Filter, FilterSpec, catalog};
use crate::jail::growth::Growth;
use crate::jail::policy::{Ladder, Policy};
use crate::jail::secret::Percent;
use crate::jail::widen;
use crate::machine::ScopeRule;
use crate::suggest::did_you_mean;
use crate::time::Span;

use super::growth::GrowthDraft;
use super::keys::{Draft, JAIL_KEYS, Key, Misfit, Misfits, POLICY_KEYS, TOP_KEYS, TopDraft, point_table};
use super::raw::{Entry, RawConfig};
use super::{Backend, Block, Config, Enabled, JailConfig, OnStop, Problem, Way};

/// Jails that run only when asked for: PAM's lines of a service with a jail of its own would count twice.
const ON_REQUEST: [&str; 1] = ["pam-generic"];

/// A quarter of all names: a prober is three quarters sure of a name at most, and a quarter of the unknown names has
/// five tries instead of one or two.
const DECOYS: Percent = Percent(25);

/// Some ten million attempts.
const STATE_MAX: u64 = 1_000_000_000;

/// The configuration of a host that nobody configured.
pub fn default_config() -> Config {
    // Invariant: an empty file has no entries, so nothing can be wrong with it; a test holds it.
    resolve(&RawConfig::default()).unwrap_or_else(|_| empty())
}

/// Resolves a file: unknown keys, bad values and clashes are problems, all of them reported at once.
/// # Errors
/// Every [`Problem`] found, in order of lines.
pub fn resolve(raw: &RawConfig) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut top = TopDraft::default();
    let mut drafts: BTreeMap<String, (Draft, usize)> =
        catalog::names().map(|name| (name.to_owned(), (Draft::default(), 0))).collect();
    for (name, line) in &raw.jails {
        drafts.entry(name.clone()).or_default().1 = *line;
    }
    for entry in &raw.entries {
        if let Err(Misfits(misfits)) = set(entry, &mut top, &mut drafts) {
            problems.extend(misfits.into_iter().map(|Misfit(what, cure)| Problem {
                file: raw.file.clone(),
                line: entry.line,
                jail: entry.jail.clone(),
                what: format!("{} {what}", entry.key),
                cure: cure.to_owned(),
            }));
        }
    }
    let mut clash = JailProblems::new();
    bans(&top.defaults, &Draft::default(), Ladder::long(), &mut clash);
    problems.extend(clash.into_iter().map(|(key, what, cure)| Problem {
        file: raw.file.clone(),
        line: raw.line_of(None, key).unwrap_or(0),
        jail: None,
        what,
        cure: cure.to_owned(),
    }));
    let mut jails = Vec::new();
    for (name, (draft, line)) in &drafts {
        match jail(name, draft, &top.defaults) {
            Ok(jail) => jails.push(jail),
            Err(all) => problems.extend(all.into_iter().map(|(key, what, cure)| Problem {
                file: raw.file.clone(),
                line: raw.line_of(Some(name), key).unwrap_or(*line),
                jail: Some(name.clone()),
                what,
                cure: cure.to_owned(),
            })),
        }
    }
    if problems.is_empty() {
        let budget = |jail: &JailConfig| {
            let own = drafts.get(jail.name.as_str()).and_then(|(draft, _)| draft.widen);
            (jail.name.clone(), own.or(top.defaults.widen).unwrap_or(widen::BUDGET))
        };
        let widen = jails.iter().map(budget).collect();
        return Ok(config(top, jails, widen));
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems)
}

fn config(top: TopDraft, jails: Vec<JailConfig>, widen: BTreeMap<JailName, u64>) -> Config {
    Config {
        ignoreip: top.ignoreip,
        ignoreip_names: top.ignoreip_names,
        goodusers: top.goodusers,
        goodusers_never_ban: top.goodusers_never_ban,
        trusted_proxies: top.trusted_proxies,
        decoys: top.decoys.unwrap_or(DECOYS),
        scope: top.scope.unwrap_or(ScopeRule::Auto),
        banaction: top.banaction.unwrap_or_else(|| "auto".to_owned()),
        on_stop: top.on_stop.unwrap_or(OnStop::Keep),
        fuse: top.fuse,
        restrict: top.restrict,
        rescue: top.rescue,
        geo: top.geo,
        sandbox: top.sandbox.unwrap_or(true),
        wall: top.wall,
        outgoing: top.outgoing,
        web: top.web,
        fail2ban: top.fail2ban,
        ban_log: top.ban_log,
        motd: top.motd,
        state_max: top.state_max.unwrap_or(STATE_MAX),
        retention: top.retention.unwrap_or(Span::from_secs(90 * 86_400)),
        widen,
        jails,
    }
}

fn empty() -> Config {
    config(TopDraft::default(), Vec::new(), BTreeMap::new())
}

fn set(
    entry: &Entry,
    top: &mut TopDraft,
    drafts: &mut BTreeMap<String, (Draft, usize)>,
) -> Result<(), Misfits> {
    let Some(name) = &entry.jail else {
        if let Some(key) = find(POLICY_KEYS, &entry.key) {
            return (key.set)(&mut top.defaults, &entry.value);
        }
        return match find(TOP_KEYS, &entry.key) {
            Some(key) => (key.set)(top, &entry.value),
            None => Err(unknown(
                &entry.key,
                TOP_KEYS
                    .iter()
                    .map(|key| key.name)
                    .chain(POLICY_KEYS.iter().map(|key| key.name))
                    .chain(["jail"]),
            )
            .into()),
        };
    };
    let draft = &mut drafts.entry(name.clone()).or_default().0;
    match find(POLICY_KEYS, &entry.key).or_else(|| find(JAIL_KEYS, &entry.key)) {
        Some(key) => (key.set)(draft, &entry.value),
        None => Err(unknown(&entry.key, JAIL_KEYS.iter().chain(POLICY_KEYS).map(|key| key.name)).into()),
    }
}

fn find<'a, T>(keys: &'a [Key<T>], name: &str) -> Option<&'a Key<T>> {
    keys.iter().find(|key| key.name == name)
}

fn unknown(key: &str, known: impl Iterator<Item = &'static str>) -> Misfit {
    let meant = did_you_mean(key, known);
    Misfit(
        format!("is no key{meant}"),
        if meant.is_empty() { "remove it or mend its spelling" } else { "else remove it" },
    )
}

/// What is wrong with a jail: the key to blame (empty for the whole jail), why, and the cure.
type JailProblems = Vec<(&'static str, String, &'static str)>;

fn jail(name: &str, draft: &Draft, defaults: &Draft) -> Result<JailConfig, JailProblems> {
    let mut problems = JailProblems::new();
    let jail_name = JailName::of_jail(name).map_err(|error| vec![("", error.to_string(), "rename it")])?;
    let filter = filter(name, draft, &mut problems);
    let is_known = problems.is_empty();
    let backend = draft.backend.unwrap_or(Backend::Auto);
    let logpath = draft.logpath.clone().unwrap_or_default();
    let runs = draft.enabled != Some(Enabled::No);
    if backend == Backend::Journal && draft.logpath.is_some() {
        let what = "backend \"journal\" and logpath exclude each other";
        problems.push(("backend", what.into(), "remove one of them"));
    } else if backend == Backend::Journal && filter.journalmatch.is_empty() && runs && is_known {
        let what = "backend is \"journal\", and nothing says which of its entries are meant";
        problems.push(("backend", what.into(), "give it a journalmatch, or another backend"));
    }
    let has_files = !(logpath.is_empty() && filter.logpath.is_empty());
    if backend == Backend::File && !has_files && runs && is_known {
        let what = "backend is \"file\", and nothing says which files";
        problems.push(("backend", what.into(), "give it a logpath"));
    }
    let reads_nothing = !has_files && filter.journalmatch.is_empty() && backend != Backend::Btmp;
    if reads_nothing && runs && problems.is_empty() {
        problems.push(("", "nothing says what it reads".into(), "give it a logpath or a journalmatch"));
    }
    let usual = if filter.public { Ladder::public() } else { Ladder::long() };
    let (bantime, growth) = bans(draft, defaults, usual, &mut problems);
    let policy = Policy {
        maxretry: draft.maxretry.or(defaults.maxretry).unwrap_or(Policy::default().maxretry),
        findtime: draft.findtime.or(defaults.findtime).unwrap_or(Policy::default().findtime),
        bantime,
        growth: growth.map(Arc::new),
        points: point_table(&[&defaults.points, &draft.points]),
        jitter: draft.jitter.or(defaults.jitter).unwrap_or_default(),
        // Of a filter of somebody's own it is not known whom it is about.
        one_account: !filter.public && !filter.own,
    };
    // A jail that the file sets up itself runs; one that only adjusts a built-in jail leaves it to discovery.
    let own = draft.failregex.is_some()
        || draft.logpath.is_some()
        || draft.backend.is_some()
        || draft.filter.is_some();
    let enabled = draft.enabled.unwrap_or(match own {
        true => Enabled::Yes,
        false if ON_REQUEST.contains(&name) => Enabled::No,
        false => Enabled::Auto,
    });
    let port = draft.port.clone().unwrap_or_default();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(JailConfig {
        name: jail_name,
        enabled,
        backend,
        logpath,
        filter,
        policy,
        port,
        block: Block::Drop,
        way: Way::Arriving,
        lines: None,
    })
}

/// How long bans last and how they grow. What comes from `defaults` alone is no problem of this section.
fn bans(
    draft: &Draft,
    defaults: &Draft,
    usual: Ladder,
    problems: &mut JailProblems,
) -> (Ladder, Option<Growth>) {
    let given = draft.bantime.as_ref().or(defaults.bantime.as_ref()).cloned();
    let Some(growth) = GrowthDraft::together(draft.growth.as_ref(), defaults.growth.as_ref()) else {
        return (given.unwrap_or(usual), None);
    };
    // Growth says what the later steps would.
    let base = given.or_else(|| Ladder::new(vec![usual.step(0)])).unwrap_or(usual);
    let key = if draft.growth.is_some() { "growth" } else { "bantime" };
    if draft.growth.is_some() || draft.bantime.is_some() {
        if base.steps().len() > 1 {
            let what = "bantime is a ladder and growth makes bans longer: only one of them can".to_owned();
            problems.push((key, what, "give bantime one length, or write growth = { increment = false }"));
        } else if let Some((earlier, why)) = growth.gap(base.step(0)) {
            let what = format!("growth: formula gives nothing after {earlier} bans: {why}");
            problems.push((key, what, "mend it"));
        }
    }
    (base, Some(growth))
}

fn filter(name: &str, draft: &Draft, problems: &mut JailProblems) -> FilterSpec {
    let wanted = draft.filter.as_deref().unwrap_or(name);
    let mut spec = match catalog::builtin(wanted) {
        Some(spec) => spec,
        None if draft.failregex.is_some() && draft.filter.is_none() => {
            FilterSpec { name: name.to_owned(), own: true, ..FilterSpec::default() }
        }
        None => {
            problems.push((
                if draft.filter.is_some() { "filter" } else { "" },
                format!("there is no built-in filter {wanted:?}{}", did_you_mean(wanted, catalog::names())),
                match wanted {
                    "recidive" => {
                        "take it out: who is banned again is banned longer as it is, by the steps of bantime"
                    }
                    _ => "give it a failregex, or name a filter that exists",
                },
            ));
            return FilterSpec::default();
        }
    };
    if let Some(failregex) = &draft.failregex {
        spec.failregex.clone_from(failregex);
        spec.failclass.clear();
        spec.prefregex = None;
    }
    if draft.prefregex.is_some() {
        spec.prefregex.clone_from(&draft.prefregex);
    }
    if let Some(ignoreregex) = &draft.ignoreregex {
        spec.ignoreregex.clone_from(ignoreregex);
    }
    if draft.datepattern.is_some() {
        spec.datepattern.clone_from(&draft.datepattern);
    }
    match draft.maxlines {
        Some(lines) if spec.own => spec.maxlines = lines,
        Some(2..) => {
            let what = "maxlines has no meaning for a built-in filter, which reads single lines".to_owned();
            problems.push((
                "maxlines",
                what,
                "remove it, or give a jail of another name a failregex of its own",
            ));
        }
        _ => {}
    }
    if let Some(journalmatch) = &draft.journalmatch {
        spec.journalmatch.clone_from(journalmatch);
    }
    let is_changed = draft.failregex.is_some()
        || draft.prefregex.is_some()
        || draft.ignoreregex.is_some()
        || draft.datepattern.is_some();
    if is_changed && let Err(errors) = Filter::compile(&spec) {
        problems.extend(errors.into_iter().map(|error| (error.key(), error.to_string(), "")));
    }
    spec
}
