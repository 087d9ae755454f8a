//! Bans that are limited to a jail's ports, where its ports are not known.

use std::time::Duration;

use crate::lab::{CONFIG, Daemon, SHORT, SOON, Scene, failed_lines, quiet_server};

const BANNED: &str = "198.51.100.7";
const LOG: &str = "/var/log/app.log";
const PORTLESS: &str = "scope = \"ports\"\n[jail.app]\nlogpath = [\"/var/log/app.log\"]\nmaxretry = 1\n\
    failregex = ['^\\s*no login for <HOST>$']\n";

fn wait_in_set(scene: &Scene, set: &str) {
    scene.daemon.wait_for(SOON, &format!("the ban in {set}"), || {
        scene
            .world
            .kernel()
            .set(set)
            .iter()
            .any(|element| element.prefix.to_string() == format!("{BANNED}/32"))
            .then_some(())
    });
}

#[test]
fn a_ban_on_the_ports_of_a_jail_whose_ports_nobody_knows_holds_for_all_and_that_is_said() {
    let Some(scene) = Scene::new(PORTLESS) else { return };
    let attacker = scene.world.attacker(BANNED);
    assert!(attacker.is_served(SOON));
    let now = scene.world.server.run("date", &["+%Y-%m-%dT%H:%M:%S%:z"]);
    scene.world.server.append(LOG, format!("{} no login for {BANNED}\n", now.trim()).repeat(5));
    wait_in_set(&scene, "ban4_app");
    assert_eq!(attacker.banner(SHORT), None);
    assert!(scene.daemon.errors().contains("no port of this jail is known"), "{}", scene.daemon.errors());
    assert_eq!(scene.daemon.ask(&["unban", BANNED]).code, Some(0));
    assert!(attacker.is_served(SOON));
}

#[test]
fn a_ban_on_the_ports_of_a_jail_that_runs_no_more_holds_over_a_reboot() {
    let Some(mut scene) = Scene::new("scope = \"ports\"\n") else { return };
    scene.world.server.append("/var/log/auth.log", failed_lines(5000, 3, "root", BANNED));
    wait_in_set(&scene, "ban4_sshd");
    scene.daemon.stop();
    // As a reboot does.
    scene.world.kernel().nft("delete table inet pillory");
    scene.daemon = Daemon::start(&scene.world.server, "scope = \"ports\"\n[jail.sshd]\nenabled = false\n");
    wait_in_set(&scene, "ban4_sshd");
    assert_eq!(scene.world.attacker(BANNED).banner(Duration::from_millis(500)), None);
    // A reload lifts what a jail left behind that is not there any more.
    assert_eq!(scene.daemon.ask(&["reload"]).code, Some(0));
    assert!(scene.world.attacker(BANNED).is_served(SOON));
    assert_eq!(scene.daemon.status()["warnings"].to_string().matches("kernel").count(), 0);
}

#[test]
fn what_cannot_be_as_configured_is_a_warning() {
    let Some((_world, server)) = quiet_server() else { return };
    // This host runs no journal, and the filter knows no file.
    let config = "scope = \"ports\"\n[jail.app]\nenabled = true\njournalmatch = \"_COMM=app\"\nfailregex = ['^no <HOST>$']\n\
        [jail.blog]\nlogpath = \"/var/log/blog\"\nport = \"nosuchport\"\nfailregex = ['^no <HOST>$']\n";
    let daemon = Daemon::start(&server, config);
    let status = daemon.status();
    let warned: Vec<&str> =
        status["warnings"].as_array().into_iter().flatten().filter_map(|text| text.as_str()).collect();
    for words in [
        "jail app is enabled and does not run",
        "jail blog: port \"nosuchport\" has no number",
        "jail blog: no port of this jail is known",
    ] {
        assert!(warned.iter().any(|text| text.contains(words)), "{words}: {warned:?}");
    }
    server
        .write(CONFIG, "[jail.blog]\nlogpath = \"/var/log/blog\"\nport = 80\nfailregex = ['^no <HOST>$']\n");
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    let warnings = daemon.status()["warnings"].to_string();
    assert!(!warnings.contains("jail app") && !warnings.contains("port"), "{warnings}");
}
