//! Charts as SVG, drawn here: no script, no font, no picture from elsewhere. Each says in a table, too, what it shows.

use std::fmt::Write as _;

use pillory_core::time::{Span, Timestamp};
use pillory_core::wall::{DAYS, Wall};

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Attempts a day, as bars.
pub(super) fn timeline(wall: &Wall) -> String {
    const HEIGHT: u64 = 120;
    let most = wall.days.iter().map(|day| day.attempts).max().unwrap_or(0).max(1);
    let date = |at: usize| {
        let ago = Span::from_secs(86_400 * (DAYS - 1 - at) as u64);
        Timestamp::to_string(&(wall.made - ago)).chars().take(10).collect::<String>()
    };
    let (mut bars, mut rows) = (String::new(), String::new());
    for (at, day) in wall.days.iter().enumerate() {
        let (date, attempts, bans) = (date(at), day.attempts, day.bans);
        // Some are seen, however few.
        let height = (attempts * HEIGHT).div_ceil(most);
        let (x, y) = (at * 20 + 2, HEIGHT - height + 10);
        let _ = write!(
            bars,
            "<rect class=\"bar\" x=\"{x}\" y=\"{y}\" width=\"16\" height=\"{height}\"><title>{date}: {attempts} attempts, {bans} bans</title></rect>"
        );
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{date}</th><td class=\"n\">{attempts}</td><td class=\"n\">{bans}</td></tr>"
        );
    }
    let base = HEIGHT + 10;
    let (first, last) = (date(0), date(DAYS - 1));
    let (width, words) = (DAYS * 20, base + 15);
    format!(
        "<svg viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"Attempts a day from {first} to {last}, {most} at most\">\
         <line class=\"base\" x1=\"0\" x2=\"{width}\" y1=\"{base}\" y2=\"{base}\"/>{bars}\
         <text x=\"0\" y=\"{words}\">{first}</text><text x=\"{width}\" y=\"{words}\" text-anchor=\"end\">{last}</text></svg>\
         <details><summary>As a table</summary><table><thead><tr><th scope=\"col\">Day</th><th scope=\"col\">Attempts</th>\
         <th scope=\"col\">Bans</th></tr></thead><tbody>{rows}</tbody></table></details>",
        base + 20
    )
}

/// Attempts by hour of the week, the darker the more.
pub(super) fn heat(wall: &Wall) -> String {
    const SIDE: usize = 22;
    let most = wall.week.iter().flatten().copied().max().unwrap_or(0).max(1);
    let (mut cells, mut rows) = (String::new(), String::new());
    for (row, (name, hours)) in WEEKDAYS.iter().zip(&wall.week).enumerate() {
        let y = row * SIDE + 2;
        let _ = write!(cells, "<text x=\"0\" y=\"{}\">{name}</text>", y + 15);
        let _ = write!(rows, "<tr><th scope=\"row\">{name}</th>");
        for (hour, attempts) in hours.iter().enumerate() {
            let x = hour * SIDE + 34;
            // A tenth at least, so that few can be told from none.
            let (class, opacity) = match attempts {
                0 => ("empty", String::new()),
                _ => ("cell", format!(" fill-opacity=\"{:.2}\"", 0.1 + 0.9 * *attempts as f64 / most as f64)),
            };
            let _ = write!(
                cells,
                "<rect class=\"{class}\"{opacity} x=\"{x}\" y=\"{y}\" width=\"20\" height=\"20\" rx=\"3\"><title>{name} {hour}:00: {attempts} attempts</title></rect>"
            );
            let _ = write!(rows, "<td class=\"n\">{attempts}</td>");
        }
        rows.push_str("</tr>");
    }
    let hours: String = (0..24).step_by(3).fold(String::new(), |mut text, hour| {
        let _ = write!(text, "<text x=\"{}\" y=\"{}\">{hour}</text>", hour * SIDE + 38, 7 * SIDE + 16);
        text
    });
    let heads: String = (0..24).fold(String::new(), |mut text, hour| {
        let _ = write!(text, "<th scope=\"col\">{hour}</th>");
        text
    });
    format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Attempts by hour of the week, {most} at most\">{cells}{hours}</svg>\
         <details><summary>As a table</summary><div class=\"wide\" role=\"group\" aria-label=\"Attempts by hour of the week\" tabindex=\"0\">\
         <table><thead><tr><th scope=\"col\">Day</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>",
        24 * SIDE + 36,
        7 * SIDE + 22
    )
}
