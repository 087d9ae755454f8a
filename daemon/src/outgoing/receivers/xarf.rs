//! X-ARF, version 4: a mail to the abuse contact of a network, for people and for programs.
//! Source: the schemas `xarf-core.json` and `connection-login-attack.json` of <https://github.com/xarf/xarf-spec>.

use serde_json::{Value, json};

use pillory_core::config::outgoing::Mail;
use pillory_core::outgoing::Report;
use pillory_core::sha256;
use pillory_core::wall::Service;

use crate::rdap::Network;

use super::super::Failed;
use super::super::ways::mail::{self, Letter};

/// Tells whoever answers for the network.
/// # Errors
/// [`Failed`]
pub(in super::super) fn send(
    (mail, organisation): (&Mail, &str),
    network: &Network,
    (id, report): (i64, &Report),
) -> Result<(), Failed> {
    let Some(contact) = &network.abuse else {
        return Err(Failed::content("the registry names no abuse contact of that network"));
    };
    let written = Written::new((mail, organisation), (id, report));
    mail::send(mail, &written.letter(std::slice::from_ref(contact)))
}

/// The mail as it would be sent; whom it would go to is asked when it is.
pub(in super::super) fn preview(
    (mail, organisation): (&Mail, &str),
    (id, report): (i64, &Report),
) -> Result<String, Failed> {
    let written = Written::new((mail, organisation), (id, report));
    let to = ["abuse-contact-of-the-network@invalid".to_owned()];
    let letter = mail::write(mail, &written.letter(&to))?;
    Ok(String::from_utf8_lossy(&letter.formatted()).replace('\r', ""))
}

/// What a letter is made of.
struct Written {
    id: String,
    subject: String,
    text: String,
    json: String,
}

impl Written {
    fn new((mail, organisation): (&Mail, &str), (id, report): (i64, &Report)) -> Written {
        let id = uuid(&format!("{id} {} {} {}", report.addr, report.jail, report.first.millis()));
        let lines = report.lines.join("\n");
        let text = format!(
            "Dear abuse team,\n\nwe saw {}, from {}; we block the address for now.\n\n{lines}\n\n\
             All times are in UTC. The lines are made of what our log says; names of users are left out unless they are \
             common. A report for programs (X-ARF 4) is attached.\nAnswers to this address are read.\n\n{organisation}\n",
            report.sentence(),
            report.addr
        );
        let json = value((mail, organisation), &id, report, &lines).to_string();
        let subject = format!("Abuse report: {} from {}", report.service().attempts(), report.addr);
        Written { id, subject, text, json }
    }

    fn letter<'a>(&'a self, to: &'a [String]) -> Letter<'a> {
        let json = Some(("xarf.json", self.json.clone()));
        Letter { id: &self.id, to, subject: &self.subject, text: &self.text, json }
    }
}

fn value((mail, organisation): (&Mail, &str), id: &str, report: &Report, lines: &str) -> Value {
    let domain = mail.from.rsplit_once('@').map_or("", |(_, domain)| domain);
    let contact = json!({"org": organisation, "contact": mail.from, "domain": domain});
    let digest: String = sha256::digest(lines.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let service = match report.service() {
        Service::Ssh => "ssh",
        Service::WordPress | Service::Web => "http",
        Service::Mail => "mail",
        Service::Ftp => "ftp",
        Service::Other => "other",
    };
    json!({
        "xarf_version": "4.0.0",
        "report_id": id,
        "timestamp": report.last.to_string(),
        "reporter": contact.clone(),
        "sender": contact,
        "source_identifier": report.addr.to_string(),
        "category": "connection",
        "type": "login_attack",
        "evidence_source": "automated_filter",
        "protocol": "tcp",
        "first_seen": report.first.to_string(),
        "last_seen": report.last.to_string(),
        "service": service,
        "attempt_count": report.tries,
        "description": report.sentence(),
        "evidence": [{
            "content_type": "text/plain",
            "description": "what the log says of these attempts",
            "payload": base64(lines.as_bytes()),
            "hash": format!("sha256:{digest}"),
        }],
    })
}

/// The same for the same report, so that one which comes twice is known. Source: RFC 9562, section 5.8, which leaves the
/// bits to whoever makes it; marked as version 4, which the schema asks for.
fn uuid(of: &str) -> String {
    let digest = sha256::digest(of.as_bytes());
    let mut bytes: [u8; 16] = std::array::from_fn(|at| digest[at]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex[from..to].concat();
    format!("{}-{}-{}-{}-{}", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16))
}

/// Source: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let all = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * at) & 0x3f) as usize];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_what_others_read() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_name_of_a_report_is_a_uuid_and_stays() {
        let id = uuid("7");
        assert_eq!(id, uuid("7"));
        assert_ne!(id, uuid("8"));
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(id.as_bytes()[14], b'4');
    }
}
