//! What others are told of attackers, as servers get it that check it: reviewed, within budget, nobody twice, nothing of
//! this host.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use nix::pty::openpty;
use serde_json::{Value, json};

use crate::disk::{fill, make_room, small_disk};
use crate::lab::{
    Answer, Answering, CONFIG, Daemon, Host, LOG, MailServer, SOON, STATE_DIR, WebServer, World, binary,
    decoded, failed_lines, pillory, quiet_server,
};
use crate::whois::{RDAP, leads_to, registry};

const ABUSEIPDB: &str = "[report.abuseipdb]\nurl = \"http://127.0.0.1:8080/api/v2\"\nkey_file = \"/srv/key\"\ndelay = \"1s\"\nretry = \"1s\"\n";

const LATER: Duration = Duration::from_secs(30);

/// A daemon that reports to a server of the test.
fn reporting(config: &str) -> Option<(World, Host, WebServer, Daemon)> {
    let (world, server) = quiet_server()?;
    server.write("/srv/key", "the-key\n");
    let web = WebServer::start(&server, 8080);
    let daemon = Daemon::start(&server, config);
    Some((world, server, web, daemon))
}

fn reports(host: &Host, args: &[&str]) -> Answer {
    let all = [&["reports"], args, &["--config", CONFIG, "--state-dir", STATE_DIR]].concat();
    pillory(host, &all)
}

fn counts(host: &Host, at: usize) -> Value {
    reports(host, &["--json"]).json()[at]["counts"].clone()
}

/// Waits until so many reports of the first destination stand there.
#[track_caller]
fn wait_for_count(daemon: &Daemon, host: &Host, state: &str, number: u64) {
    daemon.wait_for(LATER, &format!("{number} reports {state}"), || {
        (counts(host, 0)[state].as_u64().unwrap_or(0) == number).then_some(())
    });
}

/// The fields of a form.
fn form(body: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let hex = [rest.next(), rest.next()].map(|digit| char::from(digit.expect("two digits")));
                    u8::from_str_radix(&String::from_iter(hex), 16).expect("hexadecimal")
                }
                other => other,
            });
        }
        String::from_utf8(bytes).expect("text")
    };
    body.split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (name.to_owned(), decode(value)))
        .collect()
}

fn field(body: &str, name: &str) -> String {
    form(body).into_iter().find(|(known, _)| known == name).map(|(_, value)| value).unwrap_or_default()
}

#[test]
fn a_report_waits_for_its_review_and_tells_nothing_of_this_host() {
    let Some((_world, server, web, daemon)) = reporting(ABUSEIPDB) else { return };
    let secret = "Hunter2-Tr0ub4dor";
    let lines = failed_lines(9000, 2, &format!("invalid user {secret}"), "198.51.100.7")
        + &failed_lines(9010, 2, "invalid user admin", "198.51.100.7")
        + &failed_lines(9020, 2, "alice", "198.51.100.7");
    server.append(LOG, lines);
    wait_for_count(&daemon, &server, "held", 1);
    let review = reports(&server, &["review"]);
    assert!(
        review.out.contains("198.51.100.7: ") && review.out.contains("login as admin failed"),
        "{review:?}"
    );
    // What would be sent is shown, and is not.
    let dry = reports(&server, &["--dry-run"]);
    assert!(
        dry.out.contains("POST http://127.0.0.1:8080/api/v2/report\nip=198.51.100.7&categories=18%2C22&"),
        "{dry:?}"
    );
    assert!(web.asked().is_empty());
    let approved = reports(&server, &["review", "--approve", "all"]);
    assert_eq!(
        (approved.code, approved.out.as_str()),
        (Some(0), "1 report approved, 0 dropped\n"),
        "{approved:?}"
    );
    let asked = daemon.wait_for(LATER, "the report", || web.asked().first().cloned());
    assert_eq!((asked.path.as_str(), asked.header("key")), ("/api/v2/report", "the-key"));
    assert_eq!(field(&asked.body, "ip"), "198.51.100.7");
    let comment = field(&asked.body, "comment");
    assert!(comment.starts_with("6 ssh attempts ") && comment.ends_with("; names tried: admin"), "{comment}");
    assert!(dry.out.contains(&asked.body), "what was shown is what is sent");
    let own = server.run("uname", &["-n"]);
    for hidden in [secret, "alice", own.trim(), "192.0.2.1", "the-key"] {
        let told = form(&asked.body).iter().any(|(_, value)| value.contains(hidden));
        assert!(!told && !review.out.contains(hidden) && !dry.out.contains(hidden), "{hidden}");
    }
    wait_for_count(&daemon, &server, "sent", 1);
}

#[test]
fn no_name_that_somebody_has_here_is_told() {
    let config = format!(
        "widen = false\nmaxretry = 8\npoints = {{ bad_user = 1 }}\ngoodusers = [\"deploy\"]\n{ABUSEIPDB}"
    );
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    let tried = |words: &str| {
        daemon.wait_for(SOON, "an attempt", || {
            daemon.ask(&["attempts", "--json"]).out.contains(words).then_some(())
        });
    };
    // Everybody guesses at it, but somebody logs in by this name meanwhile.
    server.append(LOG, failed_lines(9000, 1, "invalid user git", "198.51.100.7"));
    tried("git");
    let login = failed_lines(9010, 1, "git", "203.0.113.9").replace("Failed password", "Accepted password");
    server.append(LOG, login);
    tried("203.0.113.9");
    // A good user, an account of a directory, and a name that is not common but that two banned sources tried.
    for (n, addr) in [(1, "198.51.100.7"), (2, "198.51.100.8")] {
        let lines = failed_lines(9000 + 100 * n, 1, "invalid user deploy", addr)
            + &failed_lines(9010 + 100 * n, 1, "oracle", addr)
            + &failed_lines(9020 + 100 * n, 1, "invalid user mmeier", addr)
            + &failed_lines(9030 + 100 * n, 6, "invalid user admin", addr);
        server.append(LOG, lines);
    }
    wait_for_count(&daemon, &server, "held", 2);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 2);
    for asked in web.asked() {
        let comment = field(&asked.body, "comment");
        assert!(comment.ends_with("; names tried: admin"), "{comment}");
    }
}

#[test]
fn a_review_keeps_what_is_not_answered() {
    let config = format!("widen = false\n{ABUSEIPDB}");
    let Some((_world, server, _web, daemon)) = reporting(&config) else { return };
    for n in 1..=5 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 5);
    let terminal = openpty(None, None).expect("a terminal");
    let mut keys = File::from(terminal.master);
    // Enter, yes, no, neither, and the end of the input (Ctrl-D).
    keys.write_all(b"\ny\nn\nwhat\n\x04").expect("it takes keys");
    let mut command = server.command(&binary().display().to_string());
    command.args(["reports", "review", "--config", CONFIG, "--state-dir", STATE_DIR]);
    let output = command.stdin(terminal.slave).stdout(Stdio::piped()).output().expect("nsenter starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.matches("[y/n/Enter: later]").count()), (Some(0), 5), "{said}");
    wait_for_count(&daemon, &server, "sent", 1);
    let counts = counts(&server, 0);
    assert_eq!((&counts["held"], &counts["dropped"]), (&3.into(), &1.into()), "{counts}");
}

#[test]
fn only_what_proves_an_attack_of_a_stranger_is_reported() {
    let config = format!(
        "widen = false\nignoreip = \"198.51.100.50\"\n{ABUSEIPDB}[jail.game]\nlogpath = \"/var/log/game.log\"\nfailregex = '^denied <HOST>$'\nmaxretry = 2\n"
    );
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    // By hand, from a list, a service that may be UDP's, somebody who is never banned.
    assert_eq!(daemon.ask(&["ban", "198.51.100.1"]).code, Some(0));
    server.write("/srv/list", "198.51.100.2\n");
    assert_eq!(daemon.ask(&["import", "/srv/list"]).code, Some(0));
    server.append("/var/log/game.log", "denied 198.51.100.3\n".repeat(5));
    server.append(LOG, failed_lines(9000, 9, "root", "198.51.100.50"));
    // Lifted before it could be told; allowed meanwhile; and one that stays.
    for (n, addr) in [(1, "198.51.100.4"), (2, "198.51.100.5"), (3, "198.51.100.6")] {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", addr));
        daemon.wait_for(SOON, "a ban", || daemon.lists(&format!("{addr}/32")).then_some(()));
    }
    assert_eq!(daemon.ask(&["unban", "198.51.100.4"]).code, Some(0));
    wait_for_count(&daemon, &server, "held", 2);
    assert_eq!(daemon.ask(&["allow", "198.51.100.5"]).code, Some(0));
    daemon.wait_for(SOON, "the ban from the log of a game", || daemon.lists("198.51.100.3/32").then_some(()));
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 1);
    let counts = counts(&server, 0);
    assert_eq!(counts["withdrawn"], 2, "{counts}");
    assert_eq!(
        (&counts["new"], &counts["held"], &counts["queued"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let told: Vec<String> = web.asked().iter().map(|asked| field(&asked.body, "ip")).collect();
    assert_eq!(told, ["198.51.100.6"]);
    // A restart knows its bans and reports none of them again.
    daemon.kill();
    let daemon = Daemon::start(&server, &config);
    server.append(LOG, failed_lines(9900, 6, "root", "198.51.100.8"));
    wait_for_count(&daemon, &server, "held", 1);
    assert_eq!(counts_of_all(&server), 4);
}

fn counts_of_all(host: &Host) -> u64 {
    counts(host, 0).as_object().expect("counts").values().filter_map(Value::as_u64).sum()
}

#[test]
fn who_logged_in_before_the_report_left_is_not_reported() {
    let config = format!("widen = false\n{ABUSEIPDB}");
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    for n in 1..=2 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 2);
    let login =
        failed_lines(9500, 1, "alice", "198.51.100.1").replace("Failed password", "Accepted password");
    server.append(LOG, login);
    daemon.wait_for(SOON, "the login", || {
        daemon.ask(&["attempts", "--json"]).out.contains("alice").then_some(())
    });
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 1);
    wait_for_count(&daemon, &server, "withdrawn", 1);
    let told: Vec<String> = web.asked().iter().map(|asked| field(&asked.body, "ip")).collect();
    assert_eq!(told, ["198.51.100.2"]);
}

#[test]
fn a_budget_and_a_cool_down_hold() {
    let config = format!("widen = false\nbantime = \"1h\"\n{ABUSEIPDB}budget = 2\n");
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    for n in 1..=4 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 4);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 2);
    // Banned once more within the day: it is not reported once more.
    assert_eq!(daemon.ask(&["unban", "198.51.100.1"]).code, Some(0));
    daemon.wait_for(SOON, "the unban", || (!daemon.lists("198.51.100.1/32")).then_some(()));
    server.append(
        LOG,
        failed_lines(9800, 6, "root", "198.51.100.1") + &failed_lines(9900, 6, "root", "198.51.100.9"),
    );
    wait_for_count(&daemon, &server, "held", 1);
    let told: Vec<String> = web.asked().iter().map(|asked| field(&asked.body, "ip")).collect();
    assert_eq!(told, ["198.51.100.1", "198.51.100.2"]);
    let overview = reports(&server, &[]).out;
    assert!(overview.contains("abuseipdb: 2 today of 2; 0 fresh, 1 held for review, 2 queued"), "{overview}");
    // Neither does a restart renew the budget.
    assert_eq!(daemon.stop().0, Some(0));
    let daemon = Daemon::start(&server, &config);
    server.append(LOG, failed_lines(9950, 6, "root", "198.51.100.10"));
    wait_for_count(&daemon, &server, "held", 2);
    assert_eq!(web.asked().len(), 2);
}

#[test]
fn the_first_fifty_are_reviewed_and_then_others_leave_unseen() {
    let config = format!("widen = false\n{ABUSEIPDB}");
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    for n in 1..=50 {
        server.append(LOG, failed_lines(9000 + 10 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 50);
    let held = reports(&server, &["review", "--json"]).json();
    let numbers: Vec<String> = held.as_array().unwrap().iter().map(|row| row["number"].to_string()).collect();
    let most = numbers[..49].join(",");
    assert_eq!(reports(&server, &["review", "--approve", &most]).code, Some(0));
    server.append(LOG, failed_lines(9800, 6, "root", "198.51.100.60"));
    wait_for_count(&daemon, &server, "held", 2);
    assert_eq!(reports(&server, &["review", "--approve", &numbers[49]]).code, Some(0));
    server.append(LOG, failed_lines(9900, 6, "root", "198.51.100.61"));
    wait_for_count(&daemon, &server, "sent", 51);
    assert!(web.asked().iter().any(|asked| asked.body.contains("198.51.100.61")));
    let wrong = reports(&server, &["review", "--approve", "4711"]);
    assert_eq!((wrong.code, wrong.err.contains("no report of number 4711")), (Some(2), true), "{wrong:?}");
    assert_eq!(reports(&server, &["review", "--drop", "all"]).out, "0 reports approved, 1 dropped\n");
}

#[test]
fn nothing_is_lost_to_a_refusal_a_hang_up_or_a_crash_and_nothing_sent_twice() {
    let config = format!("widen = false\n{ABUSEIPDB}");
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    for n in 1..=3 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 3);
    web.next([
        Answering::With(429, "retry-after: 5\r\n", "{\"errors\":[]}".into()),
        Answering::Nothing,
        Answering::With(500, "", String::new()),
        Answering::With(422, "", "{\"errors\":[{\"detail\":\"The ip must be a valid address.\"}]}".into()),
    ]);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    daemon.wait_for(SOON, "a warning", || {
        daemon.status()["warnings"]
            .to_string()
            .contains("cannot send: report.abuseipdb: the server answered 429")
            .then_some(())
    });
    daemon.kill();
    let daemon = Daemon::start(&server, &config);
    wait_for_count(&daemon, &server, "sent", 2);
    let asked = web.asked();
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(5), "asked again too early");
    let refused = counts(&server, 0)["refused"].clone();
    assert_eq!((asked.len(), refused), (6, 1.into()));
    let mut taken: Vec<String> = asked[4..].iter().map(|asked| field(&asked.body, "ip")).collect();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 2, "each once: {taken:?}");
    let about = reports(&server, &["--json"]).json()[0].clone();
    assert!(about["problems"][0]["note"].as_str().unwrap().contains("must be a valid address"), "{about}");
}

#[test]
fn a_disk_that_is_full_when_a_report_was_taken_has_it_sent_no_second_time() {
    let Some((_world, server)) = small_disk() else { return };
    server.write("/srv/key", "the-key\n");
    let web = WebServer::start(&server, 8080);
    let daemon = Daemon::start(&server, &format!("widen = false\n{ABUSEIPDB}"));
    server.append(LOG, failed_lines(9000, 6, "root", "198.51.100.1"));
    wait_for_count(&daemon, &server, "held", 1);
    web.hold(true);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    daemon.wait_for(LATER, "a report on its way", || (web.asked().len() == 1).then_some(()));
    fill(&server);
    web.hold(false);
    daemon.wait_for(LATER, "word that it cannot be noted", || {
        daemon.errors().contains("nothing is sent until this is mended").then_some(())
    });
    make_room(&server);
    wait_for_count(&daemon, &server, "sent", 1);
    // What comes after it leaves, and nothing else.
    server.append(LOG, failed_lines(9100, 6, "root", "198.51.100.2"));
    wait_for_count(&daemon, &server, "held", 1);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 2);
    let told: Vec<String> = web.asked().iter().map(|asked| field(&asked.body, "ip")).collect();
    assert_eq!(told, ["198.51.100.1", "198.51.100.2"]);
}

#[test]
fn an_address_that_a_receiver_does_not_take_holds_up_no_other() {
    let config = format!("widen = false\n{ABUSEIPDB}");
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    for n in 1..=3 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 3);
    let again = |status: u16| {
        let detail = "You can only report the same IP address (`198.51.100.1`) once in 15 minutes.";
        let said = json!({"errors": [{"detail": detail, "status": status, "source": {"parameter": "ip"}}]});
        Answering::With(status, "retry-after: 900\r\n", said.to_string())
    };
    web.next([again(429), again(403)]);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 1);
    wait_for_count(&daemon, &server, "refused", 2);
    assert_eq!(reports(&server, &["--json"]).json()[0]["trouble"], Value::Null);
}

#[test]
fn many_go_as_one_file() {
    let config = format!("widen = false\n{ABUSEIPDB}bulk = 3\n");
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    for n in 1..=5 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 5);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 5);
    let files: Vec<_> = web.asked().into_iter().filter(|asked| asked.path == "/api/v2/bulk-report").collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].header("content-type").starts_with("multipart/form-data; boundary="));
    let rows: Vec<&str> = files[0].body.lines().filter(|line| line.starts_with("198.51.100.")).collect();
    assert!(rows.len() >= 3 && rows[0].starts_with("198.51.100.1,\"18,22\",20"), "{rows:?}");
    // Approving takes a moment, so some may have left before there were enough.
    assert_eq!(rows.len() + web.asked().len() - 1, 5);
}

#[test]
fn a_file_that_is_refused_goes_one_by_one() {
    let config = format!("widen = false\n{ABUSEIPDB}bulk = 3\n");
    let Some((_world, server, web, daemon)) = reporting(&config) else { return };
    for n in 1..=5 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 5);
    let refusal = || Answering::With(422, "", "{\"errors\":[{\"detail\":\"one is wrong\"}]}".into());
    // The first wait is so long that all are approved after it.
    web.next([Answering::With(429, "retry-after: 5\r\n", String::new()), refusal(), refusal()]);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 4);
    wait_for_count(&daemon, &server, "refused", 1);
    let paths: Vec<String> = web.asked().into_iter().skip(1).map(|asked| asked.path).collect();
    assert_eq!((paths.len(), paths[0].as_str()), (6, "/api/v2/bulk-report"));
    assert!(paths[1..].iter().all(|path| path == "/api/v2/report"), "{paths:?}");
}

#[test]
fn one_address_that_cannot_be_reported_holds_up_no_other() {
    let Some((_world, server)) = quiet_server() else { return };
    let Some(mail) = MailServer::start(&server) else { return };
    let rdap = WebServer::start(&server, 8081);
    rdap.says(&registry());
    rdap.next([Answering::With(404, "", String::new()), Answering::Nothing]);
    let config = format!(
        "widen = false\n{RDAP}[report.xarf]\norganisation = \"Example Ltd.\"\ndelay = \"1s\"\nretry = \"1s\"\n{}",
        MailServer::keys("smtps")
    );
    let daemon = Daemon::start(&server, &config);
    for n in 7..=9 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", &format!("198.51.100.{n}")));
    }
    wait_for_count(&daemon, &server, "held", 3);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    // The registry knows no network of the first, and hangs up at the second.
    wait_for_count(&daemon, &server, "sent", 1);
    assert_eq!(mail.mails().len(), 1);
    let counts = counts(&server, 0);
    assert_eq!((&counts["refused"], &counts["queued"]), (&1.into(), &1.into()), "{counts}");
    assert_eq!(reports(&server, &["review", "--drop", "all"]).out, "0 reports approved, 1 dropped\n");
    wait_for_count(&daemon, &server, "dropped", 1);
}

#[test]
fn mails_that_are_refused_one_after_the_other_wait_for_who_may_be_meant() {
    let Some((_world, server)) = quiet_server() else { return };
    let Some(mail) = MailServer::start(&server) else { return };
    mail.refuse("550 5.7.1 this sender may not");
    let rdap = WebServer::start(&server, 8081);
    let of = |net: &str| {
        let answer = registry().replace("198.51.100", net).replace("abuse@", &format!("abuse-{net}@"));
        Answering::With(200, "", answer)
    };
    rdap.next(["198.51.100", "203.0.113", "198.51.7"].map(of));
    let config = format!(
        "widen = false\n{RDAP}[report.xarf]\norganisation = \"Example Ltd.\"\ndelay = \"1s\"\nretry = \"1s\"\n{}",
        MailServer::keys("smtps")
    );
    let daemon = Daemon::start(&server, &config);
    // The first two are of one contact, who may be gone.
    for (n, addr) in [(1, "198.51.100.7"), (2, "198.51.100.8"), (3, "203.0.113.7"), (4, "198.51.7.7")] {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", addr));
    }
    wait_for_count(&daemon, &server, "held", 4);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    daemon.wait_for(LATER, "a warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("one mailbox after the other is refused").then_some(())
    });
    let counts = counts(&server, 0);
    assert_eq!((&counts["refused"], &counts["queued"]), (&3.into(), &1.into()), "{counts}");
}

#[test]
fn mailboxes_that_are_gone_hold_up_nobody_and_are_asked_once_a_day() {
    let Some((_world, server)) = quiet_server() else { return };
    let Some(mail) = MailServer::start(&server) else { return };
    mail.refuse("550 5.1.1 no such user here");
    let rdap = WebServer::start(&server, 8081);
    let of = |net: &str| {
        let answer = registry().replace("198.51.100", net).replace("abuse@", &format!("abuse-{net}@"));
        Answering::With(200, "", answer)
    };
    rdap.next(["198.51.100", "203.0.113", "198.51.7", "198.51.8"].map(of));
    let config = format!(
        "widen = false\n{RDAP}[report.xarf]\norganisation = \"Example Ltd.\"\ndelay = \"1s\"\nretry = \"1s\"\n{}",
        MailServer::keys("smtps")
    );
    let daemon = Daemon::start(&server, &config);
    for (n, addr) in [(1, "198.51.100.7"), (2, "203.0.113.7"), (3, "198.51.7.7")] {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", addr));
    }
    wait_for_count(&daemon, &server, "held", 3);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "refused", 3);
    assert_eq!(reports(&server, &["--json"]).json()[0]["trouble"], Value::Null);
    // The first would take mail now, and is not asked again; another is, at once.
    mail.refuse("");
    for (n, addr) in [(5, "198.51.100.8"), (6, "198.51.8.7")] {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "root", addr));
    }
    wait_for_count(&daemon, &server, "held", 2);
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    wait_for_count(&daemon, &server, "sent", 1);
    wait_for_count(&daemon, &server, "refused", 4);
    let mails = mail.mails();
    assert!(mails.len() == 1 && mails[0].contains("abuse-198.51.8@example.org"), "{mails:?}");
}

#[test]
fn an_abuse_contact_gets_a_mail_for_people_and_for_programs() {
    let Some((_world, server)) = quiet_server() else { return };
    let Some(mail) = MailServer::start(&server) else { return };
    let rdap = WebServer::start(&server, 8081);
    rdap.says(&registry());
    rdap.next([leads_to("location: http://127.0.0.1:8081/elsewhere/ip/198.51.100.7\r\n")]);
    server.write("/srv/key", "the-key\n");
    let web = WebServer::start(&server, 8080);
    web.says("{\"status\": \"success\"}");
    let config = format!(
        "widen = false\n{RDAP}[report.xarf]\norganisation = \"Example Ltd.\"\ndelay = \"1s\"\n{}\
         [report.blocklist-de]\nurl = \"http://127.0.0.1:8080/en/httpreports.html\"\nkey_file = \"/srv/key\"\nserver = \"s@example.net\"\ndelay = \"1s\"\n",
        MailServer::keys("smtps")
    );
    let daemon = Daemon::start(&server, &config);
    for n in 7..=8 {
        server.append(LOG, failed_lines(9000 + 100 * n, 6, "invalid user admin", &format!("198.51.100.{n}")));
    }
    daemon.wait_for(LATER, "four reports", || {
        let held = |at| counts(&server, at)["held"] == 2;
        (held(0) && held(1)).then_some(())
    });
    let dry = reports(&server, &["--dry-run"]).out;
    assert!(dry.contains("xarf.json") && rdap.asked().is_empty() && mail.mails().is_empty(), "{dry}");
    assert_eq!(reports(&server, &["review", "--approve", "all"]).code, Some(0));
    let mails = daemon.wait_for(LATER, "two mails", || Some(mail.mails()).filter(|mails| mails.len() == 2));
    assert!(
        mails.iter().all(|mail| mail.contains("X-Envelope: pillory@example.net abuse@example.org")),
        "{mails:?}"
    );
    let text = decoded(&server, &mails[0]);
    let (words, json) = text.split_once("== application/json xarf.json\n").expect("two parts");
    assert!(
        words.contains("Dear abuse team") && words.contains("ssh: login as admin failed, from 198.51.100."),
        "{words}"
    );
    let report: Value = serde_json::from_str(json.trim()).expect("JSON");
    for (key, value) in
        [("xarf_version", "4.0.0"), ("category", "connection"), ("type", "login_attack"), ("protocol", "tcp")]
    {
        assert_eq!(report[key], value, "{report}");
    }
    for key in ["report_id", "timestamp", "source_identifier", "first_seen"] {
        assert!(report[key].is_string(), "{key}: {report}");
    }
    for part in ["reporter", "sender"] {
        assert_eq!(
            report[part],
            json!({"org": "Example Ltd.", "contact": "pillory@example.net", "domain": "example.net"})
        );
    }
    assert!(
        report["evidence"][0]["payload"].is_string() && report["evidence"][0]["content_type"] == "text/plain"
    );
    // The second address is in the network that is known by then.
    assert_eq!(rdap.asked().len(), 2, "one question and where it led");
    let asked =
        daemon.wait_for(LATER, "both at blocklist.de", || Some(web.asked()).filter(|asked| asked.len() == 2));
    let told = |name: &str| field(&asked[0].body, name);
    assert_eq!(
        (told("server"), told("apikey"), told("service")),
        ("s@example.net".into(), "the-key".into(), "ssh".into())
    );
    assert!(
        told("logs").lines().count() >= 1 && told("logs").contains("from 198.51.100."),
        "{}",
        told("logs")
    );
}
