//! Restarts, crashes and meddling leave no moment without the bans, and lose no count.

use std::time::{Duration, Instant};

use crate::lab::{Daemon, SHORT, SOON, Scene, failed_line, failed_lines, quiet_server, wait_for};

const LOG: &str = "/var/log/auth.log";
const BANNED: &str = "198.51.100.7";
const PREFIX: &str = "198.51.100.7/32";

fn banned(config: &str) -> Option<Scene> {
    let scene = Scene::new(config)?;
    scene.world.server.append(LOG, failed_lines(5000, 3, "root", BANNED));
    scene.wait_banned(PREFIX);
    Some(scene)
}

#[test]
fn no_knock_is_answered_over_restart_and_kill() {
    let Some(mut scene) = banned("") else { return };
    let v6 = scene.world.attacker("2001:db8:1::10");
    scene.world.server.append(LOG, failed_lines(5010, 3, "root", "2001:db8:1::10"));
    scene.wait_banned("2001:db8:1::/64");
    let attacker = scene.world.attacker(BANNED);
    assert!(attacker.banner(SHORT).is_none() && v6.banner(SHORT).is_none());
    let knocking = [attacker.knock(), v6.knock()];
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        let (code, said) = scene.daemon.stop();
        assert_eq!(code, Some(0), "{said}");
        scene.daemon = Daemon::start(&scene.world.server, "");
        scene.daemon.kill();
        scene.daemon = Daemon::start(&scene.world.server, "");
    }
    for knocks in knocking.map(crate::lab::Knocking::stop) {
        assert!(knocks.sent > 50, "{knocks:?}");
        assert!(knocks.answered.is_empty(), "{knocks:?}");
    }
    assert!(scene.daemon.lists(PREFIX) && scene.daemon.lists("2001:db8:1::/64"));
    let ban = scene.daemon.ban_of(PREFIX).expect("it is listed");
    assert_eq!(ban["failures"], 3, "{ban}");
}

#[test]
fn the_same_unknown_names_are_judged_like_accounts_after_a_restart() {
    const DECOYS: &str = "decoys = 0.25\nwiden = false\n";
    let Some((_world, server)) = quiet_server() else { return };
    let mut daemon = Daemon::start(&server, DECOYS);
    // Two tries of each name, from an address of its own: 3 points each, or 1 for a decoy.
    let spared = |daemon: &Daemon, net: &str, pid: u32| -> Vec<usize> {
        let addrs: Vec<String> = (1..=60).map(|host| format!("{net}.{host}")).collect();
        for (number, addr) in addrs.iter().enumerate() {
            let name = format!("invalid user nobody{number}");
            server.append(LOG, failed_lines(pid + number as u32 * 2, 2, &name, addr));
        }
        // The last line bans in any case, so all before it were judged.
        server.append(LOG, failed_lines(pid + 500, 3, "root", &format!("{net}.99")));
        daemon.wait_for(SOON, "the last ban", || daemon.lists(&format!("{net}.99/32")).then_some(()));
        let banned = daemon.list();
        let lasts = |addr: &String| !banned.iter().any(|ban| ban["prefix"] == format!("{addr}/32"));
        (0..60).filter(|number| lasts(&addrs[*number])).collect()
    };
    let first = spared(&daemon, "198.51.100", 5000);
    assert!((4..=30).contains(&first.len()), "a quarter of 60 names: {first:?}");
    daemon.kill();
    daemon = Daemon::start(&server, DECOYS);
    assert_eq!(spared(&daemon, "203.0.113", 8000), first);
}

#[test]
fn a_ban_keeps_its_end_over_a_restart() {
    let Some(mut scene) = banned("bantime = \"1h\"\n") else { return };
    let before = scene.daemon.ban_of(PREFIX).expect("it is listed");
    scene.daemon.kill();
    scene.daemon = Daemon::start(&scene.world.server, "bantime = \"2h\"\n");
    let after = scene.daemon.ban_of(PREFIX).expect("it is listed");
    assert_eq!(before, after);
    let left = scene.world.kernel().set("ban4").first().and_then(|element| element.expires_s);
    assert!(left.is_some_and(|left| (3500..=3600).contains(&left)), "{left:?}");
}

#[test]
fn bans_come_back_after_a_reboot() {
    let Some(mut scene) = banned("") else { return };
    scene.daemon.kill();
    // A reboot leaves the state directory and takes everything in the kernel.
    scene.world.kernel().nft("flush ruleset");
    assert!(scene.world.attacker(BANNED).is_served(SOON));
    scene.daemon = Daemon::start(&scene.world.server, "");
    assert!(scene.world.kernel().banned().contains(&PREFIX.parse().expect("a prefix")));
    assert_eq!(scene.world.attacker(BANNED).banner(SHORT), None);
}

/// A start that finds as many bans in the kernel as there should be, and those of a sample, looks each of them up behind.
#[test]
fn a_ban_that_somebody_replaced_by_another_while_the_daemon_was_down_is_back_soon_after_a_start() {
    let Some(mut scene) = banned("") else { return };
    let server = &scene.world.server;
    let mut list: Vec<String> =
        (0..2_000).map(|number| format!("203.0.{}.{}", number / 250, number % 250 + 1)).collect();
    server.write("/run/list", list.join("\n"));
    assert_eq!(scene.daemon.ask(&["import", "/run/list"]).code, Some(0));
    scene.daemon.kill();
    // A sample takes each of so many in the order of the store, the first one included.
    list.sort();
    let gone = &list[3];
    let kernel = scene.world.kernel();
    kernel.nft(&format!(
        "delete element inet pillory ban4 {{ {gone} }}; add element inet pillory ban4 {{ 9.9.9.9 }}"
    ));
    scene.daemon = Daemon::start(server, "");
    assert!(scene.daemon.errors().contains("the kernel seems to have kept the ledger"));
    let is_banned = |addr: &str| kernel.is_banned(addr.parse().expect("an address"));
    scene.daemon.wait_for(Duration::from_secs(2), "the kernel to be whole", || {
        (is_banned(gone) && !is_banned("9.9.9.9")).then_some(())
    });
    assert_eq!(kernel.set("ban4").len(), list.len() + 1);
}

#[test]
fn a_ban_that_somebody_took_out_while_the_daemon_was_down_is_back_when_it_is_ready() {
    let Some(scene) = banned("") else { return };
    assert_eq!(scene.daemon.ask(&["ban", "198.51.100.9", "2001:db8:9::/64", "203.0.113.0/24"]).code, Some(0));
    scene.daemon.kill();
    for gone in ["ban4 { 198.51.100.9 }", "ban6n { 2001:db8:9:: }", "net4 { 203.0.113.0/24 }"] {
        scene.world.kernel().nft(&format!("delete element inet pillory {gone}"));
        let daemon = Daemon::start(&scene.world.server, "");
        assert_eq!(scene.world.kernel().banned().len(), 4, "{gone}");
        daemon.kill();
    }
}

#[test]
fn bans_whose_time_ran_out_meanwhile_are_gone() {
    let Some(mut scene) = banned("bantime = \"2s\"\n") else { return };
    assert_eq!(scene.daemon.ask(&["ban", "198.51.100.9", "--for", "1h"]).code, Some(0));
    scene.daemon.kill();
    let attacker = scene.world.attacker(BANNED);
    wait_for(SOON, "the kernel to forget it by itself", || attacker.is_served(SHORT).then_some(()));
    scene.daemon = Daemon::start(&scene.world.server, "bantime = \"2s\"\n");
    assert!(!scene.daemon.lists(PREFIX));
    assert!(scene.daemon.lists("198.51.100.9/32"));
    let banned: Vec<String> = scene.world.kernel().banned().iter().map(ToString::to_string).collect();
    assert_eq!(banned, ["198.51.100.9/32"]);
}

/// Two attempts before, and after exactly the remaining three a ban.
fn counts_survive(end: impl Fn(Daemon)) {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    server.append(LOG, failed_lines(6000, 2, "alice", BANNED));
    daemon.wait_for(SOON, "two attempts to be durable", || (daemon.attempts_of(BANNED) == 2).then_some(()));
    end(daemon);
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.counted(BANNED), (2.0, 2));
    server.append(LOG, failed_lines(6100, 2, "alice", BANNED));
    daemon.wait_for(SOON, "four attempts", || (daemon.counted(BANNED) == (4.0, 4)).then_some(()));
    assert!(!daemon.lists(PREFIX));
    server.append(LOG, failed_line(6200, "alice", BANNED));
    let ban = daemon.wait_for(SOON, "the ban", || daemon.ban_of(PREFIX));
    assert_eq!(ban["failures"], 5, "{ban}");
    daemon.wait_for(SOON, "the element", || {
        world.kernel().banned().contains(&PREFIX.parse().expect("a prefix")).then_some(())
    });
}

#[test]
fn counts_below_maxretry_survive_kill_9() {
    counts_survive(|daemon| drop(daemon.kill()));
}

#[test]
fn counts_below_maxretry_survive_a_restart() {
    counts_survive(|daemon| drop(daemon.stop()));
}

#[test]
fn the_lines_of_one_attempt_count_once_although_the_daemon_was_killed_between_them() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let line = |message: &str| crate::lab::sshd_line(6500, message);
    server.append(LOG, line("Invalid user ulrike from 198.51.100.7 port 40000"));
    daemon.wait_for(SOON, "the attempt to be durable", || (daemon.attempts_of(BANNED) == 1).then_some(()));
    daemon.kill();
    server.append(LOG, line("Failed password for invalid user ulrike from 198.51.100.7 port 40000 ssh2"));
    server.append(LOG, line("Connection closed by invalid user ulrike 198.51.100.7 port 40000 [preauth]"));
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.attempts_of(BANNED), 1);
    assert_eq!(daemon.counted(BANNED), (3.0, 1));
}

#[test]
fn an_attack_while_the_daemon_was_down_is_judged_at_its_start() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "bantime = \"1h\"\n");
    server.append(LOG, failed_line(7000, "root", BANNED));
    daemon.wait_for(SOON, "the first attempt", || (daemon.attempts_of(BANNED) == 1).then_some(()));
    daemon.stop();
    server.append(LOG, failed_lines(7100, 2, "root", BANNED));
    server.append(LOG, failed_lines(7200, 2, "root", "198.51.100.8"));
    let daemon = Daemon::start(&server, "bantime = \"1h\"\n");
    // Ready means that everything written meanwhile has been judged, and that the kernel knows.
    let banned: Vec<String> = world.kernel().banned().iter().map(ToString::to_string).collect();
    assert_eq!(banned, [PREFIX]);
    assert_eq!(daemon.ban_of(PREFIX).expect("it is listed")["failures"], 3);
    assert_eq!(daemon.counted("198.51.100.8"), (4.0, 2));
}

#[test]
fn a_ban_for_lines_of_before_the_start_is_not_in_the_latency_and_the_next_one_is() {
    let Some((_world, server)) = quiet_server() else { return };
    Daemon::start(&server, "").stop();
    server.append(LOG, failed_lines(7100, 3, "root", BANNED));
    let daemon = Daemon::start(&server, "");
    assert_eq!((daemon.list().len(), &daemon.status()["latency"]["kernel_bans"]), (1, &0.into()));
    server.append(LOG, failed_lines(7200, 3, "root", "203.0.113.8"));
    daemon.wait_for(SOON, "a ban of live lines", || {
        (daemon.status()["latency"]["kernel_bans"] == 1).then_some(())
    });
}

#[test]
fn an_attack_that_is_long_over_is_banned_no_longer_than_from_its_own_time() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "bantime = \"1h\"\nwiden = false\n");
    daemon.stop();
    let stamp = |hours: i64| {
        let then = jiff::Zoned::now().checked_sub(jiff::Span::new().hours(hours)).expect("not so long ago");
        then.strftime("%b %e %H:%M:%S").to_string()
    };
    for (hours, addr) in [(2, "198.51.100.7"), (0, "198.51.100.8")] {
        for pid in 1..=3 {
            let line = format!("Failed password for root from {addr} port 4000{pid} ssh2");
            server
                .append(LOG, format!("{} server sshd[{}]: {line}\n", stamp(hours), 7000 + hours * 10 + pid));
        }
    }
    let daemon = Daemon::start(&server, "bantime = \"1h\"\nwiden = false\n");
    assert!(!daemon.lists(PREFIX), "its ban would have ended an hour ago");
    assert!(daemon.lists("198.51.100.8/32"));
    assert_eq!(world.kernel().banned().len(), 1);
}

#[test]
fn the_first_start_bans_on_new_lines_only_and_says_whom_it_would_have_banned() {
    let Some((world, server)) = quiet_server() else { return };
    server.append(LOG, failed_lines(8000, 3, "root", BANNED));
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.list().len(), 0);
    assert_eq!(world.kernel().banned().len(), 0);
    let said = daemon.errors();
    assert!(said.lines().any(|line| line.contains("would have banned") && line.contains(BANNED)), "{said}");
    server.append(LOG, failed_line(8100, "root", BANNED));
    daemon.wait_for(SOON, "the ban at the next failure", || daemon.lists(PREFIX).then_some(()));
}

#[test]
fn whom_the_history_would_have_banned_is_said_at_the_first_start_only() {
    let Some((_world, server)) = quiet_server() else { return };
    server.append(LOG, failed_lines(8000, 3, "root", BANNED));
    let said = Daemon::start(&server, "").kill();
    assert!(said.contains("would have banned"), "{said}");
    let said = Daemon::start(&server, "").kill();
    assert!(!said.contains("would have banned"), "{said}");
}

#[test]
fn the_bans_of_a_jail_are_counted_over_a_restart() {
    let Some(mut scene) = banned("") else { return };
    let total = |daemon: &Daemon| {
        let status = daemon.status();
        let sshd = status["jails"].as_array().into_iter().flatten().find(|jail| jail["name"] == "sshd");
        sshd.and_then(|jail| jail["bans_total"].as_u64())
    };
    assert_eq!(total(&scene.daemon), Some(1));
    scene.daemon.kill();
    scene.daemon = Daemon::start(&scene.world.server, "");
    assert_eq!(total(&scene.daemon), Some(1));
}

#[test]
fn one_change_by_somebody_else_is_said_once_and_names_the_rules() {
    let Some(scene) = banned("") else { return };
    let healed = || {
        let said = scene.daemon.errors();
        said.lines().filter(|line| line.contains("has been healed")).map(str::to_owned).collect::<Vec<_>>()
    };
    scene.world.kernel().nft("flush set inet pillory ban4; add element inet pillory ban4 { 9.9.9.9 }");
    scene.daemon.wait_for(SOON, "a word about it", || (!healed().is_empty()).then_some(()));
    // Whatever else was to be looked at has been by the time this is answered.
    assert_eq!(scene.daemon.ask(&["ban", "198.51.100.9"]).code, Some(0));
    assert_eq!(healed().len(), 1, "{:?}", healed());
    scene.world.kernel().nft("flush chain inet pillory prerouting");
    scene.daemon.wait_for(SOON, "a word about the rules", || (healed().len() > 1).then_some(()));
    let last = healed().pop().unwrap_or_default();
    assert!(last.contains("rules_restored=true"), "{last}");
}

/// After somebody else changed our table it is whole again within a second, and the log says how to switch off.
fn healed(meddle: &[&str]) {
    let Some(scene) = banned("") else { return };
    let kernel = scene.world.kernel();
    let attacker = scene.world.attacker(BANNED);
    for command in meddle {
        kernel.nft(command);
    }
    scene.daemon.wait_for(Duration::from_secs(1), "the bans to be back", || {
        kernel.banned().contains(&PREFIX.parse().expect("a prefix")).then_some(())
    });
    assert_eq!(attacker.banner(SHORT), None);
    scene.daemon.wait_for(SOON, "a word about it", || {
        scene
            .daemon
            .errors()
            .lines()
            .any(|line| line.contains("healed") && line.contains("pillory off"))
            .then_some(())
    });
    // And it is not taken for a change by somebody else that has to be healed again.
    let said = || scene.daemon.errors().matches("healed").count();
    let before = said();
    assert_eq!(scene.daemon.ask(&["ban", "198.51.100.9", "--for", "1h"]).code, Some(0));
    assert_eq!(scene.daemon.ask(&["unban", "198.51.100.9"]).code, Some(0));
    assert_eq!(said(), before, "{}", scene.daemon.errors());
}

#[test]
fn a_flushed_ruleset_is_healed_within_a_second() {
    healed(&["flush ruleset"]);
}

#[test]
fn a_deleted_element_is_healed_within_a_second() {
    healed(&["delete element inet pillory ban4 { 198.51.100.7 }"]);
}

#[test]
fn a_flushed_chain_is_healed_within_a_second() {
    // The sets are whole, but nothing is dropped any more.
    healed(&["flush table inet pillory"]);
}

#[test]
fn nothing_is_healed_after_off() {
    let Some(scene) = banned("") else { return };
    assert_eq!(scene.daemon.ask(&["off"]).code, Some(0));
    scene.world.kernel().nft("flush ruleset");
    assert_eq!(scene.daemon.ask(&["ban", "198.51.100.9", "--for", "1h"]).code, Some(0));
    assert_eq!(scene.world.kernel().banned().len(), 0);
    assert!(scene.world.attacker(BANNED).is_served(SOON));
}

#[test]
fn on_stop_lift_takes_everything_out_of_the_kernel_and_the_next_start_puts_it_back() {
    let Some(mut scene) = banned("on_stop = \"lift\"\n") else { return };
    let (code, said) = scene.daemon.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(scene.world.kernel().nft_json().is_none(), "the table is gone");
    assert!(scene.world.attacker(BANNED).is_served(SOON));
    scene.daemon = Daemon::start(&scene.world.server, "");
    assert_eq!(scene.world.attacker(BANNED).banner(SHORT), None);
}

#[test]
fn what_was_forgiven_stays_forgiven_over_a_restart() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    server.append(LOG, failed_lines(6000, 3, "root", BANNED));
    daemon.wait_for(SOON, "the ban", || daemon.lists(PREFIX).then_some(()));
    assert_eq!(daemon.ask(&["unban", BANNED]).code, Some(0));
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.counted(BANNED), (0.0, 0));
    server.append(LOG, failed_line(6100, "alice", BANNED));
    daemon.wait_for(SOON, "one attempt", || (daemon.counted(BANNED) == (1.0, 1)).then_some(()));
    assert!(!daemon.lists(PREFIX));
}

#[test]
fn what_a_ban_used_up_does_not_count_again_after_a_restart() {
    let Some((_world, server)) = quiet_server() else { return };
    let config = "bantime = \"2s\"\n";
    let daemon = Daemon::start(&server, config);
    // Two more come in while it is banned; they are noted and count for nothing.
    server.append(LOG, failed_lines(6000, 5, "root", BANNED));
    daemon.wait_for(SOON, "five attempts", || (daemon.attempts_of(BANNED) == 5).then_some(()));
    daemon.wait_for(SOON, "the end of the ban", || (!daemon.lists(PREFIX)).then_some(()));
    assert_eq!(daemon.counted(BANNED), (0.0, 0));
    daemon.stop();
    let daemon = Daemon::start(&server, config);
    assert_eq!(daemon.counted(BANNED), (0.0, 0));
}
