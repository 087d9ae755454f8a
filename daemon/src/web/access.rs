//! Who may read and who may act: by which name this host was called, the token, sessions, and that a form is our own.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pillory_core::config::Web;
use pillory_core::net::Prefix;
use pillory_core::rescue::Tries;
use pillory_core::sha256;

use crate::clock::{self, Stopwatch};

use super::Line;
use super::request::Request;

/// A token has so many characters at least.
const TOKEN_CHARS: usize = 32;

/// A longer file is no token.
const MOST_TOKEN_BYTES: u64 = 4096;

/// At most so many sessions, of which the oldest goes; each lasts so long.
const MOST_SESSIONS: usize = 16;
const SESSION: Duration = Duration::from_secs(12 * 3600);

const COOKIE: &str = "pillory_session";

const CURE: &str =
    "make one with `head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE`, for the daemon's user to read";

/// See the module.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Digest>,
    needs_token: bool,
    hosts: Vec<String>,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    sessions: Vec<Session>,
    tries: Tries,
}

#[derive(Debug)]
struct Session {
    id: Digest,
    csrf: String,
    since: Stopwatch,
}

/// Of a secret, so that neither its letters nor how many of them were right decide how long a comparison takes.
#[derive(Debug, Clone, Copy)]
struct Digest([u8; 32]);

impl Digest {
    fn of(secret: &str) -> Digest {
        Digest(sha256::digest(secret.as_bytes()))
    }

    fn is(self, other: Digest) -> bool {
        self.0.iter().zip(other.0).fold(0, |sum, (one, two)| sum | (one ^ two)) == 0
    }
}

/// Whom a request is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Visitor {
    /// May not even read.
    Stranger,
    /// May read.
    Reader,
    /// Logged in, with the word that its forms carry.
    Session(String),
    /// A script with the token.
    Script,
}

/// Why somebody gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The token is not that.
    Wrong,
    /// The same, after too many of those.
    TooMany,
}

impl Guard {
    /// Reads the token.
    /// # Errors
    /// What is wrong with it, in words, with the cure.
    pub(super) fn of(web: &Web) -> Result<Guard, String> {
        let token = web.token_file.as_deref().map(read_token).transpose()?;
        let inside = Mutex::default();
        Ok(Guard { token, needs_token: web.needs_token(), hosts: web.hosts.clone(), inside })
    }

    /// True if actions are possible at all.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// True if this host may be called so. A page of somebody else's, whose name leads here, calls it by that name.
    pub(super) fn answers_to(&self, host: &str, line: Line) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        if let Ok(addr) = bare.parse::<IpAddr>() {
            return addr.is_loopback() || line.own == Some(addr);
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || self.hosts.contains(&name)
    }

    /// Whom a request is from.
    /// # Errors
    /// [`Refused`] if it brings a token that is none.
    pub(super) fn visitor(&self, request: &Request, line: Line) -> Result<Visitor, Refused> {
        // A proxy passes its own passwords on, under another scheme.
        let bearer = request.authorization.as_deref().and_then(|said| said.split_once(' '));
        if let Some((_, token)) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            return self.check(token.trim(), line).map(|()| Visitor::Script);
        }
        if let Some(csrf) = request.cookie.as_deref().and_then(session_of).and_then(|id| self.session(id)) {
            return Ok(Visitor::Session(csrf));
        }
        // A proxy on this host speaks for whomever it serves.
        Ok(if self.needs_token || request.is_forwarded { Visitor::Stranger } else { Visitor::Reader })
    }

    /// Looks at a token. The right one is always let in: behind a proxy and on this host all have one address, and anybody's
    /// wrong ones would shut it out. Nobody guesses it, so what is bounded is the log.
    fn check(&self, token: &str, line: Line) -> Result<(), Refused> {
        if self.token.is_some_and(|own| own.is(Digest::of(token))) {
            return Ok(());
        }
        let source = match line.peer {
            Some(peer @ IpAddr::V6(_)) => Prefix::host(peer).widened(64),
            Some(peer) => Prefix::host(peer),
            None => Prefix::host(IpAddr::from([127, 0, 0, 1])),
        };
        if !self.inside().tries.allows(source, clock::now()) {
            return Err(Refused::TooMany);
        }
        tracing::warn!(peer = ?line.peer, "a wrong token at the dashboard");
        Err(Refused::Wrong)
    }

    /// Lets somebody in whose form has the token; returns the cookie.
    /// # Errors
    /// [`Refused`]
    pub(super) fn log_in(&self, request: &Request, line: Line) -> Result<String, Refused> {
        self.check(request.form.get("token"), line)?;
        let (Some(id), Some(csrf)) = (random(), random()) else { return Err(Refused::TooMany) };
        let mut inside = self.inside();
        if inside.sessions.len() >= MOST_SESSIONS {
            inside.sessions.remove(0);
        }
        inside.sessions.push(Session { id: Digest::of(&id), csrf, since: Stopwatch::start() });
        let seconds = SESSION.as_secs();
        // Before a proxy with TLS: the cookie is for that way only. On loopback without it a browser would not keep it.
        let is_tls = request.origin.as_deref().is_some_and(|origin| origin.starts_with("https://"));
        let secure = if is_tls { "; Secure" } else { "" };
        Ok(format!("{COOKIE}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"))
    }

    /// Ends a session; returns the cookie that forgets it.
    pub(super) fn log_out(&self, request: &Request) -> String {
        if let Some(id) = request.cookie.as_deref().and_then(session_of) {
            let id = Digest::of(id);
            self.inside().sessions.retain(|session| !session.id.is(id));
        }
        format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
    }

    /// The word that the forms of a session carry, if there is one.
    fn session(&self, id: &str) -> Option<String> {
        let id = Digest::of(id);
        let mut inside = self.inside();
        inside.sessions.retain(|session| session.since.elapsed() < SESSION);
        inside.sessions.iter().find(|session| session.id.is(id)).map(|session| session.csrf.clone())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // What a thread that panicked left behind is whole: each change is one call.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visitor {
    pub(super) fn may_read(&self) -> bool {
        *self != Visitor::Stranger
    }

    /// True if this form may do something: it is of a session, from a page of ours, or from a script.
    pub(super) fn may_act(&self, request: &Request) -> bool {
        match self {
            Visitor::Script => true,
            Visitor::Session(csrf) => {
                is_own_page(request) && Digest::of(csrf).is(Digest::of(request.form.get("csrf")))
            }
            Visitor::Stranger | Visitor::Reader => false,
        }
    }
}

/// True if a browser says that one of our own pages sends this.
pub(super) fn is_own_page(request: &Request) -> bool {
    let own = |origin: &String| {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| host.eq_ignore_ascii_case(&request.host))
    };
    request.origin.as_ref().is_some_and(own)
        && request.fetch_site.as_deref().is_none_or(|site| site == "same-origin")
}

/// True if a browser says that another site's page asks for this on its own, and no person who follows a link.
pub(super) fn is_planted(request: &Request) -> bool {
    let is_foreign =
        request.fetch_site.as_deref().is_some_and(|site| matches!(site, "cross-site" | "same-site"));
    is_foreign && request.fetch_dest.as_deref() != Some("document")
}

fn session_of(cookie: &str) -> Option<&str> {
    cookie.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// A word that nobody guesses; nothing if the kernel has none.
fn random() -> Option<String> {
    let mut bytes = [0; 32];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    (got == Ok(bytes.len())).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read_token(path: &Path) -> Result<Digest, String> {
    let said = |what: String| format!("the token in {}: {what}; {CURE}", path.display());
    let read = || -> std::io::Result<(u32, u64, String)> {
        use std::io::Read as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        // A pipe would wait for its writer.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let status = file.metadata()?;
        if !status.is_file() {
            return Err(std::io::Error::other("it is no file"));
        }
        let mut text = String::new();
        file.take(MOST_TOKEN_BYTES).read_to_string(&mut text)?;
        Ok((status.permissions().mode(), status.len(), text))
    };
    let (mode, _, text) = read().map_err(|cause| said(format!("cannot be read: {cause}")))?;
    if mode & 0o007 != 0 {
        return Err(said(format!("everybody may read or write it (mode {:o})", mode & 0o777)));
    }
    let token = text.trim();
    if token.chars().count() < TOKEN_CHARS || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(said(format!("is no line of {TOKEN_CHARS} letters, digits and signs or more")));
    }
    Ok(Digest::of(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn guard(hosts: &[&str], needs_token: bool) -> Guard {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        Guard { token: Some(Digest::of(TOKEN)), needs_token, hosts, inside: Mutex::default() }
    }

    fn line(peer: &str, own: &str) -> Line {
        Line { peer: peer.parse().ok(), own: own.parse().ok() }
    }

    fn request(head: &str, form: &str) -> Request {
        let text = format!("POST / HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{form}", form.len());
        match super::super::request::parse(text.as_bytes()) {
            super::super::request::Parsed::Whole(request) => *request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_its_own_names_are_answered_to() {
        let guard = guard(&["pillory.example.net"], true);
        let line = line("198.51.100.7", "192.0.2.1");
        for host in [
            "localhost",
            "LOCALHOST:8087",
            "127.0.0.1:1",
            "[::1]:8087",
            "192.0.2.1:80",
            "Pillory.example.net",
            "pillory.example.net.:443",
        ] {
            assert!(guard.answers_to(host, line), "{host}");
        }
        for host in [
            "",
            "evil.example.net",
            "localhost.example.net",
            "192.0.2.2",
            "localhost:x",
            "127.0.0.1.example.net",
            "[::2]",
            "pillory.example.net@evil",
        ] {
            assert!(!guard.answers_to(host, line), "{host}");
        }
    }

    #[test]
    fn a_form_acts_only_with_a_session_its_word_and_our_own_page() {
        let guard = guard(&[], false);
        let line = line("127.0.0.1", "127.0.0.1");
        let form = format!("token={TOKEN}");
        let log_in = |head: &str| guard.log_in(&request(head, &form), line).unwrap();
        assert!(log_in("Host: a\r\nOrigin: https://a\r\n").ends_with("; SameSite=Strict; Secure"));
        let cookie = log_in("Host: a\r\nOrigin: http://a\r\n");
        assert!(!cookie.contains("Secure"), "{cookie}");
        let id = cookie.split(';').next().unwrap().to_owned();
        let own = format!("Host: localhost:8087\r\nOrigin: http://localhost:8087\r\nCookie: a=b; {id}\r\n");
        let Visitor::Session(csrf) = guard.visitor(&request(&own, ""), line).unwrap() else {
            panic!("no session")
        };
        let word = format!("csrf={csrf}");
        let acts = |head: &str, form: &str| {
            let request = request(head, form);
            guard.visitor(&request, line).unwrap().may_act(&request)
        };
        assert!(acts(&own, &word));
        assert!(!acts(&own, "") && !acts(&own, "csrf=0"));
        assert!(!acts(&own.replace("Origin: http://localhost", "Origin: http://evil.example.net"), &word));
        assert!(!acts(&own.replace("Origin: http://localhost:8087", "Origin: null"), &word));
        assert!(!acts(&own.replace("Origin: http://localhost:8087\r\n", ""), &word));
        assert!(!acts(&format!("{own}Sec-Fetch-Site: same-site\r\n"), &word));
        assert!(!acts(&own.replace(&id, "pillory_session=0"), &word));
        guard.log_out(&request(&own, ""));
        assert!(!acts(&own, &word));
    }

    #[test]
    fn wrong_tokens_are_bounded_and_the_right_one_is_never_locked_out() {
        let guard = guard(&[], true);
        let here = line("127.0.0.1", "127.0.0.1");
        let bearer = |token: &str| request(&format!("Host: a\r\nAuthorization: Bearer {token}\r\n"), "");
        for _ in 0..5 {
            assert_eq!(guard.visitor(&bearer("wrong"), here), Err(Refused::Wrong));
        }
        assert_eq!(guard.visitor(&bearer("wrong"), here), Err(Refused::TooMany));
        assert_eq!(guard.visitor(&bearer(TOKEN), here), Ok(Visitor::Script));
        assert!(guard.log_in(&request("Host: a\r\n", &format!("token={TOKEN}")), here).is_ok());
        let basic = request("Host: a\r\nAuthorization: Basic d3Jvbmc6d3Jvbmc=\r\n", "");
        assert_eq!(guard.visitor(&basic, here), Ok(Visitor::Stranger), "a proxy's password is no token");
        assert_eq!(guard.visitor(&request("Host: a\r\n", ""), here), Ok(Visitor::Stranger));
    }

    #[test]
    fn a_token_must_be_long_and_its_file_closed_to_others() {
        let path = std::env::temp_dir().join(format!("pillory-token-{}", std::process::id()));
        let read = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read_token(&path).map(drop)
        };
        assert_eq!(read(&format!("{TOKEN}\n"), 0o640), Ok(()));
        for (text, mode, word) in [
            (TOKEN, 0o644, "mode 644"),
            ("short\n", 0o600, "no line of 32"),
            ("", 0o600, "no line of 32"),
            (&*format!("{TOKEN} {TOKEN}"), 0o600, "no line of 32"),
        ] {
            let refused = read(text, mode).unwrap_err();
            assert!(refused.contains(word) && refused.contains("urandom"), "{refused}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_token(&path).unwrap_err().contains("cannot be read"));
        assert!(read_token(Path::new("/dev/zero")).unwrap_err().contains("it is no file"));
    }
}
