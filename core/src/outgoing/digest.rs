//! One message of several events.

use serde::{Deserialize, Serialize};

use super::event::{Event, Kind};

/// So many events of a message have a line; the rest is counted.
const MOST_LINES: usize = 100;

/// So many characters of what is said of an event are sent, and so many in a subject.
const MOST_CHARS: usize = 600;
const SUBJECT_CHARS: usize = 120;

/// What a destination is sent at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The same for the same message however often it is sent, and no other's.
    pub id: String,
    /// This host.
    pub host: String,
    /// The most important kind in it.
    pub kind: Kind,
    /// So many events are in it, those without a line among them.
    pub events: u64,
    /// One line that says what it is about.
    pub subject: String,
    /// A line an event, and what was left out.
    pub lines: Vec<String>,
}

impl Message {
    /// All lines.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// Makes a message. `dropped`: so many events before these were lost, for more waited than there is room for. Nothing if
/// there is nothing to be told.
pub fn digest(id: &str, host: &str, events: &[Event], dropped: u64) -> Option<Message> {
    let first = events.first()?;
    let rank = |kind: Kind| Kind::ALL.iter().position(|(known, _)| *known == kind);
    let kind = events.iter().map(|event| event.kind).min_by_key(|kind| rank(*kind)).unwrap_or(first.kind);
    let subject = match events.len() {
        1 => cut(&first.text, SUBJECT_CHARS),
        _ => counts(events),
    };
    let line =
        |event: &Event| format!("{} {}: {}", event.time, event.kind.name(), cut(&event.text, MOST_CHARS));
    let mut lines: Vec<String> = events.iter().take(MOST_LINES).map(line).collect();
    if let Some(rest) = events.get(MOST_LINES..).filter(|rest| !rest.is_empty()) {
        lines.push(format!("and {} more; `pillory history` and `pillory attempts` have all", counts(rest)));
    }
    if dropped > 0 {
        lines.push(format!("{dropped} earlier events were dropped, for too many waited to be sent"));
    }
    Some(Message {
        id: id.to_owned(),
        host: host.to_owned(),
        kind,
        events: events.len() as u64 + dropped,
        subject: format!("pillory on {host}: {subject}"),
        lines,
    })
}

/// `1 alarm, 3 bans`
fn counts(events: &[Event]) -> String {
    let of = |kind: Kind| events.iter().filter(|event| event.kind == kind).count();
    let part = |(kind, name): &(Kind, &str)| match (of(*kind), *kind) {
        (0, _) => None,
        (1, Kind::Widen) => Some("1 network banned".to_owned()),
        (number, Kind::Widen) => Some(format!("{number} networks banned")),
        (1, _) => Some(format!("1 {name}")),
        (number, _) => Some(format!("{number} {name}s")),
    };
    Kind::ALL.iter().filter_map(part).collect::<Vec<_>>().join(", ")
}

/// The begin of a text.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{} ..", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn event(kind: Kind, text: &str) -> Event {
        Event { time: Timestamp::from_secs(1_800_000_000), kind, prefix: None, text: text.to_owned() }
    }

    #[test]
    fn one_event_is_its_own_subject_and_several_are_counted() {
        let ban = event(Kind::Ban, "jail sshd: banned 192.0.2.7");
        let one = digest("7", "host", std::slice::from_ref(&ban), 0).unwrap();
        assert_eq!(one.subject, "pillory on host: jail sshd: banned 192.0.2.7");
        assert_eq!(one.lines, ["2027-01-15T08:00:00Z ban: jail sshd: banned 192.0.2.7"]);
        let both = digest("7", "host", &[ban.clone(), ban, event(Kind::Alarm, "an outage")], 0).unwrap();
        assert_eq!((both.subject.as_str(), both.kind), ("pillory on host: 1 alarm, 2 bans", Kind::Alarm));
        assert_eq!(digest("7", "host", &[], 3), None);
    }

    #[test]
    fn a_crowd_is_counted_and_what_was_dropped_is_said() {
        let crowd = vec![event(Kind::Ban, &"ü".repeat(10_000)); 1_000];
        let message = digest("7", "host", &crowd, 5).unwrap();
        assert_eq!((message.lines.len(), message.events), (102, 1_005));
        assert!(message.text().len() < 200_000 && message.lines[100].starts_with("and 900 bans more"));
        assert!(message.lines[101].starts_with("5 earlier events"));
    }
}
