//! A compiled filter: a built-in one, or one of an operator's own.

use super::datepattern::Found;
use super::judge::{BuiltIn, FilterError, Finding};
use super::own::Own;
use super::{Clock, FilterSpec, Verdict};
use crate::event::Line;

/// A filter that is ready to judge lines.
#[derive(Debug)]
pub struct Filter {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    BuiltIn(Box<BuiltIn>),
    Own(Box<Own>),
}

impl Filter {
    /// Compiles a filter.
    /// # Errors
    /// Every expression that cannot be used.
    pub fn compile(spec: &FilterSpec) -> Result<Filter, Vec<FilterError>> {
        let kind = match spec.own {
            true => Kind::Own(Box::new(Own::compile(spec)?)),
            false => Kind::BuiltIn(Box::new(BuiltIn::compile(spec)?)),
        };
        Ok(Filter { name: spec.name.clone(), kind })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often an expression took too many steps to tell whether it matches, since the last call.
    pub fn take_limits(&mut self) -> u64 {
        match &mut self.kind {
            Kind::BuiltIn(filter) => filter.take_limits(),
            Kind::Own(filter) => filter.take_limits(),
        }
    }

    /// True if what it says of a line depends on no other line.
    pub fn reads_lines_alone(&self) -> bool {
        matches!(self.kind, Kind::BuiltIn(_))
    }

    /// Forgets the lines so far: what comes next is another log.
    pub fn begin(&mut self) {
        match &mut self.kind {
            Kind::BuiltIn(_) => {}
            Kind::Own(filter) => filter.begin(),
        }
    }

    /// Judges one line. Lines of one log must come in their order: an operator's own filter may span several.
    #[inline]
    pub fn judge(&mut self, line: &Line<'_>, clock: &Clock) -> Verdict {
        match &mut self.kind {
            Kind::BuiltIn(filter) => filter.judge(line, clock),
            Kind::Own(filter) => filter.judge(line, clock),
        }
    }

    /// Judges one line whose usual stamp was looked for before with [`Filter::find_date`], for all filters at once.
    #[inline]
    pub fn judge_dated(&mut self, line: &Line<'_>, usual: Option<&Found>, clock: &Clock) -> Verdict {
        match &mut self.kind {
            Kind::BuiltIn(filter) => filter.judge_dated(line, usual, clock),
            Kind::Own(filter) => filter.judge(line, clock),
        }
    }

    /// The date of a line in one of the usual forms. A source that records the time itself hands out messages
    /// without a date.
    pub fn find_date(line: &Line<'_>) -> Option<Found> {
        BuiltIn::find_date(line)
    }

    /// Words of which one stands in every line that it does not miss; nothing if there are none.
    pub(super) fn needles(&self) -> Option<Vec<String>> {
        match &self.kind {
            Kind::BuiltIn(filter) => filter.needles(),
            // It may read several lines as one, and in another encoding.
            Kind::Own(_) => None,
        }
    }

    /// True if no line matches whose text begins so, the usual date cut out.
    pub(super) fn dies_behind(&mut self, head: &[u8]) -> bool {
        match &mut self.kind {
            Kind::BuiltIn(filter) => filter.dies_behind(head),
            // It finds other dates.
            Kind::Own(_) => false,
        }
    }

    /// Judges one line and tells what led to the verdict.
    pub fn examine(&mut self, line: &Line<'_>, clock: &Clock) -> Finding {
        match &mut self.kind {
            Kind::BuiltIn(filter) => filter.examine(line, clock),
            Kind::Own(filter) => filter.examine(line, clock),
        }
    }
}
