//! Filter files, good and bad.

use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;

fn spec(text: &str) -> Result<FilterSpec, Vec<SpecError>> {
    FilterSpec::parse("test", text, &|name| {
        (name == "common.conf").then(|| "[DEFAULT]\n_daemon = \\S+\n__line = %(_daemon)s:\\s\n".to_owned())
    })
}

#[test]
fn fills_in_options_tags_and_includes() {
    let text = "[INCLUDES]\nbefore = common.conf\n[Definition]\n_daemon = sshd\nfailregex = ^%(__line)s%%<what>\n  \
                <re-<mode>>\nfailclass = 0-1:scan\njournalmatch = A=1 B=2 + C=3\n[Init]\nwhat = x<HOST>\n\
                mode = b\nre-b = ^b <HOST>\n";
    let spec = spec(text).unwrap();
    assert_eq!(spec.failregex, [r"^sshd:\s%x<HOST>", "^b <HOST>"]);
    assert_eq!(spec.failclass, [(0, Class::Scan), (1, Class::Scan)]);
    assert_eq!(spec.journalmatch.len(), 2);
}

#[test]
fn reports_every_problem_with_its_line() {
    let text = "[Definition]\nfailregex = %(none)s\nfailclass = x\nmaxlines = 3\njournalmatch = x\n";
    let problems = spec(text).unwrap_err();
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 2, 3, 4, 5]);
    assert!(problems[0].to_string().starts_with("test:2: %(none)s"), "{}", problems[0]);
}

#[test]
fn a_value_that_refers_to_itself_is_an_error() {
    for text in [
        "[Definition]\na = %(b)s\nb = %(a)s\nfailregex = %(a)s\n",
        "[Definition]\nfailregex = <a>\n[Init]\na = <b><b>\nb = <a><a>\n",
    ] {
        assert!(
            matches!(spec(text).unwrap_err()[0].problem, SpecProblem::Text(TextProblem::Endless(_))),
            "{text}"
        );
    }
}

#[test]
fn an_include_that_is_not_there_is_named() {
    let problems = spec("[INCLUDES]\nbefore = other.conf\n[Definition]\nfailregex = <HOST>\n").unwrap_err();
    assert_eq!(problems[0].problem, TextProblem::NoInclude("other.conf".to_owned()).into());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_text_upsets_the_reader(text in "(\\[(INCLUDES|Definition|Init|x)\\]?\n|(before|failregex|a|b|failclass) ?[=:]|[ -~]|%\\([ab]\\)s|<[ab]>|\n ?|é){0,60}") {
        let _ = spec(&text);
    }

    #[test]
    fn no_expression_upsets_the_compiler(text in "([ -~]|\\\\.|\\(\\?[:iPx=<!#]|<HOST>|</?F-[A-Z]{1,4}/?>|\\{[0-9],?[0-9]?\\}|[*+?|)^$]|é){0,24}", line in "[ -~]{0,40}") {
        let spec = FilterSpec {
            failregex: vec![format!("<HOST>{text}"), text.clone()],
            datepattern: Some(text),
            ..FilterSpec::default()
        };
        let clock = crate::filter::Clock { now: Timestamp::default(), zone: jiff::tz::TimeZone::UTC };
        for spec in [FilterSpec { datepattern: None, ..spec.clone() }, FilterSpec { failregex: vec!["<HOST>".to_owned()], ..spec }] {
            if let Ok(mut filter) = crate::filter::Filter::compile(&spec) {
                filter.examine(&crate::event::Line { bytes: line.as_bytes(), stamp: None }, &clock);
            }
        }
    }
}
