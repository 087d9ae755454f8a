//! The rescue port: whoever is banned frees an address with a code that was made in advance, once.

use std::io::{Read, Write};

use crate::lab::{CONFIG, Daemon, DaemonOptions, SHORT, SOON, STATE_DIR, Scene, pillory};

const PORT: u16 = 2200;
const CONFIG_TEXT: &str = "[rescue]\nport = 2200\n";
const OWNER: &str = "203.0.113.9";

fn codes(daemon: &Daemon, count: &str) -> Vec<String> {
    let made = daemon.ask_json(&["rescue-code", "-n", count]);
    made["codes"]
        .as_array()
        .expect("codes")
        .iter()
        .filter_map(|code| code.as_str().map(str::to_owned))
        .collect()
}

/// What the port answers to this line from there.
fn call(scene: &Scene, from: &str, line: &str) -> String {
    let mut stream = scene.world.attacker(from).connect(PORT, SOON).expect("the port is open");
    stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    stream.write_all(format!("{line}\n").as_bytes()).expect("it is taken");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it answers");
    said.trim().to_owned()
}

fn ban(scene: &Scene, prefix: &str) {
    assert_eq!(scene.daemon.ask(&["ban", prefix]).code, Some(0));
    assert!(!scene.world.attacker(OWNER).is_served(SHORT), "the owner is shut out");
}

#[test]
fn a_banned_owner_is_freed_by_a_code_once_and_the_ban_stands_behind_it() {
    let Some(mut scene) = Scene::new(CONFIG_TEXT) else { return };
    let made = codes(&scene.daemon, "2");
    ban(&scene, "203.0.113.9");
    assert_eq!(call(&scene, OWNER, "0000-0000-0000-0000"), "no");
    assert_eq!(call(&scene, OWNER, &format!("{} 999.1.1.1", made[0])), "no", "a slip costs no code");
    assert!(call(&scene, OWNER, &made[0]).starts_with("203.0.113.9 is free until "));
    assert!(scene.world.attacker(OWNER).is_served(SOON));
    assert!(scene.daemon.lists("203.0.113.9/32"), "it is banned again when the hour is over");
    assert!(scene.daemon.ask(&["status"]).out.contains("allowed: 203.0.113.9, until "));
    scene.daemon.ask(&["allow", "203.0.113.9", "--remove"]);
    assert_eq!(call(&scene, OWNER, &made[0]), "no", "a used code is dead");
    // What is kept is no code, and outlives a crash.
    let kept = scene.world.server.read_bytes(format!("{STATE_DIR}/pillory.db"));
    let plain = made[1].replace('-', "");
    assert!(
        ![made[1].as_bytes(), plain.as_bytes()]
            .iter()
            .any(|code| kept.windows(code.len()).any(|part| part == *code))
    );
    scene.daemon.kill();
    let args = vec!["--config".to_owned(), CONFIG.to_owned()];
    scene.daemon =
        Daemon::start_with(&scene.world.server, &DaemonOptions { args, ..DaemonOptions::default() });
    // From elsewhere, by the client, naming the address; its network is what is banned now.
    scene.daemon.ask(&["unban", "--all"]);
    ban(&scene, "203.0.113.0/24");
    let said = pillory(&scene.world.client, &["rescue", "192.0.2.1", "2200", &made[1], OWNER]);
    assert!(said.code == Some(0) && said.out.starts_with("203.0.113.9 is free until "), "{said:?}");
    assert!(scene.world.attacker(OWNER).is_served(SOON));
    assert!(!scene.world.attacker("203.0.113.10").is_served(SHORT), "and nobody else");
}

#[test]
fn a_code_frees_from_a_forced_ban_of_the_address_and_is_kept_under_one_of_its_network() {
    let Some(scene) = Scene::new(CONFIG_TEXT) else { return };
    let made = codes(&scene.daemon, "1");
    let force = |prefix: &str| assert_eq!(scene.daemon.ask(&["ban", "--force", prefix]).code, Some(0));
    force("203.0.113.0/24");
    force(OWNER);
    let said = call(&scene, OWNER, &made[0]);
    assert!(said.contains("stays banned: 203.0.113.0/24 was banned by force"), "{said}");
    assert!(said.contains("the code can still be used"), "{said}");
    scene.daemon.ask(&["unban", "203.0.113.0/24"]);
    assert!(!scene.world.attacker(OWNER).is_served(SHORT), "its own forced ban holds");
    assert!(call(&scene, OWNER, &made[0]).starts_with("203.0.113.9 is free until "));
    assert!(scene.world.attacker(OWNER).is_served(SOON));
    let ban = scene.daemon.ban_of("203.0.113.9/32").expect("it is in force again after that");
    assert_eq!((&ban["forced"], &ban["spared"]), (&false.into(), &true.into()), "{ban}");
    scene.daemon.ask(&["allow", OWNER, "--remove"]);
    assert!(!scene.world.attacker(OWNER).is_served(SHORT), "banned again");
    assert_eq!(call(&scene, OWNER, &made[0]), "no", "the code is used up");
}

#[test]
fn whoever_guesses_is_not_even_heard_and_only_that_port_is_open() {
    let Some(scene) = Scene::new(CONFIG_TEXT) else { return };
    let made = codes(&scene.daemon, "1");
    ban(&scene, "203.0.113.0/24");
    for _ in 0..5 {
        assert_eq!(call(&scene, "203.0.113.10", "0000-0000-0000-0000"), "no");
    }
    assert_eq!(call(&scene, "203.0.113.10", &made[0]), "no", "too many tries from there");
    assert!(!scene.world.attacker("203.0.113.10").is_served(SHORT));
    assert!(call(&scene, OWNER, &made[0]).contains(" is free until "), "and none of others' is lost");
    let rules = scene.world.kernel().ruleset();
    let place = |text: &str| rules.find(text).unwrap_or_else(|| panic!("no {text} in {rules}"));
    assert!(place("tcp dport 2200 limit rate 50/second") < place("@ban4 "), "{rules}");
}

#[test]
fn it_is_off_unless_configured() {
    let Some(scene) = Scene::new("") else { return };
    assert!(!scene.world.server.listens(PORT));
    assert!(!scene.world.kernel().ruleset().contains("accept comment"));
    let refused = scene.daemon.ask(&["rescue-code"]);
    assert!(refused.code == Some(1) && refused.err.contains("no rescue port"), "{refused:?}");
}
