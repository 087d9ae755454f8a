//! `pillory metrics`: how the daemon is doing, for Prometheus.

use std::path::PathBuf;

use crate::control::Request;
use crate::outfile;
use crate::outputs::metrics;

use super::{Client, Failure, Outcome, exit, print_as_it_is};

/// `pillory metrics`
#[derive(Debug, clap::Args)]
pub(crate) struct Metrics {
    /// Writes them into this file, in one step, as the textfile collector of node_exporter reads them.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    client: Client,
}

impl Metrics {
    pub(crate) fn run(&self) -> Outcome {
        let reply = self.client.ask(&Request::Status)?;
        if self.client.json {
            return self.client.show(&reply, |_| String::new());
        }
        let text = metrics::text(&reply.value);
        match &self.out {
            None => print_as_it_is(&text)?,
            Some(path) => outfile::replace(path, text.as_bytes(), 0o644).map_err(|error| {
                Failure::new(exit::NO, format!("cannot write {}: {error}", path.display()))
            })?,
        }
        Ok(0)
    }
}
