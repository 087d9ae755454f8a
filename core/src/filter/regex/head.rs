//! How an expression begins, as a tree: what an automaton needs of it to refuse nearly all texts soon.
//!
//! A head matches at the begin of every text that its expression matches, and says nothing of the rest.

use super::class::{contains, members};
use super::matcher::{single, starts_at_begin};
use super::tree::{Anchor, Kind, Mode, Node, Tree};

/// An expression up to its first run that takes nearly anything; empty if it may begin anywhere. It has no anchors: it
/// is to stand where the expression is tried.
pub(in crate::filter) fn head(tree: &Tree) -> Node {
    if starts_at_begin(&tree.root) { cut(&tree.root).0 } else { node(Kind::Empty) }
}

/// What stands before the group that ends the expression and takes at least one character, all up to the line's end;
/// nothing if it has no such group.
pub(in crate::filter) fn before_rest(tree: &Tree, group: u32) -> Option<Vec<Node>> {
    let Kind::Concat(parts) = &tree.root.kind else { return None };
    let end = |node: &Node| matches!(node.kind, Kind::Anchor(Anchor::LastLineEnd));
    let parts = if parts.last().is_some_and(end) { &parts[..parts.len() - 1] } else { parts };
    let (last, before) = parts.split_last()?;
    let Kind::Group { index, node } = &last.kind else { return None };
    let node = match &node.kind {
        Kind::Concat(parts) if parts.len() == 1 => parts.first()?,
        _ => &**node,
    };
    let Kind::Repeat { node, min: 1, max: None, mode: Mode::Greedy } = &node.kind else { return None };
    let is_dot = single(node).is_some_and(|class| {
        let mut others = members(&class);
        others.negate();
        let [only] = others.ranges() else { return false };
        (only.start(), only.end()) == ('\n', '\n')
    });
    (*index == group && is_dot && starts_at_begin(&tree.root)).then(|| before.to_vec())
}

/// Concatenates parts, then one of `heads`.
pub(in crate::filter) fn joined(mut before: Vec<Node>, heads: Vec<Node>) -> Tree {
    before.push(node(Kind::Alternate(heads)));
    Tree { root: node(Kind::Concat(before)), groups: vec![None] }
}

/// True if it holds nothing, so that it refuses no text.
pub(in crate::filter) fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::Empty => true,
        Kind::Group { node, .. } | Kind::Atomic(node) => is_empty(node),
        Kind::Concat(parts) => parts.iter().all(is_empty),
        Kind::Alternate(branches) => branches.iter().any(is_empty),
        Kind::Repeat { node, min, .. } => *min == 0 || is_empty(node),
        _ => false,
    }
}

fn node(kind: Kind) -> Node {
    Node { kind, span: 1..1 }
}

/// The head of a part, and whether that is all of it.
fn cut(part: &Node) -> (Node, bool) {
    match &part.kind {
        Kind::Anchor(Anchor::TextEnd | Anchor::LastLineEnd | Anchor::LineEnd) => (node(Kind::Empty), false),
        Kind::Anchor(_) | Kind::Look { .. } => (node(Kind::Empty), true),
        Kind::Backreference { .. } => (node(Kind::Empty), false),
        Kind::Group { node, .. } | Kind::Atomic(node) => cut(node),
        Kind::Concat(parts) => {
            let mut heads = Vec::new();
            for part in parts {
                let (head, is_whole) = cut(part);
                heads.push(head);
                if !is_whole {
                    return (node(Kind::Concat(heads)), false);
                }
            }
            (node(Kind::Concat(heads)), true)
        }
        // Nearly always this is an address, which tells little and takes long.
        Kind::Alternate(branches) if branches.iter().any(captures) => (node(Kind::Empty), false),
        Kind::Alternate(branches) => alternatives(branches.iter()),
        Kind::Conditional { yes, no, .. } => alternatives([&**yes, &**no].into_iter()),
        Kind::Repeat { node: inner, min, max, mode } => {
            let (head, is_whole) = cut(inner);
            let takes_words = single(inner)
                .map(|class| members(&class))
                .is_some_and(|set| contains(&set, ' ') && contains(&set, 'a'));
            if is_whole && !(max.is_none() && takes_words) {
                let kind = Kind::Repeat { node: Box::new(head), min: *min, max: *max, mode: *mode };
                return (node(kind), true);
            }
            (if *min == 0 { node(Kind::Empty) } else { head }, false)
        }
        Kind::Empty | Kind::Literal { .. } | Kind::Class(_) => (part.clone(), true),
    }
}

/// True if it holds a group.
fn captures(part: &Node) -> bool {
    match &part.kind {
        Kind::Group { .. } => true,
        Kind::Concat(parts) | Kind::Alternate(parts) => parts.iter().any(captures),
        Kind::Repeat { node, .. } | Kind::Look { node, .. } | Kind::Atomic(node) => captures(node),
        Kind::Conditional { yes, no, .. } => captures(yes) || captures(no),
        _ => false,
    }
}

fn alternatives<'n>(branches: impl Iterator<Item = &'n Node>) -> (Node, bool) {
    let (heads, whole): (Vec<Node>, Vec<bool>) = branches.map(cut).unzip();
    (node(Kind::Alternate(heads)), whole.into_iter().all(|is_whole| is_whole))
}
