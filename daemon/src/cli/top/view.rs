//! What `pillory top` draws: words and one line of bars, without colours that mean anything.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span as Piece};
use ratatui::widgets::{Paragraph, Sparkline, Widget, Wrap};
use serde_json::Value;

use pillory_core::time::Span;

use crate::actions::dryrun;
use crate::clock;
use crate::control::short;
use crate::escape::{escape, word};

/// In fewer columns lists stand below each other.
const WIDE: u16 = 72;

/// Rows of a list below others, and of warnings.
const FEW: usize = 5;
const WARNINGS: usize = 4;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const ALARM: Style = Style::new().add_modifier(Modifier::REVERSED);

const HELP: &str = "\
q, Esc, Ctrl-C   quit
?                this help, and back

Attempts are those of the last hour, a bar a minute, the newest at the right.
Names that only one source tried are hidden: one of them may be a password.
`pillory explain ADDRESS` tells the story of one, `pillory status` all warnings.";

/// What is drawn.
#[derive(Debug, Default)]
pub(super) struct View {
    /// What the daemon told last.
    pub(super) told: Value,
    /// Why it tells no more.
    pub(super) trouble: Option<String>,
    /// The help is drawn instead.
    pub(super) is_help: bool,
    /// It is drawn once, and no key does anything.
    pub(super) is_once: bool,
}

/// A list with its title.
struct List {
    title: &'static str,
    rows: Vec<String>,
}

impl Widget for View {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        (&self).render(area, buffer);
    }
}

impl Widget for &View {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let [head, rest, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(area);
        self.head().render(head, buffer);
        if !self.is_once {
            Line::from("q quit  ? help").render(foot, buffer);
        }
        if self.is_help {
            return Paragraph::new(HELP).wrap(Wrap { trim: false }).render(rest, buffer);
        }
        let warnings = self.warnings();
        let [attempts, bars, alarms, lists] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Length(warnings.len() as u16),
            Constraint::Min(0),
        ])
        .areas(rest);
        self.attempts().render(attempts, buffer);
        self.bars(bars, buffer);
        Paragraph::new(warnings).render(alarms, buffer);
        match area.width >= WIDE {
            true => self.side_by_side(lists, buffer),
            false => below_each_other(self.lists(), lists, buffer),
        }
    }
}

impl View {
    fn head(&self) -> Line<'_> {
        if let Some(trouble) = &self.trouble {
            return Line::styled(escape(trouble), ALARM);
        }
        let told = &self.told;
        let (state, style) = match (self.is_dry(), told["enforcing"] == true) {
            (true, _) => ("dry run, nothing is enforced".to_owned(), ALARM),
            (_, true) => (format!("protected by {}", word(&told["banaction"])), BOLD),
            (_, false) => ("OFF, nothing is enforced".to_owned(), ALARM),
        };
        let up = Span::from_secs(number(&told["uptime_s"]));
        let more = format!("  {} {}banned  up {up}", number(&told["banned"]), self.would());
        Line::from(vec![Piece::styled(state, style), Piece::raw(more)])
    }

    fn is_dry(&self) -> bool {
        self.told["banaction"] == dryrun::NAME
    }

    /// What is said before `banned`: in a dry run nobody is.
    fn would(&self) -> &'static str {
        if self.is_dry() { "would be " } else { "" }
    }

    fn attempts(&self) -> Line<'_> {
        let minutes = self.minutes();
        let (hour, now) = (minutes.iter().sum::<u64>(), minutes.last().copied().unwrap_or(0));
        let most = minutes.iter().max().copied().unwrap_or(0);
        Line::styled(format!("attempts: {hour} in an hour, {now} this minute, {most} at most"), BOLD)
    }

    fn minutes(&self) -> Vec<u64> {
        list(&self.told["glance"]["minutes"]).iter().map(number).collect()
    }

    /// The newest minutes that fit.
    fn bars(&self, area: Rect, buffer: &mut Buffer) {
        let minutes = self.minutes();
        let from = minutes.len().saturating_sub(usize::from(area.width));
        Sparkline::default().data(minutes.get(from..).unwrap_or_default()).render(area, buffer);
    }

    fn warnings(&self) -> Vec<Line<'_>> {
        let warnings = list(&self.told["warnings"]);
        let mut lines: Vec<Line<'_>> = warnings
            .iter()
            .take(WARNINGS)
            .map(|warning| Line::styled(format!("! {}", word(warning)), ALARM))
            .collect();
        if warnings.len() > WARNINGS {
            lines.push(Line::from(format!(
                "! and {} more; `pillory status` tells them",
                warnings.len() - WARNINGS
            )));
        }
        lines
    }

    /// Jails, offenders, users, bans.
    fn lists(&self) -> [List; 4] {
        let glance = &self.told["glance"];
        let counted =
            |row: &Value, name: &str| format!("{:>7}  {}", number(&row["attempts"]), word(&row[name]));
        let jail = |jail: &Value| {
            format!(
                "{:>7}  {} ({} {}banned)",
                number(&jail["failures"]),
                word(&jail["name"]),
                number(&jail["banned"]),
                self.would()
            )
        };
        let mut users: Vec<String> = list(&glance["users"]).iter().map(|row| counted(row, "user")).collect();
        if number(&glance["users_hidden"]) > 0 {
            let hidden = number(&glance["users_hidden"]);
            users.push(format!("{:>7}  ({hidden} hidden)", number(&glance["attempts_hidden"])));
        }
        let ban = |row: &Value| {
            let time = at_what_time(&row["time"]);
            format!("{time} {} {} {}", word(&row["what"]), short(&row["prefix"]), word(&row["jail"]))
        };
        [
            List { title: "failures by jail", rows: list(&self.told["jails"]).iter().map(jail).collect() },
            List {
                title: "attempts from, in an hour",
                rows: list(&glance["offenders"]).iter().map(|row| counted(row, "ip")).collect(),
            },
            List { title: "attempts for, in an hour", rows: users },
            List { title: "bans and unbans", rows: list(&glance["bans"]).iter().map(ban).collect() },
        ]
    }

    /// Three lists beside each other, the bans below.
    fn side_by_side(&self, area: Rect, buffer: &mut Buffer) {
        let [jails, offenders, users, bans] = self.lists();
        let tallest = [&jails, &offenders, &users].map(|list| list.rows.len() as u16 + 1);
        let tallest = tallest.into_iter().max().unwrap_or(0).min(area.height.div_ceil(2));
        let [above, below] =
            Layout::vertical([Constraint::Length(tallest + 1), Constraint::Min(0)]).areas(area);
        let [left, middle, right] = Layout::horizontal([Constraint::Fill(1); 3]).spacing(1).areas(above);
        for (list, area) in [(jails, left), (offenders, middle), (users, right)] {
            list.draw(Rect { height: area.height.saturating_sub(1), ..area }, buffer);
        }
        bans.draw(below, buffer);
    }
}

/// As many rows of each as there is room for.
fn below_each_other(lists: [List; 4], area: Rect, buffer: &mut Buffer) {
    let mut top = area.y;
    for mut list in lists {
        list.rows.truncate(FEW);
        let height = (list.rows.len() as u16 + 1).min(area.bottom().saturating_sub(top));
        list.draw(Rect { y: top, height, ..area }, buffer);
        top += height;
    }
}

impl List {
    fn draw(self, area: Rect, buffer: &mut Buffer) {
        let rows = match self.rows.is_empty() {
            true => vec![Line::from("      -")],
            false => self.rows.into_iter().map(Line::from).collect(),
        };
        let title = std::iter::once(Line::styled(self.title, BOLD));
        Paragraph::new(title.chain(rows).collect::<Vec<_>>()).render(area, buffer);
    }
}

/// `20:15:01`, where this host is.
fn at_what_time(value: &Value) -> String {
    let stamp = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let local = stamp.map(|stamp| stamp.to_zoned(clock::zone()).strftime("%H:%M:%S").to_string());
    local.unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
