//! A store that is damaged while no daemon runs: the next one starts all the same, and whoever was shut out stays so.

use std::net::IpAddr;
use std::os::unix::fs::FileExt;

use pillory_core::event::Scope;
use pillory_core::jail::never::Why;
use pillory_core::time::Span;

use crate::clock;
use crate::store::FILE;

use super::daemon::Daemon;
use super::kernel::Mood;
use super::promises::{Bans, key};
use super::scenery;
use super::world::{Broken, World};

/// Who was shut out by a ban of ours before a daemon started on a damaged store.
pub(super) type Before = Vec<(IpAddr, Scope)>;

const PAGE_BYTES: usize = 4_096;

impl World {
    /// Pages are overwritten, or the end of the file is gone.
    pub(super) fn damage(&mut self) -> Result<(), Broken> {
        let path = self.files.state().join(FILE);
        let Ok(file) = std::fs::File::options().write(true).open(&path) else { return Ok(()) };
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let pages = length as usize / PAGE_BYTES;
        let done = if self.dice.percent(20) {
            let left = self.dice.below(length as usize);
            self.note(format!("the store loses all but {left} of its {length} bytes"));
            file.set_len(left as u64)
        } else {
            let (at, filler) = (self.dice.below(pages), *self.dice.of(&[0, 0xa5]));
            let count = 1 + self.dice.below(3).min(pages - at);
            self.note(format!("{count} of {pages} pages of the store are damaged from {at} on"));
            file.write_all_at(&vec![filler; count * PAGE_BYTES], (at * PAGE_BYTES) as u64)
        };
        done.map_err(|error| error.to_string())?;
        self.is_damaged = true;
        Ok(())
    }

    /// Whoever is in the kernel by a ban of ours that lasts a while yet.
    pub(super) fn shut_out(&self) -> Before {
        let lasts = self.wall().max(clock::now()) + Span::from_secs(1);
        let table = self.kernel.table();
        let scopes: std::collections::BTreeSet<Scope> =
            table.elements.keys().map(|element| element.scope.clone()).collect();
        let pairs = scenery::samples().flat_map(|addr| scopes.iter().map(move |scope| (addr, scope.clone())));
        let held = |addr: IpAddr, scope: &Scope| {
            table.elements.iter().any(|(element, held)| {
                held.is_ours && element.scope == *scope && element.prefix.contains_addr(addr)
            })
        };
        let told = |addr: IpAddr, scope: &Scope| {
            let bans = self.kept.told.values();
            bans.filter(|ban| ban.prefix.contains_addr(addr) && ban.scope == *scope)
                .any(|ban| !ban.until.is_over(lasts))
        };
        pairs.filter(|(addr, scope)| held(*addr, scope) && told(*addr, scope)).collect()
    }

    /// A daemon has started on what is left.
    pub(super) fn begins_anew(&mut self, daemon: &Daemon, before: &Before) -> Result<(), Broken> {
        let machine = daemon.machine();
        let table = self.kernel.table();
        let is_in = |addr: IpAddr, scope: &Scope| {
            let mut elements = table.elements.keys();
            elements.any(|element| {
                (element.scope == *scope || element.scope == Scope::All) && element.prefix.contains_addr(addr)
            })
        };
        let is_spared = |addr: IpAddr| machine.judge.never.contains_addr(addr);
        let lost = before.iter().find(|(addr, scope)| !is_in(*addr, scope) && !is_spared(*addr));
        if let Some((addr, scope)) = lost.filter(|_| machine.is_enforcing() && table.mood == Mood::Willing) {
            return Err(format!(
                "{addr} in {scope:?} was shut out before the store was damaged, and no longer is"
            ));
        }
        drop(table);
        let bans: Bans = machine.ledger.iter().map(|ban| (key(&ban), ban)).collect();
        let never = machine.judge.never.entries();
        let allowed = std::mem::take(&mut self.allowed).into_iter();
        self.allowed = allowed.filter(|(prefix, _)| never.contains(&(*prefix, Why::Allowed))).collect();
        self.kept.begun_anew(bans, self.allowed.clone());
        self.words.damaged();
        self.was_damaged = true;
        self.doubt_trial();
        Ok(())
    }
}
