//! What people read, made for where they read it: lines that fit the terminal, columns that line up, and a pager for what
//! is longer than the screen. Where there is no terminal nothing is cut or broken, so that lines stay what scripts know.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pillory_core::time::Span;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Failure, print_as_it_is};

/// What a terminal has that does not say.
const USUAL: (usize, usize) = (80, 24);

/// How wide prose is where there is no terminal, and how wide at most: longer lines are hard to read.
pub(crate) const PROSE: (usize, usize) = (80, 100);

/// Narrower ones are taken for that wide.
const NARROWEST: usize = 40;

/// A gap further to the right than this is none between a name and what is said of it; options end there.
const NAMES_END: usize = 38;

/// What is shown if nobody chose: it shows a short text and ends, leaves colours, and leaves the text on the screen.
const PAGER: [&str; 2] = ["less", "-FRX"];

static NO_PAGER: AtomicBool = AtomicBool::new(false);

/// From now on nothing goes through a pager.
pub(super) fn without_pager() {
    NO_PAGER.store(true, Ordering::Relaxed);
}

/// How much room there is; nothing where there is no end to it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screen {
    /// In columns.
    pub(crate) columns: Option<usize>,
    /// In lines.
    pub(crate) rows: Option<usize>,
}

impl Screen {
    /// Standard output.
    pub(crate) fn here() -> Screen {
        Screen::of(&std::io::stdout())
    }

    /// Where that leads to.
    pub(crate) fn of(output: &(impl AsFd + IsTerminal)) -> Screen {
        if !output.is_terminal() {
            return Screen::default();
        }
        let size = rustix::termios::tcgetwinsize(output).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let (columns, rows) = size.map_or(USUAL, |size| (size.ws_col.into(), size.ws_row.into()));
        Screen { columns: Some(columns.max(NARROWEST)), rows: Some(rows) }
    }

    /// How many columns prose takes.
    pub(crate) fn prose(self) -> usize {
        self.columns.map_or(PROSE.0, |columns| columns.min(PROSE.1))
    }

    /// The same text with no line longer than the terminal is wide, unless it cannot be broken.
    pub(crate) fn fitted(self, text: &str) -> String {
        let Some(columns) = self.columns else { return text.to_owned() };
        text.split_inclusive('\n').map(|line| broken(line, columns)).collect()
    }
}

/// Prints what people read; through a pager if it is longer than the screen.
pub(super) fn show(text: &str) -> Result<(), Failure> {
    let screen = Screen::here();
    let text = screen.fitted(text);
    let is_long = screen.rows.is_some_and(|rows| text.lines().count() >= rows);
    if is_long && !NO_PAGER.load(Ordering::Relaxed) && page(&text) {
        return Ok(());
    }
    print_as_it_is(&text)
}

/// False if there is no pager, or none is wanted.
#[expect(clippy::disallowed_methods, reason = "the pager of who reads, in the client and with his rights")]
fn page(text: &str) -> bool {
    let chosen = std::env::var("PAGER").ok();
    let words: Vec<&str> =
        chosen.as_deref().map_or_else(|| PAGER.to_vec(), |it| it.split_whitespace().collect());
    let Some((program, arguments)) = words.split_first().filter(|(program, _)| **program != "cat") else {
        return false;
    };
    let colours = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    let text = if colours { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() };
    // Ctrl-C is for the pager. And it is no way to a shell: who may read this may not do all that root may.
    let interrupted = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::default());
    let mut command = Command::new(program);
    command.args(arguments).env("LESSSECURE", "1").stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // It shows colours, and ends where all fits the screen.
        command.env("LESS", "FRX");
    }
    let child = command.spawn();
    let (Ok(_), Ok(mut child)) = (interrupted, child) else { return false };
    // Whoever has seen enough quits before the end.
    child.stdin.take().into_iter().for_each(|mut input| drop(input.write_all(text.as_bytes())));
    child.wait().is_ok()
}

/// How many columns a text takes, colours left out.
pub(crate) fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

/// A text in so many columns: what does not fit is cut, and two dots say so.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(2);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    text.chars().take_while(fits).collect::<String>() + ".."
}

/// A line in lines that fit. What goes on stands below what the first one says behind its name, if it has a name with a
/// gap behind it, or else two columns to the right.
fn broken(whole: &str, columns: usize) -> String {
    let line = whole.strip_suffix('\n').unwrap_or(whole);
    if width(line) <= columns {
        return whole.to_owned();
    }
    let line = &glued(line);
    let indent = hanging(line).min(columns / 2);
    let (mut text, mut column) = (String::new(), 0);
    let mut gap = String::new();
    for word in line.split(' ') {
        let wide = width(word);
        if column > indent && wide > 0 && column + gap.len() + wide > columns {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
            gap.clear();
        }
        if wide > 0 {
            text.push_str(&gap);
            column += gap.len();
            gap.clear();
        }
        text.push_str(word);
        column += wide;
        gap.push(' ');
    }
    unglued(&text) + if whole.ends_with('\n') { "\n" } else { "" }
}

/// Stands for a blank at which no line is broken, and which is no gap.
const GLUE: char = '\u{a0}';

/// A month and a day stay together, and `Nov  9` breaks as `Nov 30` does: its two blanks are no gap between a name and
/// what is said of it.
pub(super) fn glued(line: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let is_day = |word: &str| {
        let day = word.trim_end_matches(|c: char| c.is_ascii_punctuation());
        (1..=2).contains(&day.len()) && day.bytes().all(|byte| byte.is_ascii_digit())
    };
    let words: Vec<&str> = line.split(' ').collect();
    let (mut text, mut glue) = (String::with_capacity(line.len() + 4), 0_u8);
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            text.push(if glue > 0 { GLUE } else { ' ' });
            glue = glue.saturating_sub(1);
        }
        text.push_str(word);
        if MONTHS.iter().any(|month| word.ends_with(month)) {
            glue = match words.get(at + 1..).unwrap_or_default() {
                ["", day, ..] if is_day(day) => 2,
                [day, ..] if is_day(day) => 1,
                _ => 0,
            };
        }
    }
    text
}

pub(super) fn unglued(text: &str) -> String {
    text.replace(GLUE, " ")
}

fn hanging(line: &str) -> usize {
    let plain = anstream::adapter::strip_str(line).to_string();
    let lead = plain.len() - plain.trim_start_matches(' ').len();
    let gap = plain[lead..].find("  ").map(|at| lead + at);
    let behind = gap.map(|at| at + plain[at..].len() - plain[at..].trim_start_matches(' ').len());
    let behind = behind.filter(|behind| *behind <= NAMES_END);
    behind.map_or(lead + 2, |behind| width(&plain[..behind]))
}

/// `12 s`, `3 min`, `2 h`, `5 d`: as near as people want it.
pub(crate) fn roughly(span: Span) -> String {
    match span.secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Rows in columns that line up, also with those that were shown before.
#[derive(Debug)]
pub(crate) struct Table {
    widths: Vec<usize>,
    /// The columns that are cut where the terminal is too narrow, and those that are if that is not enough.
    yields: [&'static [usize]; 2],
    /// What stands in the last column is not cut: where it is too long the line is broken.
    breaks: bool,
    screen: Screen,
}

/// A last column that breaks begins with so much on the first line, if it is as long.
const BEGIN: usize = 16;

impl Table {
    /// On a terminal a column is as wide as its widest text, elsewhere as is said here.
    pub(crate) fn new(screen: Screen, fixed: &[usize], yields: [&'static [usize]; 2]) -> Table {
        let widths = fixed.iter().map(|width| if screen.columns.is_some() { 0 } else { *width });
        Table { widths: widths.collect(), yields, breaks: false, screen }
    }

    /// The last column is broken and not cut.
    pub(crate) fn breaking(self) -> Table {
        Table { breaks: true, ..self }
    }

    /// The lines of these rows; what stands in the last column ends where it ends.
    pub(crate) fn lines(&mut self, rows: &[Vec<String>]) -> String {
        let Some(columns) = self.screen.columns else {
            return rows.iter().map(|row| line(row, &self.widths)).collect();
        };
        for row in rows {
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        let mut room = self.room(columns);
        if let Some(last) = room.last_mut().filter(|_| self.breaks) {
            *last = usize::MAX;
        }
        let fitting = |row: &Vec<String>| -> Vec<String> {
            row.iter().zip(&room).map(|(cell, room)| cut(cell, *room)).collect()
        };
        let lines: String = rows.iter().map(|row| line(&fitting(row), &room)).collect();
        if self.breaks { self.screen.fitted(&lines) } else { lines }
    }

    /// How wide each column may be; the widest of those that yield does so first.
    fn room(&self, columns: usize) -> Vec<usize> {
        /// What is cut to less tells nothing.
        const LEAST: usize = 10;
        let mut room = self.widths.clone();
        if let Some(last) = room.last_mut().filter(|_| self.breaks) {
            *last = (*last).min(BEGIN);
        }
        for yielding in self.yields {
            while room.iter().sum::<usize>() + 2 * room.len().saturating_sub(1) > columns {
                let widest = yielding.iter().copied().max_by_key(|at| room.get(*at).copied());
                let Some(widest) = widest.and_then(|at| room.get_mut(at)).filter(|it| **it > LEAST) else {
                    break;
                };
                *widest -= 1;
            }
        }
        room
    }
}

fn line(row: &[String], room: &[usize]) -> String {
    let mut text = String::new();
    for (at, (cell, room)) in row.iter().zip(room).enumerate() {
        text.push_str(cell);
        if at + 1 < row.len() {
            text.push_str(&" ".repeat(room.saturating_sub(width(cell)) + 2));
        }
    }
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(columns: usize) -> Screen {
        Screen { columns: Some(columns), rows: Some(24) }
    }

    #[test]
    fn a_long_line_is_broken_at_blanks_and_goes_on_below_what_it_says() {
        let said = at(40).fitted("  sshd    one two three four five six seven eight nine\nshort\n");
        assert_eq!(said, "  sshd    one two three four five six\n          seven eight nine\nshort\n");
        let said = at(40).fitted("warning: one two three four five six seven eight\n");
        assert_eq!(said, "warning: one two three four five six\n  seven eight\n");
    }

    #[test]
    fn a_day_of_one_digit_breaks_a_line_where_one_of_two_does() {
        let said = "unbanned 192.0.2.7 (sshd), which was banned since Sun Nov 30 19:14:01 2026 UTC for five failures";
        let table = "192.0.2.7  sshd  Nov 30 19:14:01, 3 failures in 2s, and that is more than fits a line";
        for line in [said, table] {
            for columns in 40..100 {
                let two = at(columns).fitted(line);
                let one = at(columns).fitted(&line.replace("Nov 30", "Nov  9"));
                assert_eq!(one.replace("Nov  9", "Nov 30"), two, "{columns}");
                assert!(one.contains("Nov  9") && !two.contains(GLUE), "{one}");
            }
        }
        let told = |day: &str| {
            crate::cli::client::wrapped(&format!("it came again and again until Sun Nov {day} 19:14"), 2, 40)
        };
        assert_eq!(told(" 9").replace("Nov  9", "Nov 30"), told("30"));
    }

    #[test]
    fn a_word_that_cannot_be_broken_stays_whole_and_without_a_terminal_all_does() {
        let long = format!("see {} there\n", "x".repeat(60));
        assert_eq!(at(40).fitted(&long), format!("see\n  {}\n  there\n", "x".repeat(60)));
        assert_eq!(Screen::default().fitted(&long), long);
    }

    #[test]
    fn columns_are_counted_as_they_are_seen() {
        assert_eq!((width("日本"), width("\x1b[1;31mred\x1b[0m"), width("e\u{301}")), (4, 3, 1));
        assert_eq!((cut("日本語です", 6), cut("abc", 3)), ("日本..".to_owned(), "abc".to_owned()));
    }

    #[test]
    fn a_table_fits_by_cutting_what_yields_and_lines_up_with_what_came_before() {
        let row = |user: &str, ip: &str, why: &str| vec![user.to_owned(), ip.to_owned(), why.to_owned()];
        let mut table = Table::new(at(40), &[9, 9, 9], [&[0, 2], &[]]);
        let long = "a".repeat(30);
        let first = table.lines(&[row(&long, "192.0.2.7", "root"), row("b", "192.0.2.80", "root")]);
        assert_eq!(
            first,
            format!("{}..  192.0.2.7   root\nb{}  192.0.2.80  root\n", "a".repeat(20), " ".repeat(21))
        );
        assert_eq!(
            table.lines(&[row("c", "192.0.2.9", "x")]),
            format!("c{}  192.0.2.9   x\n", " ".repeat(21))
        );
    }

    #[test]
    fn a_last_column_that_breaks_is_read_to_its_end() {
        let row = |who: &str, why: &str| vec![who.to_owned(), "sshd".to_owned(), why.to_owned()];
        let mut table = Table::new(at(40), &[9, 9, 9], [&[], &[0, 1]]).breaking();
        let text =
            table.lines(&[row("192.0.2.7", "3 failures in 2s, 5 points"), row("192.0.2.80", "by hand")]);
        assert_eq!(
            text,
            "192.0.2.7   sshd  3 failures in 2s, 5\n            points\n192.0.2.80  sshd  by hand\n"
        );
        let nowhere = Table::new(Screen::default(), &[9, 9, 9], [&[], &[0, 1]])
            .breaking()
            .lines(&[row("a", &"x ".repeat(99))]);
        assert_eq!(nowhere.lines().count(), 1);
    }

    #[test]
    fn prose_is_as_wide_as_the_terminal_but_not_too_wide() {
        assert_eq!([at(60), at(90), at(200), Screen::default()].map(Screen::prose), [60, 90, 100, 80]);
    }

    #[test]
    fn times_are_told_roughly() {
        let told = [5, 119, 120, 7_199, 7_200, 172_800].map(|secs| roughly(Span::from_secs(secs)));
        assert_eq!(told, ["5 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
    }
}
