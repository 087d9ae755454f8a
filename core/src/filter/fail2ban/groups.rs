//! What an expression captured, by the names of its groups, and how `alt_` and `tuple_` groups are folded.

use smol_str::SmolStr;

/// Number of a group's name in [`Names`].
pub(super) type Name = usize;

/// Names with a meaning of their own stand first, in this order.
const KNOWN: [&str; 12] = [
    "fid",
    "ip4",
    "ip6",
    "dns",
    "cidr",
    "user",
    "mlfid",
    "nofail",
    "mlfforget",
    "mlfgained",
    "content",
    "ip",
];
pub(super) const FID: Name = 0;
pub(super) const IP4: Name = 1;
pub(super) const IP6: Name = 2;
pub(super) const DNS: Name = 3;
pub(super) const CIDR: Name = 4;
pub(super) const USER: Name = 5;
pub(super) const MLFID: Name = 6;
pub(super) const NOFAIL: Name = 7;
pub(super) const MLFFORGET: Name = 8;
pub(super) const MLFGAINED: Name = 9;
pub(super) const CONTENT: Name = 10;

/// The names of all groups of a filter, each once.
#[derive(Debug)]
pub(super) struct Names(Vec<SmolStr>);

impl Default for Names {
    fn default() -> Names {
        Names(KNOWN.map(SmolStr::from).to_vec())
    }
}

impl Names {
    /// The number of a name, new if need be.
    pub(super) fn number(&mut self, name: &str) -> Name {
        self.known(name).unwrap_or_else(|| {
            self.0.push(name.into());
            self.0.len() - 1
        })
    }

    /// The number of a name, if it has one.
    pub(super) fn known(&self, name: &str) -> Option<Name> {
        self.0.iter().position(|known| known == name)
    }

    pub(super) fn text(&self, name: Name) -> &str {
        self.0.get(name).map_or("", SmolStr::as_str)
    }
}

/// One value: text, or the parts of `tuple_` groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// What one group captured.
    Text(SmolStr),
    /// What the groups `x`, `tuple_x_1`, `tuple_x_2` .. captured, in this order.
    Parts(Vec<Option<SmolStr>>),
}

impl Value {
    /// The text; the parts of several groups joined by blanks.
    pub fn text(&self) -> SmolStr {
        match self {
            Value::Text(text) => text.clone(),
            Value::Parts(parts) => {
                let known: Vec<&str> = parts.iter().flatten().map(SmolStr::as_str).collect();
                known.join(" ").into()
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Value::Text(text) if text.is_empty())
    }
}

/// The captures of one line, or of a connection so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Groups {
    values: Vec<Option<Value>>,
    /// Every user of the connection, sorted.
    pub(super) users: Vec<SmolStr>,
    /// A failure was seen before anybody knew whose it was.
    pub(super) pending: bool,
}

impl Groups {
    pub(super) fn get(&self, name: Name) -> Option<&Value> {
        self.values.get(name)?.as_ref()
    }

    /// The text of a group that took part and is not empty.
    pub(super) fn filled(&self, name: Name) -> Option<SmolStr> {
        self.get(name).filter(|value| !value.is_empty()).map(Value::text)
    }

    pub(super) fn text(&self, name: Name) -> Option<SmolStr> {
        self.get(name).map(Value::text)
    }

    pub(super) fn has(&self, name: Name) -> bool {
        self.get(name).is_some_and(|value| !value.is_empty())
    }

    pub(super) fn set(&mut self, name: Name, value: Option<Value>) {
        if self.values.len() <= name {
            if value.is_none() {
                return;
            }
            // Whoever has one has more of those that are known.
            self.values.resize(KNOWN.len().max(name + 1), None);
        }
        self.values[name] = value;
    }

    /// Removes a group; true if it was there and not empty.
    pub(super) fn take(&mut self, name: Name) -> bool {
        self.values.get_mut(name).and_then(Option::take).is_some_and(|value| !value.is_empty())
    }

    /// Takes over what `other` captured, which is empty then.
    pub(super) fn merge(&mut self, other: &mut Groups) {
        for (name, value) in other.values.drain(..).enumerate() {
            if value.is_some() {
                self.set(name, value);
            }
        }
        other.users.drain(..).for_each(|user| self.try_user(user));
        self.pending |= std::mem::take(&mut other.pending);
    }

    /// Notes a user.
    pub(super) fn try_user(&mut self, user: SmolStr) {
        if let Err(at) = self.users.binary_search(&user) {
            self.users.insert(at, user);
        }
    }

    /// Forgets everything but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.users.clear();
        self.pending = false;
    }

    /// Every group that took part.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Name, &Value)> {
        self.values.iter().enumerate().filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

/// How the groups of one expression become [`Groups`].
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// All its groups, in order.
    names: Vec<Name>,
    /// `alt_user_1` fills `user` if that is empty, sorted by name.
    alternates: Vec<(Name, Name)>,
    /// `tuple_id_1` is appended to `id`, sorted by name.
    tuples: Vec<(Name, Name)>,
}

impl Shape {
    pub(super) fn new<'a>(groups: impl Iterator<Item = &'a str>, names: &mut Names) -> Shape {
        let mut shape = Shape::default();
        let (mut alternates, mut tuples) = (Vec::new(), Vec::new());
        for group in groups {
            shape.names.push(names.number(group));
            if let Some(base) = group.strip_prefix("alt_") {
                alternates.push((group, base));
            } else if let Some(base) = group.strip_prefix("tuple_") {
                tuples.push((group, base));
            }
        }
        alternates.sort_unstable();
        tuples.sort_unstable();
        let mut numbered = |(group, base): (&str, &str)| (names.number(group), names.number(target(base)));
        shape.alternates = alternates.into_iter().map(&mut numbered).collect();
        shape.tuples = tuples.into_iter().map(&mut numbered).collect();
        shape
    }

    /// The name of the group of that place in the expression.
    pub(super) fn name(&self, nth: usize) -> Option<Name> {
        self.names.get(nth).copied()
    }

    pub(super) fn has(&self, name: Name) -> bool {
        self.names.contains(&name)
    }

    /// Writes the captures over what `into` holds; a group that took no part leaves nothing behind.
    ///
    /// `value`: what the group of that place in the expression captured.
    pub(super) fn fill(&self, mut value: impl FnMut(usize) -> Option<SmolStr>, into: &mut Groups) {
        // What is put together here is put together of this expression's own groups only.
        for (_, to) in self.alternates.iter().chain(&self.tuples) {
            into.set(*to, None);
        }
        for (at, name) in self.names.iter().enumerate() {
            into.set(*name, value(at).map(Value::Text));
        }
        for (from, to) in &self.alternates {
            if into.has(*from) && !into.has(*to) {
                into.set(*to, into.get(*from).cloned());
            }
        }
        for (from, to) in &self.tuples {
            let mut parts = match into.get(*to) {
                Some(Value::Parts(parts)) => parts.clone(),
                other => vec![other.map(Value::text)],
            };
            parts.push(into.text(*from));
            into.set(*to, Some(Value::Parts(parts)));
        }
    }
}

/// The group that `alt_user_1` or `tuple_id` belongs to: its name without the number, in fail2ban's words.
fn target(base: &str) -> &str {
    let name = match base.rsplit_once('_') {
        Some((name, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => base,
    };
    match name {
        "id" => "fid",
        "port" => "fport",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(groups: &[(&str, Option<&str>)]) -> (Names, Groups) {
        let mut names = Names::default();
        let shape = Shape::new(groups.iter().map(|(name, _)| *name), &mut names);
        let mut out = Groups::default();
        shape.fill(|at| groups[at].1.map(SmolStr::from), &mut out);
        (names, out)
    }

    #[test]
    fn alternates_fill_what_is_empty_in_the_order_of_their_names() {
        let (_, groups) =
            filled(&[("alt_user_2", Some("late")), ("alt_user_1", Some("first")), ("user", Some(""))]);
        assert_eq!(groups.text(USER).unwrap(), "first");
        let (_, groups) = filled(&[("alt_user", Some("other")), ("user", Some("own"))]);
        assert_eq!(groups.text(USER).unwrap(), "own");
    }

    #[test]
    fn tuples_are_put_together() {
        let (_, groups) = filled(&[("fid", Some("a")), ("tuple_id_2", None), ("tuple_id_1", Some("b"))]);
        let parts = vec![Some("a".into()), Some("b".into()), None];
        assert_eq!(groups.get(FID), Some(&Value::Parts(parts)));
    }
}
