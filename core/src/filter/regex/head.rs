//! How an expression begins, as a tree: what an automaton needs of it to refuse nearly all texts soon.
//!
//! A head matches at the begin of every text that its expression matches, and says nothing of the rest.

use super::class::{contains, members};
use super::matcher::{plain_char, single, starts_at_begin};
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

/// With how many parts all these expressions begin alike, where what follows can be matched by itself: the parts hold
/// no groups and only sets, words, choices and repetitions. 0 if they share no more than the begin of the text.
pub(in crate::filter) fn shared(trees: &[&Tree]) -> usize {
    let all: Option<Vec<&[Node]>> = trees.iter().map(|tree| parts(tree)).collect();
    let Some((first, others)) = all.as_deref().and_then(<[_]>::split_first) else { return 0 };
    let alike = |at: &usize| others.iter().all(|other| other.get(*at) == first.get(*at));
    let is_begin = |node: &Node| matches!(node.kind, Kind::Anchor(Anchor::TextStart));
    let fits =
        |at: &usize| first.get(*at).is_some_and(if *at == 0 { is_begin } else { is_plain }) && alike(at);
    let mut count = (0..first.len()).take_while(fits).count();
    // Characters that follow one another are one step, and something must follow.
    let is_char = |parts: &[Node], at: usize| parts.get(at).is_some_and(|part| plain_char(part).is_some());
    let parted =
        |count: usize| all.iter().flatten().all(|parts| parts.len() > count && !is_char(parts, count));
    while count > 1 && is_char(first, count - 1) && !parted(count) {
        count -= 1;
    }
    let followed = all.iter().flatten().all(|parts| parts.len() > count);
    if count > 1 && followed { count } else { 0 }
}

/// The parts that stand one after the other.
fn parts(tree: &Tree) -> Option<&[Node]> {
    let Kind::Concat(parts) = &tree.root.kind else { return None };
    Some(parts)
}

/// True if it only takes characters, and captures none.
fn is_plain(part: &Node) -> bool {
    match &part.kind {
        Kind::Empty | Kind::Literal { .. } | Kind::Class(_) => true,
        Kind::Concat(parts) | Kind::Alternate(parts) => parts.iter().all(is_plain),
        Kind::Repeat { node, mode, .. } => *mode != Mode::Possessive && is_plain(node),
        _ => false,
    }
}

/// The first `count` parts.
pub(in crate::filter) fn opening(tree: &Tree, count: usize) -> Option<Tree> {
    let parts = parts(tree)?.get(..count)?.to_vec();
    Some(Tree { root: node(Kind::Concat(parts)), groups: vec![None] })
}

/// The head of what follows the first `count` parts. It ends early where it has told much already: only what tells
/// expressions apart is worth reading.
pub(in crate::filter) fn behind(tree: &Tree, count: usize) -> Node {
    /// So many characters tell what a text is.
    const ENOUGH: usize = 24;
    let mut heads = Vec::new();
    let mut least = 0;
    for part in parts(tree).and_then(|parts| parts.get(count..)).unwrap_or_default() {
        let (head, is_whole) = cut(part);
        if least >= ENOUGH && matches!(part.kind, Kind::Repeat { max: None, .. }) {
            break;
        }
        least += least_length(part);
        heads.push(head);
        if !is_whole {
            break;
        }
    }
    node(Kind::Concat(heads))
}

/// So many characters it takes at least.
fn least_length(part: &Node) -> usize {
    match &part.kind {
        Kind::Literal { .. } | Kind::Class(_) => 1,
        Kind::Group { node, .. } | Kind::Atomic(node) => least_length(node),
        Kind::Concat(parts) => parts.iter().map(least_length).sum(),
        Kind::Alternate(branches) => branches.iter().map(least_length).min().unwrap_or(0),
        Kind::Repeat { node, min, .. } => least_length(node).saturating_mul(*min as usize),
        _ => 0,
    }
}

/// The words that stand behind the first `count` parts in every text that matches.
pub(in crate::filter) fn words(tree: &Tree, count: usize) -> Vec<String> {
    let mut words = vec![String::new()];
    match parts(tree).and_then(|parts| parts.get(count..)) {
        Some(parts) => parts.iter().for_each(|part| gather(part, &mut words)),
        None => gather(&tree.root, &mut words),
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Adds what must stand where `part` does; the last word goes on.
fn gather(part: &Node, words: &mut Vec<String>) {
    match &part.kind {
        _ if plain_char(part).is_some() => {
            if let (Some(c), Some(word)) = (plain_char(part), words.last_mut()) {
                word.push(c);
            }
        }
        Kind::Empty => {}
        Kind::Group { node, .. } | Kind::Atomic(node) => gather(node, words),
        Kind::Concat(parts) => parts.iter().for_each(|part| gather(part, words)),
        _ => words.push(String::new()),
    }
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
