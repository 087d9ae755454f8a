//! What the parser makes of expressions. What it accepts is compared with Python's own in `core/tests/python.rs`.

use super::*;

fn column(pattern: &str) -> usize {
    parse(pattern, Options::default()).unwrap_err().column
}

#[test]
fn an_error_names_its_column() {
    for (pattern, at) in [
        ("é[a", 2),
        ("ab(c", 3),
        ("ab)", 3),
        ("a**", 3),
        ("^*", 2),
        ("a{3,2}", 2),
        (r"a\y", 2),
        ("[a-cz-x]", 5),
        (r"(a)\2", 4),
        ("(?P=n)", 1),
        ("a(?i)", 2),
        ("(?<=a*)b", 1),
        ("(?(1)a|b|c)", 9),
        ("(?z)", 1),
    ] {
        assert_eq!(column(pattern), at, "{pattern}");
    }
}

#[test]
fn hostile_expressions_neither_overflow_nor_take_long() {
    for piece in
        ["(", "(?:", "(?=", "(?>", "(?(1)", "(?i:", "(?<=", "[", "{", "\\", "(?P<a>", "|", "a|", "(?#", "a*"]
    {
        let _ = parse(&piece.repeat(30_000), Options::default());
    }
    let deep = |depth: usize| format!("{}a{}", "(?:".repeat(depth), ")*".repeat(depth));
    assert!(parse(&deep(MAX_DEPTH), Options::default()).is_ok());
    assert!(matches!(
        parse(&deep(MAX_DEPTH + 1), Options::default()).unwrap_err().problem,
        RegexProblem::Depth(MAX_DEPTH)
    ));
    let long = "a".repeat(MAX_CHARS + 1);
    assert!(matches!(parse(&long, Options::default()).unwrap_err().problem, RegexProblem::Size(_)));
}

#[test]
fn parts_know_where_they_stand() {
    let tree = parse("é(?:ab|[c-d]+)$", Options::default()).unwrap();
    let Kind::Concat(parts) = &tree.root.kind else { panic!("{tree:?}") };
    let spans: Vec<_> = parts.iter().map(|part| part.span.clone()).collect();
    assert_eq!(spans, [1..2, 2..15, 15..16]);
}

#[test]
fn groups_are_found_by_their_names() {
    let tree = parse("(a)(?P<user>b)", Options::default()).unwrap();
    assert_eq!((tree.group("user"), tree.group("host"), tree.groups.len()), (Some(2), None, 3));
}
