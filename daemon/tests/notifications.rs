//! What the owner of a host is told, as real servers get it: mail over TLS, webhooks, syslog, programs.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{
    Answering, CONFIG, Daemon, Host, LOG, MailServer, SOON, STATE_DIR, WebServer, World, decoded,
    failed_lines, pillory, quiet_server, say_skipped, wait_for,
};

const HOOK: &str = "[notify.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:8080/hook\"\non = [\"ban\", \"unban\"]\ndigest = \"0s\"\nretry = \"1s\"\nlimit = 1000\n";

/// Sends and repeats take a little longer than what happens at once.
const LATER: Duration = Duration::from_secs(30);

fn ban(daemon: &Daemon, addr: &str) {
    let answer = daemon.ask(&["ban", addr]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

/// All that the server was told, in order.
fn told(server: &WebServer) -> String {
    server.asked().iter().map(|asked| asked.body.clone() + "\n").collect()
}

#[test]
fn a_ban_is_told_by_webhook_while_the_daemon_is_in_its_sandbox() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    let daemon = Daemon::start(&server, HOOK);
    server.append(LOG, failed_lines(9000, 6, "root", "198.51.100.7"));
    let asked = daemon.wait_for(SOON, "the ban to be told", || web.asked().first().cloned());
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/hook"));
    let message = asked.json();
    assert_eq!((&message["kind"], &message["events"]), (&"ban".into(), &1.into()), "{message}");
    let subject = message["subject"].as_str().unwrap();
    assert!(subject.contains("jail sshd: 198.51.100.7 is banned until "), "{message}");
    assert_eq!(asked.header("idempotency-key"), message["id"].as_str().unwrap());
    // The daemon and the process that sends.
    assert_eq!(daemon.errors().matches("sandboxed landlock=").count(), 2, "{}", daemon.errors());
    assert_eq!(daemon.status()["warnings"].as_array().map(Vec::len), Some(0), "{}", daemon.status());
}

#[test]
fn nothing_is_started_and_nothing_is_kept_unless_something_is_configured() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    ban(&daemon, "198.51.100.7");
    assert!(!server.path(format!("{STATE_DIR}/outbox.db")).exists());
    // What the running daemon gave up it cannot do.
    server.write(CONFIG, HOOK);
    let refused = daemon.ask(&["reload"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.err.contains("restart needed: the running daemon gave up the right to send anything"),
        "{refused:?}"
    );
}

#[test]
fn a_message_is_told_again_until_it_is_taken_and_only_once() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    web.next([
        Answering::With(500, "", "no".into()),
        Answering::Nothing,
        Answering::With(429, "retry-after: 4\r\n", String::new()),
    ]);
    let daemon = Daemon::start(&server, HOOK);
    ban(&daemon, "198.51.100.7");
    let asked = daemon.wait_for(LATER, "four tries", || Some(web.asked()).filter(|asked| asked.len() == 4));
    let ids: Vec<&str> = asked.iter().map(|asked| asked.header("idempotency-key")).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()), "{ids:?}");
    assert!(asked[3].at - asked[2].at >= Duration::from_secs(4), "earlier than was asked for");
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1));
    ban(&daemon, "198.51.100.8");
    let asked = daemon.wait_for(SOON, "the next ban", || Some(web.asked()).filter(|asked| asked.len() == 5));
    assert!(asked[4].body.contains("198.51.100.8") && !asked[4].body.contains("198.51.100.7"));
}

#[test]
fn what_cannot_be_sent_is_a_warning_and_delays_no_ban() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    web.next((0..20).map(|_| Answering::With(503, "", "\u{1b}[31mbusy".into())));
    let daemon = Daemon::start(&server, HOOK);
    server.append(LOG, failed_lines(9000, 6, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || daemon.lists("198.51.100.7/32").then_some(()));
    let warning = daemon.wait_for(SOON, "a warning", || {
        let status = daemon.status();
        let warnings = status["warnings"].as_array()?.iter().filter_map(Value::as_str);
        warnings.map(str::to_owned).find(|text| text.contains("cannot send"))
    });
    assert!(warning.contains("notify.hook: the server answered 503: \\u{1b}[31mbusy"), "{warning}");
}

#[test]
fn nothing_is_lost_over_a_crash_and_nothing_told_twice() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, HOOK);
    // Nobody listens yet.
    for n in 1..=5 {
        ban(&daemon, &format!("198.51.100.{n}"));
    }
    daemon.wait_for(SOON, "a refused try", || {
        daemon.status()["warnings"].to_string().contains("cannot send").then_some(())
    });
    daemon.kill();
    let web = WebServer::start(&server, 8080);
    let daemon = Daemon::start(&server, HOOK);
    ban(&daemon, "198.51.100.6");
    daemon.wait_for(LATER, "all six", || {
        let told = told(&web);
        (1..=6).all(|n| told.contains(&format!("198.51.100.{n} is banned"))).then_some(())
    });
    let told = told(&web);
    for n in 1..=6 {
        // Once in a line; the subject of a message with one event says it again.
        let lines = told.matches(&format!(" ban: jail manual: 198.51.100.{n} is banned")).count();
        assert_eq!(lines, 1, "{told}");
    }
}

#[test]
fn many_events_are_one_message_and_a_limit_holds() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    let config = HOOK.replace("digest = \"0s\"", "digest = \"3s\"").replace("limit = 1000", "limit = 1");
    let daemon = Daemon::start(&server, &config);
    for n in 1..=9 {
        ban(&daemon, &format!("198.51.100.{n}"));
    }
    let first = daemon.wait_for(SOON, "a message", || web.asked().first().cloned()).json();
    assert_eq!(first["events"], 9, "{first}");
    assert!(first["subject"].as_str().unwrap().ends_with(": 9 bans"), "{first}");
    // The hour's only message has left: what comes now waits, and is there after a restart.
    ban(&daemon, "198.51.100.10");
    assert_eq!(daemon.stop().0, Some(0));
    let fast = config.replace("limit = 1", "limit = 2").replace("3s", "0s");
    let daemon = Daemon::start(&server, &fast);
    daemon.wait_for(SOON, "the second message", || (web.asked().len() == 2).then_some(()));
    assert!(web.asked()[1].body.contains("198.51.100.10"));
}

#[test]
fn mail_goes_over_tls_with_a_login_and_is_tried_again() {
    let Some((_world, server)) = quiet_server() else { return };
    let Some(mail) = MailServer::start(&server) else { return };
    let section = |name: &str, scheme: &str| {
        format!(
            "[notify.{name}]\nkind = \"mail\"\nto = \"{name}@example.net\"\non = \"ban\"\ndigest = \"0s\"\nretry = \"1s\"\n{}",
            MailServer::keys(scheme)
        )
    };
    mail.refuse("451 later");
    let daemon = Daemon::start(&server, &(section("wrapped", "smtps") + &section("upgraded", "smtp")));
    server.append(LOG, failed_lines(9000, 6, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "a warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        (warnings.contains("notify.wrapped: mail by mail.example.net:4650") && warnings.contains("later"))
            .then_some(())
    });
    mail.refuse("");
    let mails = daemon.wait_for(LATER, "two mails", || Some(mail.mails()).filter(|mails| mails.len() == 2));
    for mail in &mails {
        assert!(
            mail.contains("X-Login: pillory") && mail.contains("Auto-Submitted: auto-generated"),
            "{mail}"
        );
        assert!(decoded(&server, mail).contains("jail sshd: 198.51.100.7 is banned until "), "{mail}");
    }
    assert!(mails.iter().any(|mail| mail.contains("X-Envelope: pillory@example.net upgraded@example.net")));
    // Whom nobody vouches for is not trusted with a password.
    let untrusted = section("wrapped", "smtps").replace("ca_file", "# ca_file");
    server.write(CONFIG, untrusted);
    let refused = pillory(&server, &["notify", "--test", "wrapped", "--config", CONFIG]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("notify.wrapped did not take a test message") && mail.mails().len() == 2,
        "{refused:?}"
    );
}

/// The user names of the hostile corpus: what its lines have between their usual words.
fn hostile_names() -> Option<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/hostile.jsonl");
    let Ok(text) = std::fs::read_to_string(path) else {
        say_skipped("no ../shared/corpus here");
        return None;
    };
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let name = |line: Value| {
        let line = line["line"].as_str()?.to_owned();
        let rest = ["invalid user ", "Invalid user ", "password for ", "user=", "\"GET ", "login: "]
            .iter()
            .find_map(|word| line.split_once(word))
            .map_or(line.as_str(), |(_, rest)| rest)
            .to_owned();
        Some(rest)
    };
    Some(lines.filter_map(name).collect())
}

#[test]
fn every_hostile_name_is_inert_in_mail_and_in_json() {
    let Some((_world, server)) = quiet_server() else { return };
    let Some(mail) = MailServer::start(&server) else { return };
    let Some(mut names) = hostile_names() else { return };
    names.extend(
        [
            "x\r\nBcc: victim@example.org",
            "\u{202e}evil\u{1b}]0;title\u{7}",
            ".\r\nMAIL FROM:<a@b>",
            "=?utf-8?q?x?=",
        ]
        .map(str::to_owned),
    );
    let web = WebServer::start(&server, 8080);
    let config = format!(
        "{HOOK}[notify.owner]\nkind = \"mail\"\nto = \"root@example.net\"\non = \"ban\"\ndigest = \"3s\"\nlimit = 1000\n{}",
        MailServer::keys("smtps")
    );
    let daemon = Daemon::start(&server, &config);
    assert!(names.len() > 100, "{}", names.len());
    let address = |n: usize| format!("198.51.{}.{}", 100 + n / 200, 1 + n % 200);
    let lines_of =
        |text: &str| text.lines().filter(|line| line.contains(" ban: jail manual: 198.51.")).count();
    // More lines than that one mail does not have.
    for (at, some) in names.chunks(90).enumerate() {
        for (n, name) in some.iter().enumerate() {
            // An argument has no NUL.
            let reason = format!("--reason={}", name.replace('\0', "\u{1}"));
            assert_eq!(daemon.ask(&["ban", &address(90 * at + n), &reason]).code, Some(0), "{name:?}");
        }
        daemon.wait_for(LATER, "the mails", || {
            let told: usize = mail.mails().iter().map(|mail| lines_of(&decoded(&server, mail))).sum();
            (told == 90 * at + some.len()).then_some(())
        });
    }
    let (last, mails) = (address(names.len() - 1), mail.mails());
    let mut lines = 0;
    for mail in &mails {
        let (head, _) = mail.split_once("\r\n\r\n").expect("a head and a body");
        let fields: Vec<&str> = head.lines().filter(|line| !line.starts_with([' ', '\t'])).collect();
        let known = [
            "X-Envelope:",
            "X-Login:",
            "From:",
            "Subject:",
            "Message-ID:",
            "Date:",
            "Auto-Submitted:",
            "To:",
            "Content-Type:",
            "Content-Transfer-Encoding:",
        ];
        assert!(fields.iter().all(|field| known.iter().any(|name| field.starts_with(name))), "{head}");
        assert!(head.contains("X-Envelope: pillory@example.net root@example.net\r\n"), "{head}");
        assert!(mail.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t')), "{mail}");
        let text = decoded(&server, mail);
        assert_eq!(text.matches("== text/plain").count(), 1, "{text}");
        assert!(
            !text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c)),
            "{text:?}"
        );
        lines += lines_of(&text);
    }
    assert_eq!(lines, names.len(), "each name has its line and no name makes another");
    daemon.wait_for(LATER, "all by the webhook", || told(&web).contains(&last).then_some(()));
    for asked in web.asked() {
        let lines = asked.json()["lines"].clone();
        assert!(
            lines.as_array().unwrap().iter().all(|line| !line
                .as_str()
                .unwrap()
                .chars()
                .any(char::is_control))
        );
    }
}

#[test]
fn a_name_that_may_be_a_password_leaves_no_host() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    let all = "on = [\"alarm\", \"warning\", \"widen\", \"ban\", \"unban\", \"start\", \"stop\"]";
    let daemon = Daemon::start(&server, &HOOK.replace("on = [\"ban\", \"unban\"]", all));
    // Somebody who belongs here types a password where a name belongs, and is near a ban.
    let login =
        failed_lines(8000, 1, "alice", "198.51.100.9").replace("Failed password", "Accepted password");
    server.append(LOG, login + &failed_lines(8001, 4, "alice", "198.51.100.9"));
    let secret = "Hunter2-Tr0ub4dor";
    server.append(LOG, failed_lines(9000, 6, &format!("invalid user {secret}"), "198.51.100.7"));
    daemon.wait_for(SOON, "the ban and the warning", || {
        let told = told(&web);
        (told.contains("198.51.100.7 is banned")
            && told.contains("is near a ban; `pillory status` there says who"))
        .then_some(())
    });
    assert!(daemon.status()["warnings"].to_string().contains("alice"), "here it is said");
    let told = told(&web);
    // Nor does the address of who belongs here, on whoever's server a chat is.
    assert!(!told.contains(secret) && !told.contains("alice") && !told.contains("198.51.100.9"), "{told}");
}

#[test]
fn presets_a_template_and_tokens_reach_the_server_as_it_wants_them() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    server.write("/srv/token", "s3cret-token\n");
    server.write("/srv/url", "http://127.0.0.1:8080/services/SECRET\n");
    let base = "digest = \"0s\"\non = \"ban\"\nkind = \"webhook\"\n";
    let config = format!(
        "[notify.slack]\n{base}url_file = \"/srv/url\"\npreset = \"slack\"\n\
         [notify.matrix]\n{base}url = \"http://127.0.0.1:8080/_matrix/client/v3/rooms/!r:example.net/send/m.room.message\"\npreset = \"matrix\"\ntoken_file = \"/srv/token\"\n\
         [notify.ntfy]\n{base}url = \"http://127.0.0.1:8080/topic\"\npreset = \"ntfy\"\n\
         [notify.discord]\n{base}url = \"http://127.0.0.1:8080/api/webhooks/1/x\"\npreset = \"discord\"\n\
         [notify.own]\n{base}url = \"http://127.0.0.1:8080/own\"\ntemplate = '{{\"title\": \"{{subject}}\", \"n\": \"{{count}}\"}}'\nheaders = {{ X-Team = \"ops\" }}\n"
    );
    let daemon = Daemon::start(&server, &config);
    ban(&daemon, "198.51.100.7");
    daemon.wait_for(SOON, "all five", || (web.asked().len() == 5).then_some(()));
    let of = |path: &str| web.asked().into_iter().find(|asked| asked.path.starts_with(path)).expect(path);
    assert!(of("/services/SECRET").json()["text"].as_str().unwrap().contains("198.51.100.7 is banned"));
    let matrix = of("/_matrix/");
    assert_eq!((matrix.method.as_str(), matrix.header("authorization")), ("PUT", "Bearer s3cret-token"));
    assert_eq!(matrix.json()["msgtype"], "m.text");
    let ntfy = web.asked().into_iter().find(|asked| asked.path == "/").expect("ntfy is asked at its root");
    assert_eq!(ntfy.json()["topic"], "topic");
    assert!(of("/api/webhooks/").json()["content"].as_str().unwrap().starts_with("```"));
    let own = of("/own");
    assert_eq!((own.json()["n"].clone(), own.header("x-team")), (1.into(), "ops"));
    // Neither is what is secret said anywhere.
    for listed in [daemon.errors(), pillory(&server, &["notify", "--config", CONFIG]).out] {
        assert!(!listed.contains("SECRET") && !listed.contains("s3cret"), "{listed}");
    }
    assert_eq!(pillory(&server, &["notify", "--test", "own", "--config", CONFIG]).code, Some(0));
    assert_eq!(web.asked().len(), 6);
    let unknown = pillory(&server, &["notify", "--test", "nobody", "--config", CONFIG]);
    assert_eq!(
        (unknown.code, unknown.err.contains("known: discord, matrix, ntfy, own, slack")),
        (Some(2), true),
        "{unknown:?}"
    );
}

#[test]
fn syslog_and_a_program_are_told_without_a_shell() {
    let Some((_world, server)) = quiet_server() else { return };
    let socket = server.path("/srv/syslog");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixDatagram::bind(&socket).expect("the socket is made");
    listener.set_read_timeout(Some(SOON)).unwrap();
    server.write("/srv/tell", "#!/bin/sh\n{ echo \"$PILLORY_SUBJECT\"; echo \"$# $1\"; cat; } > /srv/told.part\nmv /srv/told.part /srv/told\n");
    server.run("chmod", &["+x", "/srv/tell"]);
    let config = "[notify.log]\nkind = \"syslog\"\nserver = \"/srv/syslog\"\non = \"ban\"\ndigest = \"0s\"\n\
        [notify.own]\nkind = \"command\"\ncommand = [\"/srv/tell\", \"$(touch /srv/pwned)\"]\non = \"ban\"\ndigest = \"0s\"\n";
    let daemon = Daemon::start(&server, config);
    let reason = "--reason=`touch /srv/pwned`; $(touch /srv/pwned)";
    assert_eq!(daemon.ask(&["ban", "198.51.100.7", reason]).code, Some(0));
    let mut bytes = [0; 4096];
    let count = listener.recv(&mut bytes).expect("a line of syslog");
    let line = String::from_utf8_lossy(&bytes[..count]).into_owned();
    assert!(
        line.starts_with("<30>pillory[") && line.contains(": jail manual: 198.51.100.7 is banned"),
        "{line}"
    );
    let told = daemon
        .wait_for(SOON, "the program", || Some(server.read("/srv/told")).filter(|told| !told.is_empty()));
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].contains("jail manual: 198.51.100.7 is banned until "), "{told}");
    assert_eq!(lines[1], "1 $(touch /srv/pwned)");
    assert!(lines[2].contains(" ban: jail manual: 198.51.100.7"), "{told}");
    assert!(!server.path("/srv/pwned").exists());
}

/// The processes that this one has started.
fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn kill(host: &Host, pid: u32) {
    host.run("kill", &["-9", &pid.to_string()]);
}

#[test]
fn a_process_that_was_killed_is_missed_and_ends_nothing_else() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    let daemon = Daemon::start(&server, HOOK);
    let [sender] = children(daemon.pid())[..] else { panic!("one process sends") };
    kill(&server, sender);
    daemon.wait_for(SOON, "a warning", || {
        daemon.status()["warnings"]
            .to_string()
            .contains("the process that sends notifications and reports has ended")
            .then_some(())
    });
    ban(&daemon, "198.51.100.7");
    daemon.stop();
    let daemon = Daemon::start(&server, HOOK);
    daemon.wait_for(SOON, "what was told before", || told(&web).contains("198.51.100.7").then_some(()));
    let [sender] = children(daemon.pid())[..] else { panic!("one process sends") };
    daemon.kill();
    wait_for(SOON, "the end of the process that sends", || {
        (!Path::new(&format!("/proc/{sender}")).exists()).then_some(())
    });
}

#[test]
fn an_outbox_that_cannot_be_used_is_a_warning_delays_no_ban_and_what_happened_meanwhile_is_told_later() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    // Something else has its name.
    server.write(format!("{STATE_DIR}/outbox.db/file"), "");
    let daemon = Daemon::start(&server, HOOK);
    server.append(LOG, failed_lines(9000, 6, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || daemon.lists("198.51.100.7/32").then_some(()));
    let warns =
        || daemon.status()["warnings"].to_string().contains("the outbox does not take what is to be sent");
    daemon.wait_for(SOON, "a warning", || warns().then_some(()));
    std::fs::remove_dir_all(server.path(format!("{STATE_DIR}/outbox.db"))).expect("it was there");
    daemon.wait_for(LATER, "what happened meanwhile", || told(&web).contains("198.51.100.7").then_some(()));
    assert!(!warns(), "{}", daemon.status());
    ban(&daemon, "198.51.100.8");
    daemon.wait_for(SOON, "what comes then", || told(&web).contains("198.51.100.8").then_some(()));
}

#[test]
fn a_reload_changes_who_is_told_at_once() {
    let Some((_world, server)) = quiet_server() else { return };
    let web = WebServer::start(&server, 8080);
    let daemon = Daemon::start(&server, HOOK);
    server.write(CONFIG, HOOK.replace("/hook", "/other"));
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    daemon.wait_for(LATER, "the other address", || {
        ban(&daemon, "198.51.100.7");
        let _ = daemon.ask(&["unban", "198.51.100.7"]);
        web.asked().iter().any(|asked| asked.path == "/other").then_some(())
    });
    server.write(CONFIG, HOOK.replace(":8080", ":8081"));
    let refused = daemon.ask(&["reload"]);
    assert!(
        refused.code == Some(2) && refused.err.contains("gave up the right to connect to port 8081"),
        "{refused:?}"
    );
}

#[test]
fn a_wrong_configuration_is_told_with_its_line() {
    let Some(world) = World::new() else { return };
    let text =
        "\n[notify.a]\nkind = \"webhook\"\nurl = \"https://example.net\"\ntemplate = '{\"a\": {text}}'\n";
    world.server.write(CONFIG, text);
    let checked = pillory(&world.server, &["check", "--config", CONFIG]);
    assert_eq!(checked.code, Some(2), "{checked:?}");
    let said = checked.out + &checked.err;
    assert!(said.contains("pillory.toml:2: notify a: template is no JSON"), "{said}");
}
