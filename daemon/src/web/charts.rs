//! Charts of the dashboard as SVG, drawn here: each says in words, too, what it shows.

use std::fmt::Write as _;

use serde_json::Value;

const HEIGHT: u64 = 80;

/// Bars over a line: `label` of each is what a pointer shows; `ends` stand under the first and the last.
fn bars(all: &[(String, u64)], what: &str, ends: (&str, &str)) -> String {
    let most = all.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
    let (width, mut drawn) = (all.len() * 10, String::new());
    for (at, (label, value)) in all.iter().enumerate() {
        // Some are seen, however few.
        let height = (value * HEIGHT).div_ceil(most);
        let (x, y) = (at * 10 + 1, HEIGHT - height + 5);
        let _ = write!(
            drawn,
            "<rect class=\"bar\" x=\"{x}\" y=\"{y}\" width=\"8\" height=\"{height}\"><title>{label}: {value}</title></rect>"
        );
    }
    let base = HEIGHT + 5;
    let (first, last) = ends;
    format!(
        "<svg class=\"flat\" viewBox=\"0 0 {width} {base}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{what}, {most} at most\">\
         <line class=\"base\" x1=\"0\" x2=\"{width}\" y1=\"{base}\" y2=\"{base}\"/>{drawn}</svg>\
         <p class=\"ends\"><span>{first}</span><span>{last}</span></p>"
    )
}

/// Attempts of the last hour by the minute.
pub(super) fn minutes(minutes: &[u64]) -> String {
    let ago = |at: usize| match minutes.len() - 1 - at {
        0 => "this minute".to_owned(),
        1 => "1 minute ago".to_owned(),
        ago => format!("{ago} minutes ago"),
    };
    let all: Vec<(String, u64)> = minutes.iter().enumerate().map(|(at, value)| (ago(at), *value)).collect();
    bars(&all, "Attempts by the minute", ("an hour ago", "now"))
}

/// The powers of two of a microsecond that buckets end at, as the status tells them; the last one has no end.
const BUCKETS: u32 = 24;

/// How long bans took, of one way (`kernel`, `durable`).
pub(super) fn latency(latency: &Value, way: &str, what: &str) -> String {
    let told = latency[format!("{way}_buckets")].as_array().map_or(&[][..], Vec::as_slice);
    let of = |bound: Option<u64>| {
        let bucket = told.iter().find(|bucket| bucket["below_us"].as_u64() == bound);
        bucket.and_then(|bucket| bucket["bans"].as_u64()).unwrap_or(0)
    };
    let words = |us: u64| match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    };
    let bounded = (0..BUCKETS - 1).map(|power| 1u64 << power);
    let all: Vec<(String, u64)> = bounded
        .map(|bound| (format!("less than {}", words(bound)), of(Some(bound))))
        .chain([("longer".to_owned(), of(None))])
        .collect();
    bars(&all, what, ("1 us", "4.2 s"))
}
