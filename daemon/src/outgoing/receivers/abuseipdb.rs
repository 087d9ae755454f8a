//! AbuseIPDB, version 2 of its interface: single reports, and many as one file.
//! Source: <https://docs.abuseipdb.com/>, `REPORT endpoint` and `BULK-REPORT endpoint`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use ureq::http;

use pillory_core::outgoing::{Report, Url};
use pillory_core::wall::Service;

use super::super::http::{Answer, Web};
use super::super::{Failed, secret};
use super::{form, unfit};

/// Longer comments are cut there.
const COMMENT_BYTES: usize = 1_024;

/// What stands between the parts; what is sent is plain ASCII and has no such line.
const BOUNDARY: &str = "pillory-7f3d9c51a2e84b60";

/// Categories by their numbers. Source: <https://www.abuseipdb.com/categories>.
fn categories(service: Service) -> &'static str {
    match service {
        Service::Ssh => "18,22",
        Service::WordPress => "18,21",
        Service::Web => "21",
        Service::Ftp => "5,18",
        Service::Mail | Service::Other => "18",
    }
}

fn comment(report: &Report) -> String {
    let mut text = report.sentence();
    // All of it is ASCII.
    text.truncate(COMMENT_BYTES);
    text
}

/// What is sent of one.
pub(in super::super) fn body(report: &Report) -> String {
    let (ip, timestamp) = (report.addr.to_string(), report.last.to_string());
    form(&[
        ("ip", &ip),
        ("categories", categories(report.service())),
        ("timestamp", &timestamp),
        ("comment", &comment(report)),
    ])
}

/// Sends one.
/// # Errors
/// [`Failed`]
pub(in super::super) fn one(url: &Url, key_file: &Path, report: &Report) -> Result<(), Failed> {
    post(url, (key_file, "report"), "application/x-www-form-urlencoded", body(report))
}

/// Sends many as one file.
/// # Errors
/// [`Failed`]
pub(in super::super) fn many(url: &Url, key_file: &Path, reports: &[&Report]) -> Result<(), Failed> {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let file = csv(reports);
    let body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"csv\"; filename=\"report.csv\"\r\n\
         Content-Type: text/csv\r\n\r\n{file}\r\n--{BOUNDARY}--\r\n"
    );
    post(url, (key_file, "bulk-report"), &kind, body)
}

fn csv(reports: &[&Report]) -> String {
    let mut text = "IP,Categories,ReportDate,Comment\n".to_owned();
    for report in reports {
        let comment = comment(report).replace('"', "'");
        // A string takes all that is written to it.
        let _ = writeln!(
            text,
            "{},\"{}\",{},\"{comment}\"",
            report.addr,
            categories(report.service()),
            report.last
        );
    }
    text
}

fn post(url: &Url, (key_file, endpoint): (&Path, &str), kind: &str, body: String) -> Result<(), Failed> {
    let key = secret(key_file).map_err(Failed::lasting)?;
    let request = http::Request::post(url.join(endpoint))
        .header("key", key)
        .header("accept", "application/json")
        .header("content-type", kind)
        .body(body.into_bytes())
        .map_err(unfit)?;
    let answer = Web::new(None, 0, !url.as_str().starts_with("https:"))?.ask(request)?;
    answer.taken().map_err(|error| if is_about_address(&answer) { Failed::content(error.why) } else { error })
}

/// True if the address is what is refused, whatever the status: it was reported by us a moment ago, or may not be. Of the
/// key, and of the limit of a day, it would say the same of every report.
fn is_about_address(answer: &Answer) -> bool {
    let body = answer.body.as_deref().unwrap_or_default();
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    said["errors"].as_array().into_iter().flatten().any(|error| error["source"]["parameter"] == "ip")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillory_core::event::JailName;
    use pillory_core::time::Timestamp;

    fn report(addr: &str, names: &[&str]) -> Report {
        let at = Timestamp::from_secs(1_800_000_000);
        Report {
            addr: addr.parse().unwrap(),
            jail: JailName::new("sshd").unwrap(),
            first: at,
            last: at,
            tries: 3,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            lines: Vec::new(),
        }
    }

    #[test]
    fn one_is_a_form_and_many_are_a_file() {
        let one = body(&report("2001:db8::7", &["root"]));
        let expected = "ip=2001%3Adb8%3A%3A7&categories=18%2C22&timestamp=2027-01-15T08%3A00%3A00Z&comment=3+ssh+attempts";
        assert!(one.starts_with(expected), "{one}");
        let file = csv(&[&report("192.0.2.7", &["root", "admin"]), &report("192.0.2.8", &[])]);
        let lines: Vec<&str> = file.lines().collect();
        assert_eq!(lines[0], "IP,Categories,ReportDate,Comment");
        assert_eq!(
            lines[1],
            "192.0.2.7,\"18,22\",2027-01-15T08:00:00Z,\"3 ssh attempts at 2027-01-15T08:00:00Z; names tried: root, admin\""
        );
        assert_eq!(lines.len(), 3);
    }
}
