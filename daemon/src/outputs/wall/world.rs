//! Countries: what they are called, and a map of where attempts came from, drawn here without tiles.
//!
//! `world.tsv` is made by `scripts/world-map.py`: a line a country, with its two letters, its name and its outline.

use std::fmt::Write as _;

use pillory_core::wall::Group;

/// Source: Natural Earth, 1:110m, in the public domain.
const WORLD: &str = include_str!("world.tsv");

/// The sheet that the outlines are drawn on.
const SIZE: &str = "720 313";

/// A line of the table.
struct Outline {
    code: &'static str,
    name: &'static str,
    path: &'static str,
}

fn outlines() -> impl Iterator<Item = Outline> {
    WORLD.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        Some(Outline { code: columns.next()?, name: columns.next()?, path: columns.next()? })
    })
}

/// What a country is called, by its two letters; nothing if the table has it not.
pub(crate) fn name(code: &str) -> Option<&'static str> {
    outlines().find(|outline| outline.code == code).map(|outline| outline.name)
}

/// A map of attempts by country, the darker the more; the table beside it says the same. Nothing if no country is known.
pub(super) fn map(countries: &[Group]) -> String {
    let Some(most) = countries.iter().map(|country| country.attempts).max().filter(|most| *most > 0) else {
        return String::new();
    };
    let (mut quiet, mut loud) = (String::new(), String::new());
    for Outline { code, name, path } in outlines() {
        let Some(country) = countries.iter().find(|country| country.name == code) else {
            quiet.push_str(path);
            continue;
        };
        // By the root, for a few countries have nearly all; a tenth at least, so that few can be told from none.
        let share = (country.attempts as f64 / most as f64).sqrt();
        let (opacity, attempts) = (0.1 + 0.9 * share, country.attempts);
        let _ = write!(
            loud,
            "<path class=\"cell\" fill-opacity=\"{opacity:.2}\" d=\"{path}\"><title>{name}: {attempts} attempts</title></path>"
        );
    }
    format!(
        "<svg class=\"map\" viewBox=\"0 0 {SIZE}\" role=\"img\" aria-label=\"Map of attempts by country\">\
         <path class=\"empty\" d=\"{quiet}\"/>{loud}</svg>"
    )
}

#[cfg(test)]
mod tests {
    use pillory_core::jail::networks::Country;

    use super::*;

    #[test]
    fn each_country_has_two_letters_a_name_and_an_outline_of_numbers() {
        let mut last = "";
        for Outline { code, name, path } in outlines() {
            assert!(
                code > last && Country::parse(code).is_some_and(|known| known.to_string() == code),
                "{code}"
            );
            assert!(!name.is_empty() && !name.contains(['<', '&', '"']), "{name}");
            let is_path = |byte: u8| byte.is_ascii_digit() || b"Mlaz -".contains(&byte);
            assert!(
                path.starts_with('M') && path.ends_with('z') && path.bytes().all(is_path),
                "{code}: {path}"
            );
            last = code;
        }
        assert_eq!(outlines().count(), WORLD.lines().count());
        assert!(outlines().count() > 230);
        assert_eq!((name("SG"), name("AU"), name("ZZ")), (Some("Singapore"), Some("Australia"), None));
    }

    #[test]
    fn a_country_is_the_darker_the_more_came_from_it() {
        let group = |name: &str, attempts| Group { name: name.into(), attempts, offenders: 1 };
        let drawn = map(&[group("US", 400), group("FR", 100), group("ZZ", 1)]);
        assert!(drawn.contains("<title>United States of America: 400 attempts</title>"));
        assert!(drawn.contains("fill-opacity=\"1.00\"") && drawn.contains("fill-opacity=\"0.55\""));
        assert_eq!(drawn.matches("<path ").count(), 3);
        assert_eq!((map(&[]), map(&[group("US", 0)])), (String::new(), String::new()));
    }
}
