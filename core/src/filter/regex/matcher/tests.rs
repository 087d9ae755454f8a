//! Bounds of the matcher; what it finds is compared with Python's own engine in `core/tests/python.rs`.

use super::*;
use crate::filter::regex::{Options, RegexProblem, parse};

fn matcher(pattern: &str) -> Matcher {
    Matcher::new(parse(pattern, Options::default()).unwrap()).unwrap()
}

/// What the second form finds; nothing if it takes more steps.
fn carefully(pattern: &str, text: &[u8], budget: usize) -> Option<Found> {
    let code = build::careful(&parse(pattern, Options::default()).unwrap()).unwrap();
    let mut memo = Memo::new(&code, text)?;
    run(&code, &mut Scratch::default(), text, budget, Some(&mut memo), (0, 0)).ok()
}

#[test]
fn exponential_expressions_take_linear_time() {
    let text = [b'a'; 10_000];
    for pattern in [
        "^(?:a|aa)*b",
        "^(?:a?)*b",
        "^(a*)*b",
        "^((?:a+)+)+b",
        "(?:a*)*(?:a*)*b",
        "(a|b|ab)*?c",
        "^(?=(?:a|aa)*$)(?:a*)*b",
        "(?:(?=a*(?:b|$))a)+c",
        "(?:(?>a*)|a)+c",
        "(?:(?!a*b)a)+c",
        "^(?:(a)|b)*(?(1)(?:a*)*b|c)",
    ] {
        assert_eq!(carefully(pattern, &text, text.len() * 120), Some(Found::Nothing), "{pattern}");
    }
}

#[test]
fn a_search_goes_over_to_the_second_form_by_itself() {
    let mut text = vec![b'a'; 5_000];
    let mut scratch = Scratch::default();
    let mut matcher = matcher("^(?:a|aa)*(b)");
    assert_eq!(matcher.search(&mut scratch, &text), Found::Nothing);
    assert!(matcher.careful.is_some());
    text.push(b'b');
    assert_eq!(matcher.search(&mut scratch, &text), Found::Match);
    assert_eq!(
        (scratch.group(0), scratch.group(1), scratch.group(2)),
        (Some(0..5_001), Some(5_000..5_001), None)
    );
}

#[test]
fn a_backreference_that_takes_too_long_is_said() {
    let text = [b'a'; 2_000];
    let found = matcher(r"^(a+)+(a+)+\1\2\1\2b").search(&mut Scratch::default(), &text);
    assert_eq!(found, Found::Limit);
}

#[test]
fn what_follows_the_last_backreference_is_remembered() {
    let text = [b'a'; 5_000];
    let found = matcher(r"^(x?)\1(?:a|aa)*b").search(&mut Scratch::default(), &text);
    assert_eq!(found, Found::Nothing);
}

#[test]
fn repetitions_that_unfold_too_far_are_refused() {
    for pattern in ["(?:(?:ab){1000}){1000}", "(?:(?:(?:(?:ab){99}){99}){99}){99}", "(?:ab){4000000000}"] {
        let tree = parse(pattern, Options::default()).unwrap();
        let error = Matcher::new(tree).unwrap_err();
        assert!(matches!(error.problem, RegexProblem::Size(_)), "{pattern}: {error}");
    }
    // Nothing, however often, is nothing.
    assert_eq!(
        matcher("^(?:(?:){4000000000}){4000000000}a").search(&mut Scratch::default(), b"a"),
        Found::Match
    );
}

#[test]
fn bytes_that_are_no_text_count_as_a_decoder_replaces_them() {
    let mut scratch = Scratch::default();
    for (text, characters) in [
        (&b"\xff"[..], 1),
        (b"\xe2\x82", 1),
        (b"\xe2\x82\xff", 2),
        (b"\xed\xa0\x80", 3),
        (b"\xf0\x9f\x98\x80", 1),
    ] {
        assert_eq!(String::from_utf8_lossy(text).chars().count(), characters);
        assert_eq!(matcher(&format!("^.{{{characters}}}$")).search(&mut scratch, text), Found::Match);
        assert_eq!(
            matcher(&format!("^(?:.){{{}}}", characters + 1)).search(&mut scratch, text),
            Found::Nothing
        );
        assert_eq!(matcher(&format!("(?<=^.{{{characters}}})$")).search(&mut scratch, text), Found::Match);
    }
}
