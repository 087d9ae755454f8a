use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::netlink::lab::{in_new_namespace, run};

fn answer(status: u16, retry_after: Option<u64>) -> Answer {
    Answer { status, retry_after: retry_after.map(Span::from_secs), body: Ok(b" \x1b[31mno ".to_vec()) }
}

/// What comes of a request to a server that says this to whoever connects.
fn asked(says: impl FnOnce(TcpStream) + Send + 'static, limit: Duration) -> Result<Answer, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || says(listener.accept().unwrap().0));
    let request = http::Request::get(url).body(Vec::new()).unwrap();
    let answer = Web::within(limit, None, 5, true).unwrap().ask(request);
    server.join().unwrap();
    answer
}

/// Says this, and then a byte again and again until nobody hears it.
fn drips(begin: &'static str) -> impl FnOnce(TcpStream) + Send + 'static {
    move |mut stream| {
        stream.write_all(begin.as_bytes()).unwrap();
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_server_that_drips_is_left_when_the_time_is_over() {
    let limit = Duration::from_millis(500);
    let head = asked(drips("HTTP/1.1 200 OK\r\nx: "), limit).unwrap_err();
    assert!(head.why.contains("no answer within"), "{head:?}");
    let body = asked(drips("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"), limit).unwrap();
    assert!(body.body.unwrap_err().why.contains("no answer within"));
}

#[test]
fn of_an_answer_that_has_no_end_no_more_is_read_than_the_limit() {
    let endless = |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
    };
    let answer = asked(endless, LIMIT).unwrap();
    assert_eq!((answer.status, answer.taken()), (200, Ok(())));
    assert!(answer.body.unwrap_err().why.contains("larger than 1 MiB"));
}

/// What becomes of a request that is led from one place to another.
fn led(from: &str, to: &str) -> Result<ResolvedSocketAddrs, ureq::Error> {
    let names = Names::default();
    let resolve = |uri: &str| {
        names.resolve(&uri.parse().unwrap(), &ureq::config::Config::default(), NextTimeout::default())
    };
    resolve(from).unwrap();
    resolve(to)
}

#[test]
fn a_redirect_leads_neither_into_our_networks_nor_out_of_tls() {
    let home = "https://127.0.0.1:8443/rdap";
    for inside in [
        "127.0.0.1",
        "127.0.0.1:9999",
        "localhost:8443",
        "10.1.2.3",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[fd00::1]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b:1::1]",
        // By a gateway to 127.0.0.1, 10.0.0.1 and 10.0.0.1, or by a tunnel.
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a00:1]",
        "[::ffff:0:a00:1]",
        "[2001:0:c633:6407::1]",
    ] {
        let said = led(home, &format!("https://{inside}/x"));
        assert!(matches!(said, Err(ureq::Error::Other(_))), "{inside}: {said:?}");
    }
    assert!(led(home, "https://127.0.0.1:8443/other").is_ok());
    assert!(led(home, "https://198.51.100.7/").is_ok());
    assert!(led("http://198.51.100.7/", "https://[2001:db8::7]/").is_ok());
    assert!(led(home, "https://[64:ff9b::c633:6407]/").is_ok());
    assert!(matches!(led(home, "http://198.51.100.7/"), Err(ureq::Error::RequireHttpsOnly(_))));
}

#[test]
fn a_redirect_leads_to_none_of_this_hosts_own_addresses_however_public() {
    in_new_namespace(|| {
        run("ip", &["addr", "add", "203.0.113.5/32", "dev", "lo"]);
        run("ip", &["addr", "add", "2001:db8::5/128", "dev", "lo", "nodad"]);
        for own in ["203.0.113.5", "[2001:db8::5]", "[64:ff9b::cb00:7105]"] {
            let said = led("https://198.51.100.7/", &format!("https://{own}/x"));
            assert!(matches!(said, Err(ureq::Error::Other(_))), "{own}: {said:?}");
        }
        assert!(led("https://198.51.100.7/", "https://203.0.113.6/").is_ok());
        assert!(led("https://203.0.113.5/", "https://203.0.113.5/x").is_ok(), "that is where it was sent");
    });
}

#[test]
fn a_name_is_looked_for_no_longer_than_the_request_may_take() {
    let left = NextTimeout {
        after: ureq::unversioned::transport::time::Duration::from_millis(0),
        ..NextTimeout::default()
    };
    let before = crate::clock::Stopwatch::start();
    let uri = "https://registry.invalid/".parse().unwrap();
    let found = Names::default().resolve(&uri, &ureq::config::Config::default(), left);
    assert!(matches!(found, Err(ureq::Error::HostNotFound)) && before.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_status_says_what_is_to_be_done() {
    assert_eq!(answer(204, None).taken(), Ok(()));
    let slow = answer(429, Some(7)).taken().unwrap_err();
    assert_eq!(slow.setback, Setback { retry_after: Some(Span::from_secs(7)), is_lasting: false });
    assert!(answer(401, None).taken().unwrap_err().setback.is_lasting);
    assert!(answer(301, None).taken().unwrap_err().setback.is_lasting);
    assert!(!answer(503, None).taken().unwrap_err().setback.is_lasting);
    let content = answer(422, None).taken().unwrap_err();
    assert!(content.is_about_content);
    // What it said cannot do anything on a terminal.
    assert_eq!(content.why, "the server answered 422: \\u{1b}[31mno");
}

#[test]
fn an_answer_may_be_asked_for_later_in_seconds_or_by_a_date() {
    let of = |text: &str| {
        let answer = http::Response::builder().header("retry-after", text);
        retry_after(&answer.body(Body::builder().data("")).unwrap())
    };
    assert_eq!(of("120"), Some(Span::from_secs(120)));
    assert!(of("Wed, 21 Oct 2099 07:28:00 GMT").is_some_and(|span| span > Span::from_secs(86_400)));
    assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Span::default()));
    assert_eq!(of("soon"), None);
}
