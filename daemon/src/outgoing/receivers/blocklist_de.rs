//! blocklist.de. Source: <https://www.blocklist.de/en/httpreports.html?help>.

use std::path::Path;

use serde_json::Value;
use ureq::http;

use pillory_core::outgoing::{Report, Url};
use pillory_core::wall::Service;

use crate::escape::escape;

use super::super::http::Web;
use super::super::{Failed, secret};
use super::{form, unfit};

fn service(service: Service) -> &'static str {
    match service {
        Service::Ssh => "ssh",
        Service::WordPress => "bruteforcelogin",
        Service::Web => "apache",
        Service::Mail => "mail",
        Service::Ftp => "ftp",
        Service::Other => "all",
    }
}

/// What is sent of one.
pub(in super::super) fn body(server: &str, key: &str, report: &Report) -> String {
    let (ip, logs) = (report.addr.to_string(), report.lines.join("\n"));
    form(&[
        ("server", server),
        ("apikey", key),
        ("service", service(report.service())),
        ("ip", &ip),
        ("logs", &logs),
        ("format", "json"),
    ])
}

/// Sends one.
/// # Errors
/// [`Failed`]
pub(in super::super) fn send(
    url: &Url,
    (key_file, server): (&Path, &str),
    report: &Report,
) -> Result<(), Failed> {
    let key = secret(key_file).map_err(Failed::lasting)?;
    let request = http::Request::post(url.as_str())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body(server, &key, report).into_bytes())
        .map_err(unfit)?;
    let answer = Web::new(None, 0, !url.as_str().starts_with("https:"))?.ask(request)?;
    answer.taken()?;
    refused(answer.body.as_deref().unwrap_or_default())
}

/// It answers 200 to what it does not take, too, and says so in words.
fn refused(body: &[u8]) -> Result<(), Failed> {
    let Ok(said) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
    if said["status"].as_str() != Some("error") {
        return Ok(());
    }
    let why: String = said["error"].to_string().chars().take(200).collect();
    let why = format!("the server refused it: {}", escape(&why));
    // Of the key or the server it would say the same of every report.
    match why.contains("apikey") || why.contains("server\"") {
        true => Err(Failed::lasting(why)),
        false => Err(Failed::content(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_with_a_status_of_200_is_refused() {
        assert_eq!(refused(b"{\"status\": \"success\", \"error\": 0}"), Ok(()));
        assert_eq!(refused(b"garbage"), Ok(()));
        let key =
            refused(b"{\"status\": \"error\", \"error\": {\"apikey\": \"Please give it\"}}").unwrap_err();
        assert!(key.setback.is_lasting);
        let ip = refused(b"{\"status\": \"error\", \"error\": {\"ip\": \"is none\"}}").unwrap_err();
        assert!(ip.is_about_content && !ip.setback.is_lasting);
    }
}
