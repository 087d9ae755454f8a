//! Codes for whoever is locked out: made by command, used at the rescue port.

use std::net::{IpAddr, TcpListener};

use serde_json::json;
use tracing::{error, info, warn};

use pillory_core::net::{Prefix, canonical};
use pillory_core::rescue::{self, CODE_BYTES, Codes};
use pillory_core::time::Span;

use crate::allowed::Who;
use crate::clock;
use crate::control::Reply;
use crate::privilege;
use crate::rescue::{Call, listen};

use super::Engine;

/// Name of the setting that keeps the digests of the codes.
pub(crate) const META_RESCUE: &str = "rescue_codes";

/// So long a freed address is never banned.
const FREE: Span = Span::from_secs(3_600);

/// One answer to everything that is wrong: it tells nobody what was nearly right.
const NO: &str = "no";

impl Engine {
    /// Takes over the codes that the store kept, and listens if a port is configured.
    pub(crate) fn begin_rescue(&mut self, kept: Option<&str>) -> Option<TcpListener> {
        self.codes = kept.map(Codes::restore).unwrap_or_default();
        let port = self.setup.config.rescue?;
        listen(port)
            .inspect_err(|cause| {
                error!(port, %cause, "no rescue port");
                let cure = privilege::network_cure(cause).unwrap_or_default();
                let text =
                    format!("cannot listen at the rescue port {port}: {cause}; no code can be used{cure}");
                self.warnings.insert("rescue".into(), text);
            })
            .ok()
    }

    /// Makes codes, which are shown this once.
    pub(super) fn new_codes(&mut self, count: usize) -> Reply {
        let Some(port) = self.setup.config.rescue else {
            return Reply::say(
                1,
                "there is no rescue port; write [rescue] and port = 2200, say, into the configuration and restart",
            );
        };
        let mut codes = Vec::new();
        for _ in 0..count {
            let mut random = [0; CODE_BYTES];
            match rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()) {
                Ok(CODE_BYTES) => codes.push(rescue::code(random)),
                _ => return Reply::say(1, "the kernel gives no random bytes; nothing was made"),
            }
        }
        codes.iter().for_each(|code| self.codes.add(code));
        self.meta.push((META_RESCUE.into(), self.codes.kept()));
        info!(made = count, kept = self.codes.len(), "rescue codes made");
        Reply::data(json!({"codes": codes, "port": port, "kept": self.codes.len()}))
    }

    /// Somebody calls at the rescue port.
    pub(super) fn rescue(&mut self, call: Call) {
        let Call { from, line, reply } = call;
        let answer = Reply::say(0, self.rescued(from, &line).unwrap_or_else(|| NO.to_owned()));
        self.flush();
        self.answer(reply, answer, true);
    }

    fn rescued(&mut self, from: IpAddr, line: &str) -> Option<String> {
        let now = clock::now();
        let host = Prefix::host(from);
        let source = if from.is_ipv4() { host } else { host.widened(64) };
        if !self.tries.allows(source, now) {
            return None;
        }
        let mut words = line.split_whitespace();
        let (code, named, rest) = (words.next()?, words.next(), words.next());
        // A mistyped address must not cost a code.
        let addr =
            named.map_or(Ok(from), |text| text.parse().map(canonical)).ok().filter(|_| rest.is_none())?;
        if !self.codes.knows(code) {
            warn!(ip = %from, "a wrong code at the rescue port");
            return None;
        }
        if let Some(ban) = self.forced_around(addr) {
            warn!(ip = %addr, by = %from, %ban, "a rescue code was right, but a forced ban of a network holds; it is kept");
            return Some(format!(
                "{addr} stays banned: {ban} was banned by force; `pillory unban {ban}` on the host lifts it; the code can \
                 still be used"
            ));
        }
        self.codes.use_up(code);
        self.meta.push((META_RESCUE.into(), self.codes.kept()));
        let until = now + FREE;
        if !self.allowed.add(Who::Prefix(Prefix::host(addr)), now, Some(until)) {
            error!(ip = %addr, "a rescue code was right, but too many are allowed already");
            return None;
        }
        self.allowed_changed();
        // Who locked himself out by force must get in; who stole a code gains an hour and no more, for the ban stays.
        self.machine.unforce(Prefix::host(addr), &mut self.effects);
        warn!(ip = %addr, by = %from, %until, left = self.codes.len(), "freed by a rescue code");
        Some(format!("{addr} is free until {}", clock::told(until)))
    }

    /// A network around `addr` that somebody insisted on banning: a code for one address says nothing of the others.
    fn forced_around(&self, addr: IpAddr) -> Option<Prefix> {
        let around = self.machine.ledger.covering(Prefix::host(addr));
        around.into_iter().find(|ban| ban.forced && !ban.prefix.is_host()).map(|ban| ban.prefix)
    }
}
