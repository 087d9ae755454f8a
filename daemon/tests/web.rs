//! The dashboard's server, as callers with a socket of their own find it: who gets what, and what hostile ones get.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::lab::{Daemon, DaemonOptions, Host, LOG, SERVER4, SOON, World, failed_lines, quiet_server};

pub const WEB: &str = "[web]\nlisten = \"127.0.0.1:8087\"\n";
pub const TOKEN_FILE: &str = "/etc/pillory/web-token";
pub const TOKEN: &str = "c2VjcmV0IHRva2VuIGZvciB0aGUgbGFiLCAzMiBieXRlcw==";

/// Writes the token where a daemon may read it.
pub fn write_token(host: &Host) {
    host.write(TOKEN_FILE, format!("{TOKEN}\n"));
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(host.path(TOKEN_FILE), mode).expect("its mode is set");
}

/// The configuration with the token.
pub fn with_token() -> String {
    format!("{WEB}token_file = \"{TOKEN_FILE}\"\n")
}

/// What a caller on this host gets for these bytes, to the end of the connection.
fn say(host: &Host, to: &str, bytes: &[u8]) -> String {
    host.in_network(|| {
        let mut stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        // Who is refused may be hung up on before all was sent.
        drop(stream.write_all(bytes));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    })
}

const LOOPBACK: &str = "127.0.0.1:8087";

/// A request with these lines more in its head.
fn request(host: &Host, what: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    let text =
        format!("{what} HTTP/1.1\r\nHost: localhost:8087\r\nContent-Length: {length}\r\n{lines}\r\n{body}");
    say(host, LOOPBACK, text.as_bytes())
}

/// The body of what is there for everybody here.
pub fn get(host: &Host, path: &str) -> String {
    let answer = request(host, &format!("GET {path}"), "", "");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
    body.to_owned()
}

fn code(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[test]
fn it_is_off_unless_configured() {
    let Some((_world, server)) = quiet_server() else { return };
    let _daemon = Daemon::start(&server, "");
    assert!(!server.listens(8087));
}

#[test]
fn pages_and_metrics_are_there_with_what_keeps_browsers_safe() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, WEB);
    assert!(daemon.status()["sandbox"]["seccomp"] == true, "{}", daemon.status()["sandbox"]);
    world.server.append(LOG, failed_lines(9000, 3, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || (daemon.status()["latency"]["durable_bans"] == 1).then_some(()));
    let page = request(&server, "GET /", "", "");
    for line in [
        "HTTP/1.1 200 OK",
        "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: same-origin",
        "Cache-Control: no-store",
    ] {
        assert!(page.lines().any(|told| told == line), "{line}:\n{page}");
    }
    for text in [
        "Protected by nftables",
        "198.51.100.7",
        "last line",
        "half within",
        "Nobody else has changed it",
        "/var/log/auth.log",
    ] {
        assert!(page.contains(text), "{text}:\n{page}");
    }
    for inline in ["<style", "style=", "onclick", "javascript:", "<script>"] {
        assert!(!page.contains(inline), "{inline}");
    }
    world.kernel().nft("flush set inet pillory ban4");
    let drift = "Somebody else changed it 1 time since the start";
    daemon.wait_for(SOON, "that it was healed", || get(&server, "/").contains(drift).then_some(()));
    assert!(get(&server, "/").contains(": 1 missing, 0 too many; it was healed."));
    let metrics = get(&server, "/metrics");
    assert!(metrics.contains("\npillory_bans 1\n") && !metrics.contains("198.51.100"), "{metrics}");
    assert_eq!(get(&server, "/healthz"), "ok\n");
    assert!(get(&server, "/bans?q=198.51").contains(">198.51.100.7</a>"));
    assert!(get(&server, "/address?ip=198.51.100.7").contains("198.51.100.7 is banned by jail sshd"));
    assert!(
        get(&server, "/wall/")
            .contains("<dt>Today (UTC)</dt><dd><b>3</b> attempts</dd><dd><b>1</b> bans</dd>")
    );
    assert!(get(&server, "/wall/feed.atom").contains("<feed"));
    let head = request(&server, "HEAD /", "", "");
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    for (path, wanted) in [
        ("/nothing", 404),
        ("/wall/nothing", 404),
        ("/wall/../../etc/passwd", 404),
        ("/address?ip=x", 400),
        ("/confirm?do=ban&prefix=0.0.0.0%2F0&for=x", 400),
    ] {
        assert_eq!(code(&request(&server, &format!("GET {path}"), "", "")), wanted, "{path}");
    }
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn garbage_is_refused_and_whoever_dawdles_makes_way() {
    let Some((_world, server)) = quiet_server() else { return };
    let mut daemon = Daemon::start(&server, WEB);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for (bytes, wanted) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], 400),
        (b"\r\n\r\n\r\nGET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (long.as_bytes(), 431),
        // A page of somebody else's, whose name leads here.
        (b"GET / HTTP/1.1\r\nHost: evil.example.net\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: 192.0.2.1:8087\r\n\r\n", 421),
        (b"GET /%00%ff/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    ] {
        let answer = say(&server, LOOPBACK, bytes);
        assert_eq!(code(&answer), wanted, "{}: {answer}", bytes.escape_ascii());
    }
    // More than there is room for say nothing, or a byte and no more.
    let held: Vec<TcpStream> = server.in_network(|| {
        let hold = |n: usize| {
            let mut stream = TcpStream::connect(LOOPBACK).expect("it listens");
            stream.write_all(&b"GET / HTTP/1.1\r\nHost: localh"[..n % 2 * 20]).expect("it is taken");
            stream
        };
        (0..40).map(hold).collect()
    });
    let since = Instant::now();
    assert_eq!(get(&server, "/healthz"), "ok\n");
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    // They are hung up on by and by.
    for mut stream in held {
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    }
    assert!(daemon.is_running());
    let since = Instant::now();
    let _silent = server.in_network(|| TcpStream::connect(LOOPBACK).expect("it listens"));
    let (ended, said) = daemon.stop();
    assert!(ended == Some(0) && since.elapsed() < Duration::from_secs(4), "{:?} {said}", since.elapsed());
    assert!(!said.contains("fault"), "{said}");
}

#[test]
fn nobody_bans_without_the_token_nor_from_a_page_of_somebody_else() {
    let Some((_world, server)) = quiet_server() else { return };
    write_token(&server);
    let daemon = Daemon::start(&server, &with_token());
    let ban = "prefix=203.0.113.5&for=1h&reason=x";
    let post = |lines: &str, body: &str| code(&request(&server, "POST /ban", lines, body));
    let own = "Origin: http://localhost:8087\r\nSec-Fetch-Site: same-origin\r\n";
    assert_eq!(post("", ban), 401);
    assert_eq!(post(own, ban), 401);
    assert_eq!(post("Authorization: Bearer wrong\r\n", ban), 401);
    assert_eq!(post("Authorization: Basic d3Jvbmc6d3Jvbmc=\r\n", ban), 401);
    // A login that another page sends is none.
    let login = |lines: &str, token: &str| {
        request(&server, "POST /login", lines, &format!("token={}", token.replace('=', "%3D")))
    };
    assert_eq!(code(&login("Origin: http://evil.example.net\r\n", TOKEN)), 403);
    assert_eq!(code(&login(own, "wrong")), 403);
    let welcome = login(own, TOKEN);
    assert_eq!(code(&welcome), 303, "{welcome}");
    let cookie = welcome.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).expect("a cookie");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict") && !welcome.contains(TOKEN), "{cookie}");
    let session = format!("Cookie: {}\r\n", cookie.split(';').next().expect("a pair"));
    let page = request(&server, "GET /confirm?do=ban&prefix=203.0.113.5", &session, "");
    let csrf =
        page.split("name=\"csrf\" value=\"").nth(1).and_then(|text| text.split('"').next()).expect("a word");
    let signed = format!("{ban}&csrf={csrf}");
    for (lines, body) in [
        (format!("{session}{own}"), ban),
        (session.clone(), &*signed),
        (format!("{session}Origin: http://evil.example.net\r\n"), &signed),
        (format!("{session}Origin: null\r\n"), &signed),
        (format!("{session}Origin: http://localhost:8087\r\nSec-Fetch-Site: cross-site\r\n"), &signed),
    ] {
        assert_eq!(post(&lines, body), 403, "{lines}{body}");
    }
    assert_eq!(daemon.list().len(), 0, "nobody is banned yet");
    assert_eq!(post(&format!("{session}{own}"), &signed), 303);
    assert!(daemon.lists("203.0.113.5/32"));
    // A script needs the token only, and hears why not.
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let refused = request(&server, "POST /ban", &bearer, "prefix=127.0.0.1");
    assert!(code(&refused) == 409 && refused.contains("\"refused\""), "{refused}");
    let lifted = request(&server, "POST /unban", &bearer, "prefix=203.0.113.5");
    assert!(code(&lifted) == 200 && lifted.contains("\"unbanned\""), "{lifted}");
    assert_eq!(daemon.list().len(), 0);
    assert_eq!(post(&bearer, "prefix=203.0.113.5&for=x"), 400);
    assert_eq!(
        code(&request(&server, "POST /logout", &format!("{session}{own}"), &format!("csrf={csrf}"))),
        303
    );
    assert_eq!(post(&format!("{session}{own}"), &signed), 401, "the session is over");
    // Two were wrong above; whoever has the token is let in however many more are.
    (0..3).for_each(|_| drop(login(own, "wrong")));
    assert_eq!(code(&login(own, "wrong")), 429);
    assert_eq!(code(&login(own, TOKEN)), 303);
    assert_eq!(code(&request(&server, "POST /ban", &bearer, ban)), 200);
    let said = daemon.errors();
    assert!(said.contains("a wrong token at the dashboard") && !said.contains(TOKEN), "{said}");
}

#[test]
fn pages_of_others_and_who_comes_through_a_proxy_read_nothing_without_a_token() {
    let Some((_world, server)) = quiet_server() else { return };
    let _daemon = Daemon::start(&server, WEB);
    let read = |lines: &str| code(&request(&server, "GET /address?ip=198.51.100.7", lines, ""));
    assert_eq!(read("Sec-Fetch-Site: none\r\nSec-Fetch-Dest: document\r\n"), 200);
    assert_eq!(read("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Dest: empty\r\n"), 200);
    // Somebody follows a link.
    assert_eq!(read("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: document\r\n"), 200);
    assert_eq!(read("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: image\r\n"), 403);
    assert_eq!(read("Sec-Fetch-Site: same-site\r\nSec-Fetch-Dest: iframe\r\n"), 403);
    for line in [
        "X-Forwarded-For: 203.0.113.5",
        "Forwarded: for=203.0.113.5",
        "Via: 1.1 proxy",
        "x-real-ip: 203.0.113.5",
        "X-Forwarded-Host: pillory.example.net",
        "CF-Connecting-IP: 203.0.113.5",
    ] {
        assert_eq!(read(&format!("{line}\r\n")), 401, "{line}");
    }
}

#[test]
fn readers_who_ask_for_everything_are_told_a_little_and_delay_no_ban() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, WEB);
    let many: String =
        (0..200).flat_map(|net| (1..=250).map(move |host| format!("11.7.{net}.{host}\n"))).collect();
    server.write("/root/list", many);
    assert_eq!(daemon.ask(&["import", "/root/list"]).code, Some(0));
    let told = daemon.ask(&["explain", "11.0.0.0/8", "--json"]).json();
    assert_eq!((told["bans"].as_array().map(Vec::len), &told["bans_more"]), (Some(50), &49_950.into()));
    assert_eq!((&told["banned"], &told["bans_in_effect"]), (&true.into(), &50_000.into()));
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ends, server) = (&ends, &server);
        for _ in 0..24 {
            scope.spawn(move || {
                let began = Instant::now();
                while !ends.load(std::sync::atomic::Ordering::Relaxed) && began.elapsed() < 10 * SOON {
                    // Who finds no room asks again.
                    request(server, "GET /address?ip=0.0.0.0%2F0", "", "");
                    request(server, "GET /bans", "", "");
                }
            });
        }
        for number in 0..10 {
            let addr = format!("198.51.100.{number}");
            world.server.append(LOG, failed_lines(9000 + 10 * number, 6, "root", &addr));
            let is_banned = || world.kernel().is_banned(addr.parse().expect("an address")).then_some(());
            daemon.wait_for(SOON, "the ban", is_banned);
        }
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn from_other_hosts_even_reading_needs_the_token() {
    let Some(world) = World::new() else { return };
    world.server.write(LOG, "");
    write_token(&world.server);
    let config = with_token().replace("127.0.0.1", "0.0.0.0") + "host = \"pillory.example.net\"\n";
    let _daemon = Daemon::start(&world.server, &config);
    let to = format!("{SERVER4}:8087");
    let ask = |path: &str, name: &str, lines: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n{lines}\r\n");
        code(&say(&world.client, &to, text.as_bytes()))
    };
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/", "/bans", "/metrics", "/events", "/wall/", "/address?ip=192.0.2.1"] {
        assert_eq!(ask(path, &to, ""), 401, "{path}");
    }
    assert_eq!((ask("/style.css", &to, ""), ask("/healthz", "whatever", "")), (200, 200));
    for name in [&*to, "pillory.example.net", "pillory.example.net:443"] {
        assert_eq!(ask("/metrics", name, &bearer), 200, "{name}");
    }
    assert_eq!(ask("/", "evil.example.net", &bearer), 421);
}

#[test]
fn what_is_wrong_with_the_section_or_the_token_is_told_and_the_host_is_guarded_all_the_same() {
    let Some((world, server)) = quiet_server() else { return };
    let refused = |config: &str| {
        let options = DaemonOptions { config: Some(config.to_owned()), ..DaemonOptions::default() };
        let mut running = Daemon::spawn(&server, &options);
        (running.wait(SOON), running.errors())
    };
    let (code, said) = refused("[web]\nlisten = \"0.0.0.0:8087\"\n");
    assert!(code == Some(2) && said.contains("pillory.toml:1") && said.contains("token_file"), "{said}");
    server.write(TOKEN_FILE, format!("{TOKEN}\n"));
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(server.path(TOKEN_FILE), mode).expect("its mode is set");
    let daemon = Daemon::start(&server, &with_token());
    let warnings = daemon.status()["warnings"].to_string();
    assert!(warnings.contains("there is no dashboard") && warnings.contains("mode 644"), "{warnings}");
    assert!(!server.listens(8087));
    world.server.append(LOG, failed_lines(9000, 3, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "a ban", || daemon.lists("198.51.100.7/32").then_some(()));
}

#[test]
fn a_socket_file_serves_as_well() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "[web]\nlisten = \"/run/pillory/web.sock\"\n");
    let mut stream =
        std::os::unix::net::UnixStream::connect(server.path("/run/pillory/web.sock")).expect("it listens");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    let mode = std::fs::metadata(server.path("/run/pillory/web.sock")).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
    // What it listens on stays as it was at the start.
    server.write(crate::lab::CONFIG, WEB);
    let refused = daemon.ask(&["reload"]);
    assert!(refused.code == Some(2) && refused.err.contains("[web] cannot change"), "{refused:?}");
}

/// Somebody who follows, once the daemon has said hello; nothing if there is no place.
fn follower(host: &Host) -> Option<TcpStream> {
    host.in_network(|| {
        let mut stream = TcpStream::connect(LOOPBACK).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");
        let (mut said, mut part) = (Vec::new(), [0; 1024]);
        while !said.windows(5).any(|part| part == b"hello") {
            match stream.read(&mut part).expect("it answers") {
                0 => return None,
                count => said.extend_from_slice(&part[..count]),
            }
        }
        Some(stream)
    })
}

/// Reads on until it was told this; how long that took.
fn told(stream: &mut TcpStream, what: &str) -> Duration {
    let since = Instant::now();
    let (mut said, mut part) = (String::new(), [0; 4096]);
    while !said.contains(what) {
        let count = stream.read(&mut part).expect("it is told in time");
        assert!(count > 0, "it hung up: {said}");
        said.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    since.elapsed()
}

#[test]
fn followers_are_told_at_once_and_those_who_do_not_read_are_dropped() {
    let Some((world, server)) = quiet_server() else { return };
    let mut daemon = Daemon::start(&server, WEB);
    let mut followers: Vec<TcpStream> = (0..8).map(|_| follower(&server).expect("a place")).collect();
    assert!(follower(&server).is_none(), "there are eight places");
    assert_eq!(get(&server, "/healthz"), "ok\n", "others are served");
    assert_eq!(daemon.ask(&["ban", "203.0.113.77", "--reason", "a\u{202e}b\n"]).code, Some(0));
    let slowest = followers.iter_mut().map(|follower| told(follower, "203.0.113.77")).max();
    assert!(slowest.is_some_and(|took| took < Duration::from_secs(1)), "{slowest:?}");
    // Whoever goes makes room.
    drop(followers.pop());
    let mut newcomer = daemon.wait_for(Duration::from_secs(40), "room for another one", || {
        // A closed end is noticed when something is told.
        daemon.ask(&["ban", "203.0.113.78"]);
        daemon.ask(&["unban", "203.0.113.78"]);
        follower(&server)
    });
    // The others read no more; the newcomer does, and is told all the same.
    let reader = std::thread::spawn(move || {
        let (mut all, mut part) = (0, vec![0; 1 << 16]);
        while let Ok(count @ 1..) = newcomer.read(&mut part) {
            all += count;
            if String::from_utf8_lossy(&part[..count]).contains("203.0.113.99") {
                return Some(all);
            }
        }
        None
    });
    let mut round = 0;
    let room = daemon.wait_for(Duration::from_secs(60), "those who do not read to be dropped", || {
        round += 1;
        let from = |n: u32| format!("10.66.{}.{}", round % 200, n + 1);
        let lines = (0..40).map(|n| failed_lines(9000 + 40 * round + n, 1, "root", &from(n)));
        world.server.append(LOG, lines.collect::<String>());
        follower(&server)
    });
    drop(room);
    daemon.ask(&["ban", "203.0.113.99"]);
    assert!(reader.join().expect("it reads").is_some(), "who reads is told to the end");
    assert!(daemon.is_running());
    assert_eq!(daemon.stop().0, Some(0));
}
