//! Commands that clients give, as the engine carries them out.

use std::net::IpAddr;

use crossbeam_channel::Sender;
use serde_json::json;
use tracing::{info, warn};

use pillory_core::event::{JailName, Origin};
use pillory_core::ledger::Ban;
use pillory_core::machine::Machine;
use pillory_core::net::Prefix;

use crate::clock;
use crate::control::{BanOptions, BanOrder, Reply, Request};

use super::{Engine, Pending, report};

impl Engine {
    pub(super) fn order(&mut self, request: Request, reply: Sender<Reply>) {
        if matches!(request, Request::Reload) {
            return self.reload(Some(reply));
        }
        let answer = match request {
            Request::Status => Reply::data(self.status()),
            Request::List => Reply::data(report::list(&self.machine)),
            Request::Explain(prefix) => self.explain(prefix),
            Request::Ban(orders, options) => self.ban(orders, &options),
            Request::Unban { prefixes, jail } => self.unban(prefixes, jail.as_ref()),
            Request::Off { span } => {
                let until = span.map(|span| clock::now() + span);
                self.set_off(Some(until));
                warn!(
                    until = until.map(|until| until.to_string()),
                    "switched off by command; nothing is enforced until `pillory on`"
                );
                Reply::say(
                    0,
                    "off: every ban is lifted from the kernel and nothing is enforced until `pillory on`",
                )
            }
            Request::On => {
                self.set_off(None);
                info!("switched on by command");
                Reply::say(0, format!("on: {} bans in force", self.machine.ledger.len()))
            }
            Request::Reload | Request::Attempts(..) | Request::History(..) => {
                Reply::say(2, "this is answered elsewhere")
            }
        };
        self.flush();
        self.answer(reply, answer);
    }

    /// Answers a client once everything that was done so far is durable and in the kernel.
    pub(super) fn answer(&mut self, reply: Sender<Reply>, answer: Reply) {
        // The answer goes out once its effects are durable and in the kernel; at once if there are none under way.
        self.pending.push(Pending { job: self.jobs, write: self.writes, reply, answer });
        if self.warnings.contains_key("store") {
            // Bans go on in the kernel; a client must not wait for a disk that is full.
            if let Some(pending) = self.pending.last_mut() {
                pending.write = self.writes_done;
            }
        }
        self.answer_pending();
    }

    fn ban(&mut self, orders: Vec<BanOrder>, options: &BanOptions) -> Reply {
        let now = clock::now();
        let (default_jail, origin) =
            if options.import { ("import", Origin::Import) } else { ("manual", Origin::Manual) };
        let Some(jail) = options.jail.clone().or_else(|| JailName::new(default_jail).ok()) else {
            return Reply::say(2, "no jail");
        };
        let mut refused = Vec::new();
        let mut bans: Vec<Ban> = Vec::new();
        for order in orders {
            match self.refusal(order.prefix, options.caller).filter(|_| !options.force) {
                Some(why) => refused.push(json!({"prefix": order.prefix.to_string(), "why": why})),
                None => {
                    let until = options.bantime.end(now);
                    bans.push(Machine::manual_ban(
                        order.prefix,
                        jail.clone(),
                        now,
                        until,
                        (order.reason, origin),
                    ));
                }
            }
        }
        let prefixes: Vec<String> = bans.iter().map(|ban| ban.prefix.to_string()).collect();
        let asked = bans.len();
        let changed = if options.dry_run { asked } else { self.machine.ban_all(bans, &mut self.effects) };
        let exit = u8::from(!refused.is_empty() && !options.import);
        Reply {
            exit,
            message: String::new(),
            value: json!({"banned": prefixes, "changed": changed, "unchanged": asked - changed, "refused": refused}),
        }
    }

    /// Why a ban of `prefix` would lock the owner out, if it would.
    fn refusal(&self, prefix: Prefix, caller: Option<IpAddr>) -> Option<String> {
        if prefix.prefix_len() == 0 {
            return Some("this is every address there is".to_owned());
        }
        if caller.is_some_and(|caller| prefix.contains_addr(caller)) {
            return Some("you yourself come from there".to_owned());
        }
        let reasons = self.machine.judge.never.reasons(prefix);
        reasons.first().map(|(entry, why)| match *entry == prefix {
            true => format!("it is {}", why.words()),
            false => format!("it holds {}, {}", entry.short(), why.words()),
        })
    }

    fn unban(&mut self, prefixes: Option<Vec<Prefix>>, jail: Option<&JailName>) -> Reply {
        // Whoever unbans an address means that it can come in again: networks that hold it are named.
        let gone = self.machine.unban(prefixes.as_deref(), jail, clock::now(), &mut self.effects);
        let mut still = Vec::new();
        for prefix in prefixes.iter().flatten() {
            still.extend(
                self.machine
                    .ledger
                    .covering(*prefix)
                    .into_iter()
                    .map(|ban| json!({"prefix": ban.prefix.to_string(), "jail": ban.jail.as_str()})),
            );
        }
        let lifted: Vec<_> = gone
            .iter()
            .map(|ban| json!({"prefix": ban.prefix.to_string(), "jail": ban.jail.as_str()}))
            .collect();
        let exit = u8::from(gone.is_empty());
        Reply { exit, message: String::new(), value: json!({"unbanned": lifted, "still_banned_by": still}) }
    }
}
