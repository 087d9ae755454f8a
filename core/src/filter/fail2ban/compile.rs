//! From a filter as written to one that is ready to judge.

use super::buffer::Buffer;
use super::connections::Connections;
use super::groups::{DNS, FID, Groups, IP4, IP6, MLFID, Names, Shape};
use super::openings::Openings;
use super::stamp::Stamps;
use super::{Expressions, Fail2banFilter, Options};
use crate::filter::dates::{self, Detector};
use crate::filter::judge::shortened;
use crate::filter::program::{Program, Settings};
use crate::filter::{FilterError, FilterSpec};

/// Groups of which an expression needs one: else nobody can be blamed.
const IDENTITIES: [usize; 5] = [FID, IP4, IP6, DNS, MLFID];

impl Fail2banFilter {
    /// Compiles a filter.
    /// # Errors
    /// Every expression that cannot be used.
    pub fn compile(spec: &FilterSpec, options: Options) -> Result<Fail2banFilter, Vec<FilterError>> {
        let mut compiler =
            Compiler { spec, options: &options, names: Names::default(), problems: Vec::new() };
        let prefix = spec.prefregex.as_ref().map(|text| compiler.expressions("prefregex", &[text.as_str()]));
        let rules: Vec<&str> = spec.failregex.iter().map(String::as_str).collect();
        let texts = rules.clone();
        let rules = compiler.expressions("failregex", &rules);
        let ignore: Vec<&str> = spec.ignoreregex.iter().map(String::as_str).collect();
        let ignore = (!ignore.is_empty()).then(|| compiler.expressions("ignoreregex", &ignore));
        let detector = compiler.detector();
        let prefix_names_somebody =
            prefix.as_ref().and_then(Option::as_ref).is_some_and(|prefix| names_somebody(&prefix.shapes[0]));
        if !prefix_names_somebody {
            let nameless = match &rules {
                Some(rules) => (0..texts.len()).filter(|at| !names_somebody(&rules.shapes[*at])).collect(),
                None => compiler.nameless(&texts),
            };
            compiler.problems.extend(nameless.into_iter().map(|index| FilterError::NoHost {
                filter: spec.name.clone(),
                key: "failregex",
                index,
            }));
        }
        let Compiler { names, problems, .. } = compiler;
        let (true, Some(rules), Some(detector)) = (problems.is_empty(), rules, detector) else {
            return Err(problems);
        };
        let skiplines = (0..).map_while(|nth| names.known(&format!("skiplines{nth}"))).collect();
        let prefix = prefix.flatten();
        // A match over several lines changes what is kept of them, even if no rule matches.
        let screened = prefix.as_ref().filter(|_| options.maxlines == 1);
        Ok(Fail2banFilter {
            openings: screened.and_then(|prefix| Openings::new(&prefix.program, &rules.program)),
            prefix,
            ignore_first: !spec.ignoreregex.is_empty() && spec.ignoreregex.len() + 2 < spec.failregex.len(),
            rules,
            ignore: ignore.flatten().map(|ignore| ignore.program),
            options,
            skiplines,
            names,
            stamps: Stamps::new(detector),
            connections: Connections::default(),
            buffer: Buffer::default(),
            searched: Vec::new(),
            content: Vec::new(),
            last: Groups::default(),
            joined: None,
            ignored_by: None,
        })
    }
}

fn names_somebody(shape: &Shape) -> bool {
    IDENTITIES.iter().any(|name| shape.has(*name))
}

struct Compiler<'s> {
    spec: &'s FilterSpec,
    options: &'s Options,
    names: Names,
    problems: Vec<FilterError>,
}

impl Compiler<'_> {
    fn expressions(&mut self, key: &'static str, texts: &[&str]) -> Option<Expressions> {
        let settings = Settings { names: self.options.names, multiline: self.options.maxlines > 1 };
        let program = match Program::compile_with(texts, settings) {
            Ok(program) => program,
            Err(found) => {
                let filter = &self.spec.name;
                self.problems.extend(found.into_iter().map(|(index, cause)| FilterError::Pattern {
                    filter: filter.clone(),
                    key,
                    index,
                    expression: shortened(texts.get(index).copied().unwrap_or_default()),
                    cause,
                }));
                return None;
            }
        };
        let shapes =
            (0..texts.len()).map(|index| Shape::new(program.names(index), &mut self.names)).collect();
        Some(Expressions { program, shapes })
    }

    /// Those that name nobody, of expressions of which some cannot be used: each is looked at by itself.
    fn nameless(&mut self, texts: &[&str]) -> Vec<usize> {
        let settings = Settings { names: self.options.names, multiline: self.options.maxlines > 1 };
        let names_nobody = |text: &str| {
            let program = Program::compile_with(&[text], settings).ok()?;
            Some(!names_somebody(&Shape::new(program.names(0), &mut self.names)))
        };
        let found: Vec<Option<bool>> = texts.iter().copied().map(names_nobody).collect();
        (0..texts.len()).filter(|at| found[*at] == Some(true)).collect()
    }

    fn detector(&mut self) -> Option<Detector> {
        let dates = dates::Options {
            datepattern: self.spec.datepattern.as_deref(),
            logtimezone: self.options.zone,
            year: self.options.year,
        };
        match Detector::new(&dates) {
            Ok(detector) => Some(detector),
            Err(cause) => {
                let filter = self.spec.name.clone();
                self.problems.push(FilterError::DatePattern { filter, cause });
                None
            }
        }
    }
}
