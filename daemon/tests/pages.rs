//! The wall of shame in a real browser, served by a real web server.

use crate::lab::{
    BROWSER, Browser, Daemon, Host, LOG, Running, SOON, World, failed_lines, need, quiet_server, say_skipped,
    unpacked_environment,
};
use crate::mmdb;

const CONFIG: &str = "widen = false\n[wall]\nout = \"/srv/wall\"\ncontact = \"abuse@example.net\"\nmask = false\ndelay = \"0s\"\nmin_attempts = 3\n";
const SITE: &str = "http://127.0.0.1:8080";

/// More than one page of offenders, one of whom tried more often than the others.
fn pages() -> Option<(World, Daemon)> {
    let world = World::new()?;
    world.server.write(LOG, "");
    let daemon = Daemon::start(&world.server, CONFIG);
    let lines: String = (0..520u32)
        .map(|n| {
            failed_lines(9_000 + 10 * n, 3, "root", &format!("198.51.{}.{}", 100 + n / 250, 1 + n % 250))
        })
        .chain([failed_lines(20_000, 9, "root", "203.0.113.77")])
        .collect();
    world.server.append(LOG, lines);
    daemon.wait_for(SOON, "all attempts", || (daemon.attempts_of("203.0.113.77") == 9).then_some(()));
    daemon.wait_for(SOON, "all bans", || (daemon.list().len() == 521).then_some(()));
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    let page = world.server.path("/srv/wall/page-2.html");
    daemon.wait_for(SOON, "the pages", || page.exists().then_some(()));
    Some((world, daemon))
}

/// The same behind a web server, and a browser.
fn site() -> Option<(World, Daemon, Running, Browser)> {
    if !need(&[&BROWSER[..], &["nginx"]].concat()) {
        return None;
    }
    let (world, daemon) = pages()?;
    let server = serve(&world.server);
    let browser = Browser::start(&world.server);
    Some((world, daemon, server, browser))
}

/// Networks for benchmarks (RFC 2544), and in which countries somebody may be made to believe that they are.
const PLACES: [(&str, &str); 14] = [
    ("198.18.4.0", "CN"),
    ("198.18.31.0", "US"),
    ("198.18.57.0", "RU"),
    ("198.18.80.0", "NL"),
    ("198.18.99.0", "BR"),
    ("198.18.120.0", "IN"),
    ("198.18.144.0", "DE"),
    ("198.18.163.0", "VN"),
    ("198.18.201.0", "KR"),
    ("198.18.240.0", "FR"),
    ("198.19.13.0", "ID"),
    ("198.19.66.0", "SG"),
    ("198.19.105.0", "ZA"),
    ("198.19.218.0", "US"),
];

/// A month of attacks as logs have them, more of them in the night and of the first networks.
fn month() -> (String, String) {
    let (mut auth, mut access) = (Vec::new(), Vec::new());
    let now = jiff::Timestamp::now();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let users = ["root", "admin", "root", "ubuntu", "test", "oracle", "postgres", "root", "git", "hunter2"];
    for attack in 0..420u64 {
        let (net, _) = PLACES[random(PLACES.len() as u64).min(random(PLACES.len() as u64)) as usize];
        let addr = format!("{}{}", net.trim_end_matches('0'), 1 + random(250));
        let (day, hour) = (random(29), random(24).min(random(24)));
        let begin = now - jiff::SignedDuration::from_hours((day * 24 + hour + 1) as i64);
        for attempt in 0..(10 + random(30)) {
            let at = begin + jiff::SignedDuration::from_secs((attempt * 4) as i64);
            let zoned = at.to_zoned(jiff::tz::TimeZone::UTC);
            if attack % 5 == 0 {
                let stamp = zoned.strftime("%d/%b/%Y:%H:%M:%S +0000");
                let line =
                    format!("{addr} - - [{stamp}] \"POST /wp-login.php HTTP/1.1\" 200 4211 \"-\" \"-\"\n");
                access.push((at, line));
            } else {
                let (user, pid) = (users[random(users.len() as u64) as usize], 4_000 + auth.len());
                let stamp = zoned.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00");
                let port = 30_000 + pid % 30_000;
                let line = format!(
                    "{stamp} host sshd[{pid}]: Failed password for {user} from {addr} port {port} ssh2\n"
                );
                auth.push((at, line));
            }
        }
    }
    let text = |mut lines: Vec<(jiff::Timestamp, String)>| {
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect::<String>()
    };
    (text(auth), text(access))
}

#[test]
fn a_month_of_attacks_is_told_by_country_name_and_hour() {
    if !need(&[&BROWSER[..], &["nginx"]].concat()) {
        return;
    }
    let Some((_world, server)) = quiet_server() else { return };
    server.write("/var/log/access.log", "");
    let rows: Vec<((&str, u8), &str)> = PLACES.iter().map(|(net, code)| ((*net, 24), *code)).collect();
    server.write("/var/lib/country.mmdb", mmdb::countries(&rows));
    let config = "widen = false\n[wall]\nout = \"/srv/wall\"\ncontact = \"abuse@example.net\"\ndelay = \"0s\"\n\
        [geo]\ncountry = \"/var/lib/country.mmdb\"\n[jail.wordpress]\nlogpath = [\"/var/log/access.log\"]\n";
    // What was written while it was down is judged by its stamps.
    Daemon::start(&server, config).stop();
    let (auth, access) = month();
    server.append(LOG, &auth);
    server.append("/var/log/access.log", &access);
    let daemon = Daemon::start(&server, config);
    let lines = auth.lines().count() + access.lines().count();
    let read = || {
        let status = daemon.status();
        let jails = status["jails"].as_array().into_iter().flatten();
        (jails.filter_map(|jail| jail["failures"].as_u64()).sum::<u64>() == lines as u64).then_some(())
    };
    daemon.wait_for(SOON, "all attempts", read);
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    let index = server.path("/srv/wall/index.html");
    let page = daemon.wait_for(SOON, "the pages", || {
        std::fs::read_to_string(&index).ok().filter(|page| page.contains("</html>") && page.contains("China"))
    });
    for told in
        ["WP login attempts", "<th scope=\"row\">root</th>", "<title>China: ", "Singapore", "198.18.4.x"]
    {
        assert!(page.contains(told), "{told}");
    }
    assert!(!page.contains("hunter2"));
    let _serving = serve(&server);
    let browser = Browser::start(&server);
    browser.resize(1100, 1080);
    browser.open(&format!("{SITE}/index.html"));
    browser.keep_picture("wall-of-a-month.png");
    browser.resize(400, 800);
    browser.prefer("dark");
    browser.open(&format!("{SITE}/index.html"));
    browser.wait_until_it_fits("index.html");
    browser.keep_picture("wall-of-a-month-dark.png");
    assert_eq!(browser.console(), [""; 0], "something was said at the console");
}

fn serve(host: &Host) -> Running {
    let config = "pid /run/nginx.pid; user nobody nogroup; daemon off; worker_processes 1; events {}\nhttp { access_log off; \
        client_body_temp_path /run/n1; proxy_temp_path /run/n2; fastcgi_temp_path /run/n3; uwsgi_temp_path /run/n4; \
        scgi_temp_path /run/n5; types { text/html html; text/css css; text/javascript js; application/json json; \
        application/atom+xml atom; } default_type text/plain; server { listen 127.0.0.1:8080; root /srv/wall; } }\n";
    host.write("/run/nginx.conf", config);
    let mut command = host.command("nginx");
    command.args(["-c", "/run/nginx.conf", "-e", "stderr", "-p", "/run"]);
    let server = Running::start("nginx", command);
    host.wait_listening(8080);
    server
}

/// Says what each page has of errors by HTML's own rules of parsing, and of names that stand twice; and reads the feed.
const VALIDATE: &str = "
import sys, html5lib, xml.dom.minidom
for path in sys.argv[1:]:
    with open(path, 'rb') as page:
        if path.endswith('.atom'):
            feed = xml.dom.minidom.parse(page)
            print(len(feed.getElementsByTagName('entry')), 'entries')
            continue
        parser = html5lib.HTMLParser()
        tree = parser.parse(page)
        for at, what, more in parser.errors:
            print(path, at, what, more)
        names = [element.get('id') for element in tree.iter() if element.get('id')]
        for name in set(names):
            if names.count(name) > 1:
                print(path, 'has twice', name)
";

#[test]
fn every_page_is_html_without_errors_and_the_feed_is_xml() {
    let Some((world, _daemon)) = pages() else { return };
    let pages =
        ["index.html", "page-2.html", "unlist.html", "feeds.html", "o/203.0.113.77.html", "feed.atom"];
    let Some(said) = validated(&world.server, &pages.map(|page| format!("/srv/wall/{page}"))) else { return };
    assert_eq!(said, "100 entries\n");
}

/// What is wrong with these pages of a host; nothing, said once, if what tells it is not here.
pub fn validated(host: &Host, paths: &[String]) -> Option<String> {
    let mut command = host.command("env");
    command.args(unpacked_environment()).args(["python3", "-c", VALIDATE]);
    let output = command.args(paths).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named 'html5lib'") {
        say_skipped("no html5lib here; scripts/fetch-test-tools.sh fetches it");
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

const ROWS: &str = "return [...document.querySelectorAll('#list tbody tr')]";

#[test]
fn the_wall_loads_sorts_searches_and_reads_well_in_a_browser() {
    let Some((_world, _daemon, _server, browser)) = site() else { return };
    browser.resize(1100, 900);
    browser.open(&format!("{SITE}/index.html"));
    assert_eq!(browser.run("return document.title"), "Wall of shame");
    assert_eq!(browser.run(&format!("{ROWS}.length")), 500);
    browser.keep_picture("wall.png");
    // Who tried most comes first once the attempts are sorted, also from another page.
    browser.run("document.querySelectorAll('#list thead button')[3].click()");
    browser.wait_until(
        "the list in order of attempts",
        &format!("{ROWS}[0].cells[0].textContent === '203.0.113.77'"),
    );
    browser.run("document.querySelectorAll('#list thead button')[0].click()");
    browser.wait_until(
        "the list in order of addresses",
        &format!("{ROWS}[1].cells[0].textContent === '198.51.100.2'"),
    );
    let search = "const field = document.getElementById('search'); field.value = '102.2'; field.dispatchEvent(new Event('input'))";
    browser.run(search);
    browser.wait_until("what is searched for, of another page", &format!("{ROWS}.length === 2"));
    assert_eq!(browser.run("return document.getElementById('found').textContent"), "2 of 521");
    browser.run("document.querySelector('#list tbody a').click()");
    browser.wait_until(
        "the page of that offender",
        "return document.querySelector('h1').textContent === '198.51.102.2'",
    );
    for page in ["unlist.html", "feeds.html", "page-2.html"] {
        browser.open(&format!("{SITE}/{page}"));
    }
    assert_eq!(browser.run(&format!("{ROWS}.length")), 21);
    assert_eq!(browser.console(), [""; 0], "something was said at the console");
    // The browser's own first page is no matter of ours.
    let fetched: Vec<String> = browser.fetched().into_iter().filter(|url| url.starts_with("http")).collect();
    let (own, foreign): (Vec<_>, Vec<_>) = fetched.into_iter().partition(|url| url.starts_with(SITE));
    assert!(own.contains(&format!("{SITE}/offenders.json")), "{own:?}");
    assert_eq!(foreign, [""; 0], "something was fetched from elsewhere");
}

#[test]
fn the_wall_is_dark_narrow_and_without_scripts_if_the_reader_is() {
    let Some((_world, _daemon, _server, browser)) = site() else { return };
    let ground = "return getComputedStyle(document.body).backgroundColor";
    browser.resize(400, 800);
    browser.prefer("light");
    browser.open(&format!("{SITE}/index.html"));
    let light = browser.run(ground);
    for page in ["index.html", "unlist.html", "feeds.html", "page-2.html", "o/203.0.113.77.html"] {
        browser.open(&format!("{SITE}/{page}"));
        browser.wait_until_it_fits(page);
    }
    browser.prefer("dark");
    browser.open(&format!("{SITE}/index.html"));
    assert_ne!(browser.run(ground), light);
    browser.keep_picture("wall-dark-narrow.png");
    browser.allow_scripts(false);
    browser.open(&format!("{SITE}/index.html"));
    assert_eq!(browser.run("return document.querySelector('.search').hidden"), true);
    assert_eq!(browser.run(&format!("{ROWS}.length")), 500);
    assert_eq!(browser.console(), [""; 0]);
}
