use pillory_core::time::Timestamp;

use super::*;

struct Made(Host);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0.root);
    }
}

fn host(name: &str, files: &[(&str, &str)]) -> Made {
    let root = std::env::temp_dir().join(format!("pillory-doctor-{}-{name}", std::process::id()));
    std::fs::create_dir_all(root.join("var/log")).unwrap();
    for (path, content) in files {
        let path = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    Made(Host { root, now: clock::now() })
}

fn ids(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.id).collect()
}

const LINE: &str = "Nov 22 07:57:11 web sshd[7]: Failed password for root from 192.0.2.7 port 4 ssh2\n";

#[test]
fn a_host_with_sshd_and_its_log_is_fine() {
    let made = host("fine", &[("/var/log/auth.log", LINE), ("/proc/7/comm", "sshd\n")]);
    let mut report = Report::default();
    logs::sshd(&made.0, &made.0.processes(), &mut report);
    storage::btmp(&made.0, &mut report);
    rivals::look(&made.0, &made.0.processes(), &mut report);
    assert_eq!(report.findings, []);
    assert!(report.notes.iter().any(|note| note.what.contains("logs to /var/log/auth.log")), "{report:?}");
    assert!(
        report.notes.iter().any(|note| note.id == "no_rival" && note.what.contains("fail2ban")),
        "{report:?}"
    );
}

#[test]
fn an_sshd_without_a_log_is_found() {
    let made = host("silent", &[("/proc/7/comm", "sshd\n")]);
    let mut report = Report::default();
    logs::sshd(&made.0, &made.0.processes(), &mut report);
    storage::btmp(&made.0, &mut report);
    assert_eq!(ids(&report), ["sshd_silent", "btmp_missing"]);
}

#[test]
fn failures_that_the_filter_misses_are_found_with_an_example() {
    let odd = format!("{LINE}Nov 22 07:57:12 web sshd[8]: Failed password for root out of nowhere\n");
    let made = host("misses", &[("/var/log/auth.log", &odd)]);
    let mut report = Report::default();
    logs::sshd(&made.0, &[], &mut report);
    assert_eq!(ids(&report), ["filter_misses"]);
    assert!(report.findings[0].what.contains("out of nowhere"));
}

#[test]
fn another_tool_that_bans_is_found() {
    let made = host("rival", &[("/proc/9/comm", "fail2ban-server\n"), ("/run/sshguard.pid", "3\n")]);
    let mut report = Report::default();
    rivals::look(&made.0, &made.0.processes(), &mut report);
    assert_eq!(ids(&report), ["rival", "rival"]);
    assert!(!report.notes.iter().any(|note| note.id == "no_rival"), "{report:?}");
}

#[test]
fn another_tool_is_called_by_its_own_name() {
    for (process, name, stop) in [
        ("reaction", "reaction", "`systemctl disable --now reaction`"),
        ("blockhosts.py", "BlockHosts", "blockhosts.py out of"),
        ("denyhosts", "DenyHosts", "`systemctl disable --now denyhosts`"),
    ] {
        let made = host(process, &[("/proc/9/comm", &format!("{process}\n"))]);
        let mut report = Report::default();
        rivals::look(&made.0, &made.0.processes(), &mut report);
        let [found] = &report.findings[..] else { panic!("{report:?}") };
        assert!(found.what.starts_with(&format!("{name} seems to ban here too")), "{found:?}");
        assert!(found.cure.contains(stop), "{found:?}");
    }
}

#[test]
fn bans_of_other_tools_in_the_kernel_are_found_with_what_takes_them_away() {
    crate::netlink::lab::in_new_namespace(|| {
        let host = Host { root: "/".into(), now: clock::now() };
        let nft = |command: &str| crate::netlink::lab::must_run("nft", &[command]);
        let found = || {
            let mut report = Report::default();
            rivals::kernel(&host, &mut report);
            report.findings
        };
        nft("add table inet pillory; add table inet filter; add chain inet filter input");
        assert_eq!(found(), []);
        nft("add table inet f2b-table; add chain inet f2b-table f2b-chain; add table ip crowdsec");
        nft("add table ip filter; add chain ip filter sshguard");
        let has_ipsets =
            host.exists("/sys/module/ip_set") && crate::netlink::netfilter::tests::create_ipset("f2b-sshd");
        let found = found();
        assert_eq!(found.iter().map(|finding| finding.id).collect::<Vec<_>>(), ["rival_bans"; 3]);
        let ipset = if has_ipsets { ", ipset f2b-sshd" } else { "" };
        assert!(found[0].what.contains(&format!("(nft table inet f2b-table{ipset})")), "{found:?}");
        assert!(found[1].cure.contains("`nft flush chain ip filter sshguard`"), "{found:?}");
        assert!(found[2].cure.contains("`nft delete table ip crowdsec`"), "{found:?}");
        // What the cures say works.
        for command in found.iter().flat_map(|finding| finding.cure.split('`')) {
            if let Some(command) = command.strip_prefix("nft ") {
                nft(command);
            }
        }
    });
}

#[test]
fn a_daemon_without_the_capability_to_ban_is_found() {
    let status = |set: &str| {
        format!("Name:\tpillory\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\nCapEff:\t{set}\n")
    };
    let (without, with) = (status("0000000000000400"), status("0000000000001000"));
    let files = [
        ("/proc/7/comm", "pillory\n"),
        ("/proc/7/task/7/status", without.as_str()),
        ("/proc/8/comm", "pillory\n"),
        // Only one thread has it.
        ("/proc/8/task/8/status", without.as_str()),
        ("/proc/8/task/18/status", with.as_str()),
        ("/proc/9/comm", "cat\n"),
        ("/proc/9/task/9/status", without.as_str()),
    ];
    let made = host("capability", &files);
    let found = |pid: u32, banaction: &str| {
        let mut report = Report::default();
        rights::look(&made.0, &json!({"pid": pid, "banaction": banaction}), &mut report);
        ids(&report)
    };
    assert_eq!(found(7, "nftables"), ["daemon_not_permitted"]);
    for (pid, banaction) in [(8, "nftables"), (9, "nftables"), (10, "nftables"), (7, "dryrun")] {
        assert!(found(pid, banaction).is_empty(), "{pid} {banaction}");
    }
}

#[test]
fn a_proxy_in_front_is_found() {
    let line = |addr: &str| format!("{addr} - - [22/Nov/2026:07:57:11 +0000] \"GET / HTTP/1.1\" 200 5\n");
    let log = line("10.0.0.5").repeat(190) + &line("203.0.113.9").repeat(10);
    let made = host("proxy", &[("/var/log/nginx/access.log", &log)]);
    let mut report = Report::default();
    logs::proxy(&made.0, &mut report);
    assert_eq!(ids(&report), ["proxy"]);
    assert!(report.findings[0].cure.contains("10.0.0.5"));
    let log = line("203.0.113.9").repeat(200);
    let made = host("no-proxy", &[("/var/log/nginx/access.log", &log)]);
    let mut report = Report::default();
    logs::proxy(&made.0, &mut report);
    assert_eq!(report.findings, []);
    assert_eq!(report.notes[0].what, "no proxy stands in front, by /var/log/nginx/access.log");
    let mut report = Report::default();
    logs::proxy(&host("no-web", &[]).0, &mut report);
    assert_eq!(report.notes[0].what, "no web log tells whether a proxy stands in front");
}

#[test]
fn who_rotates_btmp_is_named() {
    let stanza = "/var/log/btmp {\n  monthly\n}\n";
    let made = host("rotated", &[("/var/log/btmp", "x"), ("/etc/logrotate.d/btmp", stanza)]);
    use std::os::unix::fs::PermissionsExt;
    let rights = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(made.0.path("/var/log/btmp"), rights).unwrap();
    let mut report = Report::default();
    storage::btmp(&made.0, &mut report);
    assert_eq!(report.findings, []);
    assert!(report.notes.iter().any(|note| note.what.contains("/etc/logrotate.d/btmp")), "{report:?}");
}

#[test]
fn a_fifo_where_a_log_should_be_is_not_waited_for() {
    let made = host("fifo", &[("/var/log/auth.log", LINE)]);
    let path = made.0.path("/var/log/auth.log");
    std::fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(logs::tail(&path), Vec::<Vec<u8>>::new());
}

#[test]
fn findings_are_read_with_their_cures() {
    crate::cli::golden::check("doctor", |_| {
        let mut report = Report::default();
        report.find("off", "Pillory is switched off, nothing is enforced", "run `pillory on`");
        let what = "a warning of the daemon that has a lot to say: /var/log/auth.log cannot be read: permission denied";
        report.find("warning", what, "");
        report.note(
            "action",
            "bans by nftables: sets with timeouts, looked up for each packet in constant time",
        );
        text(&report)
    });
}

#[test]
fn a_log_that_nobody_has_written_to_for_long_is_found() {
    let made = host("old", &[("/var/log/auth.log", LINE), ("/proc/7/comm", "sshd\n")]);
    let log = std::fs::File::options().write(true).open(made.0.path("/var/log/auth.log")).unwrap();
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_millis(made.0.now.millis().unsigned_abs());
    let found = |hours: u64| {
        log.set_modified(now - std::time::Duration::from_secs(hours * 3_600)).unwrap();
        let mut report = Report::default();
        logs::sshd(&made.0, &made.0.processes(), &mut report);
        report.findings.into_iter().map(|finding| finding.what).collect::<Vec<_>>()
    };
    assert_eq!(found(23), [""; 0]);
    let said = "jail sshd: the last line of /var/log/auth.log is 21 d old; does anything still write it?";
    assert_eq!(found(21 * 24), [said]);
}

#[test]
fn of_a_jail_that_runs_the_youngest_line_counts_and_the_journal_is_no_file() {
    let made = host("silent-jail", &[]);
    let source = |kind: &str, hours: i64| {
        let last = Timestamp::from_secs(made.0.now.secs() - hours * 3_600).to_string();
        json!({"kind": kind, "path": "/var/log/auth.log", "problem": null, "last_line": last})
    };
    let found = |sources: Value| {
        let mut report = Report::default();
        logs::silent(&made.0, &json!({"jails": [{"name": "sshd", "sources": sources}]}), &mut report);
        ids(&report)
    };
    assert_eq!(found(json!([source("file", 25)])), ["old_log"]);
    assert_eq!(found(json!([source("file", 25), source("file", 1)])), [""; 0]);
    assert_eq!(found(json!([source("journal", 25)])), [""; 0]);
}

#[test]
fn a_configuration_that_keeps_a_daemon_from_starting_is_found_with_its_cures() {
    let broken =
        "maxretri = 3\n[jail.app]\nlogpath = \"/var/log/app.log\"\nfailregex = \"^\\d from <HOST>$\"\n";
    let made = host("broken", &[(DEFAULT_CONFIG, broken)]);
    let look = |made: &Made| {
        let mut report = Report::default();
        configuration(&made.0, &mut report);
        report.findings
    };
    let found = look(&made);
    assert!(
        found.len() == 1 && found[0].id == "config" && found[0].what.contains("pillory.toml:4: "),
        "{found:?}"
    );
    assert!(found[0].cure.contains("use single quotes, as in failregex = ['..']"), "{found:?}");
    let found = look(&host("slip", &[(DEFAULT_CONFIG, "maxretri = 3\n")]));
    let said = "pillory.toml:1: maxretri is no key; did you mean maxretry? Else remove it";
    assert!(found.len() == 1 && found[0].words().ends_with(said), "{found:?}");
    assert_eq!(look(&host("none", &[])), []);
}
