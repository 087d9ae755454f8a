//! User names: which are accounts, which are near misses of one, which only attackers try.

use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use crate::event::Class;
use crate::hash::FastSet;

/// What is known about user names.
#[derive(Debug, Default)]
pub struct Names {
    accounts: FastSet<String>,
    good_users: FastSet<String>,
    never_ban_good_users: bool,
    logged_in: VecDeque<String>,
    tried_by_banned: FastSet<u64>,
    tried_order: VecDeque<u64>,
}

/// Names that no account here has and that guessing programs try on every host.
///
/// The default logins of cloud images (ubuntu, debian, ec2-user, centos ..) are left out: owners try them too.
const NOTORIOUS: [&str; 76] = [
    "1234",
    "123456",
    "a",
    "adm",
    "admin",
    "admin1",
    "administrator",
    "alex",
    "anonymous",
    "ansible",
    "apache",
    "asterisk",
    "backup",
    "bin",
    "bot",
    "cisco",
    "csgo",
    "daemon",
    "default",
    "deploy",
    "dev",
    "developer",
    "dspace",
    "elastic",
    "es",
    "ethereum",
    "ftp",
    "ftpadmin",
    "ftptest",
    "ftpuser",
    "game",
    "git",
    "gitlab",
    "guest",
    "hadoop",
    "info",
    "jboss",
    "jenkins",
    "john",
    "kafka",
    "mc",
    "minecraft",
    "monitor",
    "mysql",
    "nagios",
    "nexus",
    "nginx",
    "odoo",
    "operator",
    "oracle",
    "pi",
    "plex",
    "postgres",
    "redis",
    "rust",
    "server",
    "service",
    "sinusbot",
    "sol",
    "solana",
    "steam",
    "support",
    "svn",
    "teamspeak",
    "temp",
    "test",
    "test1",
    "teste",
    "tester",
    "testuser",
    "tomcat",
    "ts3",
    "user",
    "user1",
    "vagrant",
    "zabbix",
];

/// Logins that the makers of cloud images ship; mistyped or misremembered by owners.
const CLOUD_LOGINS: [&str; 11] = [
    "alpine",
    "arch",
    "azureuser",
    "bitnami",
    "centos",
    "core",
    "debian",
    "ec2-user",
    "fedora",
    "opc",
    "ubuntu",
];

const MAX_TRIED: usize = 100_000;
const MAX_LOGGED_IN: usize = 1_000;

/// A user name as a number; never 0.
pub fn hash(user: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish().max(1)
}

impl Names {
    /// `accounts`: names that exist on this host (/etc/passwd); `good_users`: as configured.
    pub fn new(accounts: HashSet<String>, good_users: HashSet<String>, never_ban_good_users: bool) -> Names {
        let (accounts, good_users) = (accounts.into_iter().collect(), good_users.into_iter().collect());
        Names { accounts, good_users, never_ban_good_users, ..Names::default() }
    }

    /// Takes over what comes from outside and keeps what was learnt.
    pub fn adopt(&mut self, new: Names) {
        self.accounts = new.accounts;
        self.good_users = new.good_users;
        self.never_ban_good_users = new.never_ban_good_users;
    }

    /// Replaces the accounts that exist on this host.
    pub fn set_accounts(&mut self, accounts: HashSet<String>) {
        self.accounts = accounts.into_iter().collect();
    }

    /// True if `goodusers_never_ban` is set.
    pub fn good_users_are_never_banned(&self) -> bool {
        self.never_ban_good_users
    }

    /// True if the name is an account of this host or has logged in here.
    pub fn is_account(&self, user: &str) -> bool {
        self.accounts.contains(user) || self.logged_in.iter().any(|known| known == user)
    }

    /// True if people use this account: it has logged in here. Not root, which everybody guesses at everywhere.
    pub fn is_in_use(&self, user: &str) -> bool {
        user != "root" && self.logged_in.iter().any(|known| known == user)
    }

    /// Notes that an account logged in: it exists (LDAP users are in no file), and names close to it are typing errors.
    pub fn logged_in(&mut self, user: &str) {
        if self.logged_in.iter().any(|known| known == user) {
            return;
        }
        if self.logged_in.len() >= MAX_LOGGED_IN {
            self.logged_in.pop_front();
        }
        self.logged_in.push_back(user.to_owned());
    }

    /// The same of a login of before, in any order: names that logged in since are not forgotten for it.
    pub fn learn(&mut self, user: &str) {
        if self.logged_in.len() < MAX_LOGGED_IN {
            self.logged_in(user);
        }
    }

    /// Notes the names (hashes) that a source tried which is now banned.
    pub fn banned_source_tried(&mut self, users: impl Iterator<Item = u64>) {
        for user in users.filter(|user| *user != 0) {
            if self.tried_by_banned.insert(user) {
                self.tried_order.push_back(user);
            }
            if self.tried_order.len() > MAX_TRIED
                && let Some(oldest) = self.tried_order.pop_front()
            {
                self.tried_by_banned.remove(&oldest);
            }
        }
    }

    /// The class of a failure once the user is looked at.
    pub fn refine(&self, class: Class, user: Option<&str>) -> Class {
        let Some(user) = user else { return class };
        match class {
            Class::UnknownUser | Class::KnownUser | Class::Root if self.good_users.contains(user) => {
                Class::GoodUser
            }
            Class::KnownUser if user == "root" => Class::Root,
            Class::UnknownUser if self.is_account(user) => Class::KnownUser,
            Class::UnknownUser if self.near_miss_of(user).is_some() => Class::KnownUser,
            Class::UnknownUser if CLOUD_LOGINS.contains(&user) => Class::UnknownUser,
            Class::UnknownUser if self.is_bad(user) => Class::BadUser,
            other => other,
        }
    }

    fn is_bad(&self, user: &str) -> bool {
        NOTORIOUS.binary_search(&user).is_ok() || self.tried_by_banned.contains(&hash(user))
    }

    /// The number of the account that a failure is for; of a mistyped name the one that was meant, so that its owner's
    /// login clears it too. Some work: for places from which somebody logs in.
    pub fn meant(&self, class: Class, user: &str) -> u64 {
        match class {
            Class::KnownUser if !self.is_account(user) => hash(self.near_miss_of(user).unwrap_or(user)),
            _ => hash(user),
        }
    }

    /// The account that the name is close to, if it is.
    fn near_miss_of(&self, user: &str) -> Option<&str> {
        if user.len() > 64 {
            return None;
        }
        let mut known = self.logged_in.iter().chain(&self.good_users);
        let is_close = |account: &&String| {
            let letters = account.chars().count();
            let allowed = if letters >= 6 { 2 } else { 1 };
            letters.abs_diff(user.chars().count()) <= allowed && distance(account, user) <= allowed
        };
        known.find(is_close).map(String::as_str)
    }
}

/// Edits between two names: insert, delete, replace, or swap two neighbours (optimal string alignment).
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let width = right.len() + 1;
    let mut rows = vec![0usize; (left.len() + 1) * width];
    for (column, cell) in rows.iter_mut().take(width).enumerate() {
        *cell = column;
    }
    for row in 1..=left.len() {
        rows[row * width] = row;
        for column in 1..width {
            let cost = usize::from(left[row - 1] != right[column - 1]);
            let mut best = (rows[(row - 1) * width + column] + 1)
                .min(rows[row * width + column - 1] + 1)
                .min(rows[(row - 1) * width + column - 1] + cost);
            let swapped = row > 1
                && column > 1
                && left[row - 1] == right[column - 2]
                && left[row - 2] == right[column - 1];
            if swapped {
                best = best.min(rows[(row - 2) * width + column - 2] + 1);
            }
            rows[row * width + column] = best;
        }
    }
    rows[left.len() * width + right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let accounts = ["root", "alice", "www-data"].map(str::to_owned).into_iter().collect();
        let mut names = Names::new(accounts, ["drjohn1".to_owned()].into_iter().collect(), false);
        names.logged_in("alice");
        names.logged_in("jonathan");
        names
    }

    #[test]
    fn the_notorious_names_are_sorted_and_hold_no_cloud_login() {
        assert!(NOTORIOUS.is_sorted());
        let both: Vec<_> = NOTORIOUS.iter().filter(|name| CLOUD_LOGINS.contains(*name)).collect();
        assert!(both.is_empty(), "{both:?}");
    }

    #[test]
    fn classes_follow_the_name() {
        let names = names();
        let of = |user| names.refine(Class::UnknownUser, Some(user));
        assert_eq!(of("oracle"), Class::BadUser);
        assert_eq!(of("ubuntu"), Class::UnknownUser);
        assert_eq!(of("peter"), Class::UnknownUser);
        assert_eq!(of("alcie"), Class::KnownUser);
        assert_eq!(of("jonatahn"), Class::KnownUser);
        assert_eq!(of("jnathn"), Class::KnownUser);
        assert_eq!(of("drjohn1"), Class::GoodUser);
        assert_eq!(names.refine(Class::KnownUser, Some("root")), Class::Root);
        assert_eq!(names.refine(Class::Scan, Some("root")), Class::Scan);
    }

    #[test]
    fn a_name_becomes_bad_once_a_source_that_tried_it_is_banned() {
        let mut names = names();
        assert_eq!(names.refine(Class::UnknownUser, Some("weird77")), Class::UnknownUser);
        names.banned_source_tried([hash("weird77")].into_iter());
        assert_eq!(names.refine(Class::UnknownUser, Some("weird77")), Class::BadUser);
    }

    #[test]
    fn counts_edits() {
        assert_eq!((distance("alice", "alcie"), distance("alice", "alice1"), distance("", "abc")), (1, 1, 3));
    }
}
