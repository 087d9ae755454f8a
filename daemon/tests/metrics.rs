//! Metrics, as Prometheus' own tool reads them.

use std::io::Write;
use std::process::Stdio;

use crate::lab::{Daemon, LOG, Place, SOON, failed_lines, find, quiet_server, say_skipped};

const BOOK: &str = include_str!("../../docs/src/dashboard.md");
const DASHBOARD: &str = include_str!("../../packaging/prometheus/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../packaging/prometheus/alerts.yml");

/// What `promtool check` says to this text at standard input; nothing, said once, if it is not here.
fn promtool(arguments: &[&str], text: &str) -> Option<String> {
    let Some(tool) = find("promtool") else {
        say_skipped("no promtool here; scripts/fetch-test-tools.sh fetches it");
        return None;
    };
    let mut command = tool.command();
    let piped = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("promtool starts");
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    Some(said)
}

#[test]
fn prometheus_reads_the_metrics_and_no_label_tells_of_anybody() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    world.server.append(LOG, failed_lines(9000, 3, "root", "198.51.100.7"));
    // `status` is answered once the kernel and the disk have what was judged before.
    daemon.wait_for(SOON, "the ban", || (daemon.status()["latency"]["durable_bans"] == 1).then_some(()));
    let text = daemon.ask(&["metrics", "--out", "/run/pillory.prom"]);
    assert_eq!((text.code, text.out.as_str()), (Some(0), ""), "{text:?}");
    let text = server.read("/run/pillory.prom");
    for line in [
        "pillory_up 1",
        "pillory_enforcing 1",
        "pillory_bans 1",
        "pillory_jail_bans_total{jail=\"sshd\"} 1",
        "pillory_jail_failures_total{jail=\"sshd\"} 3",
        "pillory_dropped_packets_total 0",
        "pillory_ban_kernel_seconds_count 1",
        "pillory_ban_durable_seconds_bucket{le=\"+Inf\"} 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
    }
    assert!(!text.contains("198.51.100") && !text.contains("root"), "{text}");
    assert_eq!(daemon.ask(&["metrics"]).out.lines().count(), text.lines().count());
    promtool(&["check", "metrics"], &text);
    // What is documented, shown and warned of is what there is.
    let told: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' ')).collect();
    for (name, help) in &told {
        assert!(BOOK.contains(&format!("| `{name}` | {help} |")), "| `{name}` | {help} |");
    }
    for word in [DASHBOARD, ALERTS].concat().split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
    {
        let name = word.trim_end_matches("_bucket");
        assert!(!word.starts_with("pillory_") || told.iter().any(|(known, _)| *known == name), "{word}");
    }
}

#[test]
fn a_file_of_metrics_does_not_outlive_the_daemon_that_it_tells_of() {
    let place = Place::new("metrics-gone");
    let (file, socket) = (place.write("pillory.prom", "pillory_up 1\n"), place.0.join("no.sock"));
    let socket = socket.display().to_string();
    let gone = place.run(&["metrics", "--out", &file, "--control", &socket]);
    assert_eq!(gone.code, Some(69), "{gone:?}");
    let text = std::fs::read_to_string(&file).expect("it is there");
    let told: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(told, ["pillory_up 0"]);
    promtool(&["check", "metrics"], &text);
    let both = place.run(&["metrics", "--json", "--out", &file, "--control", &socket]);
    assert_eq!(both.code, Some(2), "{both:?}");
}

/// Instance a answers, b does not, c told nothing new for ten minutes, d is both.
const GONE: &str = r#"
rule_files: [ALERTS]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - { series: 'pillory_up{instance="a"}', values: "1x20" }
      - { series: 'pillory_up{instance="b"}', values: "0x20" }
      - { series: 'pillory_up{instance="c"}', values: "1x20" }
      - { series: 'pillory_up{instance="d"}', values: "0x20" }
      - { series: 'node_textfile_mtime_seconds{instance="a",file="/t/pillory.prom"}', values: "0+60x20" }
      - { series: 'node_textfile_mtime_seconds{instance="b",file="/t/pillory.prom"}', values: "0+60x20" }
      - { series: 'node_textfile_mtime_seconds{instance="c",file="/t/pillory.prom"}', values: "0x20" }
      - { series: 'node_textfile_mtime_seconds{instance="d",file="/t/pillory.prom"}', values: "0x20" }
      - { series: 'node_textfile_mtime_seconds{instance="a",file="/t/other.prom"}', values: "0x20" }
    promql_expr_test:
      - expr: count by (instance) (ALERTS{alertname="PilloryGone",alertstate="firing"})
        eval_time: 15m
        exp_samples:
          - { labels: '{instance="b"}', value: 1 }
          - { labels: '{instance="c"}', value: 1 }
          - { labels: '{instance="d"}', value: 1 }
"#;

#[test]
fn an_alert_tells_of_each_host_whose_daemon_or_timer_is_gone() {
    let place = Place::new("metrics-alert");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/prometheus/alerts.yml");
    let tests = place.write("tests.yml", GONE.replace("[ALERTS]", &format!("[{rules:?}]")));
    promtool(&["test", "rules", &tests], "");
}

#[test]
fn prometheus_takes_the_alerts() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/prometheus/alerts.yml");
    if let Some(said) = promtool(&["check", "rules", path], "") {
        assert!(said.contains("5 rules found"), "{said}");
    }
    assert!(serde_json::from_str::<serde_json::Value>(DASHBOARD).is_ok());
}
