//! The dashboard, as far as it is the engine's: whether it is served, and what is said if it cannot be.

use tracing::{error, info};

use crate::web::Door;

use super::Engine;

impl Engine {
    /// Opens the dashboard if one is configured. A host is guarded without it, too, so that it cannot be is a warning.
    pub(crate) fn begin_web(&mut self) -> Option<Door> {
        let web = self.setup.config.web.as_ref()?;
        match Door::open(web) {
            Ok(door) => {
                info!(listen = %web.listen, actions = web.token_file.is_some(), "the dashboard is served");
                Some(door)
            }
            Err(reason) => {
                error!(listen = %web.listen, reason, "no dashboard");
                self.warnings.insert("web".into(), format!("there is no dashboard: {reason}"));
                None
            }
        }
    }
}
