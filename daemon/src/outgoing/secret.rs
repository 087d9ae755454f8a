//! Secrets: read from a file each time they are needed, never kept, never shown.

use std::path::Path;

/// A longer file holds no key.
const MOST_BYTES: u64 = 64 * 1024;

/// The first line of a file that is not empty.
/// # Errors
/// What is wrong, in words, without anything of what the file holds.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let failed = |why: &dyn std::fmt::Display| {
        format!("cannot read the secret in {}: {why}; let the daemon's user read that file", path.display())
    };
    let bytes = crate::cli::configfile::read(path, MOST_BYTES).map_err(|error| failed(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| failed(&"it is no text"))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    match line {
        Some(line) if !line.contains(char::is_control) => Ok(line.to_owned()),
        _ => Err(failed(&"its first line is empty or no text")),
    }
}
