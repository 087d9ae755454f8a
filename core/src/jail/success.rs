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
        // A login without a user (a web server's 302) can be forged by a request: it clears nothing, and makes no known
        // place. What several of them are worth, days apart, the outage guard knows.
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

    /// Places inside `prefix`, or the one that it is inside of, over which no network is banned: each with the address
    /// and the time of its last login. Known places, and regular ones whose logins name nobody.
    pub fn good_places(&self, prefix: Prefix, now: Timestamp) -> Vec<(Prefix, IpAddr, Timestamp)> {
        let known =
            self.trust.known_inside(prefix, now).map(|(place, login)| (place, login.addr, login.time));
        let regular = self.alarms.outages.inside(prefix, now);
        let nameless = regular.filter(|(place, _)| !self.trust.is_known_place(place.addr(), now));
        known.chain(nameless.map(|(place, time)| (place, place.addr(), time))).collect()
    }

    /// True if a failure is of somebody who logs in there: the account did lately, or, where logins and failures name
    /// nobody, somebody regularly.
    pub(super) fn fails_at_home(
        &self,
        jail: &JailName,
        addr: IpAddr,
        user: Option<&str>,
        when: Timestamp,
    ) -> bool {
        match user {
            Some(_) => self.trust.is_owner(addr, user, when),
            None => self.alarms.outages.names_nobody(jail, addr, when),
        }
    }
}
