//! How many characters a part of an expression can take.

use super::Group;
use crate::filter::regex::tree::{Kind, Node};

/// At least, at most; the largest number stands for "without end".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    pub(super) min: u64,
    pub(super) max: u64,
}

const NOTHING: Width = Width { min: 0, max: 0 };
const ONE: Width = Width { min: 1, max: 1 };

/// The width of a part; `groups`: those that are closed already.
pub(super) fn width(node: &Node, groups: &[Group]) -> Width {
    match &node.kind {
        Kind::Empty | Kind::Anchor(_) | Kind::Look { .. } => NOTHING,
        Kind::Literal { .. } | Kind::Class(_) => ONE,
        Kind::Group { node, .. } | Kind::Atomic(node) => width(node, groups),
        Kind::Concat(parts) => parts.iter().fold(NOTHING, |sum, part| {
            let part = width(part, groups);
            Width { min: sum.min.saturating_add(part.min), max: sum.max.saturating_add(part.max) }
        }),
        Kind::Alternate(branches) => {
            branches.iter().map(|branch| width(branch, groups)).reduce(either).unwrap_or(NOTHING)
        }
        Kind::Repeat { node, min, max, .. } => {
            let once = width(node, groups);
            let most = if once.max == 0 { 0 } else { max.map_or(u64::MAX, u64::from) };
            Width { min: once.min.saturating_mul(u64::from(*min)), max: once.max.saturating_mul(most) }
        }
        Kind::Backreference { group, .. } => usize::try_from(*group)
            .ok()
            .and_then(|group| groups.get(group)?.width)
            .unwrap_or(Width { min: 0, max: u64::MAX }),
        Kind::Conditional { yes, no, .. } => either(width(yes, groups), width(no, groups)),
    }
}

fn either(one: Width, other: Width) -> Width {
    Width { min: one.min.min(other.min), max: one.max.max(other.max) }
}
