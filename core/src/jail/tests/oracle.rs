//! What bans tell a prober who has an address for each name, and for each variant of it: whether the account exists.

use super::*;

/// Deterministic numbers below `below` (an LCG of Knuth's constants).
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    fn letter(&mut self) -> char {
        char::from(b'a' + self.below(26) as u8)
    }

    /// Names of five to nine letters.
    fn names(&mut self, count: usize) -> Vec<String> {
        let mut name = || (0..5 + self.below(5)).map(|_| self.letter()).collect();
        (0..count).map(|_| name()).collect()
    }

    /// One edit off: any, or one that leaves the letters as they are.
    fn variant(&mut self, name: &str, keeps_letters: bool) -> String {
        let mut letters: Vec<char> = name.chars().collect();
        let at = self.below(letters.len() - 1);
        match self.below(if keeps_letters { 2 } else { 4 }) {
            0 => letters.swap(at, at + 1),
            1 => letters.insert(at, letters[at]),
            2 => drop(letters.remove(at)),
            _ => letters[at] = self.letter(),
        }
        letters.into_iter().collect()
    }
}

/// A host with accounts that logged in and others that never did, and who probes it.
struct Prober {
    judge: Judge,
    dice: Dice,
    used: [Vec<String>; 3],
    addresses: u32,
}

const IN_USE: usize = 0;
const NEVER_USED: usize = 1;
const NOBODY: usize = 2;

impl Prober {
    fn new() -> Prober {
        let mut dice = Dice(20_261_128);
        let used = [dice.names(200), dice.names(200), dice.names(2_400)];
        let mut judge = judge(Policy::default());
        (judge.secret, judge.decoys) = (Some(secret::Secret::new([3; 16])), secret::Percent(25));
        judge.names.set_accounts(used[..NOBODY].concat().into_iter().collect());
        for (pid, user) in (0u32..).zip(&used[IN_USE]) {
            judge.observe(
                0,
                &good(&format!("10.9.{}.{}", pid / 250, pid % 250), user, pid),
                at(0),
                Mode::Judge,
            );
        }
        Prober { judge, dice, used, addresses: 0 }
    }

    /// How many attempts a name lasts from an address of its own.
    fn lasts(&mut self, user: &str) -> u32 {
        self.addresses += 1;
        let from = std::net::Ipv4Addr::from_bits(0x0b00_0000 + self.addresses).to_string();
        // As sshd says it: it knows its accounts.
        let is_account = self.judge.names.is_known(user);
        let class = if is_account { Class::KnownUser } else { Class::UnknownUser };
        attempts_until_ban(&mut self.judge, &from, user, class)
    }

    /// Of each name of a kind: what it lasts, and how many of so many variants last as long as an account.
    fn probe(&mut self, kind: usize, (variants, keeps_letters): (u32, bool)) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        for name in self.used[kind].clone() {
            let own = self.lasts(&name);
            let mild = (0..variants).filter(|_| {
                let variant = self.dice.variant(&name, keeps_letters);
                self.lasts(&variant) >= 5
            });
            found.push((own, mild.count() as u32));
        }
        found
    }
}

/// The best that a prober can do with what was found: how much more often a rule holds of accounts than of others.
fn advantage(accounts: &[(u32, u32)], others: &[(u32, u32)]) -> f64 {
    let share = |of: &[(u32, u32)], rule: &dyn Fn(u32, u32) -> bool| {
        of.iter().filter(|(own, mild)| rule(*own, *mild)).count() as f64 / of.len() as f64
    };
    let mut best = 0.0f64;
    for tries in 1..=6 {
        for count in 0..=10 {
            let rules: [&dyn Fn(u32, u32) -> bool; 2] =
                [&move |own, mild| own >= tries && mild >= count, &move |own, mild| {
                    own >= tries && mild <= count
                }];
            for rule in rules {
                best = best.max((share(accounts, rule) - share(others, rule)).abs());
            }
        }
    }
    best
}

#[test]
fn bans_do_not_tell_which_names_exist_however_many_variants_are_tried() {
    let mut prober = Prober::new();
    for variants in [(0, false), (1, true), (3, false), (8, false)] {
        let nobody = prober.probe(NOBODY, variants);
        for kind in [IN_USE, NEVER_USED] {
            let found = advantage(&prober.probe(kind, variants), &nobody);
            // Of 2,400 names chance makes a share that is off by 0.009.
            assert!((0.72..0.775).contains(&found), "stated is 0.75: {found:.3} of {kind} by {variants:?}");
        }
    }
}

#[test]
fn accounts_that_logged_in_look_like_those_that_never_did() {
    let mut prober = Prober::new();
    for variants in [(0, false), (3, false)] {
        let found = advantage(&prober.probe(IN_USE, variants), &prober.probe(NEVER_USED, variants));
        assert!(found < 0.15, "chance makes some 0.05 of 200 names each: found {found:.3} by {variants:?}");
    }
}

#[test]
fn asking_again_from_elsewhere_tells_nothing_new() {
    let mut prober = Prober::new();
    let first = prober.probe(NOBODY, (0, false));
    let is_mild = |found: &[(u32, u32)]| -> Vec<bool> { found.iter().map(|(own, _)| *own >= 5).collect() };
    let again = prober.probe(NOBODY, (0, false));
    assert_eq!(is_mild(&first), is_mild(&again));
}

#[test]
fn notorious_names_are_decoys_too_and_none_lasts_longer_than_an_account() {
    let mut prober = Prober::new();
    let names = ["admin", "oracle", "test", "git", "deploy", "postgres", "ftp", "guest", "nagios", "user"];
    let tries = names.map(|name| prober.lasts(name));
    assert!(tries.contains(&1) && tries.contains(&5), "{tries:?}");
    assert!(tries.iter().all(|tries| *tries <= 5), "{tries:?}");
}
