//! Lists of offenders, each read by the program that it is for.

use std::process::{Command, Output};

use crate::lab::{Daemon, LOG, Place, SOON, failed_lines, find, need, quiet_server, say_skipped, tools_dir};

/// Who is on the lists: single addresses, a network, another that holds one of them, and IPv6.
const LISTED: &str =
    "203.0.112.7\n203.0.112.0/24\n198.51.100.7\n203.0.113.16/28\n2001:db8:7:8::/64\n2001:db8::1\n";

/// A list of that form; nothing if one of the programs is not here.
fn list(format: &str, programs: &[&str]) -> Option<(Place, String)> {
    need(programs).then(|| list_of(format, format, LISTED))
}

fn list_of(name: &str, format: &str, listed: &str) -> (Place, String) {
    let place = Place::new(&format!("feed-{name}"));
    let listed = place.write("list", listed);
    assert_eq!(place.offline(&["import", "--wide", &listed]).code, Some(0));
    let file = place.write("exported", list_text(&place, format));
    (place, file)
}

/// What is banned there, in that form.
fn list_text(place: &Place, format: &str) -> String {
    let exported = place.offline(&["export", "--format", format]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    exported.out
}

fn tool(name: &str) -> Command {
    find(name).expect("it was asked for").command()
}

#[track_caller]
fn accepted(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {said}");
    said
}

/// What is on the second list: it is shorter, and a network of it holds an address of the first.
const LATER: &str = "198.51.100.0/24\n203.0.112.7\n2001:db8::/48\n";

/// A first list and a later one of that form; nothing if one of the programs is not here.
fn two_lists(format: &str, programs: &[&str]) -> Option<(Place, [String; 2])> {
    let (place, first) = list(format, programs)?;
    let (later, path) = list_of(&format!("{format}-later"), format, LATER);
    let text = std::fs::read_to_string(path).expect("it was written");
    drop(later);
    let later = place.write("later", text);
    Some((place, [first, later]))
}

/// Runs a script in a network of its own.
fn in_a_network(script: &str) -> Command {
    let mut command = tool("unshare");
    command.args(["--net", "sh", "-ec", &format!("ip link set lo up; {script}")]);
    command
}

/// How a shell starts that program, even an unpacked one.
fn word(name: &str) -> String {
    let tool = find(name).expect("it was asked for");
    let libraries = tool.libraries.map_or_else(String::new, |path| format!("LD_LIBRARY_PATH={path} "));
    format!("{libraries}{}", tool.path.display())
}

#[test]
fn nft_takes_its_list_again_and_forgets_the_one_before() {
    let Some((_place, [first, later])) = two_lists("nft", &["nft", "unshare", "ip"]) else { return };
    let nft = word("nft");
    let rule = "add chain inet blocklist in; add rule inet blocklist in ip saddr @blocklist4 drop";
    let script =
        format!("{nft} -f {first}; {nft} '{rule}'; {nft} -f {first}; {nft} -f {later}; {nft} list ruleset");
    let held = addresses(&accepted(&mut in_a_network(&script)));
    assert_eq!(held, ["198.51.100.0/24", "2001:db8::/48", "203.0.112.7"]);
}

#[test]
fn nft_takes_an_empty_list() {
    if !need(&["nft", "unshare", "ip"]) {
        return;
    }
    let (place, first) = list_of("nft-full", "nft", LISTED);
    assert_eq!(place.offline(&["unban", "--all"]).code, Some(0));
    let empty = place.write("empty", list_text(&place, "nft"));
    let nft = word("nft");
    let script = format!("{nft} -f {first}; {nft} -f {empty}; {nft} list ruleset");
    let said = accepted(&mut in_a_network(&script));
    assert!(said.contains("set blocklist4") && addresses(&said).is_empty(), "{said}");
}

#[test]
fn ipset_takes_its_list_again_and_forgets_the_one_before() {
    let Some((_place, [first, later])) = two_lists("ipset", &["ipset", "unshare", "ip"]) else { return };
    let ipset = word("ipset");
    // Whatever it says of our list, a kernel that has ipset takes this.
    if !in_a_network(&format!("{ipset} create probe hash:net")).output().expect("it starts").status.success()
    {
        return say_skipped("this kernel has no ipset");
    }
    let script = format!(
        "{ipset} restore -file {first}; {ipset} restore -file {first}; {ipset} restore -file {later}; {ipset} save"
    );
    let held = addresses(&accepted(&mut in_a_network(&script)));
    assert_eq!(held, ["198.51.100.0/24", "2001:db8::/48", "203.0.112.7"]);
}

#[test]
fn ip_takes_its_routes_again_beside_those_before() {
    let Some((_place, [first, later])) = two_lists("routes", &["ip", "unshare"]) else { return };
    let script = format!(
        "ip -batch {first}; ip -batch {first}; ip -batch {later}; ip route show type blackhole; \
         ip -6 route show type blackhole"
    );
    let said = accepted(&mut in_a_network(&script));
    // A route is forgotten by whoever deletes it only: six of the first list, two that the later one has beside.
    assert_eq!(said.lines().filter(|line| line.starts_with("blackhole ")).count(), 8, "{said}");
}

/// The addresses and networks in what a program printed.
fn addresses(said: &str) -> Vec<String> {
    let words = said.split(|char: char| char.is_whitespace() || ",{}".contains(char));
    let is_address = |word: &&str| {
        let (address, _) = word.split_once('/').unwrap_or((word, ""));
        address.parse::<std::net::IpAddr>().is_ok()
    };
    let mut found: Vec<String> = words.filter(is_address).map(str::to_owned).collect();
    found.sort();
    found
}

#[test]
fn nginx_takes_its_list() {
    let Some((place, file)) = list("nginx", &["nginx"]) else { return };
    nginx(&place, &file);
}

fn nginx(place: &Place, file: &str) -> String {
    let here = place.0.display();
    let config = format!(
        "pid {here}/pid; error_log {here}/log; events {{}}\nhttp {{ access_log off; client_body_temp_path {here}/a; \
         proxy_temp_path {here}/b; fastcgi_temp_path {here}/c; uwsgi_temp_path {here}/d; scgi_temp_path {here}/e; \
         server {{ listen 127.0.0.1:8; location / {{ include {file}; }} }} }}\n"
    );
    let config = place.write("nginx.conf", config);
    accepted(tool("nginx").args(["-t", "-c", &config, "-e", &format!("{here}/log"), "-p", &here.to_string()]))
}

#[test]
fn apache_takes_its_list() {
    let Some((place, file)) = list("apache", &["apache2"]) else { return };
    apache(&place, &file);
}

fn apache(place: &Place, file: &str) -> String {
    let modules = ["/usr/lib/apache2/modules".into(), tools_dir().join("usr/lib/apache2/modules")];
    let modules = modules.iter().find(|directory| directory.is_dir()).expect("it has modules").display();
    let here = place.0.display();
    let load: String = ["mpm_event", "authz_core", "authz_host"]
        .iter()
        .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
        .collect();
    let config = format!(
        "ServerRoot {here}\nServerName localhost\nDefaultRuntimeDir {here}\nPidFile {here}/pid\nErrorLog {here}/log\n\
         Listen 127.0.0.1:8\n{load}<Location />\nInclude {file}\n</Location>\n"
    );
    let config = place.write("apache.conf", config);
    accepted(tool("apache2").args(["-t", "-f", &config]))
}

#[test]
fn haproxy_takes_its_list() {
    let Some((place, file)) = list("haproxy", &["haproxy"]) else { return };
    haproxy(&place, &file);
}

fn haproxy(place: &Place, file: &str) -> String {
    let config = format!(
        "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nfrontend web\n \
         bind 127.0.0.1:8\n http-request deny if {{ src -f {file} }}\n"
    );
    let config = place.write("haproxy.conf", config);
    accepted(tool("haproxy").args(["-c", "-f", &config]))
}

#[test]
fn bind_takes_its_zone() {
    let Some((place, file)) = list("rpz", &["named-checkzone"]) else { return };
    let said = bind(&place, &file);
    assert!(said.contains("OK"), "{said}");
}

fn bind(_: &Place, file: &str) -> String {
    accepted(tool("named-checkzone").args(["-D", "offenders.example", file]))
}

#[test]
fn rbldnsd_takes_its_list() {
    let Some((place, file)) = list("rbldnsd", &["rbldnsd"]) else { return };
    let said = rbldnsd(&place, &file);
    assert!(said.contains("7.100.51.198"), "{said}");
}

fn rbldnsd(_: &Place, file: &str) -> String {
    // It prints a dataset as a zone.
    accepted(tool("rbldnsd").args(["-d", &format!("bl.example:ip4trie:{file}")]))
}

#[test]
fn iprange_takes_the_netset() {
    let Some((place, file)) = list("netset", &["iprange"]) else { return };
    // Entries, and addresses that are in any of them.
    assert_eq!(iprange(&place, &file).trim(), "4,273");
}

fn iprange(_: &Place, file: &str) -> String {
    accepted(tool("iprange").args(["--count-unique", file]))
}

/// A feed's file, the program that reads it, how, and what that says if it has understood.
type Reader = (&'static str, &'static str, fn(&Place, &str) -> String, &'static str);

const READERS: &[Reader] = &[
    (
        "csv",
        "python3",
        |_, file| accepted(tool("python3").args(["-c", READ_TABLE, file])),
        "198.51.100.7/32 12 'c\"",
    ),
    (
        "nft",
        "nft",
        |_, file| accepted(&mut in_a_network(&loaded("nft -f", file, "nft list ruleset"))),
        "198.51.100.7",
    ),
    (
        "ipset",
        "ipset",
        |_, file| accepted(&mut in_a_network(&loaded("ipset restore -file", file, "ipset save"))),
        "198.51.100.7",
    ),
    (
        "routes",
        "ip",
        |_, file| accepted(&mut in_a_network(&loaded("ip -batch", file, "ip route show type blackhole"))),
        "198.51.100.7",
    ),
    ("nginx", "nginx", nginx, "successful"),
    ("apache", "apache2", apache, "Syntax OK"),
    ("haproxy", "haproxy", haproxy, ""),
    ("rpz", "named-checkzone", bind, "32.7.100.51.198.rpz-client-ip"),
    ("ip4trie", "rbldnsd", rbldnsd, "7.100.51.198"),
    ("netset", "iprange", iprange, "1,1"),
];

const READ_TABLE: &str = "import csv, sys\n\
    for row in csv.DictReader(open(sys.argv[1])): print(row['prefix'], row['attempts'], row['contact'])";

/// Says what each entry's `updated` is and how many identifiers there are.
const READ_ATOM: &str = "import sys, xml.etree.ElementTree as tree\n\
    atom = '{http://www.w3.org/2005/Atom}'\n\
    feed = tree.parse(sys.argv[1]).getroot()\n\
    ids = {node.text for node in feed.iter(atom + 'id')}\n\
    print(len(ids), all(name.startswith('urn:uuid:') for name in ids), feed.find(atom + 'link').get('rel'),\n\
          {node.text[10:] for node in feed.findall(atom + 'entry/' + atom + 'updated')})";

/// A script that reads `file` and shows what came of it.
fn loaded(reads: &str, file: &str, shows: &str) -> String {
    let started = |line: &str| {
        let (program, arguments) = line.split_once(' ').expect("a program and its arguments");
        format!("{} {arguments}", word(program))
    };
    format!("{} {file}; {}", started(reads), started(shows))
}

/// What begins or ends comments, quotes, blocks and lines somewhere.
const HOSTILE: &str = r#"[wall]
out = "/srv/wall"
title = "\"t' */ --> <!-- ]]> { } $(x) `x` ; # % \\"
contact = "'c\" */ --> }; <x> & # $TTL \\"
mask = false
delay = "0s"
"#;

#[test]
fn whatever_title_and_contact_hold_the_feeds_of_a_wall_are_read() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, HOSTILE);
    for addr in ["198.51.100.7", "2001:db8:1::7"] {
        world.server.append(LOG, failed_lines(9000, 12, "root", addr));
        daemon.wait_for(SOON, "all attempts", || (daemon.attempts_of(addr) == 12).then_some(()));
    }
    daemon.wait_for(SOON, "a ban of each", || (daemon.list().len() == 2).then_some(()));
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    let feed = |ending: &str| server.read(format!("/srv/wall/feeds/offenders.{ending}"));
    daemon.wait_for(SOON, "the feeds", || feed("stix.json").contains("198.51.100.7").then_some(()));
    daemon.wait_for(SOON, "the last page", || {
        server.read("/srv/wall/index.html").contains("198.51.100.7").then_some(())
    });
    let place = Place::new("feed-hostile");
    for (ending, program, read, understood) in READERS {
        if need(&[program, "unshare", "ip"]) {
            let said = read(&place, &place.write(ending, feed(ending)));
            assert!(said.contains(understood), "{ending}: {said}");
        }
    }
    for ending in ["txt", "netset", "csv", "ipset", "nft", "haproxy"] {
        let import = place.offline(&["import", "--dry-run", "--json", &place.write(ending, feed(ending))]);
        let value = import.json();
        let passed = [&value["unreadable"], &value["skipped"]].map(|lines| lines.as_array().map(Vec::len));
        assert_eq!(
            (passed, &value["changed"]),
            ([Some(0); 2], &if ending == "netset" { 1 } else { 2 }.into()),
            "{ending}: {value}"
        );
    }
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(json(&feed("json"))["offenders"].as_array().map(Vec::len), Some(2));
    assert!(feed("jsonl").lines().map(json).all(|line| line.is_object()));
    assert_eq!(json(&feed("stix.json"))["objects"].as_array().map(Vec::len), Some(3));
    if need(&["python3"]) {
        let atom = place.write("feed.atom", server.read("/srv/wall/feed.atom"));
        let said = accepted(tool("python3").args(["-c", READ_ATOM, &atom]));
        assert_eq!(said.trim(), "3 True self {'T00:00:00Z'}");
    }
}

#[test]
fn who_was_banned_from_a_list_is_not_said_to_have_tried_anything() {
    let (_place, file) = list_of("listed", "stix", LISTED);
    let text = std::fs::read_to_string(file).expect("it was written");
    assert!(text.contains("\"description\":\"listed\"") && !text.contains("logged"), "{text}");
}
