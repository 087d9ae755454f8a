//! Metrics for Prometheus, made of what `status --json` tells. No label holds an address or a user.
//!
//! The text is written here, for what there is to encode are numbers that the engine has counted already; in Prometheus'
//! own format and not in OpenMetrics', which the textfile collector of node_exporter does not read whole.
//! Source: prometheus.io, "Exposition formats" (text format 0.0.4) and "Metric and label naming".

use std::fmt::Write as _;

use serde_json::Value;

/// A metric: its name, its type, what it tells, and how it is found in the status.
pub(crate) struct Metric {
    /// As Prometheus names it.
    pub(crate) name: &'static str,
    kind: &'static str,
    /// In a line.
    pub(crate) help: &'static str,
    samples: fn(&Value) -> Vec<Sample>,
}

/// A value: what follows the metric's name, its labels, and the number.
struct Sample {
    suffix: &'static str,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// All of them.
pub(crate) const METRICS: &[Metric] = &[
    Metric {
        name: "pillory_up",
        kind: "gauge",
        help: "1 if the daemon answered; 0, and no other metric, if it did not.",
        samples: |status| plain(f64::from(!status.is_null())),
    },
    Metric {
        name: "pillory_build_info",
        kind: "gauge",
        help: "1, with the version of the running daemon and the action by which it bans.",
        samples: |status| {
            let Some(version) = status["version"].as_str() else { return Vec::new() };
            let banaction = status["banaction"].as_str().unwrap_or_default();
            let labels = vec![("version", version.to_owned()), ("banaction", banaction.to_owned())];
            vec![Sample { suffix: "", labels, value: 1.0 }]
        },
    },
    Metric {
        name: "pillory_uptime_seconds",
        kind: "gauge",
        help: "How long the daemon has been running.",
        samples: |status| one(&status["uptime_s"]),
    },
    Metric {
        name: "pillory_enforcing",
        kind: "gauge",
        help: "1 while bans are enforced; 0 in a dry run and while switched off.",
        samples: |status| one(&status["enforcing"]),
    },
    Metric {
        name: "pillory_warnings",
        kind: "gauge",
        help: "Warnings in force; pillory status names them with their cures.",
        samples: |status| status["warnings"].as_array().map_or_else(Vec::new, |all| plain(all.len() as f64)),
    },
    Metric {
        name: "pillory_bans",
        kind: "gauge",
        help: "Bans in force, those by hand and from lists included.",
        samples: |status| one(&status["banned"]),
    },
    Metric {
        name: "pillory_jail_bans",
        kind: "gauge",
        help: "Bans of a jail in force.",
        samples: |status| of_jails(status, "banned"),
    },
    Metric {
        name: "pillory_jail_bans_total",
        kind: "counter",
        help: "Bans that a jail has made since the daemon started.",
        samples: |status| of_jails(status, "bans_total"),
    },
    Metric {
        name: "pillory_jail_lines_total",
        kind: "counter",
        help: "Lines that a jail has read since the daemon started.",
        samples: |status| of_jails(status, "lines"),
    },
    Metric {
        name: "pillory_jail_failures_total",
        kind: "counter",
        help: "Failed attempts that a jail has counted since the daemon started.",
        samples: |status| of_jails(status, "failures"),
    },
    Metric {
        name: "pillory_jail_successes_total",
        kind: "counter",
        help: "Good logins that a jail has seen since the daemon started.",
        samples: |status| of_jails(status, "successes"),
    },
    Metric {
        name: "pillory_jail_tracked",
        kind: "gauge",
        help: "Sources whose points a jail counts at present.",
        samples: |status| of_jails(status, "tracked"),
    },
    Metric {
        name: "pillory_dropped_packets_total",
        kind: "counter",
        help: "Packets that the rules have dropped, since they stand.",
        samples: |status| one(&status["effect"]["packets_dropped"]),
    },
    Metric {
        name: "pillory_dropped_bytes_total",
        kind: "counter",
        help: "Bytes of these packets.",
        samples: |status| one(&status["effect"]["bytes_dropped"]),
    },
    Metric {
        name: "pillory_ban_kernel_seconds",
        kind: "histogram",
        help: "How long after its line was read a ban was in the kernel.",
        samples: |status| histogram(&status["latency"], "kernel"),
    },
    Metric {
        name: "pillory_ban_durable_seconds",
        kind: "histogram",
        help: "How long after its line was read a ban was on the disk.",
        samples: |status| histogram(&status["latency"], "durable"),
    },
];

/// The text that a scrape gets. What the status does not tell, such as counters of a null route, is left out; all but
/// `pillory_up` is if there is no status ([`Value::Null`]).
pub(crate) fn text(status: &Value) -> String {
    let mut text = String::new();
    for Metric { name, kind, help, samples } in METRICS {
        let samples = samples(status);
        if samples.is_empty() {
            continue;
        }
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for Sample { suffix, labels, value } in samples {
            let labels: Vec<String> =
                labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{suffix}{labels} {value}");
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn plain(value: f64) -> Vec<Sample> {
    vec![Sample { suffix: "", labels: Vec::new(), value }]
}

/// A number or a truth, if it is one.
fn one(value: &Value) -> Vec<Sample> {
    value.as_f64().or_else(|| value.as_bool().map(f64::from)).map_or_else(Vec::new, plain)
}

fn of_jails(status: &Value, key: &str) -> Vec<Sample> {
    let sample = |jail: &Value| {
        let labels = vec![("jail", jail["name"].as_str()?.to_owned())];
        Some(Sample { suffix: "", labels, value: jail[key].as_f64()? })
    };
    status["jails"].as_array().into_iter().flatten().filter_map(sample).collect()
}

/// So many buckets have a bound: the powers of two of a microsecond. The status tells only of those that hold something.
const BOUNDS: u32 = 23;

/// Each bucket holds those of the ones before. All are told from the first scrape on, for a series that begins with its
/// first ban has no increase by that one, and quantiles need the same bounds at all times.
/// Source: prometheus.io, "Exposition formats", "Histograms and summaries"; "Instrumentation", "Avoid missing metrics".
fn histogram(latency: &Value, way: &str) -> Vec<Sample> {
    let field = |what: &str| &latency[format!("{way}_{what}")];
    let Some(all) = field("bans").as_f64() else { return Vec::new() };
    let told = field("buckets").as_array().map_or(&[][..], Vec::as_slice);
    let bans_in = |bucket: &Value| bucket["bans"].as_u64().unwrap_or(0);
    let below = |bound: u64| {
        let is_below = |bucket: &&Value| bucket["below_us"].as_u64().is_some_and(|told| told <= bound);
        told.iter().filter(is_below).map(bans_in).sum::<u64>() as f64
    };
    let bucket = |le: String, value| Sample { suffix: "_bucket", labels: vec![("le", le)], value };
    let bounds = (0..BOUNDS).map(|power| 1u64 << power);
    let finite = bounds.map(|bound| bucket((bound as f64 / 1e6).to_string(), below(bound)));
    let sum = field("sum_ms").as_f64().unwrap_or(0.0) / 1e3;
    let whole =
        [("_sum", sum), ("_count", all)].map(|(suffix, value)| Sample { suffix, labels: Vec::new(), value });
    finite.chain([bucket("+Inf".to_owned(), all)]).chain(whole).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_status_tells_is_told_and_what_it_lacks_is_left_out() {
        let latency = json!({"kernel_bans": 3, "kernel_sum_ms": 1.5, "kernel_buckets":
            [{"below_us": 512, "bans": 2}, {"below_us": 1024, "bans": 1}]});
        let status = json!({"version": "1.2", "banaction": "nullroute", "enforcing": true, "warnings": ["a"],
            "jails": [{"name": "a\"b", "lines": 7, "banned": 2}], "latency": latency});
        let text = text(&status);
        let expected = [
            "pillory_up 1",
            "pillory_build_info{version=\"1.2\",banaction=\"nullroute\"} 1",
            "pillory_enforcing 1",
            "pillory_warnings 1",
            "pillory_jail_lines_total{jail=\"a\\\"b\"} 7",
            "pillory_ban_kernel_seconds_bucket{le=\"0.000001\"} 0",
            "pillory_ban_kernel_seconds_bucket{le=\"0.000512\"} 2",
            "pillory_ban_kernel_seconds_bucket{le=\"0.001024\"} 3",
            "pillory_ban_kernel_seconds_bucket{le=\"4.194304\"} 3",
            "pillory_ban_kernel_seconds_bucket{le=\"+Inf\"} 3",
            "pillory_ban_kernel_seconds_sum 0.0015",
            "pillory_ban_kernel_seconds_count 3",
        ];
        for line in expected {
            assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
        }
        assert!(!text.contains("dropped") && !text.contains("durable") && !text.contains("uptime"), "{text}");
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_not_up_and_nothing_else_is_told() {
        let text = text(&Value::Null);
        let told: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(told, ["pillory_up 0"]);
    }

    #[test]
    fn all_buckets_are_told_from_zero_bans_on_and_grow_with_their_bounds() {
        let values = |buckets: Value, bans: u64| -> Vec<f64> {
            let latency = json!({"kernel_bans": bans, "kernel_sum_ms": 0.0, "kernel_buckets": buckets});
            let text = text(&json!({"latency": latency}));
            let buckets = text.lines().filter(|line| line.contains("_bucket{le="));
            buckets.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
        };
        assert_eq!(values(json!([]), 0), [0.0; 24]);
        let some = json!([{"below_us": 1, "bans": 2}, {"below_us": 4_194_304, "bans": 1},
            {"below_us": null, "bans": 4}]);
        let mut expected = [2.0; 24];
        expected[22..].copy_from_slice(&[3.0, 7.0]);
        assert_eq!(values(some, 7), expected);
    }
}
