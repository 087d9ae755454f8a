//! The pages, as their templates see them. What stands in them is escaped by the templates.

use askama::Template;

use pillory_core::time::{End, Span, Timestamp};
use pillory_core::wall::{Group, Offender, Rules, Services, TOP, Total, Wall};

use crate::outputs::feed::Format;

use super::{Site, charts, world};

/// How long a page is valid.
pub(super) const VALID: Span = Span::from_secs(86_400);

/// When a page was made, and until when it is valid.
#[derive(Debug)]
pub(super) struct Stamp {
    pub(super) made: String,
    made_words: String,
    pub(super) until: String,
    until_words: String,
}

impl Stamp {
    /// To the minute.
    pub(super) fn at(made: Timestamp) -> Stamp {
        Stamp::rounded(made, 60)
    }

    /// To the day, for what is told late anyway: it changes once a day only.
    pub(super) fn of_day(made: Timestamp) -> Stamp {
        Stamp::rounded(made, 86_400)
    }

    fn rounded(made: Timestamp, to: i64) -> Stamp {
        let made = Timestamp::from_secs(made.secs().div_euclid(to) * to);
        let until = made + Span::from_secs(to.unsigned_abs()) + VALID;
        // What changes once a day only is told by the day.
        let words = |at: Timestamp| match to {
            86_400 => day(at),
            _ => at.to_string().replace('T', " ").replace(":00Z", " UTC"),
        };
        Stamp {
            made: made.to_string(),
            made_words: words(made),
            until: until.to_string(),
            until_words: words(until),
        }
    }
}

/// An offender, in words.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Of its page, without the ending.
    pub(super) file: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) attempts: u64,
    pub(super) services: String,
    bans: u32,
    operator: Option<String>,
    country: Option<String>,
    story: String,
}

impl Row {
    pub(super) fn of(offender: &Offender) -> Row {
        Row {
            file: file_of(offender),
            name: offender.name(),
            first: day(offender.first),
            last: day(offender.last),
            attempts: offender.attempts,
            services: offender.services.words(),
            bans: offender.bans,
            operator: offender.operator.clone(),
            country: offender.country.map(|country| {
                let code = country.to_string();
                world::name(&code).map_or(code, str::to_owned)
            }),
            story: story(offender),
        }
    }

    fn href(&self) -> String {
        format!("o/{}.html", self.file)
    }
}

/// The name of an offender's page, without the ending.
pub(super) fn file_of(offender: &Offender) -> String {
    offender.name().replace([':', '/'], "-")
}

/// `2026-11-29`, by UTC.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// `14 ssh attempts were logged between 2026-11-01 and 2026-11-28. It was shut out 2 times, and is until 2026-12-05.`
fn story(offender: &Offender) -> String {
    let (first, last) = (day(offender.first), day(offender.last));
    let when = if first == last { format!("on {first}") } else { format!("between {first} and {last}") };
    let who = match offender.sources {
        1 if offender.is_masked => "from an address of this network ",
        1 => "",
        _ => "from several addresses of this network ",
    };
    let what = attempts(offender.attempts, offender.services);
    let were = if offender.attempts == 1 { "was" } else { "were" };
    let times = if offender.bans == 1 { "once".to_owned() } else { format!("{} times", offender.bans) };
    let now = match offender.banned_until {
        None => "",
        Some(End::Never) => ", and is now",
        Some(End::At(at)) => &format!(", and is until {}", day(at)),
    };
    format!("{what} {were} logged {who}{when}. It was shut out {times}{now}.")
}

/// `14 ssh attempts`; `14 attempts (ssh attempts, WP login attempts)`
pub(super) fn attempts(number: u64, services: Services) -> String {
    let written = filters::grouped(number);
    let one =
        |words: &str| if number == 1 { words.trim_end_matches('s').to_owned() } else { words.to_owned() };
    match services.iter().count() {
        1 => format!("{written} {}", one(&services.words())),
        _ => format!("{written} attempts ({})", services.words()),
    }
}

/// `index.html`, `page-2.html`
pub(super) fn page_name(number: usize) -> String {
    if number == 1 { "index.html".to_owned() } else { format!("page-{number}.html") }
}

/// A table of attempts with a bar a row.
struct Bars<'a> {
    /// Anchor, heading, and heading of the first column.
    names: (&'static str, &'static str, &'static str),
    rows: Vec<(&'a str, u64)>,
    most: u64,
}

impl<'a> Bars<'a> {
    fn new(
        names: (&'static str, &'static str, &'static str),
        rows: impl Iterator<Item = (&'a str, u64)>,
    ) -> Bars<'a> {
        let rows: Vec<(&str, u64)> = rows.collect();
        let most = rows.iter().map(|(_, attempts)| *attempts).max().unwrap_or(0);
        Bars { names, rows, most }
    }
}

/// A table of who is taken together.
struct Section<'a> {
    id: &'static str,
    title: &'static str,
    /// A picture of it, if there is one.
    chart: String,
    /// Those that are seen at once, and the others.
    parts: [Vec<Counted<'a>>; 2],
}

impl<'a> Section<'a> {
    fn new(id: &'static str, title: &'static str, groups: &'a [Group], chart: String) -> Section<'a> {
        let mut first = Counted::all(groups);
        let others = first.split_off(first.len().min(TOP));
        Section { id, title, chart, parts: [first, others] }
    }
}

/// A group, and what it is called.
struct Counted<'a> {
    name: &'a str,
    group: &'a Group,
}

impl<'a> Counted<'a> {
    fn all(groups: &'a [Group]) -> Vec<Counted<'a>> {
        let counted =
            |group: &'a Group| Counted { name: world::name(&group.name).unwrap_or(&group.name), group };
        groups.iter().map(counted).collect()
    }
}

/// The page that everybody begins with, and those with more of the list.
#[derive(Template)]
#[template(path = "wall/index.html")]
pub(super) struct Index<'a> {
    site: &'a Site,
    root: &'static str,
    stamp: &'a Stamp,
    number: usize,
    pages: usize,
    rules: &'a Rules,
    delay: String,
    keep: String,
    totals: [(&'static str, Total); 3],
    shut_out: u64,
    timeline: String,
    heat: String,
    bars: [Bars<'a>; 2],
    countries: Section<'a>,
    groups: [Section<'a>; 2],
    offenders: &'a [Row],
}

impl<'a> Index<'a> {
    pub(super) fn of(
        site: &'a Site,
        wall: &'a Wall,
        stamp: &'a Stamp,
        (number, pages): (usize, usize),
        offenders: &'a [Row],
    ) -> Index<'a> {
        let [today, week, month] = wall.totals;
        let is_first = number == 1;
        let map = if is_first { world::map(&wall.countries) } else { String::new() };
        Index {
            site,
            root: "",
            stamp,
            number,
            pages,
            rules: &site.rules,
            delay: span(site.rules.delay),
            keep: span(site.rules.keep),
            totals: [("Today (UTC)", today), ("7 days", week), ("30 days", month)],
            shut_out: wall.shut_out,
            timeline: if is_first { charts::timeline(wall) } else { String::new() },
            heat: if is_first { charts::heat(wall) } else { String::new() },
            bars: [
                Bars::new(
                    ("services", "At what, in 30 days", "What"),
                    wall.services.iter().map(|(service, attempts)| (service.attempts(), *attempts)),
                ),
                Bars::new(
                    ("users", "Names that everybody guesses at, in 30 days", "Name"),
                    wall.users.iter().map(|(user, attempts)| (user.as_str(), *attempts)),
                ),
            ],
            countries: Section::new("countries", "Countries with the most attempts", &wall.countries, map),
            groups: [
                Section::new("networks", "Networks with the most attempts", &wall.networks, String::new()),
                Section::new("operators", "Operators with the most attempts", &wall.operators, String::new()),
            ],
            offenders,
        }
    }

    /// The first, the last, and those around this one.
    fn shown_pages(&self) -> impl Iterator<Item = (usize, String)> {
        let is_near = |page: &usize| page.abs_diff(self.number) <= 3;
        let shown = (1..=self.pages).filter(move |page| *page == 1 || *page == self.pages || is_near(page));
        shown.map(|page| (page, page_name(page)))
    }
}

/// `24 hours`, `30 days`, in the largest unit that tells it exactly
fn span(span: Span) -> String {
    let seconds = span.millis().div_ceil(1_000);
    let (number, unit) = match seconds {
        seconds if seconds % 86_400 == 0 && seconds > 86_400 => (seconds / 86_400, "day"),
        seconds if seconds % 3_600 == 0 => (seconds / 3_600, "hour"),
        seconds if seconds % 60 == 0 => (seconds / 60, "minute"),
        seconds => (seconds, "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// The story of one offender.
#[derive(Template)]
#[template(path = "wall/offender.html")]
pub(super) struct OffenderPage<'a> {
    pub(super) site: &'a Site,
    pub(super) root: &'static str,
    pub(super) stamp: &'a Stamp,
    pub(super) offender: &'a Row,
}

/// How to be left out.
#[derive(Template)]
#[template(path = "wall/unlist.html")]
pub(super) struct Unlist<'a> {
    pub(super) site: &'a Site,
    pub(super) root: &'static str,
    pub(super) stamp: &'a Stamp,
}

impl Unlist<'_> {
    fn keep(&self) -> String {
        span(self.site.rules.keep)
    }
}

/// Lists for other programs.
#[derive(Template)]
#[template(path = "wall/feeds.html")]
pub(super) struct Feeds<'a> {
    pub(super) site: &'a Site,
    pub(super) root: &'static str,
    pub(super) stamp: &'a Stamp,
    pub(super) formats: &'static [Format],
}

/// Who was added last, for readers of feeds.
#[derive(Template)]
#[template(path = "wall/feed.atom", escape = "html")]
pub(super) struct Atom<'a> {
    pub(super) site: &'a Site,
    pub(super) stamp: &'a Stamp,
    pub(super) offenders: &'a [Row],
}

/// What templates may ask for by name.
pub(super) mod filters {
    /// `1,234,567`
    #[askama::filter_fn]
    pub(super) fn number(number: &u64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(grouped(*number))
    }

    pub(crate) fn grouped(number: u64) -> String {
        let digits = number.to_string();
        let head = digits.len() % 3;
        let (first, rest) = digits.split_at(head);
        let mut groups: Vec<&str> = if first.is_empty() { Vec::new() } else { vec![first] };
        let mut at = 0;
        while let Some(group) = rest.get(at..at + 3) {
            groups.push(group);
            at += 3;
        }
        groups.join(",")
    }
}
