//! What people are told of those who work together.

use smol_str::SmolStr;

use crate::event::JailName;
use crate::time::Timestamp;

/// So many names are told.
pub(super) const TOLD: usize = 5;

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A campaign is on.
    Began {
        /// Where.
        jail: JailName,
        /// How large it is by now.
        campaign: Campaign,
    },
    /// It is over.
    Ended(JailName),
    /// Places share a list of names.
    ListsBegan {
        /// Where.
        jail: JailName,
        /// Who they are.
        group: Group,
    },
    /// No place belongs to such a group any more.
    ListsEnded(JailName),
    /// Many strangers try accounts.
    SprayBegan {
        /// Where.
        jail: JailName,
        /// How large it is by now.
        spray: Spray,
    },
    /// They do no longer.
    SprayEnded(JailName),
    /// Networks of one operator attack together.
    SystemBegan {
        /// Where.
        jail: JailName,
        /// Whose.
        system: System,
    },
    /// Those of the AS with this number do no longer.
    SystemEnded(JailName, u32),
}

impl Change {
    /// True if something is over.
    pub fn is_end(&self) -> bool {
        matches!(
            self,
            Change::Ended(_) | Change::ListsEnded(_) | Change::SprayEnded(_) | Change::SystemEnded(..)
        )
    }
}

/// A campaign that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// When the first of those was seen who made it one.
    pub since: Timestamp,
    /// So many places were members within a day.
    pub members: usize,
    /// The names that most places try; each was tried by several, so none is a mistyped password.
    pub names: Vec<SmolStr>,
}

/// Places that share lists of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// When the first of them were found out.
    pub since: Timestamp,
    /// So many places belong to such a group.
    pub places: usize,
    /// The names that most of them tried within a week; each was tried by three, so none is a mistyped password.
    pub names: Vec<SmolStr>,
}

/// Strangers at accounts, many more than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spray {
    /// Since when.
    pub since: Timestamp,
    /// So many places tried accounts within a day.
    pub places: usize,
}

/// An operator whose networks attack together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// The number of its AS.
    pub number: u32,
    /// Since when.
    pub since: Timestamp,
    /// From so many of its networks within a day.
    pub networks: usize,
}
