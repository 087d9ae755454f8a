//! The stamps that are known without a `datepattern`, and the words that stand for them.

use super::error::{DatePatternError, Problem};
use super::quick::Form;
use super::template::Template;
use super::tokens::Tokens;

/// The usual stamps in the order in which they are tried.
///
/// Square brackets hold what may be missing; `{-/.}` is a separator, `{=}` the same one again; `{ }` is one blank
/// or two, `~` any number.
const STAMPS: [&str; 17] = [
    // 2005-01-23T21:59:59.981+01:00, 2005/01/23 21:59:59
    "%ExY{-/.}%m{=}%d{T }%H:%M:%S[{.,}%f][~%z]",
    // Sun Jan 23 21:59:59.011 2005
    "[%a ]%b %d %k:%M:%S[.%f][ %ExY]",
    // Sun Jan 23 2005 21:59:59.011
    "[%a ]%b %d %ExY %k:%M:%S[.%f]",
    // 23/01/2005 21:59:59, 23-01-05 21:59:59
    "%d{-/}%m{=}{year} %k:%M:%S",
    // 31/Oct/2006:09:22:55 -0000, 26-Jul-2007 15:20:52.252
    "%d{-/}%b{=}%ExY[{ :}]%H:%M:%S[.%f][ %z]",
    // 05/20/2008:01:57:39
    "%m/%d/%ExY:%H:%M:%S",
    // 01-27-2012 16:22:44.252
    "%m-%d-%ExY %k:%M:%S[.%f]",
    "EPOCH",
    // A time only.
    "{^LN-BEG}%H:%M:%S",
    // <09/16/08@05:03:30>
    "^<%m/%d/%Exy@%H:%M:%S>",
    // 130322 11:46:11
    "%Exy%Exm%Exd{ }%H:%M:%S",
    // Apr 16, 2005 9:05:29 PM
    "%b %d, %ExY %I:%M:%S %p",
    // Apr-27-13 02:33:06
    "^%b-%d-%Exy %k:%M:%S",
    // 20050123T215959, 20050123 215959
    "%ExY%Exm%Exd{T }%ExH%ExM%ExS[{.,}%f][~%z]",
    // PDT Apr 16 21:05:29
    "[%Z ][%a ]%b %d %k:%M:%S[.%f][ %ExY]",
    // +00:00 Jan 23 21:59:59.011 2005
    "[%z ][%a ]%b %d %k:%M:%S[.%f][ %ExY]",
    "TAI64N",
];

/// What our signs mean in the language of date patterns; the longer ones come first.
const SIGNS: [(&str, &str); 12] = [
    ("[.%f]", r"(?:\.%f)?"),
    ("[{.,}%f]", "(?:[,.]%f)?"),
    ("[{ :}]", "[ :]?"),
    ("[~%z]", r"(?:\s*%z)?"),
    ("{T }", "(?:T| {1,2})"),
    ("{year}", "(?:%ExY|%Exy)"),
    ("{-/.}", "(?P<_sep>[-./])"),
    ("{-/}", "(?P<_sep>[-/])"),
    ("{=}", "(?P=_sep)"),
    ("{ }", " {1,2}"),
    ("[", "(?:"),
    ("]", ")?"),
];

/// How much more a stamp at the beginning of a line counts than the same elsewhere.
const LINE_BEGIN_WEIGHT: f64 = 100.0;

/// One of the usual stamps in the language of date patterns.
fn pattern(stamp: &str) -> String {
    let (mut out, mut rest) = (String::new(), stamp);
    'next: while let Some(c) = rest.chars().next() {
        for (sign, means) in SIGNS {
            if let Some(after) = rest.strip_prefix(sign) {
                out.push_str(means);
                rest = after;
                continue 'next;
            }
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// The usual stamps as templates: first those at the beginning of a line, then all anywhere.
pub(super) fn all(year: i16) -> Result<Vec<Template>, DatePatternError> {
    let (mut first, mut anywhere) = (Vec::new(), Vec::new());
    for stamp in STAMPS {
        let pattern = pattern(stamp);
        if !pattern.starts_with('^') && !pattern.starts_with("{^LN-BEG}") {
            let mut template = Template::new(&format!("{{^LN-BEG}}{pattern}"), year)?;
            template.weight = LINE_BEGIN_WEIGHT;
            template.quick = quick(stamp, year);
            first.push(template);
        }
        let mut template = Template::new(&pattern, year)?;
        template.quick = quick(stamp, year);
        anywhere.push(template);
    }
    first.append(&mut anywhere);
    Ok(first)
}

/// Which of the stamps are read by hand where they are plain.
fn quick(stamp: &str, year: i16) -> Option<Form> {
    let last = i64::from(super::codes::last_decade(year));
    [Form::Iso(last), Form::Syslog, Form::Access(last)]
        .into_iter()
        .zip([STAMPS[0], STAMPS[1], STAMPS[4]])
        .find_map(|(form, own)| (own == stamp).then_some(form))
}

/// The templates of a line of `datepattern`.
/// # Errors
/// What is no pattern.
pub(super) fn of_line(line: &str, year: i16) -> Result<Vec<Template>, DatePatternError> {
    let upper = line.to_ascii_uppercase();
    let key = if line.contains('%') { line } else { &upper };
    match key {
        "{^LN-BEG}" => Ok(all(year)?.into_iter().filter(|template| template.begins_line).collect()),
        // fail2ban means all of them, but adds none: they hold only if there is nothing else.
        "{DEFAULT}" => Ok(Vec::new()),
        "{NONE}" => Ok(vec![Template::new("{UNB}^", year)?]),
        _ if key.contains("{DATE}") => checked(within(line, year)?),
        _ => checked(vec![Template::new(line, year)?]),
    }
}

/// Templates that nobody has tried before: what the engine does not take is found now.
fn checked(templates: Vec<Template>) -> Result<Vec<Template>, DatePatternError> {
    templates.iter().try_for_each(Template::check)?;
    Ok(templates)
}

/// Each of the usual stamps in the place of `{DATE}`.
fn within(line: &str, year: i16) -> Result<Vec<Template>, DatePatternError> {
    let written = Tokens::written(line);
    let each = STAMPS.iter().map(|stamp| {
        let pattern = match *stamp {
            // Words are told by their names here.
            "EPOCH" => "Epoch".to_owned(),
            other => pattern(other),
        };
        let bare = pattern.strip_prefix("{^LN-BEG}").unwrap_or(&pattern);
        let (tokens, _) = written.replace("{DATE}", |column| Tokens::at(bare, column));
        Template::from_tokens(&tokens, year)
    });
    each.collect()
}

/// Puts the templates of all lines together.
/// # Errors
/// A pattern that is none, or stands there twice.
pub(super) fn collect(datepattern: &str, year: i16) -> Result<Vec<Template>, DatePatternError> {
    let mut templates: Vec<Template> = Vec::new();
    let lines = datepattern.split('\n').map(str::trim).filter(|line| !line.is_empty());
    for (number, line) in (1..).zip(lines) {
        let new = of_line(line, year).map_err(|error| error.on_line(number))?;
        // Of the usual stamps, those that are there already are left out; of patterns that is an error.
        let is_one = new.len() == 1;
        for template in new {
            let is_known = templates.iter().any(|known| known.name == template.name);
            if is_known && is_one {
                return Err(DatePatternError::new(1, Problem::Twice).on_line(number));
            }
            if !is_known {
                templates.push(template);
            }
        }
    }
    if templates.is_empty() { all(year) } else { Ok(templates) }
}
