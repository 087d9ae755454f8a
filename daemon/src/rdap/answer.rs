//! What a registry answers: read from JSON that may be anything. Source: RFC 9083, sections 5.1 and 5.4; RFC 7095.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use pillory_core::config::keys::is_mail_address;
use pillory_core::net::{Prefix, canonical};

/// So deep are entities looked for in entities, and so many in all.
const MOST_DEPTH: u32 = 4;
const MOST_ENTITIES: usize = 200;

/// Longer names are cut.
const MOST_CHARS: usize = 120;

/// Wider networks belong to registries, not to who uses them.
const WIDEST: (u8, u8) = (8, 16);

/// Whose network an address is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Its first address.
    pub(crate) first: IpAddr,
    /// Its last address.
    pub(crate) last: IpAddr,
    /// How the registry calls it; hostile text, as all that follows.
    pub(crate) name: Option<String>,
    /// The registry's number for it.
    pub(crate) handle: Option<String>,
    /// Who holds it.
    pub(crate) holder: Option<String>,
    /// In which country.
    pub(crate) country: Option<String>,
    /// Who hears complaints: an address of mail.
    pub(crate) abuse: Option<String>,
}

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("it is no JSON")]
    NoJson,
    #[error("it names no network")]
    NoNetwork,
    #[error("the network that it names does not hold the address")]
    Elsewhere,
    #[error("the network that it names is too wide to be anybody's")]
    TooWide,
}

/// Reads an answer about this address.
/// # Errors
/// [`AnswerError`]
pub(crate) fn read(bytes: &[u8], asked: IpAddr) -> Result<Network, AnswerError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| AnswerError::NoJson)?;
    let addr = |key: &str| -> Option<IpAddr> {
        // Some registries write a length behind it.
        value[key].as_str()?.split('/').next()?.trim().parse().ok().map(canonical)
    };
    let (Some(first), Some(last)) = (addr("startAddress"), addr("endAddress")) else {
        return Err(AnswerError::NoNetwork);
    };
    let mut entities = Entities::default();
    entities.read(&value, 0);
    let network = Network {
        first,
        last,
        name: text(&value["name"]),
        handle: text(&value["handle"]),
        holder: entities.holder.or_else(|| text(&value["remarks"][0]["description"][0])),
        country: text(&value["country"]).filter(|country| country.len() <= 3),
        abuse: entities.abuse,
    };
    network.checked(canonical(asked))
}

impl Network {
    fn checked(self, asked: IpAddr) -> Result<Network, AnswerError> {
        let holds = first_last(self.first, self.last).is_some_and(|(first, last)| {
            let (at, _) = Prefix::host(asked).range();
            asked.is_ipv4() == self.first.is_ipv4() && (first..=last).contains(&at)
        });
        if !holds {
            return Err(AnswerError::Elsewhere);
        }
        let widest = if asked.is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        match self.prefixes().iter().any(|prefix| prefix.prefix_len() < widest) {
            true => Err(AnswerError::TooWide),
            false => Ok(self),
        }
    }

    /// The same as prefixes, the fewest that are exactly it.
    pub(crate) fn prefixes(&self) -> Vec<Prefix> {
        let Some((mut at, last)) = first_last(self.first, self.last) else { return Vec::new() };
        let width: u8 = if self.first.is_ipv4() { 32 } else { 128 };
        let mut found = Vec::new();
        // Each step at least doubles the next one or halves it, so there are 2 * 128 at most.
        while at <= last && found.len() < 256 {
            let end = |bits: u8| 1u128.checked_shl(bits.into()).and_then(|size| at.checked_add(size - 1));
            let fits = |bits: &u8| {
                at.trailing_zeros() >= u32::from(*bits) && end(*bits).is_some_and(|end| end <= last)
            };
            // From all zeros on any size is aligned, but for all of IPv6, which no number counts.
            let Some(bits) = (0..width).rev().find(|bits| fits(bits)) else { break };
            let addr = address(at, self.first.is_ipv4());
            found.extend(Prefix::new(addr, width - bits).ok());
            match end(bits).and_then(|end| end.checked_add(1)) {
                Some(next) => at = next,
                None => break,
            }
        }
        found
    }

    /// How many addresses (of IPv6: /64s) it has.
    pub(crate) fn size(&self) -> u128 {
        let Some((first, last)) = first_last(self.first, self.last) else { return 0 };
        match self.first.is_ipv4() {
            true => last - first + 1,
            false => (last >> 64) - (first >> 64) + 1,
        }
    }
}

/// The addresses as numbers; nothing if they are of two families or the wrong way round.
fn first_last(first: IpAddr, last: IpAddr) -> Option<(u128, u128)> {
    let number = |addr| Prefix::host(addr).range().0;
    let (from, to) = (number(first), number(last));
    (first.is_ipv4() == last.is_ipv4() && from <= to).then_some((from, to))
}

fn address(number: u128, is_ipv4: bool) -> IpAddr {
    match is_ipv4 {
        true => IpAddr::from((number as u32).to_be_bytes()),
        false => IpAddr::from(number.to_be_bytes()),
    }
}

/// People and roles of an answer.
#[derive(Debug, Default)]
struct Entities {
    holder: Option<String>,
    abuse: Option<String>,
    seen: usize,
}

impl Entities {
    fn read(&mut self, of: &Value, depth: u32) {
        for entity in of["entities"].as_array().into_iter().flatten() {
            self.seen += 1;
            if self.seen > MOST_ENTITIES {
                return;
            }
            let has =
                |role: &str| entity["roles"].as_array().into_iter().flatten().any(|known| known == role);
            if has("registrant") && self.holder.is_none() {
                self.holder = property(entity, "fn").and_then(text);
            }
            if has("abuse") && self.abuse.is_none() {
                let email = property(entity, "email").and_then(Value::as_str);
                self.abuse = email.filter(|email| is_mail_address(email)).map(str::to_owned);
            }
            if depth < MOST_DEPTH {
                self.read(entity, depth + 1);
            }
        }
    }
}

/// A property of an entity's card.
fn property<'v>(entity: &'v Value, name: &str) -> Option<&'v Value> {
    let properties = entity["vcardArray"].get(1)?.as_array()?;
    properties.iter().find(|property| property.get(0).is_some_and(|known| known == name))?.get(3)
}

/// A text of one line, cut.
fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    let text: String = text.chars().filter(|c| !c.is_control()).take(MOST_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(first: &str, last: &str) -> Value {
        let card = |name: &str, email: &str| {
            json!([
                "vcard",
                [["version", {}, "text", "4.0"], ["fn", {}, "text", name], ["email", {}, "text", email]]
            ])
        };
        json!({"objectClassName": "ip network", "handle": "NET-1", "startAddress": first, "endAddress": last,
            "name": "EXAMPLE-NET", "country": "DE", "entities": [
                {"roles": ["registrant"], "vcardArray": card("Example Ltd.", "noc@example.net"), "entities": [
                    {"roles": ["abuse"], "vcardArray": card("Abuse", "abuse@example.net")}]}]})
    }

    fn read(value: &Value, asked: &str) -> Result<Network, AnswerError> {
        super::read(value.to_string().as_bytes(), asked.parse().unwrap())
    }

    #[test]
    fn network_holder_and_contact_are_found() {
        let network = read(&answer("192.0.2.0", "192.0.2.191"), "192.0.2.7").unwrap();
        assert_eq!(
            (network.holder.as_deref(), network.abuse.as_deref()),
            (Some("Example Ltd."), Some("abuse@example.net"))
        );
        let prefixes: Vec<String> = network.prefixes().iter().map(ToString::to_string).collect();
        assert_eq!(
            (prefixes, network.size()),
            (vec!["192.0.2.0/25".to_owned(), "192.0.2.128/26".to_owned()], 192)
        );
        let v6 =
            read(&answer("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), "2001:db8::7").unwrap();
        assert_eq!((v6.prefixes().len(), v6.prefixes()[0].to_string()), (1, "2001:db8::/32".to_owned()));
        assert_eq!(v6.size(), 1 << 32);
    }

    #[test]
    fn an_answer_that_would_hit_others_is_none() {
        assert_eq!(read(&answer("198.51.100.0", "198.51.100.255"), "192.0.2.7"), Err(AnswerError::Elsewhere));
        assert_eq!(read(&answer("192.0.2.9", "192.0.2.1"), "192.0.2.7"), Err(AnswerError::Elsewhere));
        assert_eq!(read(&answer("0.0.0.0", "255.255.255.255"), "192.0.2.7"), Err(AnswerError::TooWide));
        let all = answer("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert_eq!(read(&all, "2001:db8::7"), Err(AnswerError::TooWide));
        assert_eq!(read(&all, "192.0.2.7"), Err(AnswerError::Elsewhere));
        assert_eq!(super::read(b"<html>", [192, 0, 2, 7].into()), Err(AnswerError::NoJson));
        assert_eq!(read(&json!({"errorCode": 404}), "192.0.2.7"), Err(AnswerError::NoNetwork));
    }

    #[test]
    fn a_contact_that_is_no_address_is_none() {
        let text = answer("192.0.2.0", "192.0.2.255").to_string();
        let hostile = text.replace("abuse@example.net", "abuse@example.net\\r\\nBcc: victim@example.org");
        let network = super::read(hostile.as_bytes(), [192, 0, 2, 7].into()).unwrap();
        assert_eq!(network.abuse, None);
    }
}
