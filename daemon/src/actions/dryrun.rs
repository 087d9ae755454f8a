//! Enforces nothing: remembers what it was told, so that everything else works as ever.

use pillory_core::event::JailName;
use pillory_core::time::Timestamp;

use crate::netlink::KernelWatch;

use super::{Action, ActionError, Change, Installed, Port, Restriction};

/// Its name in the configuration.
pub const NAME: &str = "dryrun";

/// See the module.
#[derive(Debug, Default)]
pub struct DryRun {
    elements: Installed,
}

impl Action for DryRun {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&mut self, _ports: &[(JailName, Vec<Port>)]) -> Result<bool, ActionError> {
        Ok(false)
    }

    fn apply(&mut self, changes: &[Change], now: Timestamp) -> Result<(), ActionError> {
        for change in changes {
            match change {
                Change::Set(element, end) if !end.is_over(now) => {
                    self.elements.insert(element.clone(), Some(*end));
                }
                Change::Set(element, _) | Change::Remove(element) => {
                    self.elements.remove(element);
                }
            }
        }
        Ok(())
    }

    fn installed(&mut self, now: Timestamp) -> Result<Installed, ActionError> {
        self.elements.retain(|_, end| end.is_none_or(|end| !end.is_over(now)));
        Ok(self.elements.clone())
    }

    fn restrict(&mut self, _wanted: &[Restriction]) -> Result<bool, ActionError> {
        Ok(false)
    }

    fn remove_all(&mut self) -> Result<usize, ActionError> {
        let count = self.elements.len();
        self.elements.clear();
        Ok(count)
    }

    fn watch(&self) -> Result<Option<Box<dyn KernelWatch>>, ActionError> {
        Ok(None)
    }
}
