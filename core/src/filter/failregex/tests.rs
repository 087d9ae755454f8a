//! Expressions of Python's dialect and what becomes of them.

use super::*;

fn pattern(text: &str) -> String {
    translate(text).unwrap().pattern
}

#[test]
fn an_expression_that_may_begin_anywhere_says_so() {
    assert_eq!(pattern("^a"), r"(?:\Aa)");
    assert_eq!(pattern("a$"), r"(?s:.)*?(?:a\z)");
    assert_eq!(pattern("^a|b"), r"(?s:.)*?(?:\Aa|b)");
    assert_eq!(pattern("^(?:a|b)"), r"(?:\A(?:a|b))");
}

#[test]
fn braces_sets_and_escapes_keep_their_python_meaning() {
    assert_eq!(pattern("^a{,3}{x}"), r"(?:\Aa{0,3}\{x\})");
    assert_eq!(pattern(r"^[][&~a-]"), r"(?:\A[\]\[\&\~a\-])");
    assert_eq!(pattern(r"^\<a\>\Z"), r"(?:\A<a>\z)");
    assert_eq!(pattern(r"^(?ia)x(?#note)y"), r"(?:\A(?i)xy)");
}

#[test]
fn refuses_what_it_cannot_say_exactly_with_its_column() {
    for (text, column) in
        [("a(?=b)", 2), (r"(a)\1", 4), ("(?P<x>a)(?P=x)", 9), ("(a)?(?(1)b|c)", 5), ("a*+b", 3), ("(?>a)", 1)]
    {
        assert_eq!(translate(text).unwrap_err().column, column, "{text}");
    }
    assert!(translate(r"\y").is_err());
    assert!(translate("<F-USER>a").is_err());
    assert!(translate("a</F-USER>").is_err());
    assert!(translate("<SKIPLINES>").is_err());
    assert!(translate("[a").is_err());
}

#[test]
fn tags_become_named_groups() {
    assert_eq!(pattern("^<F-USER>a</F-USER><b>"), r"(?:\A(?P<user>a)<b>)");
    assert_eq!(pattern("^<F-ID/>"), r"(?:\A(?P<fid>\S+))");
}
