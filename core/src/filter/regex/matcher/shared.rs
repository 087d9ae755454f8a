//! Sets of characters and tables of bytes that many steps have, each kept once.

use std::sync::Arc;

use regex_syntax::hir::ClassUnicode;

use super::set::Set;
use crate::filter::regex::class;
use crate::filter::regex::tree::Class;

/// What expressions that are made together have in common; it is of no use once they are made.
#[derive(Debug, Default)]
pub struct Shared {
    classes: Vec<(Class, Set)>,
    sets: Vec<(ClassUnicode, Set)>,
    tables: Vec<Arc<[bool; 256]>>,
}

impl Shared {
    /// The set of a class.
    pub(super) fn set(&mut self, class: &Class) -> Set {
        if let Some((_, set)) = self.classes.iter().find(|(known, _)| known == class) {
            return set.clone();
        }
        let members = class::members(class);
        let set = match self.sets.iter().find(|(known, _)| *known == members) {
            Some((_, set)) => set.clone(),
            None => Set::new(&members),
        };
        self.classes.push((class.clone(), set.clone()));
        self.sets.push((members, set.clone()));
        set
    }

    /// The same table.
    pub(super) fn table(&mut self, table: [bool; 256]) -> Arc<[bool; 256]> {
        if let Some(known) = self.tables.iter().find(|known| ***known == table) {
            return known.clone();
        }
        let table = Arc::new(table);
        self.tables.push(table.clone());
        table
    }
}
