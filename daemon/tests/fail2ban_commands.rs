//! Actions of a fail2ban directory that run commands of the operator's own.

use crate::fail2ban::{install, start, wait_in, wait_text};
use crate::lab::{SOON, failed_line, quiet_server, sshd_line};

const SCRIPTED: &str = "[Definition]
actionstart = echo start >> /run/said
actionstop = echo stop >> /run/said
actionban = printf '%%s|' ban <ip> <name> <failures> \"<F-USER>\" \"<mark>\" >> /run/said; echo >> /run/said
actionunban = echo unban <ip> >> /run/said
[Init]
mark = none
";

fn scripted(extra: &str) -> String {
    format!(
        "[DEFAULT]\nbackend = polling\n[sshd]\nenabled = true\nmaxretry = 2\nbantime = 1h\naction = %(action_)s\n    script[mark=\"a b\"]\n{extra}"
    )
}

#[test]
fn an_action_of_the_operators_own_is_run_beside_the_kernel() {
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, &scripted("")) else { return };
    host.write("/etc/fail2ban/action.d/script.conf", SCRIPTED);
    let daemon = start(&host);
    let name = "x'`touch /run/pwned`$(touch /run/pwned)\";touch /run/pwned";
    for pid in [1, 2] {
        let line = format!("Invalid user {name} from 198.51.100.7 port 4{pid}000");
        host.append("/var/log/auth.log", sshd_line(pid, &line));
    }
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
    wait_text(&daemon, &host, "/run/said", "ban|198.51.100.7|sshd|2|");
    let said = host.read("/run/said");
    assert!(said.starts_with("start\n") && said.contains(&format!("|{name}|a b|")), "{said}");
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    wait_text(&daemon, &host, "/run/said", "unban 198.51.100.7");
    assert_eq!(daemon.stop().0, Some(0));
    assert!(host.read("/run/said").ends_with("stop\n"), "{}", host.read("/run/said"));
    assert!(!host.path("/run/pwned").exists());
}

#[test]
fn bans_in_force_are_told_to_actions_at_a_start_and_taken_back_at_a_stop() {
    let Some((_world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, &scripted("")) else { return };
    host.write("/etc/fail2ban/action.d/script.conf", SCRIPTED);
    let daemon = start(&host);
    host.append("/var/log/auth.log", failed_line(1, "root", "198.51.100.7").repeat(2));
    wait_text(&daemon, &host, "/run/said", "ban|198.51.100.7|");
    assert_eq!(daemon.stop().0, Some(0));
    assert!(host.read("/run/said").ends_with("unban 198.51.100.7\nstop\n"), "{}", host.read("/run/said"));
    host.write("/run/said", "");
    let daemon = start(&host);
    wait_text(&daemon, &host, "/run/said", "ban|198.51.100.7|sshd|2|");
    drop(daemon);
}

#[test]
fn an_action_that_hangs_delays_nobody_and_is_said() {
    let jails = "[DEFAULT]\nbackend = polling\nmaxretry = 2\n[sshd]\nenabled = true\naction = %(action_)s\n    hang\n\
        [again]\nenabled = true\nfilter = sshd\nlogpath = /var/log/auth.log\naction = script\n";
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, jails) else { return };
    host.write("/etc/fail2ban/action.d/script.conf", SCRIPTED);
    host.write(
        "/etc/fail2ban/action.d/hang.conf",
        "[Definition]\nactionban = sleep 1000\n[Init]\ntimeout = 2\n",
    );
    let daemon = start(&host);
    host.append("/var/log/auth.log", failed_line(1, "root", "198.51.100.7").repeat(2));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
    wait_text(&daemon, &host, "/run/said", "ban|198.51.100.7|again|2|");
    daemon.wait_for(SOON, "the warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("did not end within 2 s").then_some(())
    });
    // What a command may have printed is not for whoever looks on.
    let seen = daemon.ask(&["top", "--once", "--json"]).out;
    assert!(!seen.contains("did not end") && seen.contains("commands of a jail do not work"), "{seen}");
    // Its own jail goes on, too.
    host.append("/var/log/auth.log", failed_line(2, "root", "198.51.100.8").repeat(2));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.8/32");
}

const IDENTITIES: &str = "[Definition]
failregex = ^\\s*app: bad token of <F-ID>\\S+</F-ID> from <ADDR>$
    ^\\s*app: no login of <F-ID>\\S+</F-ID>$
";

#[test]
fn an_identity_that_is_no_address_is_banned_by_commands() {
    let jails = "[DEFAULT]\nbackend = polling\nmaxretry = 2\nfilter = app\nlogpath = /var/log/app.log\n\
        [app]\nenabled = true\nbantime = 1h\naction = %(action_)s\n script\n\
        [short]\nenabled = true\nbantime = 1s\naction = script[name=short]\n\
        [netonly]\nenabled = true\n";
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, jails) else { return };
    host.write("/etc/fail2ban/filter.d/app.conf", IDENTITIES);
    host.write("/etc/fail2ban/action.d/script.conf", SCRIPTED.replace("<ip>", "<fid>"));
    host.write("/var/log/app.log", "");
    let daemon = start(&host);
    let now = host.run("date", &["+%Y-%m-%dT%H:%M:%S%:z"]);
    let line = |text: &str| format!("{} app: {text}\n", now.trim());
    // Whoever looks like an address is one, and its subject has the address that stands beside the identity.
    let hostile = "o'x$(touch</run/pwned)";
    for text in ["bad token of alice from 198.51.100.7", &format!("no login of {hostile}")] {
        host.append("/var/log/app.log", line(text).repeat(2));
    }
    wait_text(&daemon, &host, "/run/said", "ban|alice|app|2|");
    wait_text(&daemon, &host, "/run/said", &format!("ban|{hostile}|app|2|"));
    wait_text(&daemon, &host, "/run/said", "unban alice\n");
    assert!(world.kernel().set("ban4_app").is_empty() && daemon.list().is_empty());
    assert!(daemon.errors().contains("nothing of this jail can shut that out"), "{}", daemon.errors());
    let status = daemon.status()["jails"].to_string();
    assert!(status.contains("\"id\":\"alice\""), "{status}");
    // They are told of again after a restart, and lifted with all others.
    assert_eq!(daemon.stop().0, Some(0));
    host.write("/run/said", "");
    let daemon = start(&host);
    wait_text(&daemon, &host, "/run/said", "ban|alice|app|2|");
    let lifted = daemon.ask(&["unban", "--all", "--jail", "app"]);
    assert!(lifted.code == Some(0) && lifted.out.contains("unbanned alice (app)"), "{lifted:?}");
    wait_text(&daemon, &host, "/run/said", "unban alice\n");
    assert!(!host.path("/run/pwned").exists());
}

const TAGS: &str = "[Definition]
actionstart = echo \"start <name> [<family>] [<ip>]\" >> <out>
actionban = echo \"ban <ip> <ip-rev> <family> host=<ip-host> count=<bancount> user=<F-USER> here=<jail.banned>/<jail.banned_total> all=<ipfailures> mine=<ipjailfailures> time=<time> other=[<no-such-tag>]\" >> <out>; echo \"<ipmatches>\" | wc -l >> <out>
actionunban = echo \"unban <ip> user=<F-USER>\" >> <out>
[Init]
out = /run/said
";

#[test]
fn tags_are_filled_in_as_fail2ban_does() {
    let jails = "[DEFAULT]\nbackend = polling\nfilter = sshd\nlogpath = /var/log/auth.log\n\
        [first]\nenabled = true\nmaxretry = 2\nbantime = 1h\nbantime.increment = true\naction = tags[name=first]\n\
        [second]\nenabled = true\nmaxretry = 3\nbantime = 1h\nusedns = no\naction = tags[name=second, out=/run/second]\n";
    let Some((_world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, jails) else { return };
    host.write("/etc/fail2ban/action.d/tags.conf", TAGS);
    host.write("/etc/hosts", "127.0.0.1 localhost\n198.51.100.7 box.example.net box\n");
    let daemon = start(&host);
    for (pid, user) in [(1, "alice"), (2, "bob"), (3, "carol")] {
        host.append("/var/log/auth.log", failed_line(pid, user, "198.51.100.7"));
        if pid == 2 {
            wait_text(&daemon, &host, "/run/said", "\n2\n");
        }
    }
    wait_text(&daemon, &host, "/run/second", "\n5\n");
    let (first, second) = (host.read("/run/said"), host.read("/run/second"));
    // The name of the address, the user of the first failure, the jail's counts; what is no tag stays.
    let said = "start first [] []\nban 198.51.100.7 7.100.51.198. inet4 host=box.example.net count=1 user=alice here=1/1 all=2 mine=2 time=";
    assert!(first.starts_with(said) && first.contains(".0 other=[<no-such-tag>]\n2\n"), "{first}");
    // Names are not looked up with usedns = no; ipmatches and ipfailures are of all jails.
    assert!(second.contains("host=None count=1 user=alice here=1/1 all=5 mine=3 time="), "{second}");
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    wait_text(&daemon, &host, "/run/said", "unban 198.51.100.7 user=alice\n");
    // A second ban knows that it is one: with a known offender a failure counts for two.
    host.append("/var/log/auth.log", failed_line(4, "dave", "198.51.100.7").repeat(2));
    wait_text(&daemon, &host, "/run/said", "count=2 user=dave");
}

#[test]
fn a_stop_is_told_once_for_each_family_that_the_command_names() {
    let Some((_world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, &scripted("")) else { return };
    let action = "[Definition]\nactionstop = echo \"stop <family>\" >> /run/said\nactionban = echo <kind> <ip> >> /run/said\n\
        [Init]\nkind = 4\n[Init?family=inet6]\nkind = 6\n";
    host.write("/etc/fail2ban/action.d/script.conf", action);
    let daemon = start(&host);
    for (kind, addr) in [(4, "198.51.100.7"), (6, "2001:db8:9::7")] {
        assert_eq!(daemon.ask(&["ban", addr, "--jail", "sshd"]).code, Some(0));
        wait_text(&daemon, &host, "/run/said", &format!("{kind} {addr}"));
    }
    assert_eq!(daemon.stop().0, Some(0));
    assert!(host.read("/run/said").ends_with("stop inet4\nstop inet6\n"), "{}", host.read("/run/said"));
}
