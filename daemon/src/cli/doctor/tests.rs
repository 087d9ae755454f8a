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
