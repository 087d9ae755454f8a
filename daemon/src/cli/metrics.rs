//! `pillory metrics`: how the daemon is doing, for Prometheus.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::control::Request;
use crate::outfile;
use crate::outputs::metrics;

use super::{Client, Failure, Outcome, exit, print_as_it_is};

/// `pillory metrics`
#[derive(Debug, clap::Args)]
pub(crate) struct Metrics {
    /// Writes them into this file, in one step, as the textfile collector of node_exporter reads them; if no daemon
    /// answers, that it is not up.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    out: Option<PathBuf>,
    #[command(flatten)]
    client: Client,
}

impl Metrics {
    pub(crate) fn run(&self) -> Outcome {
        let reply = match (self.client.ask(&Request::Status), &self.out) {
            (Ok(reply), _) => reply,
            // What was written before would tell for ever that all is well.
            (Err(failure), Some(path)) if failure.exit == exit::UNREACHABLE => {
                write(path, &Value::Null)?;
                return Err(failure);
            }
            (Err(failure), _) => return Err(failure),
        };
        if self.client.json {
            return self.client.show(&reply, |_| String::new());
        }
        match &self.out {
            None => print_as_it_is(&metrics::text(&reply.value))?,
            Some(path) => write(path, &reply.value)?,
        }
        Ok(0)
    }
}

fn write(path: &Path, status: &Value) -> Result<(), Failure> {
    outfile::replace(path, metrics::text(status).as_bytes(), 0o644)
        .map_err(|error| Failure::new(exit::NO, format!("cannot write {}: {error}", path.display())))
}
