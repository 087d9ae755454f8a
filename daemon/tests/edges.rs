//! What the daemon finds where its own files and names should be.

use crate::lab::{
    CONTROL, Daemon, DaemonOptions, Host, Running, SOON, STATE_DIR, World, binary, failed_lines, pillory,
    quiet_server, wait_for,
};

/// A daemon that refuses to run: its exit code and what it said.
#[track_caller]
fn refusal(server: &Host, before: &[&str], args: &[&str]) -> (Option<i32>, String) {
    let mut words = before.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    words.push(binary().display().to_string());
    let mut command = server.command(&words[0]);
    command.args(&words[1..]).arg("run").args(args);
    let mut running = Running::start("a daemon", command);
    let code = running.wait(SOON);
    // The pipe is read by a thread of its own, which may be a moment behind.
    wait_for(SOON, "a word about it", || running.errors().contains("pillory: ").then_some(()));
    (code, running.errors())
}

#[test]
fn a_file_where_the_control_socket_should_be_is_left_alone() {
    let Some((world, server)) = quiet_server() else { return };
    server.write("/run/precious", "keep me");
    let (code, said) = refusal(&server, &[], &["--state-dir", STATE_DIR, "--control", "/run/precious"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/run/precious") && said.contains("no socket"), "{said}");
    assert_eq!(server.read("/run/precious"), "keep me");
    drop(world);
}

#[test]
fn a_control_socket_that_another_daemon_answers_at_is_refused_with_75() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let other = ["--dry-run", "--state-dir", "/var/lib/other", "--control", CONTROL];
    let (code, said) = refusal(&server, &[], &other);
    assert_eq!(code, Some(75), "{said}");
    assert_eq!(daemon.ask(&["list"]).code, Some(0), "the first one still answers");
}

#[test]
fn files_that_may_not_be_written_are_named_and_refused_with_77() {
    let Some(world) = World::with(&["setpriv"]) else { return };
    let server = &world.server;
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let (code, said) = refusal(server, &nobody, &["--dry-run", "--state-dir", STATE_DIR]);
    assert_eq!(code, Some(77), "{said}");
    assert!(said.contains(STATE_DIR) && said.contains("root"), "{said}");
    std::os::unix::fs::chown(server.path(STATE_DIR), Some(65534), Some(65534)).expect("it is given away");
    let (code, said) =
        refusal(server, &nobody, &["--dry-run", "--state-dir", STATE_DIR, "--control", "/run/own.sock"]);
    assert_eq!(code, Some(77), "{said}");
    assert!(said.contains("/run/own.sock"), "{said}");
}

#[test]
fn off_without_a_daemon_lifts_the_bans_even_if_it_cannot_be_remembered() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    server.append("/var/log/auth.log", failed_lines(9000, 3, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || (!world.kernel().banned().is_empty()).then_some(()));
    daemon.stop();
    server.run("mount", &["-t", "tmpfs", "-o", "ro,mode=755", "none", STATE_DIR]);
    let answer = pillory(&server, &["off", "--control", CONTROL]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.err.contains(STATE_DIR) && answer.err.contains("lifted"), "{answer:?}");
    assert!(world.kernel().nft_json().is_none());
}

#[test]
fn a_forced_ban_shuts_out_who_is_never_banned_until_it_is_lifted() {
    let Some((world, server)) = quiet_server() else { return };
    let config = "ignoreip = \"198.51.100.200\"\n";
    let daemon = Daemon::start(&server, config);
    let refused = daemon.ask(&["ban", "198.51.100.200"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let answer = daemon.ask(&["ban", "--force", "198.51.100.200"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    for words in
        ["listed in ignoreip", "whoever comes from there is shut out", "pillory unban 198.51.100.200"]
    {
        assert!(answer.out.contains(words), "{answer:?}");
    }
    let banned = || world.kernel().banned().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(banned(), ["198.51.100.200/32"]);
    assert!(daemon.ask(&["list"]).out.contains("(manual, forced)"));
    assert!(daemon.ask(&["explain", "198.51.100.200"]).out.contains("(manual, forced)"));
    daemon.kill();
    let daemon = Daemon::start(&server, config);
    assert_eq!(daemon.ban_of("198.51.100.200/32").expect("it is listed")["forced"], true);
    assert_eq!(banned(), ["198.51.100.200/32"]);
    assert_eq!(daemon.ask(&["unban", "198.51.100.200"]).code, Some(0));
    assert!(banned().is_empty());
}

#[test]
fn another_users_claim_of_the_namespace_does_not_keep_the_daemon_from_starting() {
    let Some(world) = World::with(&["setpriv", "python3"]) else { return };
    let host = &world.server;
    let claim = "import socket, time\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0pillory')\ns.listen(1)\nprint('held', flush=True)\ntime.sleep(60)";
    let mut command = host.command("setpriv");
    command.args(["--reuid=65534", "--clear-groups", "--", "python3", "-c", claim]);
    let mut holder = command.stdout(std::process::Stdio::piped()).spawn().expect("python3 starts");
    let mut said = String::new();
    let out = holder.stdout.take().expect("standard output is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said).expect("it speaks");
    assert_eq!(said, "held\n");
    let daemon = Daemon::start(host, "");
    assert!(daemon.errors().contains("another user holds the name"), "{}", daemon.errors());
    holder.kill().expect("it can be ended");
    holder.wait().expect("it ends");
}

#[test]
fn a_dry_run_claims_no_protection_and_leaves_nothing_to_be_enforced() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", "198.51.100.3"]).code, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
    let dry = ["--dry-run".to_owned()].to_vec();
    let daemon = Daemon::start_with(&server, &DaemonOptions { args: dry, ..DaemonOptions::default() });
    assert_eq!(daemon.ask(&["ban", "198.51.100.4"]).code, Some(0));
    let status = daemon.status();
    assert_eq!(status["enforcing"], false, "{status}");
    assert!(status["warnings"].to_string().contains("the kernel holds 1 bans"), "{status}");
    let text = daemon.ask(&["status"]).out;
    assert!(text.contains("DRY RUN") && !text.contains("protected"), "{text}");
    let (code, said) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(said.contains("ready: dry run, nothing is enforced"), "{said}");
    assert!(said.contains("stopped: 1 would be banned; it was a dry run"), "{said}");
    let daemon = Daemon::start(&server, "");
    assert!(daemon.lists("198.51.100.3/32") && !daemon.lists("198.51.100.4/32"));
    assert_eq!(world.kernel().banned().len(), 1);
}
