//! Pillory's judgement: fail2ban's filter language, jails and a ledger of bans, without I/O and without a clock.
//!
//! Lines go in, with the time; what the world shall do comes out as values. One whole ban, from the line that
//! sshd wrote to the element in the kernel and back:
//!
//! ```
//! use pillory_core::config::resolve;
//! use pillory_core::event::Line;
//! use pillory_core::filter::{Clock, Filter};
//! use pillory_core::jail::{Jail, Judge, names::Names};
//! use pillory_core::ledger::Change;
//! use pillory_core::machine::{Effect, Extractor, Machine, Phase, ScopeRule};
//! use pillory_core::net::PrefixSet;
//! use pillory_core::time::{Span, Timestamp};
//!
//! // The built-in jail for sshd: its filter and its policy.
//! let config = resolve::default_config();
//! let sshd = config.jails.iter().find(|jail| jail.name.as_str() == "sshd").ok_or("no jail")?;
//! let filter = Filter::compile(&sshd.filter).map_err(|errors| format!("{errors:?}"))?;
//! let jail = Jail { name: sshd.name.clone(), policy: sshd.policy.clone(), lines: None };
//! let judge = Judge::new(vec![jail], Names::default(), PrefixSet::default(), 1_000);
//! let readers = vec![vec![Extractor::Text(Box::new(filter))]];
//! let mut machine = Machine::new(judge, readers, ScopeRule::Auto);
//!
//! // A name that only attackers try decides at once, before any password is judged.
//! let noon = Timestamp::from_secs(1_800_000_000);
//! let clock = Clock { now: noon, zone: jiff::tz::TimeZone::UTC };
//! let line = Line { bytes: b"host sshd[7]: Invalid user oracle from 192.0.2.66 port 4000", stamp: None };
//! let mut effects = Vec::new();
//! machine.line((0, 0), &line, Phase::Live, &clock, &mut effects);
//! let told = |effects: &[Effect]| -> Vec<String> {
//!     let kernel = effects.iter().filter_map(|effect| match effect {
//!         Effect::Kernel(Change::Set(element, _)) => Some(format!("ban {}", element.prefix)),
//!         Effect::Kernel(Change::Remove(element)) => Some(format!("unban {}", element.prefix)),
//!         _ => None,
//!     });
//!     kernel.collect()
//! };
//! assert_eq!(told(&effects), ["ban 192.0.2.66/32"]);
//!
//! // A day later its time is over.
//! effects.clear();
//! machine.tick(noon + Span::from_secs(86_400), &mut effects);
//! assert_eq!(told(&effects), ["unban 192.0.2.66/32"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod addresslist;
pub mod config;
pub mod event;
pub mod filter;
pub mod footprint;
pub mod hash;
pub mod jail;
pub mod ledger;
pub mod machine;
pub mod net;
pub mod outgoing;
pub mod reason;
pub mod rehearse;
pub mod rescue;
pub mod scan;
pub mod sha256;
pub mod suggest;
pub mod table;
pub mod time;
pub mod wall;
