//! Tags and what becomes of them.

use super::*;

fn pattern(text: &str, names: HostNames) -> String {
    expand(text, names).unwrap().pattern
}

#[test]
fn custom_tags_become_named_groups_and_unknown_ones_stay() {
    assert_eq!(
        pattern("^<F-USER>a</F-USER><b></F-X><F-USER/>", HostNames::Match),
        "^(?P<user>a)<b></F-X><F-USER/>"
    );
    assert_eq!(pattern("<F-ID>a</F-ID><F-PORT/>", HostNames::Match), r"(?P<fid>a)(?P<fport>\w+)");
    assert_eq!(
        pattern("<SKIPLINES><SKIPLINES>", HostNames::Match),
        r"\n(?P<skiplines0>(?:.*\n)*?)\n(?P<skiplines1>(?:.*\n)*?)"
    );
}

#[test]
fn a_host_is_a_name_only_if_names_are_used() {
    assert!(pattern("<HOST>", HostNames::Match).contains("(?P<dns>"));
    assert!(!pattern("<HOST>", HostNames::Refuse).contains("(?P<dns>"));
    assert_eq!(pattern("<HOST>", HostNames::Refuse), pattern("<ADDR>", HostNames::Match));
}

#[test]
fn columns_lead_back_to_what_was_written() {
    let expanded = expand("é<HOST>*?+", HostNames::Match).unwrap();
    let last = expanded.pattern.chars().count();
    assert_eq!((expanded.column(1), expanded.column(2), expanded.column(last)), (1, 2, 10));
    assert_eq!(expanded.column(last + 1), 11);
}

#[test]
fn flags_that_open_a_group_hold_within_it() {
    assert_eq!(pattern(r"a((?i)b)(?:(?is)c)\((?i)", HostNames::Match), r"a(?i:b)(?is:c)\((?i)");
}
