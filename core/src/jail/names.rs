//! User names: which are accounts, which are near misses of one, which only attackers try.

mod tried;

use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use crate::event::Class;
use crate::hash::{FastMap, FastSet};
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

pub(crate) use tried::EACH as EACH_TRIED;
use tried::TriedNames;
pub use tried::{By, MOST as MOST_TRIED, Tried};

/// What is known about user names.
#[derive(Debug, Default)]
pub struct Names {
    accounts: FastSet<String>,
    good_users: FastSet<String>,
    /// The same as numbers.
    good_numbers: FastSet<u64>,
    never_ban_good_users: bool,
    logged_in: VecDeque<String>,
    /// Of how many accounts, users who logged in and good users [`alike`] makes this; root is left out.
    alike: FastMap<String, u32>,
    /// Names that sources tried which were banned.
    tried_by_banned: TriedNames,
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

/// Names that have more bytes are not looked at for slips.
const MAX_LETTERS: usize = 64;

const MAX_LOGGED_IN: usize = 1_000;

/// True for a login that the makers of cloud images ship.
pub fn is_cloud_login(user: &str) -> bool {
    CLOUD_LOGINS.contains(&user)
}

/// True for a name that everybody guesses at: it tells nothing of who typed it. Any other may be a password in the wrong
/// field.
pub fn is_common(user: &str) -> bool {
    user == "root" || NOTORIOUS.binary_search(&user).is_ok() || is_cloud_login(user)
}

/// The number of all names together that no account has, tried from where people log in (those of their own machines,
/// of other hosts). Guessing at them leads nowhere, so each good login from there clears them.
pub const NOBODY: u64 = u64::MAX;

/// A user name as a number; never 0. It is kept in the store, so the hash has no seed.
pub fn hash(user: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish().max(1)
}

/// What is left of a name if the order of its letters, how often each comes, capitals and marks between them do not
/// matter; all names of which the same is left are judged alike.
///
/// So `alcie`, `allice` and `Alice` are judged like `alice`, and a decoy has variants as mild as its own: who tries many
/// variants of a name learns no more than by the name alone. Whatever is mild around accounts must fall into parts like
/// this; of anything wider, such as all names one edit off, an account has all and a decoy only some.
pub fn alike(user: &str) -> String {
    let is_long = user.len() > MAX_LETTERS;
    let kept = user.chars().filter(|letter| !is_long && letter.is_alphanumeric());
    let mut letters: Vec<char> = kept.flat_map(char::to_lowercase).collect();
    letters.sort_unstable();
    letters.dedup();
    match letters.is_empty() {
        true => user.to_owned(),
        false => letters.into_iter().collect(),
    }
}

/// True if `user` is the account mistyped: one edit off, or two from six letters on.
pub(super) fn is_slip_of(user: &str, account: &str) -> bool {
    let letters = account.chars().count();
    let allowed = if letters >= 6 { 2 } else { 1 };
    user.len() <= MAX_LETTERS
        && letters.abs_diff(user.chars().count()) <= allowed
        && distance(account, user) <= allowed
}

/// The numbers of an account's name and of all that are one edit off, sorted: what its owner may have typed.
pub(super) fn slips_of(account: &str) -> Vec<u64> {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
    let mut numbers = vec![hash(account)];
    let letters: Vec<char> = account.chars().collect();
    let mut note = |parts: [&[char]; 3]| numbers.push(hash(&parts.concat().iter().collect::<String>()));
    for at in (0..=letters.len()).filter(|_| account.len() <= MAX_LETTERS) {
        let (before, after) = letters.split_at(at);
        for letter in LETTERS.chars() {
            note([before, &[letter], after]);
            note([before, &[letter], after.get(1..).unwrap_or_default()]);
        }
        note([before, after.get(1..).unwrap_or_default(), &[]]);
        if let [first, second, rest @ ..] = after {
            note([before, &[*second, *first], rest]);
        }
    }
    numbers.sort_unstable();
    numbers
}

impl Names {
    /// `accounts`: names that exist on this host (/etc/passwd); `good_users`: as configured.
    pub fn new(accounts: HashSet<String>, good_users: HashSet<String>, never_ban_good_users: bool) -> Names {
        let (accounts, good_users) = (accounts.into_iter().collect(), good_users.into_iter().collect());
        let mut names = Names { accounts, good_users, never_ban_good_users, ..Names::default() };
        names.look_through();
        names
    }

    /// Notes what accounts, users and good users look like.
    fn look_through(&mut self) {
        self.good_numbers = self.good_users.iter().map(|user| hash(user)).collect();
        self.alike.clear();
        let known = self.accounts.iter().chain(&self.good_users).chain(&self.logged_in);
        for user in known.filter(|user| *user != "root") {
            *self.alike.entry(alike(user)).or_default() += 1;
        }
    }

    /// Takes over what comes from outside and keeps what was learnt.
    pub fn adopt(&mut self, new: Names) {
        self.accounts = new.accounts;
        self.good_users = new.good_users;
        self.never_ban_good_users = new.never_ban_good_users;
        self.look_through();
    }

    /// Replaces the accounts that exist on this host.
    pub fn set_accounts(&mut self, accounts: HashSet<String>) {
        self.accounts = accounts.into_iter().collect();
        self.look_through();
    }

    /// True if `goodusers_never_ban` is set.
    pub fn good_users_are_never_banned(&self) -> bool {
        self.never_ban_good_users
    }

    /// True if the name is an account of this host or has logged in here.
    pub fn is_account(&self, user: &str) -> bool {
        self.accounts.contains(user) || self.logged_in.iter().any(|known| known == user)
    }

    /// True if people use this account: it has logged in here. Not root, nor a name that guessing programs try on every
    /// host: that somebody tries those says nothing.
    pub fn is_in_use(&self, user: &str) -> bool {
        !is_common(user) && self.logged_in.iter().any(|known| known == user)
    }

    /// Notes that an account logged in: it exists (LDAP users are in no file), and names like it are typing errors.
    pub fn logged_in(&mut self, user: &str) {
        // Who logged in last is forgotten last.
        if let Some(at) = self.logged_in.iter().rposition(|known| known == user) {
            if let Some(known) = self.logged_in.remove(at) {
                self.logged_in.push_back(known);
            }
            return;
        }
        if self.logged_in.len() >= MAX_LOGGED_IN
            && let Some(oldest) = self.logged_in.pop_front()
        {
            let alike = alike(&oldest);
            match self.alike.get_mut(&alike) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.alike.remove(&alike)),
            }
        }
        if user != "root" {
            *self.alike.entry(alike(user)).or_default() += 1;
        }
        self.logged_in.push_back(user.to_owned());
    }

    /// True for the number ([`hash`]) of a good user.
    pub fn is_good_user(&self, number: u64) -> bool {
        self.good_numbers.contains(&number)
    }

    /// True if it is nobody's secret that there is such an account: it is known here, or configured.
    pub fn is_known(&self, user: &str) -> bool {
        self.good_users.contains(user) || self.is_account(user)
    }

    /// True if the name is judged like an account that it resembles.
    fn is_like_account(&self, user: &str) -> bool {
        self.alike.contains_key(&alike(user))
    }

    /// The same of a login of before, in any order: names that logged in since are not forgotten for it.
    pub fn learn(&mut self, user: &str) {
        if self.logged_in.len() < MAX_LOGGED_IN {
            self.logged_in(user);
        }
    }

    /// True if the name may leave this host: it is common, or two sources tried it.
    pub fn may_leave(&self, user: &str) -> bool {
        is_common(user) || self.tried_by_banned.is_bad(hash(user))
    }

    /// Notes the names (hashes) that a source tried which is now banned; returns what is to be kept of it. A name is bad
    /// once two sources were banned that tried it: one alone may be a person who is mistaken, or wants others to be.
    pub fn banned_source_tried(
        &mut self,
        source: Prefix,
        users: impl Iterator<Item = u64>,
        when: Timestamp,
    ) -> Vec<Tried> {
        self.tried_by_banned.banned(source, users, when)
    }

    /// Takes over what was kept of names that banned sources tried.
    pub fn restore_tried(&mut self, kept: impl IntoIterator<Item = Tried>) {
        kept.into_iter().for_each(|tried| self.tried_by_banned.restore(tried));
    }

    /// Forgets bans that are longer ago than `memory`.
    pub fn sweep(&mut self, now: Timestamp, memory: Span) {
        self.tried_by_banned.sweep(now, memory);
    }

    /// The class of a failure once the user is looked at.
    pub fn refine(&self, class: Class, user: Option<&str>) -> Class {
        let Some(user) = user else { return class };
        match class {
            Class::UnknownUser | Class::KnownUser | Class::Root if self.good_users.contains(user) => {
                Class::GoodUser
            }
            Class::KnownUser if user == "root" => Class::Root,
            Class::UnknownUser if self.is_like_account(user) || self.is_account(user) => Class::KnownUser,
            Class::UnknownUser if is_cloud_login(user) => Class::UnknownUser,
            Class::UnknownUser if self.is_bad(user) => Class::BadUser,
            other => other,
        }
    }

    fn is_bad(&self, user: &str) -> bool {
        NOTORIOUS.binary_search(&user).is_ok() || self.tried_by_banned.is_bad(hash(user))
    }

    /// The number of the account that a failure is for; of a mistyped name the one that was meant, so that its owner's
    /// login clears it too, and [`NOBODY`] of a name that cannot be one.
    ///
    /// `comes`: it is from a place from which somebody logs in; only there whatever is close to an account is looked
    /// for, which is some work, and only there a name that nobody has is no sign of guessing.
    pub fn meant(&self, class: Class, user: &str, comes: bool) -> u64 {
        let is_slip = match class {
            Class::KnownUser => !self.is_account(user) && (comes || self.is_like_account(user)),
            Class::UnknownUser | Class::BadUser => comes,
            _ => false,
        };
        match is_slip.then(|| self.near_miss_of(user)).flatten() {
            Some(account) => hash(account),
            None if comes && matches!(class, Class::UnknownUser | Class::BadUser) => NOBODY,
            None => hash(user),
        }
    }

    /// The account that the name is close to, if it is.
    fn near_miss_of(&self, user: &str) -> Option<&str> {
        let mut known = self.logged_in.iter().chain(&self.good_users);
        known.find(|account| is_slip_of(user, account)).map(String::as_str)
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
mod tests;
