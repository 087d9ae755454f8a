//! The lab itself: what the other tests rely on.

use std::time::Duration;

use crate::lab::{Logging, Outcome, PASSWORD, Sshd, SshdOptions, Syslog, Try, World, wait_for};

const SOON: Duration = Duration::from_secs(10);

/// A world with a server that logs and serves ssh.
fn world(logging: Logging) -> Option<(World, Syslog, Sshd)> {
    let world = World::with(logging.needs())?;
    let syslog = logging.start(&world.server);
    let sshd = Sshd::start(&world.server);
    Some((world, syslog, sshd))
}

#[test]
fn a_wrong_password_is_recorded_in_auth_log() {
    let Some((world, syslog, _sshd)) = world(Logging::Rsyslog) else { return };
    assert_eq!(world.attacker("192.0.2.10").try_password("root", "wrong"), Outcome::Denied);
    wait_for(SOON, "the line of sshd in auth.log", || {
        syslog.text().contains("Failed password for root from 192.0.2.10 port ").then_some(())
    });
    assert_eq!(world.attacker("2001:db8:1::10").try_password("oracle", "wrong"), Outcome::Denied);
    wait_for(SOON, "the line of sshd in auth.log", || {
        syslog.text().contains("Invalid user oracle from 2001:db8:1::10 port ").then_some(())
    });
}
