//! The database of networks that `[geo]` names: a MaxMind DB file (`.mmdb`) that says which autonomous system announces an
//! address. It is read whole into memory, at a start and at each reload, and never looked for elsewhere.
//!
//! The file is somebody else's work. Whatever it holds, a look-up takes a bounded time and at worst gives nothing; a file
//! that cannot be used is a warning, and judging goes on without it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use maxminddb::Reader;
use serde::Deserialize;

use pillory_core::jail::networks::Networks;

/// Larger files are refused: the largest that is handed out has some 12 MB.
const MAX_BYTES: u64 = 256 << 20;

/// Names of operators are cut there.
const MAX_NAME: usize = 100;

/// A database that was read.
pub(crate) struct Operators(Reader<Vec<u8>>);

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operators({})", self.0.metadata().database_type)
    }
}

/// What is asked of a record.
#[derive(Deserialize)]
struct Record<'r> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'r str>,
}

/// Reads a database, or says why it cannot be used, and what follows from that.
pub(crate) fn open(path: &Path) -> Result<Arc<dyn Networks>, String> {
    read(path).map(|operators| Arc::new(operators) as Arc<dyn Networks>).map_err(|reason| {
        format!(
            "geo.asn: cannot use {}: {reason}; campaigns are not told by operator until a reload finds a good one",
            path.display()
        )
    })
}

fn read(path: &Path) -> Result<Operators, String> {
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
    understand(bytes)
}

pub(crate) fn understand(bytes: Vec<u8>) -> Result<Operators, String> {
    let reader = Reader::from_source(bytes).map_err(|error| error.to_string())?;
    let kind = &reader.metadata().database_type;
    if !kind.to_ascii_lowercase().contains("asn") {
        let kind: String = kind.chars().take(MAX_NAME).collect();
        return Err(format!(
            "it is a database of another kind ({kind:?}), not one of autonomous systems (ASN)"
        ));
    }
    Ok(Operators(reader))
}

impl Operators {
    fn record(&self, addr: IpAddr) -> Option<Record<'_>> {
        // A record that cannot be read says nothing.
        self.0.lookup(addr).ok()?.decode().ok()?
    }
}

impl Networks for Operators {
    fn asn(&self, addr: IpAddr) -> Option<u32> {
        self.record(addr)?.autonomous_system_number
    }

    fn operator(&self, addr: IpAddr) -> Option<String> {
        let name = self.record(addr)?.autonomous_system_organization?;
        Some(name.chars().take(MAX_NAME).collect())
    }
}

// The lab's tests write such files, too.
#[cfg(test)]
#[path = "../tests/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests;
