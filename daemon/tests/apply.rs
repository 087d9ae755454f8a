//! A new policy on trial: confirmed from a new connection, or taken back, whatever happens to the daemon meanwhile.

use crate::lab::{
    Answer, CONFIG, Daemon, DaemonOptions, Host, Outcome, PASSWORD, SOON, Scene, binary, wait_for,
};

const ADMIN: &str = "203.0.113.9";

/// A jail that only the new policy has.
const NEW: &str =
    "[jail.app]\nlogpath = [\"/var/log/app.log\"]\nfailregex = ['^login failed from <HOST>$']\n";

/// Runs `pillory` on the server at the prompt of a new ssh connection.
fn at_a_prompt(scene: &Scene, line: &str) -> Answer {
    let line = line.replace("pillory ", &format!("{} ", binary().display()));
    scene.world.friend(ADMIN).run("root", PASSWORD, &line)
}

fn runs_new(daemon: &Daemon) -> bool {
    daemon.status()["jails"].as_array().is_some_and(|jails| jails.iter().any(|jail| jail["name"] == "app"))
}

/// A daemon with what stands in the file.
fn restarted(server: &Host) -> Daemon {
    let args = vec!["--config".to_owned(), CONFIG.to_owned()];
    Daemon::start_with(server, &DaemonOptions { args, ..DaemonOptions::default() })
}

fn warns(daemon: &Daemon, text: &str) -> bool {
    daemon.status()["warnings"].to_string().contains(text)
}

#[test]
fn a_new_connection_confirms_and_the_file_holds_the_policy() {
    let Some(mut scene) = Scene::new("maxretry = 7\n") else { return };
    scene.world.server.write("/run/new.toml", NEW);
    let applied = at_a_prompt(&scene, "pillory apply /run/new.toml; pillory confirm");
    assert!(applied.out.contains("open a NEW ssh connection"), "{applied:?}");
    assert!(applied.code == Some(1) && applied.err.contains("ssh connection is older"), "{applied:?}");
    assert!(runs_new(&scene.daemon) && warns(&scene.daemon, "/run/new.toml is on trial"));
    // Nor from where no connection leads, however late: the tests' own session is older.
    assert_eq!(scene.daemon.ask(&["confirm"]).code, Some(1));
    assert_eq!(scene.daemon.ask(&["reload"]).code, Some(2), "the trial is not overtaken");
    let confirmed = at_a_prompt(&scene, "pillory confirm");
    assert!(confirmed.code == Some(0) && confirmed.out.contains("holds it now"), "{confirmed:?}");
    assert_eq!(scene.world.server.read(CONFIG), NEW);
    assert!(scene.world.server.read(format!("{CONFIG}.before")).ends_with("maxretry = 7\n"));
    assert!(scene.daemon.status()["trial_until"].is_null());
    assert_eq!(at_a_prompt(&scene, "pillory confirm").code, Some(1), "nothing is on trial");
    scene.daemon.kill();
    scene.daemon = restarted(&scene.world.server);
    assert!(runs_new(&scene.daemon));
}

#[test]
fn what_is_not_confirmed_is_taken_back_and_stays_back() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.world.server.write(CONFIG, NEW);
    let applied = at_a_prompt(&scene, &format!("pillory apply {CONFIG} --confirm 2"));
    assert!(applied.code == Some(0) && runs_new(&scene.daemon), "{applied:?}");
    scene.daemon.wait_for(SOON, "the policy before", || (!runs_new(&scene.daemon)).then_some(()));
    assert!(scene.daemon.errors().contains("not confirmed in time"), "{}", scene.daemon.errors());
    let warning = "holds a policy that was applied and not confirmed";
    for _ in 0..2 {
        assert!(warns(&scene.daemon, warning), "{}", scene.daemon.status());
        let reloaded = scene.daemon.ask(&["reload"]);
        assert!(reloaded.code == Some(2) && reloaded.err.contains("not confirmed"), "{reloaded:?}");
        assert!(!runs_new(&scene.daemon));
        scene.daemon.kill();
        scene.daemon = restarted(&scene.world.server);
    }
    // A third policy is another matter.
    scene.world.server.write(CONFIG, "maxretry = 9\n");
    assert_eq!(scene.daemon.ask(&["reload"]).code, Some(0));
    assert!(!warns(&scene.daemon, warning));
    assert_eq!(scene.world.friend(ADMIN).try_password("alice", PASSWORD), Outcome::Accepted);
}

#[test]
fn a_trial_goes_on_after_kill_9_and_is_taken_back_in_time() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.world.server.write("/run/new.toml", NEW);
    assert_eq!(at_a_prompt(&scene, "pillory apply /run/new.toml --confirm 20").code, Some(0));
    scene.daemon.kill();
    scene.daemon = restarted(&scene.world.server);
    assert!(runs_new(&scene.daemon), "it is in force still");
    assert!(!scene.daemon.status()["trial_until"].is_null());
    let back = scene.daemon.ask(&["confirm", "--take-back"]);
    assert!(back.code == Some(0), "{back:?}");
    scene.daemon.wait_for(SOON, "the policy before", || (!runs_new(&scene.daemon)).then_some(()));
}

#[test]
fn a_trial_whose_time_ends_while_the_daemon_is_dead_does_not_come_back() {
    let Some(scene) = Scene::new("") else { return };
    scene.world.server.write(CONFIG, NEW);
    let scene = outlive_a_trial(scene, CONFIG);
    assert!(warns(&scene.daemon, "holds a policy that was applied and not confirmed"));
}

#[test]
fn a_policy_that_was_not_confirmed_stays_once_it_was_reloaded() {
    let Some(scene) = Scene::new("") else { return };
    scene.world.server.write("/run/new.toml", NEW);
    let mut scene = outlive_a_trial(scene, "/run/new.toml");
    scene.world.server.write(CONFIG, NEW);
    let reloaded = scene.daemon.ask(&["reload"]);
    assert!(reloaded.code == Some(0) && runs_new(&scene.daemon), "{reloaded:?}");
    scene.daemon.kill();
    scene.daemon = restarted(&scene.world.server);
    assert!(runs_new(&scene.daemon), "{}", scene.daemon.status());
}

/// Tries `file` for so short that its time is over before the next daemon starts.
fn outlive_a_trial(mut scene: Scene, file: &str) -> Scene {
    let applied = at_a_prompt(&scene, &format!("pillory apply {file} --confirm 2"));
    assert!(applied.code == Some(0), "{applied:?}");
    let until = scene.daemon.status()["trial_until"].as_str().map(str::to_owned).expect("it is on trial");
    let until: jiff::Timestamp = until.parse().expect("a time");
    scene.daemon.kill();
    wait_for(SOON, "the time of the trial to be over", || {
        (jiff::Timestamp::now() > until + jiff::SignedDuration::from_secs(1)).then_some(())
    });
    scene.daemon = restarted(&scene.world.server);
    assert!(!runs_new(&scene.daemon));
    scene
}

#[test]
fn a_bad_policy_changes_nothing() {
    let Some(scene) = Scene::new("") else { return };
    scene.world.server.write("/run/new.toml", "maxretry = \"many\"\n");
    let applied = at_a_prompt(&scene, "pillory apply /run/new.toml");
    assert!(applied.code == Some(2) && applied.err.contains("/run/new.toml:1: maxretry"), "{applied:?}");
    scene.world.server.write("/run/new.toml", "banaction = \"nullroute\"\n");
    let applied = at_a_prompt(&scene, "pillory apply /run/new.toml");
    assert!(applied.code == Some(2) && applied.err.contains("banaction cannot change"), "{applied:?}");
    assert!(scene.daemon.status()["trial_until"].is_null());
    assert_eq!(scene.daemon.ask(&["apply", "/run/absent.toml"]).code, Some(2));
}
