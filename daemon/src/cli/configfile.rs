//! The configuration file: where it is, and reading it without trusting what stands there.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use pillory_core::config::{Config, Problem, raw, resolve};

use super::{Failure, exit};

/// Where the configuration is if nobody says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/pillory/pillory.toml";

/// A longer file is no configuration.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads the configuration: of `file`, or of the default place if there is one, or the built-in one.
/// # Errors
/// Every problem, one a line, with exit status 2.
pub(crate) fn load_config(file: Option<&Path>) -> Result<Config, Failure> {
    read_config(file).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(exit::USAGE, lines.join("\npillory: "))
    })
}

/// The same with the problems one by one.
/// # Errors
/// Every problem.
pub(crate) fn read_config(file: Option<&Path>) -> Result<Config, Vec<Problem>> {
    let path = file.unwrap_or(Path::new(DEFAULT_CONFIG));
    match read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            raw::parse(&path.display().to_string(), &text).and_then(|raw| resolve::resolve(&raw))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => {
            Ok(resolve::default_config())
        }
        Err(error) => Err(vec![Problem {
            file: path.display().to_string(),
            line: 0,
            jail: None,
            what: format!("cannot read the configuration: {error}"),
            cure: "name another file with --config".to_owned(),
        }]),
    }
}

/// The bytes of a regular file: a pipe might never end, and opening it would wait for its writer.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is longer than 16 MiB"));
    }
    Ok(bytes)
}
