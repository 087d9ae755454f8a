//! The dashboard in a real browser.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hostile_text;
use crate::lab::{BROWSER, Browser, Daemon, LOG, SOON, World, failed_lines, need, quiet_server};
use crate::pages::validated;
use crate::web::{TOKEN, WEB, get, with_token, write_token};

const SITE: &str = "http://127.0.0.1:8087";
const FEED: &str = "return document.getElementById('ban-feed').textContent";

/// A daemon that has banned some, and a browser.
fn dashboard() -> Option<(World, Daemon, Browser)> {
    if !need(&BROWSER) {
        return None;
    }
    let world = World::new()?;
    world.server.write(LOG, "");
    write_token(&world.server);
    let daemon = Daemon::start(&world.server, &format!("widen = false\n{}", with_token()));
    let lines: String =
        (1..=120).map(|n| failed_lines(9_000 + 10 * n, 3, "root", &format!("198.51.100.{n}"))).collect();
    world.server.append(LOG, lines + &failed_lines(20_000, 9, "root", "203.0.113.77"));
    daemon.wait_for(SOON, "all bans", || (daemon.list().len() == 121).then_some(()));
    let browser = Browser::start(&world.server);
    browser.resize(1100, 900);
    Some((world, daemon, browser))
}

#[track_caller]
fn opened(browser: &Browser, path: &str) {
    browser.open(&format!("{SITE}{path}"));
}

#[test]
fn a_ban_shows_within_a_second_and_nothing_is_said_at_the_console() {
    let Some((world, daemon, browser)) = dashboard() else { return };
    opened(&browser, "/");
    assert_eq!(browser.run("return document.title"), "Overview · Pillory");
    assert_eq!(browser.run("return document.querySelector('h1').textContent"), "Protected by nftables");
    browser.wait_until("a connection", "return document.querySelector('#figures b').textContent === '121' && document.getElementById('connection').hidden");
    let since = Instant::now();
    assert_eq!(daemon.ask(&["ban", "203.0.113.200", "--reason", "<b>bold</b>"]).code, Some(0));
    let asked = since.elapsed();
    browser.wait_until("the ban", &format!("{FEED}.includes('203.0.113.200')"));
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}, of which the order {asked:?}");
    crate::lab::say_figure(&format!(
        "a ban by hand is on the dashboard after {} ms, the order included",
        took.as_millis()
    ));
    // What the log brings, too: the attempt, the ban, and the figures behind them.
    world.server.append(LOG, failed_lines(30_000, 3, "root", "203.0.113.201"));
    browser.wait_until("a ban by a jail", &format!("{FEED}.includes('203.0.113.201')"));
    browser.wait_until("the figures", "return document.querySelector('#figures b').textContent === '123'");
    browser.wait_until(
        "the attempts",
        "return document.getElementById('attempt-feed').textContent.includes('203.0.113.201')",
    );
    assert_eq!(browser.run("return document.querySelectorAll('#ban-feed b').length"), 0, "text stays text");
    browser.keep_picture("dashboard.png");
    browser.run("document.querySelector('#ban-feed a').click()");
    browser.wait_until("its story", "return document.querySelector('.story')?.textContent.includes('203.0.113.201 is banned by jail sshd')");
    for path in [
        "/bans",
        "/confirm?do=unban&prefix=203.0.113.200",
        "/login",
        "/wall/",
        "/wall/unlist.html",
        "/wall/feeds.html",
    ] {
        opened(&browser, path);
    }
    assert_eq!(browser.console(), [""; 0], "something was said at the console");
    let fetched: Vec<String> = browser.fetched().into_iter().filter(|url| url.starts_with("http")).collect();
    let foreign: Vec<&String> = fetched.iter().filter(|url| !url.starts_with(SITE)).collect();
    assert!(foreign.is_empty() && fetched.contains(&format!("{SITE}/events")), "{fetched:?}");
    // The page says that it is old once nobody answers.
    opened(&browser, "/");
    browser.wait_until("a connection", "return document.getElementById('connection').hidden");
    drop(daemon);
    browser.wait_until("that it is cut", "return !document.getElementById('connection').hidden");
}

#[test]
fn bans_are_sorted_searched_and_paged() {
    let Some((_world, _daemon, browser)) = dashboard() else { return };
    const ROWS: &str = "return [...document.querySelectorAll('#list tbody tr')]";
    opened(&browser, "/bans");
    assert_eq!(browser.run(&format!("{ROWS}.length")), 100);
    assert_eq!(browser.run(&format!("{ROWS}[1].cells[0].textContent")), "198.51.100.2");
    browser.run(
        "[...document.querySelectorAll('#list thead a')].find(a => a.textContent === 'Attempts').click()",
    );
    browser.wait_until(
        "the most attempts first",
        &format!("{ROWS}[0].cells[4].textContent >= {ROWS}[1].cells[4].textContent")
            .replace(">= return ", ">= "),
    );
    assert_eq!(browser.run("return document.querySelector('[aria-sort]').textContent"), "Attempts");
    browser.run("document.querySelector('.pages a').click()");
    browser.wait_until("the second page", &format!("{ROWS}.length === 21"));
    browser.run(
        "document.getElementById('q').value = '100.12'; document.querySelector('.search button').click()",
    );
    browser.wait_until("what is searched for", &format!("{ROWS}.length === 2"));
    assert_eq!(browser.run("return document.getElementById('found').textContent"), "2 of 121");
    browser.keep_picture("dashboard-bans.png");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn with_the_token_and_a_second_look_somebody_is_banned_and_unbanned() {
    let Some((_world, daemon, browser)) = dashboard() else { return };
    let click = |selector: &str| browser.run(&format!("document.querySelector(\"{selector}\").click()"));
    let heading = |what: &str| {
        browser.wait_until(what, &format!("return document.querySelector('h1').textContent === '{what}'"))
    };
    opened(&browser, "/address?ip=192.0.2.99");
    click("form.act button");
    heading("Sure?");
    assert_eq!(browser.run("return document.getElementById('yes')"), Value::Null);
    assert!(
        browser
            .run("return document.querySelector('main').textContent")
            .to_string()
            .contains("This needs the token")
    );
    click("main a[href='/login']");
    heading("Log in");
    browser.run(
        "document.getElementById('token').value = 'wrong'; document.querySelector('main button').click()",
    );
    browser.wait_until("a refusal", "return !!document.querySelector('[role=alert]')");
    browser.run(&format!(
        "document.getElementById('token').value = '{TOKEN}'; document.querySelector('main button').click()"
    ));
    browser.wait_until("the overview", "return location.pathname === '/'");
    assert_eq!(browser.run("return document.cookie"), "", "scripts do not see the session");
    opened(&browser, "/address?ip=192.0.2.99");
    browser.run("document.getElementById('reason').value = '<i>why</i> & \"so\"'");
    click("form.act button");
    heading("Sure?");
    assert!(!daemon.lists("192.0.2.99/32"), "nothing is done before the answer");
    browser.keep_picture("dashboard-confirm.png");
    click("#yes");
    browser.wait_until(
        "the story",
        "return document.querySelector('.story')?.textContent.includes('is banned by hand')",
    );
    let ban = daemon.ban_of("192.0.2.99/32").expect("it is banned");
    assert_eq!(ban["reason"], "<i>why</i> & \"so\"");
    browser.keep_picture("dashboard-address.png");
    browser.run("[...document.querySelectorAll('form.act button')].at(-1).click()");
    heading("Sure?");
    click("#yes");
    browser.wait_until(
        "the story",
        "return document.querySelector('.story')?.textContent.includes('192.0.2.99 is not banned')",
    );
    assert!(!daemon.lists("192.0.2.99/32"));
    // Whoever is never banned is refused with the reason.
    opened(&browser, "/address?ip=127.0.0.1");
    click("form.act button");
    heading("Sure?");
    click("#yes");
    browser.wait_until(
        "a refusal",
        "return document.querySelector('main').textContent.includes('refused 127.0.0.1')",
    );
    click("header form[action='/logout'] button");
    browser.wait_until("a way to log in", "return !!document.querySelector(\"header a[href='/login']\")");
    let told: Vec<String> =
        browser.console().into_iter().filter(|line| !line.contains("403") && !line.contains("409")).collect();
    assert_eq!(told, [""; 0], "but for the two refusals");
}

#[test]
fn it_reads_well_narrow_dark_and_without_scripts_and_is_html_without_errors() {
    let Some((world, _daemon, browser)) = dashboard() else { return };
    let paths = [
        "/",
        "/bans",
        "/bans?q=nobody",
        "/address?ip=203.0.113.77",
        "/address?ip=x",
        "/confirm?do=ban&prefix=192.0.2.5&reason=%22%3Cx",
        "/login",
        "/wall/",
        "/wall/feeds.html",
    ];
    let ground = "return getComputedStyle(document.body).backgroundColor";
    browser.resize(400, 800);
    browser.prefer("light");
    for path in paths {
        opened(&browser, path);
        browser.wait_until_it_fits(path);
    }
    let light = browser.run(ground);
    browser.prefer("dark");
    opened(&browser, "/");
    assert_ne!(browser.run(ground), light);
    browser.keep_picture("dashboard-dark-narrow.png");
    browser.allow_scripts(false);
    opened(&browser, "/");
    assert_eq!(browser.run("return document.querySelectorAll('#ban-feed tr').length"), 20);
    browser.run("document.querySelector('#ban-feed a').click()");
    browser.wait_until("a story", "return !!document.querySelector('.story')");
    for (at, path) in paths.into_iter().enumerate() {
        if !path.contains("ip=x") {
            world.server.write(format!("/srv/pages/{at}.html"), get(&world.server, path));
        }
    }
    let files = (0..paths.len()).map(|at| format!("/srv/pages/{at}.html"));
    let files: Vec<String> = files.filter(|file| world.server.path(file).exists()).collect();
    if let Some(said) = validated(&world.server, &files) {
        assert_eq!(said, "");
    }
}

#[test]
fn names_that_attackers_chose_are_inert_and_those_that_may_be_passwords_hidden() {
    if !need(&BROWSER) {
        return;
    }
    let Some((_world, server)) = quiet_server() else { return };
    let daemon =
        Daemon::start(&server, &format!("decoys = 0\nwiden = false\ngoodusers = [\"user57\"]\n{WEB}"));
    let browser = Browser::start(&server);
    opened(&browser, "/");
    browser.wait_until("a connection", "return document.getElementById('connection').hidden");
    server.append(LOG, hostile_text::attacks());
    // Markup, from as many banned sources as it takes to be shown.
    let markup = "<img/src=x/onerror=document.title='pwned'><script>document.title='pwned'</script>";
    let everywhere = |(pid, place): (u32, u32), name: &str| -> String {
        let lines =
            |n| failed_lines(pid + n, 2, &format!("invalid user {name}"), &format!("10.66.{n}.{place}"));
        (1..=5).map(lines).collect()
    };
    server.append(LOG, everywhere((60_000, 7), markup));
    server.append(LOG, everywhere((60_100, 8), "\"onmouseover=alert(1)//"));
    // Somebody who belongs here, near a ban.
    server.append(LOG, failed_lines(60_150, 9, "user57", "10.66.10.9"));
    server.append(LOG, failed_lines(60_200, 2, "invalid user s3cret-Passw0rd", "10.66.9.9"));
    daemon.wait_for(SOON, "the last name", || (daemon.attempts_of("10.66.9.9") >= 2).then_some(()));
    browser.wait_until(
        "the hidden name's row",
        "return document.getElementById('attempt-feed').textContent.includes('10.66.9.9')",
    );
    browser.wait_until(
        "the shown name's row",
        "return document.getElementById('top').textContent.includes('onmouseover')",
    );
    assert_eq!(browser.run("return document.querySelectorAll('img, main script, [onmouseover]').length"), 0);
    assert_eq!(browser.run("return document.title"), "Overview · Pillory");
    opened(&browser, "/");
    browser
        .wait_until("the warning", "return document.body.textContent.includes('somebody from 10.66.10.9')");
    assert_eq!(browser.run("return /s3cret|user57/.test(document.body.textContent)"), false);
    assert_eq!(browser.console(), [""; 0]);
    for path in ["/", "/bans", "/address?ip=10.66.9.9", "/address?ip=198.51.100.102", "/address?ip=10.66.1.7"]
    {
        let page = get(&server, path);
        hostile_text::assert_harmless(path, &page);
        assert!(!page.contains("<img") && !page.contains("s3cret"), "{path}");
    }
    assert!(get(&server, "/address?ip=10.66.9.9").contains("(hidden)"));
    assert!(get(&server, "/").contains("&#60;img"), "it is shown as text");
    let top = daemon.ask(&["top", "--once"]).out;
    hostile_text::assert_harmless("top", &top);
    assert!(!top.contains("s3cret") && top.contains("hidden)"), "{top}");
    let json = daemon.ask(&["top", "--json"]);
    assert!(json.code == Some(0) && !json.out.contains("s3cret"), "{json:?}");
    hostile_text::assert_harmless("top --json", &json.out);
}
