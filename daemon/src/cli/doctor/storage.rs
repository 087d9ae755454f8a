//! Files that grow: btmp and who rotates it, and the disk that holds the logs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pillory_core::time::{Span, Timestamp};

use crate::findings::disk::{self, Space};
use crate::findings::{Host, Report};

use super::logs::STALE;

const BTMP: &str = "/var/log/btmp";

/// A btmp larger than this and not rotated is worth a word.
const LARGE_BYTES: u64 = 100 * 1000 * 1000;

fn modified(meta: &std::fs::Metadata) -> Timestamp {
    Timestamp::from_secs(meta.mtime())
}

/// Is btmp there, who writes it, how large is it and who rotates it?
pub(super) fn btmp(host: &Host, report: &mut Report) {
    let other_log = super::logs::tail(&host.path("/var/log/auth.log")).len()
        + super::logs::tail(&host.path("/var/log/secure")).len();
    let has_journal = ["/var/log/journal", "/run/log/journal"].iter().any(|path| host.exists(path));
    let only_btmp = other_log == 0 && !has_journal;
    let Ok(meta) = std::fs::metadata(host.path(BTMP)) else {
        let what = "there is no /var/log/btmp: lastb shows nothing";
        match only_btmp {
            true => report.find(
                "btmp_missing",
                format!("{what}, and there is no other log of sshd either"),
                "start journald or rsyslog; or `install -m 660 -g utmp /dev/null /var/log/btmp`, which older sshd write",
            ),
            false => report.note("btmp_missing", format!("{what}; the other logs of sshd are read")),
        }
        return;
    };
    let age = host.now.since(modified(&meta));
    let size = disk::size(meta.len());
    if meta.len() == 0 || age > STALE {
        let what = match meta.len() {
            0 => "/var/log/btmp is empty: nobody writes it (Debian 13's sshd does not), or nobody failed"
                .to_owned(),
            _ => format!(
                "nobody has written /var/log/btmp for {} days (Debian 13's sshd does not)",
                age.secs() / 86_400
            ),
        };
        match only_btmp {
            true => report.find(
                "btmp_silent",
                what,
                "start journald or rsyslog, so that sshd's failures are seen",
            ),
            false => report.note("btmp_silent", what),
        }
    } else {
        report.note("btmp", format!("/var/log/btmp was written {} ago", Span::from_secs(age.secs())));
    }
    if meta.mode() & 0o007 != 0 {
        report.find(
            "btmp_rights",
            "/var/log/btmp is open to all: sshd does not write it then",
            "chmod o= /var/log/btmp",
        );
    }
    match disk::rotated_by(host, BTMP) {
        Some(file) => report.note("btmp_size", format!("/var/log/btmp is {size}; {file} rotates it")),
        None if meta.len() > LARGE_BYTES => report.find(
            "btmp_large",
            format!("/var/log/btmp is {size} and nobody rotates it"),
            disk::stanza(BTMP),
        ),
        None => report.note("btmp_size", format!("/var/log/btmp is {size}; nobody rotates it")),
    }
}

/// Full within so many days is worth a word.
const SOON_DAYS: f64 = 7.0;

/// Is the disk that holds the logs nearly full, and when will it be?
pub(super) fn disk(host: &Host, report: &mut Report) {
    let directory = host.path("/var/log");
    let Some(space) = Space::of(&directory) else { return };
    let per_day = growth(&directory, host.now);
    let days = if per_day > 0.0 { space.free as f64 / per_day } else { f64::INFINITY };
    if space.is_nearly_full() || days < SOON_DAYS {
        let days = (!space.is_nearly_full()).then_some(days);
        report.findings.push(disk::finding(host, &space, days, &[directory]));
        return;
    }
    let when = match days {
        days if days < 3650.0 => {
            format!("; at {} a day of logs it is full in {days:.0} days", disk::size(per_day as u64))
        }
        _ => String::new(),
    };
    let (free, percent) = (disk::size(space.free), space.percent());
    report.note("disk", format!("the disk of /var/log has {free} free ({percent} %){when}"));
}

/// Bytes a day by which the logs grow: each live file's size over the time since the last rotation.
///
/// Rotated files that are deleted in the end are not counted against it: it says too much rather than too little.
fn growth(directory: &Path, now: Timestamp) -> f64 {
    let mut per_day = 0.0;
    let inner = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let directories = inner.filter(|path| path.is_dir() && !path.is_symlink()).take(200);
    for directory in directories.chain([directory.to_owned()]) {
        let files = std::fs::read_dir(&directory).into_iter().flatten().flatten().take(2_000);
        for file in files {
            let Ok(meta) = file.metadata() else { continue };
            if !meta.is_file() || now.since(modified(&meta)) > Span::from_secs(86_400) {
                continue;
            }
            let rotated = file.path().with_file_name(format!("{}.1", file.file_name().to_string_lossy()));
            let began =
                std::fs::metadata(rotated).map(|meta| modified(&meta)).ok().or_else(|| created(&meta));
            // A file younger than an hour tells nothing yet.
            let seconds = began.map_or(0, |began| now.since(began).secs());
            if seconds >= 3_600 {
                per_day += meta.len() as f64 * 86_400.0 / seconds as f64;
            }
        }
    }
    per_day
}

fn created(meta: &std::fs::Metadata) -> Option<Timestamp> {
    let since = meta.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(i64::try_from(since.as_secs()).ok()?))
}
