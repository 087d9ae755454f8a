//! What is sent: notifications for the owner of the host, reports of attackers for others.
//!
//! The daemon's sandbox lets nothing out but DNS. So a process of its own delivers, `pillory deliver`, started before the
//! daemon gives up its rights and only if something is to be sent ([`Delivery`]). Both share the [`outbox`] on disk: the
//! daemon's [`poster`] puts in and never waits, the process ([`deliver`]) takes out. It reads the configuration itself,
//! secrets included, so whoever took the daemon over could only make it say something else to those whom the
//! administrator chose.

pub(crate) mod deliver;
mod http;
mod notify;
pub(crate) mod outbox;
pub(crate) mod poster;
mod receivers;
pub(crate) mod reports;
mod secret;
mod ways;

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pillory_core::config::Outgoing;
use pillory_core::config::outgoing::{Mail, Receiver, Syslog, Way, WebPlace};
use pillory_core::outgoing::{Setback, Url};

use crate::cli::configfile::Place;
use crate::commands::outside::start_self;
use crate::logging;

pub(crate) use http::Web;
pub(crate) use notify::{form, send};
pub(crate) use poster::Post;
pub(crate) use secret::read as secret;

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// In words.
    pub(crate) why: String,
    /// What to do with it.
    pub(crate) setback: Setback,
    /// It is this message or report that is refused, and no other would be.
    pub(crate) is_about_content: bool,
    /// It is this report that cannot be sent now, and others may be.
    pub(crate) others_may: bool,
    /// The mailbox that refused it, though it may be who wrote that was refused.
    pub(crate) refuser: Option<Refuser>,
    /// Nobody was asked: what would come of it is known.
    pub(crate) is_foregone: bool,
}

/// A mailbox that refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refuser {
    /// Which.
    pub(crate) mailbox: String,
    /// The server said that it is about the mailbox.
    pub(crate) is_about_it: bool,
}

impl Failed {
    /// Something that may pass.
    pub(crate) fn passing(why: impl Into<String>) -> Failed {
        Failed {
            why: why.into(),
            setback: Setback::default(),
            is_about_content: false,
            others_may: false,
            refuser: None,
            is_foregone: false,
        }
    }

    /// A message or report that is refused for what it is.
    pub(crate) fn content(why: impl Into<String>) -> Failed {
        Failed { is_about_content: true, ..Failed::passing(why) }
    }

    /// Something that somebody must mend.
    pub(crate) fn lasting(why: impl Into<String>) -> Failed {
        Failed { setback: Setback { is_lasting: true, retry_after: None }, ..Failed::passing(why) }
    }
}

/// What the process that delivers needs of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// TCP ports to connect to.
    pub(crate) ports: Vec<u16>,
    /// Files with secrets and certificates.
    pub(crate) files: Vec<PathBuf>,
    /// Programs are to be run.
    pub(crate) runs_commands: bool,
}

impl Wants {
    /// What this configuration needs.
    pub(crate) fn of(outgoing: &Outgoing) -> Wants {
        let mut wants = Wants::default();
        for notify in &outgoing.notify {
            match &notify.way {
                Way::Mail(mail) => wants.mail(mail),
                Way::Webhook(hook) => {
                    let known = match &hook.place {
                        WebPlace::Known(url) => Some(url.clone()),
                        WebPlace::File(file) => {
                            wants.files.push(file.clone());
                            secret(file).ok().and_then(|text| Url::parse(&text).ok())
                        }
                    };
                    wants.ports.push(known.map_or(443, |url| url.port()));
                    wants.files.extend(hook.token_file.iter().chain(&hook.ca_file).cloned());
                }
                Way::Syslog(Syslog::Tcp(_, port)) => wants.ports.push(*port),
                Way::Syslog(_) => {}
                Way::Command(_) => wants.runs_commands = true,
            }
        }
        for to in &outgoing.reports {
            match &to.to {
                Receiver::AbuseIpDb { url, key_file, .. } | Receiver::BlocklistDe { url, key_file, .. } => {
                    wants.ports.push(url.port());
                    wants.files.push(key_file.clone());
                }
                Receiver::Xarf { mail, .. } => {
                    wants.mail(mail);
                    // Whoever is asked leads on to others.
                    wants.ports.extend([443, outgoing.rdap.url.port()]);
                    wants.files.extend(outgoing.rdap.ca_file.iter().cloned());
                }
            }
        }
        wants.ports.sort_unstable();
        wants.ports.dedup();
        wants
    }

    fn mail(&mut self, mail: &Mail) {
        self.ports.push(mail.port);
        self.files.extend(mail.login.iter().map(|(_, file)| file.clone()).chain(mail.ca_file.clone()));
    }

    /// What is in the way of doing this with what the other was given.
    fn lacks(&self, given: &Wants) -> Option<String> {
        let port = self.ports.iter().find(|port| !given.ports.contains(port));
        let file = self.files.iter().find(|file| !given.reads(file));
        match (port, file) {
            (Some(port), _) => Some(format!("connect to port {port}")),
            (None, Some(file)) => Some(format!("read {}", file.display())),
            (None, None) if self.runs_commands && !given.runs_commands => Some("run commands".to_owned()),
            (None, None) => None,
        }
    }

    fn reads(&self, file: &Path) -> bool {
        file.starts_with("/etc") || self.files.iter().any(|known| file.starts_with(opened_for(known)))
    }
}

/// What is opened to the process that sends, so that it can read this file: the directory, for a file may be replaced by
/// another. Of a file directly below `/` itself alone: that directory is all of the host.
fn opened_for(file: &Path) -> &Path {
    let is_all = |directory: &Path| std::fs::canonicalize(directory).is_ok_and(|real| real == Path::new("/"));
    file.parent().filter(|directory| !is_all(directory)).unwrap_or(file)
}

/// The daemon's end of the process that delivers, which ends with the last clone. By default there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivery {
    there: Option<Arc<UnixStream>>,
    given: Wants,
    is_limited: bool,
    /// The outbox does not take what is to be sent.
    is_troubled: Arc<AtomicBool>,
}

impl Delivery {
    /// Starts the process if there is anything to be sent.
    /// # Errors
    /// The system's, if it cannot be started.
    pub(crate) fn start(
        outgoing: &Outgoing,
        place: &Place,
        (state_dir, log_format): (&Path, logging::Format),
        is_limited: bool,
    ) -> std::io::Result<Delivery> {
        if !outgoing.is_any() {
            return Ok(Delivery::default());
        }
        let mut arguments: Vec<&OsStr> =
            vec!["deliver".as_ref(), "--state-dir".as_ref(), state_dir.as_os_str()];
        if let Some(file) = &place.file {
            arguments.extend([OsStr::new("--config"), file.as_os_str()]);
        }
        if let Some(directory) = &place.fail2ban {
            arguments.extend([OsStr::new("--fail2ban"), directory.as_os_str()]);
        }
        if log_format == logging::Format::Json {
            arguments.extend([OsStr::new("--log-format"), OsStr::new("json")]);
        }
        let there = start_self(&arguments)?;
        // Who is slow to hear is woken anyway.
        there.set_nonblocking(true)?;
        Ok(Delivery {
            there: Some(Arc::new(there)),
            given: Wants::of(outgoing),
            is_limited,
            is_troubled: Arc::default(),
        })
    }

    /// True if something can be sent.
    pub(crate) fn is_there(&self) -> bool {
        self.there.is_some()
    }

    /// Why this cannot be sent by the process that runs, if it cannot.
    pub(crate) fn lacks(&self, outgoing: &Outgoing) -> Option<String> {
        if !outgoing.is_any() {
            return None;
        }
        if self.there.is_none() {
            return Some("restart needed: the running daemon gave up the right to send anything".to_owned());
        }
        let wants = Wants::of(outgoing);
        // Without a sandbox only a process is missing that never started.
        let lack = match self.is_limited {
            true => wants.lacks(&self.given),
            false => (wants.runs_commands && !self.given.runs_commands).then(|| "run commands".to_owned()),
        };
        Some(format!("restart needed: the process that sends gave up the right to {}", lack?))
    }

    /// What wakes the process.
    pub(crate) fn nudge(&self) -> Nudge {
        Nudge(self.there.clone(), Arc::clone(&self.is_troubled))
    }

    /// Why what is to be sent is not, or not yet.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        if self.is_gone() {
            return Some(
                "the process that sends notifications and reports has ended; nothing is sent until a restart",
            );
        }
        self.is_troubled.load(Ordering::Relaxed).then_some(
            "the outbox does not take what is to be sent, so that waits in memory; the log says why (a full disk?)",
        )
    }

    /// True if the process has ended.
    fn is_gone(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec};
        let Some(there) = &self.there else { return false };
        let mut fds = [PollFd::new(there, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let polled = rustix::event::poll(&mut fds, Some(&at_once));
        polled.is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }
}

/// Wakes the process that delivers.
#[derive(Debug)]
pub(crate) struct Nudge(Option<Arc<UnixStream>>, Arc<AtomicBool>);

/// There is something new to be sent.
const NEWS: u8 = b'n';
/// The configuration is to be read anew.
const RELOAD: u8 = b'r';

impl Nudge {
    fn say(&self, what: u8) {
        // If it is full, it is about to wake; if it is gone, `status` says so.
        let _ = self.0.as_deref().map(|mut there| there.write(&[what]));
    }

    fn tell_trouble(&self, is_on: bool) {
        self.1.store(is_on, Ordering::Relaxed);
    }

    fn nudge(&self) {
        self.say(NEWS);
    }

    fn reload(&self) {
        self.say(RELOAD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillory_core::config::{raw, resolve};

    fn outgoing(config: &str) -> Outgoing {
        resolve::resolve(&raw::parse("p", config).unwrap()).unwrap().outgoing
    }

    const HOOK: &str = "[notify.a]\nkind = \"webhook\"\nurl = \"https://example.net/x\"\ntoken_file = \"/srv/secret/token\"\n";

    #[test]
    fn what_a_running_process_was_not_given_needs_a_restart() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (there, given) = (Some(Arc::new(ours)), Wants::of(&outgoing(HOOK)));
        let delivery = Delivery { there, given, is_limited: true, ..Delivery::default() };
        let lacks = |config: &str| delivery.lacks(&outgoing(config)).unwrap_or_default();
        assert_eq!(lacks(""), "");
        assert_eq!(lacks(&HOOK.replace("example.net", "example.org")), "");
        assert!(lacks(&HOOK.replace("example.net", "example.net:8443")).contains("connect to port 8443"));
        assert!(lacks(&HOOK.replace("/srv/secret", "/root")).contains("read /root/token"));
        assert!(lacks("[notify.a]\nkind = \"command\"\ncommand = \"/bin/true\"\n").contains("run commands"));
        let none = Delivery::default();
        assert!(none.lacks(&outgoing(HOOK)).is_some_and(|lack| lack.contains("restart needed")));
        assert!(none.lacks(&outgoing("")).is_none());
    }

    #[test]
    fn a_secret_below_the_root_opens_itself_alone() {
        assert_eq!(opened_for(Path::new("/srv/secret/token")), Path::new("/srv/secret"));
        for file in ["/token", "//token", "/tmp/../token"] {
            assert_eq!(opened_for(Path::new(file)), Path::new(file));
            let given = Wants { files: vec![file.into()], ..Wants::default() };
            assert!(!given.reads(Path::new("/root/other")) && given.reads(Path::new(file)));
        }
    }

    #[test]
    fn that_the_process_has_ended_is_noticed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let delivery = Delivery { there: Some(Arc::new(ours)), ..Delivery::default() };
        assert!(!delivery.is_gone());
        drop(theirs);
        assert!(delivery.is_gone());
    }
}
