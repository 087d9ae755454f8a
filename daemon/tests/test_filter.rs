//! `pillory test-filter` with filters of a fail2ban directory, as a user runs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lab::{Place, say_skipped, stock_fail2ban};

/// The clock and zone of the corpus.
const CLOCK: [&str; 4] = ["--now", "1124013600", "--tz", "CET-01CEST-02,M3.5.0,M10.5.0"];

/// A login whose address comes last, as sshd of old wrote it.
const LATE: &str = "\
Aug 14 11:59:58 srv sshd[77]: User root not allowed because account is locked
Aug 14 11:59:58 srv sshd[77]: input_userauth_request: invalid user root [preauth]
Aug 14 11:59:59 srv sshd[77]: Received disconnect from 192.0.2.7: 11: Bye Bye [preauth]
Aug 14 12:00:00 srv cron[9]: nothing
";

fn values(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

#[test]
fn a_failure_is_told_on_the_line_that_brings_its_address() {
    let Some(stock) = stock_fail2ban() else { return };
    let place = Place::new("late");
    let log = place.write("auth.log", LATE);
    let stock = stock.display().to_string();
    let mut args = vec!["test-filter", "--json", "--fail2ban", &stock];
    args.extend(CLOCK);
    args.extend(["sshd[mode=normal]", &log]);
    let answer = place.run(&args);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let lines = values(&answer.out);
    let verdicts: Vec<&str> = lines.iter().filter_map(|line| line["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["nofail", "miss", "failure", "miss"]);
    assert_eq!(lines[0]["prefix"], Value::Null);
    assert_eq!((&lines[2]["prefix"], &lines[2]["user"]), (&"192.0.2.7/32".into(), &"root".into()));
    assert_eq!(lines[2]["captures"]["ip4"], "192.0.2.7");
    let summary = &lines[4]["summary"];
    assert_eq!(
        (&summary["failures"], &summary["nofail"], &summary["misses"]),
        (&1.into(), &1.into(), &2.into())
    );
}

#[test]
fn options_of_the_filter_decide() {
    let Some(stock) = stock_fail2ban() else { return };
    let place = Place::new("options");
    let log = place.write(
        "auth.log",
        "Aug 14 12:00:00 srv sshd[8]: Did not receive identification string from 192.0.2.7\n",
    );
    let stock = stock.display().to_string();
    for (filter, code) in [("sshd", 1), ("sshd[mode=aggressive]", 0), ("sshd[mode='ddos', logtype=file]", 0)]
    {
        let answer = place.run(&["test-filter", "--fail2ban", &stock, filter, &log]);
        assert_eq!(answer.code, Some(code), "{filter}: {answer:?}");
    }
    let own =
        place.write("own.conf", "[Init]\nword = never\n[Definition]\nfailregex = ^\\s*<word> from <HOST>$\n");
    let log = place.write("own.log", "2026-01-02 03:04:05 denied from 192.0.2.7\n");
    assert_eq!(place.run(&["test-filter", &own, &log]).code, Some(1));
    assert_eq!(place.run(&["test-filter", &format!("{own}[word=denied]"), &log]).code, Some(0));
    for wrong in ["sshd[", "no-such", "sshd]x"] {
        let answer = place.run(&["test-filter", "--fail2ban", &stock, wrong, &log]);
        assert_eq!(answer.code, Some(2), "{wrong}: {answer:?}");
        assert!(!answer.err.is_empty(), "{wrong}");
    }
    assert_eq!(place.run(&["test-filter", "--fail2ban", "/nowhere", "sshd", &log]).code, Some(2));
}

#[test]
fn usedns_says_whether_a_name_is_an_address() {
    let place = Place::new("usedns");
    std::fs::create_dir_all(place.0.join("filter.d")).expect("a folder");
    place.write("filter.d/app.conf", "[Definition]\nfailregex = ^\\s*no from <HOST>$\n");
    let log = place.write("app.log", "2026-01-02 03:04:05 no from host.example.net\n");
    let directory = place.0.display().to_string();
    for (usedns, verdict) in [("warn", "failure"), ("raw", "failure"), ("no", "miss")] {
        let answer =
            place.run(&["test-filter", "--json", "--fail2ban", &directory, "--usedns", usedns, "app", &log]);
        let told = &values(&answer.out)[0];
        assert_eq!(told["verdict"], verdict, "{usedns}: {answer:?}");
        assert_eq!(told["prefix"], Value::Null);
        assert_eq!(told["id"] == "host.example.net", verdict == "failure", "{told}");
    }
}

#[test]
fn a_terminal_shows_captures_dates_and_counts() {
    let Some(stock) = stock_fail2ban() else { return };
    let place = Place::new("text");
    let log = place.write("auth.log", LATE);
    let stock = stock.display().to_string();
    let answer = place.run(&["test-filter", "--fail2ban", &stock, "sshd", &log]);
    for said in [
        "= 192.0.2.7 user root",
        "with: Aug 14 11:59:58 srv sshd[77]: User root not allowed",
        "date: \"Aug 14 11:59:59\" by ",
        "ip4: \"192.0.2.7\"",
        "       1 x failregex ",
        "       4 x date by ",
        "4 lines by filter sshd: 1 failure, ",
    ] {
        assert!(answer.out.contains(said), "{said:?} is not in\n{}", answer.out);
    }
    let own =
        place.write("own.conf", "[Definition]\nfailregex = ^\\s*no from <HOST>\nignoreregex = never\\S*$\n");
    let log = place.write("own.log", "no from 192.0.2.7\nno from 192.0.2.8 nevermind\n");
    let text = place.run(&["test-filter", &own, &log]).out;
    assert!(text.contains("       1 x ignoreregex 0: never"), "{text}");
    assert!(text.contains("       2 x no date"), "{text}");
}

/// The records of the corpus by instance, in order; those of Debian's package with a filter of its directory.
fn instances(stock: &Path) -> Option<BTreeMap<String, Vec<Value>>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/fail2ban");
    if !root.exists() {
        say_skipped("no corpus of fail2ban's decisions beside the project");
        return None;
    }
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for entry in std::fs::read_dir(root).expect("the corpus can be listed").flatten() {
        let path = entry.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_record = path.extension().is_some_and(|ending| ending == "jsonl");
        if !is_record {
            continue;
        }
        for line in std::fs::read_to_string(path).expect("a text").lines() {
            let record: Value = serde_json::from_str(line).expect("a record");
            let filter = format!("filter.d/{}.conf", record["filter"].as_str().unwrap_or_default());
            if record["debian"].get("match").is_some() && stock.join(filter).exists() {
                found.entry(format!("{name}/{}", record["instance"])).or_default().push(record);
            }
        }
    }
    found.values_mut().for_each(|records| records.sort_by_key(|record| record["order"].as_u64()));
    Some(found)
}

/// `name[option="value"]`.
fn filter_of(record: &Value) -> String {
    let options = record["filter_options"].as_object().into_iter().flatten();
    let options: Vec<String> =
        options.map(|(key, value)| format!("{key}=\"{}\"", value.as_str().unwrap_or_default())).collect();
    let name = record["filter"].as_str().unwrap_or_default();
    if options.is_empty() { name.to_owned() } else { format!("{name}[{}]", options.join(",")) }
}

/// Match, identity, time, user, expression and captures in the words of `test-filter`.
fn expected(record: &Value) -> Value {
    let first = &record["debian"]["results_first"][0];
    if first.is_null() {
        return Value::Null;
    }
    let mut data = first["data"].as_object().cloned().unwrap_or_default();
    data.retain(|_, value| !value.is_null());
    if let Some(Value::Array(users)) = data.get_mut("users") {
        users.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    let user = data.get("user").and_then(Value::as_str).filter(|user| !user.is_empty());
    serde_json::json!({"fid": first["fid"], "time": first["time"].as_f64(), "failregex": first["regex"],
        "user": user, "captures": data})
}

fn told(line: &Value) -> Value {
    if line["verdict"] != "failure" {
        return Value::Null;
    }
    let host = |prefix: &str| {
        let bare = prefix.strip_suffix("/32").or_else(|| prefix.strip_suffix("/128"));
        bare.unwrap_or(prefix).to_owned()
    };
    let fid = line["prefix"].as_str().map(host).or_else(|| line["id"].as_str().map(str::to_owned));
    serde_json::json!({"fid": fid, "time": line["time"], "failregex": line["failregex"], "user": line["user"],
        "captures": line["captures"]})
}

#[test]
fn what_fail2ban_decides_for_its_sample_lines_is_what_the_command_says() {
    let Some(stock) = stock_fail2ban() else { return };
    let Some(instances) = instances(&stock) else { return };
    let place = Place::new("corpus");
    let stock = stock.display().to_string();
    let (mut compared, mut failures) = (0, 0);
    for (name, records) in instances {
        let lines: String = records
            .iter()
            .map(|record| format!("{}\n", record["line"].as_str().unwrap_or_default()))
            .collect();
        let log = place.write("log", lines);
        let filter = filter_of(&records[0]);
        let mut args = vec!["test-filter", "--json", "--fail2ban", &stock];
        args.extend(CLOCK);
        args.extend((records[0]["via_journal"] == true).then_some("--journal"));
        args.extend([filter.as_str(), &log]);
        let answer = place.run(&args);
        let said = values(&answer.out);
        assert_eq!(said.len(), records.len() + 1, "{name}: {answer:?}");
        for (record, line) in records.iter().zip(&said) {
            assert_eq!(told(line), expected(record), "{name} line {}: {}", record["lineno"], record["line"]);
            compared += 1;
            failures += u64::from(line["verdict"] == "failure");
        }
    }
    assert!(compared > 1_100 && failures > 850, "{compared} records and {failures} failures: too few");
}

#[test]
fn the_filter_of_a_jail_is_taken_from_the_configuration() {
    let place = Place::new("of-a-jail");
    let log = place.write("app.log", "app: denied 192.0.2.7\nDenied from 192.0.2.8\n");
    let config = place.write(
        "pillory.toml",
        format!("[jail.app]\nlogpath = {log:?}\nfailregex = ['^app: denied <HOST>$']\n[jail.sshd]\nfailregex = ['^Denied from <HOST>$']\n"),
    );
    let prefix_of = |args: &[&str]| -> Vec<String> {
        let answer = place.run(&[&["test-filter", "--json"], args].concat());
        assert_eq!(answer.code, Some(0), "{args:?}: {answer:?}");
        let prefixes = values(&answer.out);
        prefixes.iter().filter_map(|value| value["prefix"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(prefix_of(&["--jail", "app", "--config", &config, &log]), ["192.0.2.7/32"]);
    // The jail's own, and not the built-in filter of its name.
    assert_eq!(prefix_of(&["--jail", "sshd", "--config", &config, &log]), ["192.0.2.8/32"]);
    std::fs::create_dir_all(place.0.join("f2b/filter.d")).expect("a directory");
    place.write("f2b/filter.d/mine.conf", "[Definition]\nfailregex = ^\\s*<word> from <HOST>$\nword = no\n");
    let jail = format!("[theirs]\nenabled = true\nfilter = mine[word=Denied]\nlogpath = {log}\n");
    place.write("f2b/jail.local", &jail);
    let directory = place.0.join("f2b").display().to_string();
    assert_eq!(prefix_of(&["--fail2ban", &directory, "--jail", "theirs", &log]), ["192.0.2.8/32"]);
    for (args, said) in [
        (&["--jail", "ap", "--config", &config, &log][..], "did you mean app?"),
        (&["--jail", "app", "--config", &config, "sshd", &log], "test-filter --jail JAIL FILE"),
        (&["--config", &config, "sshd", &log], "--jail"),
        (&["sshd"], "<FILE>"),
    ] {
        let answer = place.run(&[&["test-filter"], args].concat());
        assert!(answer.code == Some(2) && answer.err.contains(said), "{args:?}: {answer:?}");
    }
}
