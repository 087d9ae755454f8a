//! Lists of offenders, each read by the program that it is for.

use std::process::{Command, Output};

use crate::lab::{Place, find, need, say_skipped, tools_dir};

/// Who is on the lists: single addresses, a network, another that holds one of them, and IPv6.
const LISTED: &str =
    "203.0.112.7\n203.0.112.0/24\n198.51.100.7\n203.0.113.16/28\n2001:db8:7:8::/64\n2001:db8::1\n";

/// A list of that form; nothing if one of the programs is not here.
fn list(format: &str, programs: &[&str]) -> Option<(Place, String)> {
    if !need(programs) {
        return None;
    }
    let place = Place::new(&format!("feed-{format}"));
    let listed = place.write("list", LISTED);
    assert_eq!(place.offline(&["import", "--wide", &listed]).code, Some(0));
    let exported = place.offline(&["export", "--format", format]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let file = place.write("exported", &exported.out);
    Some((place, file))
}

fn tool(name: &str) -> Command {
    find(name).expect("it was asked for").command()
}

/// A program in a network of its own, so that nothing of this host is changed.
fn tool_alone(name: &str) -> Command {
    let tool = find(name).expect("it was asked for");
    let mut command = find("unshare").expect("it is here").command();
    command.arg("--net").arg("--").arg(&tool.path);
    if let Some(libraries) = tool.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

#[track_caller]
fn accepted(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {said}");
    said
}

#[test]
fn nft_takes_its_list() {
    let Some((_place, file)) = list("nft", &["nft", "unshare"]) else { return };
    accepted(tool_alone("nft").args(["--check", "--file", &file]));
}

#[test]
fn ipset_takes_its_list() {
    let Some((_place, file)) = list("ipset", &["ipset", "unshare"]) else { return };
    let output = tool_alone("ipset").args(["restore", "-file", &file]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Kernel support") || said.contains("Kernel error received: Invalid argument") {
        return say_skipped("this kernel has no ipset");
    }
    assert!(output.status.success(), "{said}");
}

#[test]
fn ip_takes_its_routes() {
    let Some((_place, file)) = list("routes", &["ip", "unshare"]) else { return };
    let script =
        format!("ip -batch {file} && ip route show type blackhole && ip -6 route show type blackhole");
    let mut command = tool("unshare");
    let said = accepted(command.args(["--net", "sh", "-c", &format!("ip link set lo up && {script}")]));
    assert_eq!(said.lines().filter(|line| line.starts_with("blackhole ")).count(), 6, "{said}");
}

#[test]
fn nginx_takes_its_list() {
    let Some((place, file)) = list("nginx", &["nginx"]) else { return };
    let here = place.0.display();
    let config = format!(
        "pid {here}/pid; error_log {here}/log; events {{}}\nhttp {{ access_log off; client_body_temp_path {here}/a; \
         proxy_temp_path {here}/b; fastcgi_temp_path {here}/c; uwsgi_temp_path {here}/d; scgi_temp_path {here}/e; \
         server {{ listen 127.0.0.1:8; location / {{ include {file}; }} }} }}\n"
    );
    let config = place.write("nginx.conf", config);
    accepted(tool("nginx").args([
        "-t",
        "-c",
        &config,
        "-e",
        &format!("{here}/log"),
        "-p",
        &here.to_string(),
    ]));
}

#[test]
fn apache_takes_its_list() {
    let Some((place, file)) = list("apache", &["apache2"]) else { return };
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
    accepted(tool("apache2").args(["-t", "-f", &config]));
}

#[test]
fn haproxy_takes_its_list() {
    let Some((place, file)) = list("haproxy", &["haproxy"]) else { return };
    let config = format!(
        "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nfrontend web\n \
         bind 127.0.0.1:8\n http-request deny if {{ src -f {file} }}\n"
    );
    let config = place.write("haproxy.conf", config);
    accepted(tool("haproxy").args(["-c", "-f", &config]));
}

#[test]
fn bind_takes_its_zone() {
    let Some((_place, file)) = list("rpz", &["named-checkzone"]) else { return };
    let said = accepted(tool("named-checkzone").args(["offenders.example", &file]));
    assert!(said.contains("OK"), "{said}");
}

#[test]
fn rbldnsd_takes_its_list() {
    let Some((_place, file)) = list("rbldnsd", &["rbldnsd"]) else { return };
    // It prints a dataset as a zone.
    let said = accepted(tool("rbldnsd").args(["-d", &format!("bl.example:ip4trie:{file}")]));
    assert!(said.contains("7.100.51.198"), "{said}");
}

#[test]
fn iprange_takes_the_netset() {
    let Some((_place, file)) = list("netset", &["iprange"]) else { return };
    let said = accepted(tool("iprange").args(["--count-unique", &file]));
    // Entries, and addresses that are in any of them.
    assert_eq!(said.trim(), "4,273");
}
