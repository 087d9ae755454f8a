use super::*;
use crate::event::Scope;
use crate::jail::names::Names;
use crate::jail::never::{NeverBan, Why};
use crate::ledger::{Element, Installed};
use crate::net::PrefixSet;
use crate::time::End;

fn machine() -> Machine {
    let names = Names::new(HashSet::new(), HashSet::new(), false);
    Machine::new(Judge::new(Vec::new(), names, PrefixSet::default(), 10), Vec::new(), ScopeRule::All)
}

fn element(prefix: &str) -> Element {
    Element { scope: Scope::All, prefix: prefix.parse().unwrap() }
}

#[test]
fn what_is_in_the_kernel_becomes_bans_but_for_who_is_never_banned() {
    let now = Timestamp::from_secs(1_000);
    let mut machine = machine();
    let never = NeverBan::new(vec![("192.0.2.9".parse().unwrap(), Why::Session)]);
    machine.set_never(never, &mut Vec::new());
    let end = End::At(Timestamp::from_secs(2_000));
    let routes_know_no_end = (element("198.51.100.0/24"), None);
    let installed: Installed = [
        (element("192.0.2.7"), Some(end)),
        (element("192.0.2.8"), Some(End::Never)),
        (element("192.0.2.9"), Some(end)),
        routes_know_no_end,
    ]
    .into();
    assert_eq!(machine.adopt_installed(&installed, now), 3);
    // The kernel loses who is never banned and keeps the rest as it is.
    assert_eq!(machine.reconcile(&installed, now), [Change::Remove(element("192.0.2.9"))]);
    let gone = |machine: &mut Machine, secs| {
        let mut out = Vec::new();
        machine.tick(Timestamp::from_secs(secs), &mut out);
        out.iter().filter(|effect| matches!(effect, Effect::Kernel(Change::Remove(_)))).count()
    };
    assert_eq!(gone(&mut machine, 2_000), 1);
    assert_eq!(gone(&mut machine, 1_000 + 86_400), 1);
    assert_eq!(machine.ledger.len(), 1);
}
