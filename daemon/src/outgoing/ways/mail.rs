//! Mail, by lettre with rustls. All that is said is plain text; what an attacker wrote is escaped before it comes here, and
//! neither a header nor a part can be begun by it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Envelope;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, SmtpTransport, Transport as _};

use pillory_core::config::outgoing::{Mail, MailTls};
use pillory_core::outgoing::Message;
use pillory_core::time::Timestamp;

use crate::escape::escape;
use crate::{clock, fault, privilege};

use super::super::http::{RESOLVE, addresses, certificates};
use super::super::{Failed, Refuser, secret};

/// So long each step of a conversation may take.
const LIMIT: Duration = Duration::from_secs(30);

/// So long all of it may take: a server that says a word every now and then holds up nobody.
const WHOLE: Duration = Duration::from_secs(60);

/// So many conversations that took longer may still hang.
const MOST_HANGING: usize = 4;
static HANGING: AtomicUsize = AtomicUsize::new(0);

/// So many addresses of a server are tried.
const MOST_ADDRESSES: usize = 3;

/// A program wrote it, so no program shall answer. Source: RFC 3834, section 5.
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// What is sent.
#[derive(Debug)]
pub(in super::super) struct Letter<'a> {
    /// Its name, without what stands behind the @.
    pub(in super::super) id: &'a str,
    pub(in super::super) to: &'a [String],
    pub(in super::super) subject: &'a str,
    pub(in super::super) text: &'a str,
    /// JSON that goes with it.
    pub(in super::super) json: Option<(&'a str, String)>,
}

/// Tells the owner.
pub(in super::super) fn tell(mail: &Mail, message: &Message) -> Result<(), Failed> {
    let text = format!(
        "{}\n\nThis host is {}; `pillory status` there says how it is.\n",
        message.text(),
        message.host
    );
    send(mail, &Letter { id: &message.id, to: &mail.to, subject: &message.subject, text: &text, json: None })
}

/// The letter as it goes over the line.
/// # Errors
/// [`Failed`] if an address is none.
pub(in super::super) fn write(mail: &Mail, letter: &Letter<'_>) -> Result<lettre::Message, Failed> {
    let unfit =
        |error: &dyn std::fmt::Display| Failed::lasting(format!("the mail cannot be written: {error}"));
    let mailbox = |text: &str| -> Result<Mailbox, Failed> {
        text.parse::<Address>().map(|address| Mailbox::new(None, address)).map_err(|error| unfit(&error))
    };
    let from = mailbox(&mail.from)?;
    let id = format!("<{}@{}>", letter.id, from.email.domain());
    let mut builder = lettre::Message::builder()
        .from(from)
        .subject(letter.subject)
        .message_id(Some(id))
        .date(system_time(clock::read().wall))
        .header(AutoSubmitted);
    for to in letter.to {
        // Of a report it is the registry's, and no trouble of other reports.
        let mailbox = mailbox(to);
        builder = builder.to(mailbox.map_err(|error| Failed { is_about_content: is_report(mail), ..error })?);
    }
    let text = letter.text.to_owned();
    let written = match &letter.json {
        None => builder.header(ContentType::TEXT_PLAIN).body(text),
        Some((name, json)) => {
            let kind = ContentType::parse("application/json").map_err(|error| unfit(&error))?;
            let attached = lettre::message::Attachment::new((*name).to_owned()).body(json.clone(), kind);
            builder.multipart(MultiPart::mixed().singlepart(SinglePart::plain(text)).singlepart(attached))
        }
    };
    written.map_err(|error| unfit(&error))
}

/// Reports go to whom they concern, who is another each time.
fn is_report(mail: &Mail) -> bool {
    mail.to.is_empty()
}

fn system_time(at: Timestamp) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.millis().unsigned_abs())
}

/// Hands a letter over.
/// # Errors
/// [`Failed`]
pub(in super::super) fn send(mail: &Mail, letter: &Letter<'_>) -> Result<(), Failed> {
    let written = write(mail, letter)?;
    let (envelope, text, to) = (written.envelope().clone(), written.formatted(), letter.to.join(" "));
    let own = mail.clone();
    within(WHOLE, mail, move || hand_over(&own, (&envelope, &text), &to))
}

/// Does it in a thread of its own, which is left alone once it has taken so long: no step of a conversation can be ended
/// from outside.
fn within(
    limit: Duration,
    mail: &Mail,
    work: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Result<(), Failed> {
    let server = format!("the mail server {}", mail.host);
    if HANGING.load(Ordering::SeqCst) >= MOST_HANGING {
        return Err(Failed::passing(format!("{server} has not ended what was begun before")));
    }
    HANGING.fetch_add(1, Ordering::SeqCst);
    let (say, said) = crossbeam_channel::bounded(1);
    let conversation = move || {
        let came = fault::outlive(work);
        HANGING.fetch_sub(1, Ordering::SeqCst);
        // Nobody may wait for it any more.
        drop(say.send(came));
    };
    if let Err(error) = std::thread::Builder::new().name("mail".into()).spawn(conversation) {
        HANGING.fetch_sub(1, Ordering::SeqCst);
        return Err(Failed::passing(format!("cannot start a thread: {error}")));
    }
    match said.recv_timeout(limit) {
        Ok(Ok(came)) => came,
        Ok(Err(fault)) => {
            Err(Failed::passing(format!("a fault in Pillory ({}); please report it", escape(&fault))))
        }
        Err(_) => Err(Failed::passing(format!("{server} did not take it within {} s", limit.as_secs()))),
    }
}

/// Hands it over to one of the server's addresses.
fn hand_over(mail: &Mail, (envelope, text): (&Envelope, &[u8]), to: &str) -> Result<(), Failed> {
    let found = addresses(&mail.host, RESOLVE);
    if found.is_empty() {
        return Err(Failed::passing(format!("the mail server {} has no address", mail.host)));
    }
    let mut last = None;
    for addr in found.into_iter().take(MOST_ADDRESSES) {
        match transport(mail, &addr.to_string())?.send_raw(envelope, text) {
            Ok(_) => return Ok(()),
            Err(error) => {
                let is_final = error.status().is_some() || error.is_tls() || error.is_client();
                let is_about_it = blames_mailbox(&said(&error));
                let error = failed(mail, &error);
                let refuser = error.is_about_content.then(|| Refuser { mailbox: to.to_owned(), is_about_it });
                last = Some(Failed { refuser, ..error });
                if is_final {
                    break;
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| Failed::passing("the mail server has no address")))
}

/// A connection to this address; names are resolved by us, certificates are asked for the name.
fn transport(mail: &Mail, addr: &str) -> Result<SmtpTransport, Failed> {
    let tls = match mail.tls {
        MailTls::None => Tls::None,
        MailTls::Wrapped => Tls::Wrapper(parameters(mail)?),
        MailTls::StartTls => Tls::Required(parameters(mail)?),
    };
    let domain = mail.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let mut builder = SmtpTransport::builder_dangerous(addr)
        .port(mail.port)
        .tls(tls)
        .hello_name(ClientId::Domain(domain.to_owned()))
        .timeout(Some(LIMIT));
    if let Some((user, file)) = &mail.login {
        let password = secret(file).map_err(Failed::lasting)?;
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.build())
}

fn parameters(mail: &Mail) -> Result<TlsParameters, Failed> {
    let unfit =
        |error: lettre::transport::smtp::Error| Failed::lasting(format!("TLS cannot be used: {error}"));
    let mut builder = TlsParameters::builder(mail.host.clone()).certificate_store(CertificateStore::None);
    for trusted in certificates(mail.ca_file.as_deref())? {
        builder =
            builder.add_root_certificate(Certificate::from_der(trusted.as_ref().to_vec()).map_err(unfit)?);
    }
    builder.build_rustls().map_err(unfit)
}

fn failed(mail: &Mail, error: &lettre::transport::smtp::Error) -> Failed {
    let mut why = format!("mail by {}:{}: {error}", mail.host, mail.port);
    let mut source = std::error::Error::source(error);
    let mut cure = None;
    while let Some(cause) = source {
        let words = cause.to_string();
        if !why.contains(&words) {
            why = format!("{why}: {words}");
        }
        cure = cure.or_else(|| cause.downcast_ref().and_then(privilege::network_cure));
        source = cause.source();
    }
    let mut why = escape(&why);
    if why.contains("UnknownIssuer") {
        why.push_str("; name the certificate that signed the server's with ca_file");
    }
    why.push_str(cure.unwrap_or_default());
    if let Some(status) = error.status().map(u16::from).filter(|_| is_report(mail)) {
        return of_one(status, why);
    }
    // The server will not think otherwise at once.
    match error.is_permanent() || error.is_tls() || error.is_client() {
        true => Failed::lasting(why),
        false => Failed::passing(why),
    }
}

/// What a status means for a mail to somebody whom other mails do not go to. Those of the mailbox, of what was said, and
/// of a host that takes no mail are about this one. Source: RFC 5321, section 4.2.3; RFC 7504.
fn of_one(status: u16, why: String) -> Failed {
    match status {
        521 | 550..=556 => Failed::content(why),
        450..=452 => Failed { others_may: true, ..Failed::passing(why) },
        400..=499 => Failed::passing(why),
        _ => Failed::lasting(why),
    }
}

/// What the server said, without its status.
fn said(error: &lettre::transport::smtp::Error) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

/// What servers say of a mailbox that is none, where they do not say it by an enhanced status.
const NO_MAILBOX: [&str; 6] =
    ["user unknown", "unknown user", "no such user", "no such mailbox", "no mailbox", "unrouteable address"];

/// True if a refusal is about the mailbox that was written to, and not about who writes: by its enhanced status, of a bad
/// address (but for those of the sender) or of a mailbox, or by its words. Source: RFC 3463, sections 3.2 and 3.3; RFC 7505.
fn blames_mailbox(said: &str) -> bool {
    let parts: Option<Vec<u16>> = said
        .split_whitespace()
        .next()
        .and_then(|status| status.split('.').map(|part| part.parse().ok()).collect());
    match parts.as_deref() {
        Some([5, subject, detail]) => matches!((*subject, *detail), (1, 1..=6 | 10) | (2, 1..=4)),
        _ => {
            let said = said.to_lowercase();
            NO_MAILBOX.iter().any(|words| said.contains(words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        Mail {
            host: "mail.example.net".into(),
            port: 465,
            tls: MailTls::Wrapped,
            from: "pillory@example.net".into(),
            to: vec!["root@example.net".into()],
            login: None,
            ca_file: None,
        }
    }

    #[test]
    fn a_conversation_that_does_not_end_is_left_alone_and_not_begun_for_ever() {
        let (end, ended) = crossbeam_channel::bounded::<()>(0);
        for _ in 0..MOST_HANGING {
            let ended = ended.clone();
            let hung = within(Duration::from_millis(20), &mail(), move || {
                ended.recv().unwrap_or_default();
                Ok(())
            });
            assert!(hung.unwrap_err().why.contains("did not take it within"));
        }
        let more = within(Duration::from_secs(60), &mail(), || Ok(())).unwrap_err();
        assert!(more.why.contains("has not ended what was begun before"), "{more:?}");
        drop(end);
        while HANGING.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        assert!(within(Duration::from_secs(60), &mail(), || Ok(())).is_ok());
    }

    #[test]
    fn what_is_about_one_mailbox_holds_up_no_other_report() {
        let of = |status| {
            let failed = of_one(status, String::new());
            (failed.is_about_content, failed.others_may, failed.setback.is_lasting)
        };
        assert_eq!([550, 551, 552, 553, 554, 556, 521].map(of), [(true, false, false); 7]);
        assert_eq!(of(450), (false, true, false));
        assert_eq!((of(421), of(535)), ((false, false, false), (false, false, true)));
        // Nor a contact that looks like one and is none; the owner's own is to be mended.
        for (own, is_about_content) in [(vec![], true), (mail().to, false)] {
            let (mail, to) = (Mail { to: own, ..mail() }, ["a..b@-.".to_owned()]);
            let letter = Letter { id: "7", to: &to, subject: "", text: "", json: None };
            assert_eq!(write(&mail, &letter).unwrap_err().is_about_content, is_about_content);
        }
    }

    #[test]
    fn a_refusal_is_about_the_mailbox_if_it_says_so() {
        for said in [
            "5.1.1 <abuse@example.org>: Recipient address rejected: User unknown",
            "5.2.1 disabled",
            "5.1.10 null MX",
            "Unrouteable address",
            "no such user here",
        ] {
            assert!(blames_mailbox(said), "{said}");
        }
        for said in [
            "5.7.1 user unknown to us: this sender may not",
            "5.1.8 bad sender",
            "4.2.1 later",
            "relay not permitted",
            "5.1",
            "",
        ] {
            assert!(!blames_mailbox(said), "{said}");
        }
    }

    #[test]
    fn nothing_that_is_said_begins_a_header_or_a_part() {
        let hostile =
            "x\r\nBcc: victim@example.org\r\n\r\n--boundary\r\n.\r\nMAIL FROM:<a@b>\u{202e}\u{1b}[2J";
        let escaped = escape(hostile);
        let to = ["root@example.net".to_owned()];
        let letter = Letter { id: "7", to: &to, subject: &escaped, text: &escaped, json: None };
        let written = String::from_utf8(write(&mail(), &letter).unwrap().formatted()).unwrap();
        let (head, body) = written.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("\r\nbcc:"), "{head}");
        assert!(
            head.contains("Message-ID: <7@example.net>") && head.contains("Auto-Submitted: auto-generated")
        );
        assert!(!body.contains("\r\n.\r\n") && !body.contains('\u{1b}') && !written.contains('\u{202e}'));
        // Even if somebody forgot to escape it.
        let raw = Letter { subject: hostile, ..letter };
        let written = String::from_utf8(write(&mail(), &raw).unwrap().formatted()).unwrap();
        let (head, _) = written.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("\r\nbcc:"), "{head}");
    }
}
