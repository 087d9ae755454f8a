use super::*;
use crate::config::outgoing::{Form, MailTls, Outgoing, Receiver, Syslog, Way};
use crate::config::{Problem, raw, resolve};
use crate::outgoing::Kind;

fn outgoing(text: &str) -> Result<Outgoing, Vec<String>> {
    raw::parse("p", text)
        .and_then(|raw| resolve::resolve(&raw))
        .map(|config| config.outgoing)
        .map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

#[test]
fn nothing_is_sent_unless_it_is_written() {
    let outgoing = outgoing("").unwrap();
    assert!(!outgoing.is_any());
    assert_eq!(outgoing.rdap.url.as_str(), "https://rdap.org");
}

#[test]
fn each_way_of_telling_is_read() {
    let text = "[notify.a]\nkind = \"mail\"\nserver = \"smtps://mail.example.net\"\nfrom = \"p@example.net\"\nto = [\"a@example.net\", \"b@example.net\"]\n\
        [notify.b]\nkind = \"webhook\"\nurl_file = \"/etc/pillory/hook\"\npreset = \"slack\"\non = \"ban\"\n\
        [notify.c]\nkind = \"syslog\"\nserver = \"udp://192.0.2.1\"\n\
        [notify.d]\nkind = \"command\"\ncommand = [\"/bin/tell\", \"me\"]\nlimit = 3\ndigest = \"1s\"\n";
    let notify = outgoing(text).unwrap().notify;
    let Way::Mail(mail) = &notify[0].way else { panic!("{notify:?}") };
    assert_eq!(
        (mail.host.as_str(), mail.port, mail.tls, mail.to.len()),
        ("mail.example.net", 465, MailTls::Wrapped, 2)
    );
    assert_eq!(notify[0].on, Kind::USUAL);
    let Way::Webhook(hook) = &notify[1].way else { panic!("{notify:?}") };
    assert_eq!((&hook.form, notify[1].on.as_slice()), (&Form::Slack, &[Kind::Ban][..]));
    assert_eq!(notify[2].way, Way::Syslog(Syslog::Udp("192.0.2.1".into(), 514)));
    assert_eq!(notify[3].way, Way::Command(vec!["/bin/tell".into(), "me".into()]));
    assert_eq!((notify[3].pace.hourly, notify[3].pace.gather), (Some(3), Span::from_secs(1)));
}

#[test]
fn each_receiver_of_reports_is_read() {
    let text = "[report.abuseipdb]\nkey_file = \"/k\"\nbudget = 5\nbulk = 0\n\
        [report.blocklist-de]\nkey_file = \"/k\"\nserver = \"s@example.net\"\ncool_down = \"1h\"\n\
        [report.xarf]\nserver = \"smtp://localhost:25\"\ntls = \"none\"\nfrom = \"p@example.net\"\norganisation = \"Example\"\n";
    let reports = outgoing(text).unwrap().reports;
    let names: Vec<&str> = reports.iter().map(|to| to.name()).collect();
    assert_eq!(names, ["abuseipdb", "blocklist-de", "xarf"]);
    assert_eq!((reports[0].pace.daily, reports[1].cool_down), (Some(5), Span::from_secs(3_600)));
    assert!(matches!(&reports[0].to, Receiver::AbuseIpDb { bulk: None, url, .. } if url.port() == 443));
    assert!(
        matches!(&reports[2].to, Receiver::Xarf { mail, .. } if mail.tls == MailTls::None && mail.port == 25)
    );
}

#[test]
fn every_mistake_of_a_section_is_told() {
    let text = "[notify.a]\nkind = \"mail\"\nserver = \"mail.example.net\"\nfrom = \"nobody\"\nuser = \"x\"\nurl = \"y\"\n";
    let problems = outgoing(text).unwrap_err();
    let has = |words: &str| problems.iter().any(|problem| problem.contains(words));
    for words in [
        "p:1: notify a: server \"mail.example.net\" begins neither",
        "a: from \"nobody\" is no address of mail",
        "a: to is missing",
        "a: user and password_file belong together",
        "a: there is no key \"url\"",
    ] {
        assert!(has(words), "{words}: {problems:#?}");
    }
}

#[test]
fn nothing_secret_goes_over_an_open_line_and_nothing_in_a_shell() {
    for (text, words) in [
        (
            "[notify.a]\nkind = \"webhook\"\nurl = \"http://example.net/\"\ntoken_file = \"/t\"\n",
            "in the open",
        ),
        ("[report.abuseipdb]\nkey_file = \"/k\"\nurl = \"http://example.net/\"\n", "in the open"),
        (
            "[notify.a]\nkind = \"mail\"\nserver = \"smtp://example.net\"\ntls = \"none\"\nfrom = \"a@b\"\nto = \"a@b\"\nuser = \"u\"\npassword_file = \"/p\"\n",
            "in the open",
        ),
        ("[notify.a]\nkind = \"command\"\ncommand = \"tell me\"\n", "absolute path"),
        (
            "[notify.a]\nkind = \"webhook\"\nurl = \"https://a/\"\nheaders = { X = \"a\\r\\nB: c\" }\n",
            "no header field",
        ),
        (
            "[notify.a]\nkind = \"mail\"\nserver = \"smtp://a\"\nfrom = \"a@b\\r\\nBcc: c@d\"\nto = \"a@b\"\n",
            "no address of mail",
        ),
        ("[report.abuseipdb]\nkey_file = \"/k\"\ncool_down = \"1m\"\n", "too short"),
        ("[report.police]\nkey_file = \"/k\"\n", "nobody of that name"),
        ("[notify.a]\nkind = \"pigeon\"\n", "not known"),
        ("[notify.a]\nkind = \"syslog\"\non = [\"everything\"]\n", "not known"),
        ("[rdap]\nurl = \"rdap.example.net\"\n", "begins neither"),
    ] {
        let problems = outgoing(text).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(words)), "{text}: {problems:#?}");
    }
}
