//! A good login: what it clears, and what it teaches.

use std::net::IpAddr;

use crate::event::{Attempt, Event, JailName, Points};
use crate::net::Prefix;
use crate::time::Timestamp;

use super::{JailIndex, Judge, Judgement, connections, names};

impl Judge {
    /// Somebody logged in.
    pub(super) fn good_login(
        &mut self,
        index: JailIndex,
        jail: JailName,
        event: &Event,
        addr: IpAddr,
        when: Timestamp,
    ) -> Judgement {
        let mut alarms = Vec::new();
        // A login without a user (a web server's 302) can be forged by a request: it clears nothing.
        if let Some(user) = &event.user {
            let subject = self.subject(addr);
            if let Some(connection) = &event.connection {
                let connection = connections::key(addr, connection);
                self.windows.forget_connection(index, subject, connection);
                self.connections.forget(index, connection);
            }
            self.windows.forget_owner(index, subject, user);
            self.spared.forget_user(index, Prefix::host(addr), names::hash(user));
            self.names.logged_in(user);
            let is_known = self.trust.is_known_place(addr, when);
            let place = (subject, self.asn(addr));
            alarms.extend(self.alarms.good_user(&jail, place, (user, is_known), when));
            self.trust.good_login(addr, Some(user), when);
        }
        let attempt = Attempt {
            time: when,
            jail,
            addr,
            user: event.user.clone(),
            class: None,
            points: Points(0),
            tries: 1,
            connection: None,
        };
        let account = attempt.user.as_deref().map(names::hash);
        alarms.extend(self.alarms.good_login(&attempt.jail, addr, account, when));
        Judgement { attempt: Some(attempt), alarms, ..Judgement::default() }
    }
}
