//! `pillory generate`: manual pages and completions, for packages, and the manual pages as chapters of the book. Made of the
//! tables that the parsers read, so they say what this program understands.

mod page;
mod pages;

use std::path::{Path, PathBuf};

use super::{Failure, Outcome, examples, exit};

/// `pillory generate`
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Where the folders `man`, `completions` and `book` are made.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Generate {
    pub(crate) fn run(&self) -> Outcome {
        let mut command = examples::command();
        command.build();
        let (program, configuration, filter) =
            (pages::pillory(&command), pages::configuration(), pages::filter());
        let files = [
            ("man/man1/pillory.1", program.roff()),
            ("man/man5/pillory.toml.5", configuration.roff()),
            ("man/man5/pillory-filter.5", filter.roff()),
            ("book/pillory.1.md", program.markdown()),
            ("book/pillory.toml.5.md", configuration.markdown()),
            ("book/pillory-filter.5.md", filter.markdown()),
            ("completions/pillory.bash", include_str!("../../../completions/pillory.bash").to_owned()),
            ("completions/_pillory", include_str!("../../../completions/_pillory").to_owned()),
            ("completions/pillory.fish", include_str!("../../../completions/pillory.fish").to_owned()),
        ];
        for (name, text) in files {
            let path = self.out.join(name);
            write(&path, &text).map_err(|error| {
                Failure::new(exit::NO, format!("cannot write {}: {error}", path.display()))
            })?;
        }
        Ok(0)
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    crate::outfile::write(path, text.as_bytes())
}
