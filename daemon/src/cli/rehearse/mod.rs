//! `pillory rehearse`: what a policy would have done with this host's own logs, or with the given files: attempts let
//! through, bans, good users hit; beside another policy, and for other values of `maxretry` and `findtime`.
//!
//! `scan` reads the files, `pillory_core::rehearse` replays what they hold; here is only what to read and how to say it.

mod chart;
mod material;
pub(super) mod report;
mod svg;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pillory_core::config::Config;
use pillory_core::event::{Outcome as EventOutcome, Points};
use pillory_core::jail::Jail;
use pillory_core::jail::never::NeverBan;
use pillory_core::jail::secret::Secret;
use pillory_core::machine::Machine;
use pillory_core::rehearse::curve::{self, Advice, FINDTIMES, MAXRETRIES, Point, Setting};
use pillory_core::rehearse::good::Logins;
use pillory_core::rehearse::{Rehearsal, Report};
use pillory_core::time::{Span, Timestamp};

use crate::sources::past::base_name;
use crate::{clock, outfile};

use super::configfile::{DEFAULT_CONFIG, load_config};
use super::offline::State;
use super::plot::Counts;
use super::scan::{self, Progress, judging};
use super::screen::Screen;
use super::{Failure, Outcome, complain, exit, print, print_json, rows};

use material::Material;

/// `pillory rehearse`
#[derive(Debug, clap::Args)]
pub(crate) struct Rehearse {
    /// Logs, btmp files, journal files or directories of them, `.gz` and `.xz` too, in the place of this host's own: what each
    /// jail would read here with its rotated parts, and for the time before these what the daemon kept.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Not before: `2026-01-02`, `2026-01-02T03:04:05`, or how long back, `30d`; with files, back from their last
    /// record.
    #[arg(long, value_name = "T", value_parser = parse_since)]
    since: Option<Since>,
    /// The policy; default /etc/pillory/pillory.toml, or the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another policy to set beside it.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Draw the curve into this file, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    state: State,
    /// JSON instead of text.
    #[arg(long, short = 'j')]
    json: bool,
}

/// Where a rehearsal begins.
#[derive(Debug, Clone, Copy)]
enum Since {
    Back(Span),
    At(Timestamp),
}

fn parse_since(text: &str) -> Result<Since, String> {
    match Span::parse(text) {
        Ok(span) => Ok(Since::Back(span)),
        Err(_) => rows::parse_moment(text).map(Since::At),
    }
}

/// A policy with what came of it.
struct Rehearsed {
    /// How it is called.
    name: String,
    /// Its `maxretry` and `findtime` where all jails have the same.
    setting: Option<Setting>,
    report: Report,
    /// Attempts by the minute, and those let through.
    minutes: BTreeMap<i64, Counts>,
}

/// Everything that is told.
struct Told {
    present: Rehearsed,
    against: Option<Rehearsed>,
    curve: Vec<Point>,
    advice: Option<Advice>,
    /// How many places there were good logins from.
    places: usize,
}

impl Rehearse {
    pub(crate) fn run(&self) -> Outcome {
        let (told, material) = self.replayed()?;
        if let Some(path) = &self.svg {
            let drawn = svg::draw(&told);
            outfile::write(path, drawn.as_bytes()).map_err(|error| {
                Failure::new(exit::NO, format!("cannot write {}: {error}; name another file", path.display()))
            })?;
        }
        if self.json {
            print_json(&report::json(&told, &material))?;
        } else {
            print(&report::text(&told, &material, (&clock::zone(), Screen::here())))?;
        }
        if material.is_kept_out() {
            return Err(Failure::new(exit::NOT_PERMITTED, "what may not be read was not replayed"));
        }
        Ok(match (material.is_whole(), told.present.report.total.attempts) {
            (false, _) => exit::USAGE,
            (true, 0) => exit::NO,
            (true, _) => 0,
        })
    }

    /// Everything that is told, and what it was made of.
    fn replayed(&self) -> Result<(Told, Material), Failure> {
        let config = own(scan::policy(self.config.as_deref())?, self.config.as_deref())?;
        let against = self.against.as_deref().map(|file| own(load_config(Some(file))?, Some(file)));
        let against = against.transpose()?;
        let material = Material::read(self, config)?;
        let present = rehearse(self.config.as_deref(), &material.config, &material);
        let logins = Logins::of(&material.seen, &material.machine(&material.config, None).judge);
        let curve = curve_of(&material, &logins);
        let advice = curve::advise(&curve, (&settings(&material.config), &present.report.total));
        let against = match against {
            Some(config) => Some(self.other(config, &material)?),
            None => None,
        };
        Ok((Told { present, against, curve, advice, places: logins.addresses() }, material))
    }

    /// The other policy, over the same records unless its jails read otherwise.
    fn other(&self, config: Config, material: &Material) -> Result<Rehearsed, Failure> {
        let file = self.against.as_deref();
        match material.reads_alike(self, &config) {
            Some(config) => Ok(rehearse(file, &config, material)),
            None => {
                complain("the other policy's jails read otherwise: the logs are read again for it");
                let own = Material::read(self, config)?;
                Ok(rehearse(file, &own.config, &own))
            }
        }
    }
}

/// The policy if its jails are Pillory's own.
fn own(config: Config, file: Option<&Path>) -> Result<Config, Failure> {
    let Some(directory) = &config.fail2ban else { return Ok(config) };
    let directory = directory.display();
    let name = file.map_or_else(|| DEFAULT_CONFIG.to_owned(), |file| file.display().to_string());
    Err(Failure::new(
        exit::USAGE,
        format!(
            "{name} runs the jails of {directory}, which count lines and cannot be rehearsed; `pillory import \
             --fail2ban {directory} --out FILE` writes the same as Pillory's own jails, rehearse that with --config FILE"
        ),
    ))
}

fn rehearse(file: Option<&Path>, config: &Config, material: &Material) -> Rehearsed {
    let machine = material.machine(config, None);
    let logins = Logins::of(&material.seen, &machine.judge);
    let name = match file {
        Some(file) => base_name(file),
        None => "present".to_owned(),
    };
    let mut settings = settings(config);
    settings.dedup();
    let setting = match settings.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    let (mut rehearsal, mut minutes) = (Rehearsal::new(machine, &logins), BTreeMap::new());
    for seen in &material.seen {
        let step = rehearsal.see(seen);
        if step.attempts > 0 && !matches!(seen.event.outcome, EventOutcome::Success) {
            let (all, through): &mut Counts = minutes.entry(seen.time.secs().div_euclid(60)).or_default();
            *all += u64::from(step.attempts);
            *through += if step.is_stopped { 0 } else { u64::from(step.attempts) };
        }
    }
    Rehearsed { name, setting, report: rehearsal.finish(), minutes }
}

/// `maxretry` and `findtime` of each jail.
fn settings(config: &Config) -> Vec<Setting> {
    let jails = config.jails.iter().map(|jail| &jail.policy);
    jails.map(|policy| Setting { maxretry: policy.maxretry, findtime: policy.findtime }).collect()
}

/// The curve; its parts are independent of each other, so that each processor takes some.
fn curve_of(material: &Material, logins: &Logins) -> Vec<Point> {
    let settings = (FINDTIMES.len() * MAXRETRIES.len()) as u64;
    let progress = Mutex::new((0, Progress::new(settings, format!("{settings} settings"))));
    // Each is replayed by a machine of its own: when one is asked for, those before it are done, but for one a processor.
    let machine = |setting| {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, bar) = &mut *progress;
        bar.show(u64::saturating_sub(*begun, FINDTIMES.len() as u64 - 1));
        *begun += 1;
        material.machine(&material.config, Some(setting))
    };
    let machine = &machine;
    let curve = std::thread::scope(|scope| {
        let parts: Vec<_> = FINDTIMES
            .iter()
            .map(|findtime| {
                scope.spawn(move || curve::of_findtime(*findtime, &material.seen, logins, machine))
            })
            .collect();
        // A part that panicked has said so; what is left would be a curve with a hole.
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    });
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).1.clear();
    curve
}

/// Decoys and jitter are drawn with a secret that is nobody's: as many as on a host, and the same in every rehearsal.
const SECRET: [u8; 16] = *b"rehearsal of all";

/// The jails of a configuration, or the same with another `maxretry` and `findtime`.
fn machine(config: &Config, never: &NeverBan, setting: Option<Setting>) -> Machine {
    let jails = config.jails.iter().map(|jail| {
        let mut policy = jail.policy.clone();
        if let Some(setting) = setting {
            (policy.maxretry, policy.findtime) = (setting.maxretry, setting.findtime);
        }
        Jail { name: jail.name.clone(), policy, lines: None }
    });
    let mut machine = judging::machine(config, jails.collect(), never);
    machine.judge.secret = Some(Secret::new(SECRET));
    machine.set_widening(config.widen.clone());
    machine
}

/// Points as the configuration writes them.
fn points(points: Points) -> f64 {
    f64::from(points.0) / 100.0
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::golden::{self, Input};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        rehearse: Rehearse,
    }

    #[test]
    fn a_rehearsal_is_drawn_as_wide_as_the_terminal() {
        golden::hold_the_clock();
        let input = Input::new("rehearse", &golden::attacks_of_days(4));
        std::fs::write(input.0.with_file_name("present.toml"), "").unwrap();
        std::fs::write(input.0.with_file_name("mild.toml"), "maxretry = 20\n").unwrap();
        let path = |name: &str| input.0.with_file_name(name).display().to_string();
        let words = [
            "rehearse",
            "--config",
            &path("present.toml"),
            "--against",
            &path("mild.toml"),
            &path("auth.log"),
        ];
        let (told, material) = Line::parse_from(words).rehearse.replayed().unwrap();
        golden::check("rehearse", |screen| {
            let text = report::text(&told, &material, (&clock::zone(), screen));
            text.replace(&path("auth.log"), "/var/log/auth.log")
        });
    }
}
