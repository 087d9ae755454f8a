//! `pillory import --fail2ban`: moving house. The configuration is written anew, the bans in force are taken over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use pillory_core::config::fail2ban::{F2bJail, Fail2ban, Moved};
use pillory_core::config::{Problem, raw, resolve};
use pillory_core::event::JailName;
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::time::{BanTime, Span, Timestamp};

use crate::cli::client::{caller, word};
use crate::cli::configfile::refused;
use crate::cli::{
    Failure, Outcome, complain, count, exit, fail2ban, pieces, print, print_as_it_is, print_json,
};
use crate::clock;
use crate::control::{BanOptions, BanOrder, KeptBan, short};
use crate::escape::escape;

use super::Import;
use super::database::{self, Kept};

/// What is taken from the database.
#[derive(Debug, Default)]
struct Taken {
    orders: BTreeMap<JailName, Vec<BanOrder>>,
    /// Address, jail and reason of what is not.
    skipped: Vec<(String, String, &'static str)>,
}

/// What became of it.
#[derive(Debug, Default)]
struct Sums {
    changed: u64,
    unchanged: u64,
    refused: Vec<Value>,
    message: String,
}

impl Import {
    /// Moves house from a fail2ban directory.
    pub(super) fn move_house(&self, directory: &Path) -> Outcome {
        let (found, code) = fail2ban::read(directory);
        // Of what cannot be read nothing is known, and a configuration without it would be another one.
        fail2ban::openable(directory)?;
        if code == exit::NOT_PERMITTED {
            return Err(refused(&found.problems, code));
        }
        let moved = found.moved();
        let name =
            self.out.as_ref().map_or_else(|| "pillory.toml".to_owned(), |out| out.display().to_string());
        // Invariant: what is written can be read again; a test holds it for every stock jail.
        let wrong = raw::parse(&name, &moved.toml).and_then(|raw| resolve::resolve(&raw).map(drop)).err();
        let taken = self.kept_bans(&found)?;
        if !self.dry_run
            && let Some(out) = &self.out
        {
            write(out, &moved.toml)?;
        }
        let sums = self.take(&taken)?;
        self.report(&found.problems, &moved, &taken, &sums, &name)?;
        match wrong {
            Some(problems) => {
                problems.iter().for_each(|problem| complain(&problem.to_string()));
                Ok(exit::USAGE)
            }
            None => Ok(if found.jails.is_empty() { exit::NO } else { 0 }),
        }
    }

    fn kept_bans(&self, found: &Fail2ban) -> Result<Taken, Failure> {
        let named = self.fail2ban_db.clone();
        let usual = || found.settings.dbfile.as_ref().map(PathBuf::from).filter(|path| path.exists());
        let Some(path) = named.or_else(usual) else { return Ok(Taken::default()) };
        let kept = database::bans(&path).map_err(|error| {
            let name = escape(&path.display().to_string());
            Failure::new(
                exit::USAGE,
                format!("cannot read fail2ban's database {name}: {error}; name it with --fail2ban-db"),
            )
        })?;
        let now = clock::now();
        let mut taken = Taken::default();
        for ban in kept {
            match order(&found.jails, &ban, now) {
                Ok(Some((jail, order))) => taken.orders.entry(jail).or_default().push(order),
                Ok(None) => {}
                Err(why) => taken.skipped.push((ban.ip, ban.jail, why)),
            }
        }
        Ok(taken)
    }

    /// Hands the bans to the daemon, or to the store where no daemon answers.
    fn take(&self, taken: &Taken) -> Result<Sums, Failure> {
        let mut sums = Sums::default();
        for (jail, orders) in &taken.orders {
            let options = BanOptions {
                jail: Some(jail.clone()),
                bantime: BanTime::Forever,
                force: false,
                import: true,
                dry_run: self.dry_run,
                caller: caller(),
            };
            let reply = pieces::ban(&self.client, orders.clone(), &options, |orders, gone| {
                self.state.import(orders, &options, self.config.as_deref(), gone)
            })?;
            sums.changed += reply.value["changed"].as_u64().unwrap_or(0);
            sums.unchanged += reply.value["unchanged"].as_u64().unwrap_or(0);
            sums.refused.extend(reply.value["refused"].as_array().cloned().unwrap_or_default());
            sums.message = reply.message;
        }
        Ok(sums)
    }

    fn report(
        &self,
        problems: &[Problem],
        moved: &Moved,
        taken: &Taken,
        sums: &Sums,
        name: &str,
    ) -> Result<(), Failure> {
        if self.client.json {
            let skipped =
                |(ip, jail, why): &(String, String, &str)| json!({"ip": ip, "jail": jail, "why": why});
            let said = json!({
                "config": moved.toml,
                "lost": moved.lost,
                "problems": problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "banned": sums.changed + sums.unchanged,
                "changed": sums.changed,
                "unchanged": sums.unchanged,
                "refused": sums.refused,
                "skipped": taken.skipped.iter().map(skipped).collect::<Vec<_>>(),
            });
            return print_json(&said);
        }
        problems.iter().for_each(|problem| complain(&problem.to_string()));
        let mut text = String::new();
        for what in &moved.lost {
            let _ = writeln!(text, "no equivalent: {}", escape(what));
        }
        for (ip, jail, why) in &taken.skipped {
            let _ = writeln!(text, "not taken over: {} of jail {}: {why}", escape(ip), escape(jail));
        }
        for refused in &sums.refused {
            let _ = writeln!(text, "never banned: {}: {}", short(&refused["prefix"]), word(&refused["why"]));
        }
        let would = if self.dry_run { "would be " } else { "" };
        let before = match sums.unchanged {
            0 => String::new(),
            before => format!(", {before} more in force already"),
        };
        let _ = writeln!(text, "{} {would}taken over{before}", count(sums.changed, "ban"));
        if !sums.message.is_empty() {
            let _ = writeln!(text, "{}", sums.message);
        }
        if self.out.is_some() {
            let done = if self.dry_run { "would be written" } else { "written" };
            return print(&format!("{text}{name} {done}; try it with `pillory check --config {name}`\n"));
        }
        // The configuration is what is asked for; the rest goes where it does not mix.
        text.lines().for_each(complain);
        print_as_it_is(&moved.toml)
    }
}

/// The order that takes a ban over; nothing if it is over.
fn order(
    jails: &[F2bJail],
    ban: &Kept,
    now: Timestamp,
) -> Result<Option<(JailName, BanOrder)>, &'static str> {
    let jail = jails.iter().find(|jail| jail.name.as_str() == ban.jail).ok_or("no such jail is enabled")?;
    let since = Timestamp::from_secs(ban.since);
    let until = length(jail, ban.bantime).end(since);
    if until.is_over(now) {
        return Ok(None);
    }
    let prefix: Prefix = ban.ip.parse().map_err(|_| "it is no address")?;
    if PrefixSet::new(jail.ignoreip.iter().copied()).contains(prefix) {
        return Err("its jail's ignoreip holds it");
    }
    let reason = "taken over from fail2ban".to_owned();
    let kept = Some(KeptBan { since, until });
    Ok(Some((jail.name.clone(), BanOrder { prefix, reason, listed: None, kept })))
}

/// How long a ban lasts: fail2ban lengthens none beyond what its jail allows now, and shortens those that are longer.
fn length(jail: &F2bJail, kept: i64) -> BanTime {
    let most = match (jail.increment, jail.growth.maxtime) {
        (false, _) => jail.bantime,
        (true, Some(most)) => BanTime::For(most),
        (true, None) => BanTime::Forever,
    };
    match (u64::try_from(kept), most) {
        (Err(_), most) if kept == -1 => most,
        (Err(_), _) => jail.bantime,
        (Ok(secs), BanTime::For(most)) => BanTime::For(Span::from_secs(secs.min(most.secs()))),
        (Ok(secs), BanTime::Forever) => BanTime::For(Span::from_secs(secs)),
    }
}

/// Writes the configuration; a file that says something else is somebody's work and stays.
fn write(out: &Path, toml: &str) -> Result<(), Failure> {
    let name = escape(&out.display().to_string());
    match std::fs::read(out) {
        Ok(old) if old == toml.as_bytes() => return Ok(()),
        Ok(_) => {
            let what = format!(
                "{name} is there already and says something else; move it away, or name another --out"
            );
            return Err(Failure::new(exit::USAGE, what));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::new(exit::USAGE, format!("cannot read {name}: {error}"))),
    }
    // Nothing was there, so nothing may be: a link that leads nowhere yet is not followed.
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(out);
    made.and_then(|mut file| file.write_all(toml.as_bytes()))
        .map_err(|error| Failure::new(exit::NO, format!("cannot write {name}: {error}")))
}
