//! The key `growth`: fail2ban's `bantime.increment` and what belongs to it, as one table.

use crate::jail::growth::Growth;
use crate::jail::growth::formula::Formula;
use crate::time::Span;

use super::keys::{Misfit, Misfits, Row, boolean, positive_span, text, texts};
use super::raw::Value;
use crate::suggest::did_you_mean;

/// The keys.
pub(super) const KEYS: &[Row] = &[
    ("increment", "whether bans grow; every such table says it"),
    ("factor", "what the length of a later ban is multiplied by"),
    ("multipliers", "a list: how many times as long as the first the second, third and later bans last"),
    (
        "formula",
        "the length of a ban as an expression in Python's words, of ban.Time, ban.Count and banFactor",
    ),
    ("rndtime", "up to so much is added at random"),
    ("maxtime", "no ban lasts longer"),
    ("overalljails", "bans by other jails count, too"),
];

/// What one table says; what it leaves open the wider section says.
#[derive(Debug, Clone, Default)]
pub(super) struct GrowthDraft {
    increment: Option<bool>,
    factor: Option<f64>,
    multipliers: Option<Vec<u32>>,
    formula: Option<Formula>,
    rndtime: Option<Span>,
    maxtime: Option<Span>,
    overalljails: Option<bool>,
}

const ROWS: &str = "use increment, factor, multipliers, formula, rndtime, maxtime and overalljails";
const EXAMPLE: &str = "write for example { increment = true, factor = 2, maxtime = \"30d\" }";

impl GrowthDraft {
    /// Reads a table.
    pub(super) fn read(value: &Value) -> Result<GrowthDraft, Misfits> {
        let Value::Table(rows) = value else { return Err(Misfit("is no table".into(), EXAMPLE).into()) };
        let mut draft = GrowthDraft::default();
        let mut misfits = Vec::new();
        for (name, value) in rows {
            if let Err(Misfit(what, cure)) = draft.set(name, value) {
                misfits.push(Misfit(format!("{name} {what}"), cure));
            }
        }
        if !rows.iter().any(|(name, _)| name == "increment") {
            misfits.push(Misfit("does not say whether bans grow".into(), "add increment = true, or false"));
        }
        if misfits.is_empty() { Ok(draft) } else { Err(Misfits(misfits)) }
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), Misfit> {
        match name {
            "increment" => self.increment = Some(boolean(value)?),
            "factor" => self.factor = Some(factor(text(value)?)?),
            "multipliers" => self.multipliers = Some(multipliers(value)?),
            "formula" => {
                let read = Formula::parse(text(value)?);
                self.formula = Some(read.map_err(|error| Misfit(error.to_string(), ""))?);
            }
            "rndtime" => self.rndtime = Some(positive_span(value)?),
            "maxtime" => self.maxtime = Some(positive_span(value)?),
            "overalljails" => self.overalljails = Some(boolean(value)?),
            _ => {
                let close = did_you_mean(name, KEYS.iter().map(|(name, _)| *name));
                return Err(Misfit(format!("is no key of growth{close}"), ROWS));
            }
        }
        Ok(())
    }

    /// What a section and the wider one say together; nothing if bans do not grow.
    pub(super) fn together(own: Option<&GrowthDraft>, wider: Option<&GrowthDraft>) -> Option<Growth> {
        let layers = || own.into_iter().chain(wider);
        layers().find_map(|layer| layer.increment).filter(|increment| *increment)?;
        Some(Growth {
            factor: layers().find_map(|layer| layer.factor),
            multipliers: layers().find_map(|layer| layer.multipliers.clone()).unwrap_or_default(),
            formula: layers().find_map(|layer| layer.formula.clone()),
            rndtime: layers().find_map(|layer| layer.rndtime),
            maxtime: layers().find_map(|layer| layer.maxtime),
            overalljails: layers().find_map(|layer| layer.overalljails).unwrap_or(false),
        })
    }
}

/// True for what `factor` may be.
pub(super) fn is_factor(number: f64) -> bool {
    number > 0.0 && number <= 1e6
}

fn factor(text: &str) -> Result<f64, Misfit> {
    let number = text.parse::<f64>().ok().filter(|number| is_factor(*number));
    number.ok_or(Misfit(format!("{text:?} is out of range"), "use a number above 0, up to 1000000"))
}

fn multipliers(value: &Value) -> Result<Vec<u32>, Misfit> {
    let one = |word: String| {
        word.parse().map_err(|_| Misfit(format!("{word:?} is no number"), "write for example [1, 2, 4, 8]"))
    };
    texts(value)?.into_iter().map(one).collect()
}
