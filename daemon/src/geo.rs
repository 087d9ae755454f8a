//! The databases of networks that `[geo]` names: MaxMind DB files (`.mmdb`) that say which autonomous system announces an
//! address, and in which country it is used. They are read whole into memory, at a start and at each reload, and never
//! looked for elsewhere.
//!
//! The files are somebody else's work. Whatever they hold, a look-up takes a bounded time and at worst gives nothing; a
//! file that cannot be used is a warning, and judging goes on without it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use maxminddb::Reader;
use serde::Deserialize;
use serde::de::IgnoredAny;

use pillory_core::config::Geo;
use pillory_core::jail::networks::{Country, Networks};

use crate::escape::escape;

/// Larger files are refused: the largest that is handed out has some 12 MB.
const MAX_BYTES: u64 = 256 << 20;

/// Names of operators are cut there. They are escaped where they are read, for they go into pages, too.
const MAX_NAME: usize = 100;

/// What a database is for.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// Its key in `[geo]`.
    key: &'static str,
    /// What the type of such a database contains.
    types: &'static [&'static str],
    /// What it tells.
    of: &'static str,
    /// What follows if there is none.
    without: &'static str,
}

const ASN: Kind = Kind {
    key: "asn",
    types: &["asn"],
    of: "autonomous systems (ASN)",
    without: "campaigns are not told by operator",
};

const COUNTRY: Kind =
    Kind { key: "country", types: &["country", "city"], of: "countries", without: "countries are not told" };

/// Databases that were read.
#[derive(Default)]
pub(crate) struct Databases {
    asn: Option<Reader<Vec<u8>>>,
    country: Option<Reader<Vec<u8>>>,
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [&self.asn, &self.country].map(|database| Some(&database.as_ref()?.metadata().database_type));
        write!(f, "Databases({kinds:?})")
    }
}

/// What is asked of a record about autonomous systems.
#[derive(Deserialize)]
struct System<'r> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'r str>,
}

/// What is asked of a record about places: files of different makers say it in different ways.
#[derive(Deserialize)]
struct Place<'r> {
    #[serde(borrow)]
    country: Option<Land<'r>>,
    country_code: Option<&'r str>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Land<'r> {
    Record { iso_code: &'r str },
    Code(&'r str),
    Other(IgnoredAny),
}

/// Reads the databases, if there are any, and says why one cannot be used and what follows from that.
pub(crate) fn open(geo: &Geo) -> (Option<Arc<dyn Networks>>, Vec<String>) {
    let mut unusable = Vec::new();
    let mut read = |path: Option<&Path>, kind: Kind| {
        let (path, Kind { key, without, .. }) = (path?, kind);
        let found = read(path).and_then(|bytes| understand(bytes, kind));
        found
            .map_err(|reason| {
                let path = path.display();
                unusable.push(format!(
                    "geo.{key}: cannot use {path}: {reason}; {without} until a reload finds a good one"
                ));
            })
            .ok()
    };
    let databases =
        Databases { asn: read(geo.asn.as_deref(), ASN), country: read(geo.country.as_deref(), COUNTRY) };
    let is_any = databases.asn.is_some() || databases.country.is_some();
    (is_any.then(|| Arc::new(databases) as Arc<dyn Networks>), unusable)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it has more than {} MiB", MAX_BYTES >> 20));
    }
    Ok(bytes)
}

fn understand(bytes: Vec<u8>, kind: Kind) -> Result<Reader<Vec<u8>>, String> {
    let reader = Reader::from_source(bytes).map_err(|error| error.to_string())?;
    let found = &reader.metadata().database_type;
    let lower = found.to_ascii_lowercase();
    if !kind.types.iter().any(|known| lower.contains(known)) {
        let found: String = found.chars().take(MAX_NAME).collect();
        return Err(format!("it is a database of another kind ({found:?}), not one of {}", kind.of));
    }
    Ok(reader)
}

impl Databases {
    /// These bytes as whatever database they may be.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(bytes: &[u8]) -> Databases {
        let read = |kind| understand(bytes.to_vec(), kind).ok();
        Databases { asn: read(ASN), country: read(COUNTRY) }
    }

    fn system(&self, addr: IpAddr) -> Option<System<'_>> {
        // A record that cannot be read says nothing.
        self.asn.as_ref()?.lookup(addr).ok()?.decode().ok()?
    }
}

impl Networks for Databases {
    fn asn(&self, addr: IpAddr) -> Option<u32> {
        self.system(addr)?.autonomous_system_number
    }

    fn operator(&self, addr: IpAddr) -> Option<String> {
        let name = self.system(addr)?.autonomous_system_organization?;
        Some(escape(&name.chars().take(MAX_NAME).collect::<String>()))
    }

    fn country(&self, addr: IpAddr) -> Option<Country> {
        let place: Place<'_> = self.country.as_ref()?.lookup(addr).ok()?.decode().ok()??;
        let said = match place.country {
            Some(Land::Record { iso_code: code } | Land::Code(code)) => Some(code),
            Some(Land::Other(_)) | None => place.country_code,
        };
        Country::parse(said?)
    }
}

// The lab's tests write such files, too.
#[cfg(test)]
#[path = "../tests/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests;
