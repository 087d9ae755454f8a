//! Every stock filter is read and compiled, in every mode that it has and for every kind of log.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{filters, notes, peer};

/// What writes a log; nothing leaves it to the filter.
const LOGTYPES: [Option<&str>; 5] = [None, Some("file"), Some("short"), Some("journal"), Some("rfc5424")];

/// Modes of all stock filters together.
const MODES: [&str; 9] =
    ["normal", "ddos", "extra", "aggressive", "more", "auth", "rbl", "errors", "fallback"];

/// The modes that a filter has: it defines a part of its expressions for each.
fn modes(tools: &Path, filter: &str) -> Vec<Option<&'static str>> {
    let text = std::fs::read_to_string(tools.join(format!("etc/fail2ban/filter.d/{filter}.conf")));
    let text = text.unwrap_or_default();
    let defines = |mode: &str| {
        let key = |line: &str| line.split_once('=').is_some_and(|(key, _)| key.trim_end().ends_with(mode));
        text.contains("-<mode>") && text.lines().any(key)
    };
    let own = MODES.into_iter().filter(|mode| defines(&format!("-{mode}"))).map(Some);
    std::iter::once(None).chain(own).collect()
}

/// The names of a filter with every mode and kind of log: `sshd[mode="ddos",logtype="short"]`.
pub fn variants(tools: &Path, filter: &str) -> Vec<String> {
    let mut names = Vec::new();
    for mode in modes(tools, filter) {
        for logtype in LOGTYPES {
            let mut opts = notes::Opts::new();
            opts.extend(mode.map(|mode| ("mode".to_owned(), mode.into())));
            opts.extend(logtype.map(|kind| ("logtype".to_owned(), kind.into())));
            names.push(notes::named(filter, &opts));
        }
    }
    names
}

#[test]
fn every_stock_filter_loads_in_every_mode_and_for_every_kind_of_log() {
    let Some(tools) = peer::tools() else { return };
    let (mut loaded, mut different, mut failed) = (0, BTreeSet::new(), Vec::new());
    let names = notes::filters(&tools);
    for name in names.iter().flat_map(|filter| variants(&tools, filter)) {
        match filters::read(&tools, &name, false) {
            Ok(read) => {
                let is_new = different.insert(format!("{:?}", read.spec()));
                let error = is_new.then(|| filters::compile(&read).err()).flatten();
                failed.extend(error.map(|error| format!("{name}: {error}")));
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
        loaded += 1;
    }
    eprintln!(
        "{} filters, {loaded} variants of mode and logtype, {} of them different",
        names.len(),
        different.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(names.len() >= 91 && loaded > 500, "filters are missing");
}
