//! How large the release binary is, and that it is static.

use crate::process::binary;
use crate::table::Table;

/// Its bytes.
pub fn measure(table: &mut Table) {
    let bytes = std::fs::read(binary()).expect("the binary can be read");
    let linkage = if asks_for_a_loader(&bytes) { "NOT static" } else { "static" };
    let mib = bytes.len() as f64 / f64::from(1 << 20);
    table.promise(format!("release binary, {linkage}"), mib, 12.0, "MiB");
}

/// True if an ELF file of 64 bits has a program header `PT_INTERP`, elf(5).
fn asks_for_a_loader(elf: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| {
        elf[at..at + length].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|at| usize::try_from(first + at * size).is_ok_and(|at| number(at, 4) == PT_INTERP))
}
