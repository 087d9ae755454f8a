//! `pillory top`: what happens now, at a glance, in the terminal.
//!
//! It asks the daemon once a second and sends the terminal what has changed, which is little, so that it is of use over a
//! slow line; where there is no terminal it prints once.

mod view;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::clock::Stopwatch;
use crate::control::Request;
use crate::crash::{self, Point};

use super::{Client, Failure, Outcome, exit};
use view::View;

/// How often the daemon is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How soon a signal is seen.
const LOOK: Duration = Duration::from_millis(200);

/// How large the terminal is that there is none of.
const COLUMNS: u16 = 80;
const ROWS: u16 = 60;

/// `pillory top`
#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// Prints it once and ends, as it does where standard output is no terminal.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    client: Client,
}

impl Top {
    pub(crate) fn run(&self) -> Outcome {
        // Without a daemon nothing is drawn, and the exit status says so.
        let reply = self.client.ask(&Request::Glance)?;
        if self.once || self.client.json || !std::io::stdout().is_terminal() {
            return self.client.show(&reply, snapshot);
        }
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGHUP, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&stop))
                .map_err(|error| Failure::new(exit::NO, format!("cannot watch for signals: {error}")))?;
        }
        let mut view = View { told: reply.value, ..View::default() };
        // It restores the terminal after a panic, too.
        let shown = ratatui::try_init().and_then(|mut terminal| self.watch(&mut terminal, &mut view, &stop));
        let restored = ratatui::try_restore();
        shown.and(restored).map_err(|error| {
            Failure::new(exit::NO, format!("cannot use the terminal: {error}; try pillory top --once"))
        })?;
        Ok(0)
    }

    /// Until somebody wants to quit.
    fn watch(
        &self,
        terminal: &mut DefaultTerminal,
        view: &mut View,
        stop: &AtomicBool,
    ) -> std::io::Result<()> {
        let mut asked = Stopwatch::start();
        terminal.draw(|frame| frame.render_widget(&*view, frame.area()))?;
        crash::point(Point::Drawn, || true);
        while !stop.load(Ordering::SeqCst) {
            let mut has_changed = false;
            if event::poll(EVERY.saturating_sub(asked.elapsed()).min(LOOK))? {
                match event::read()? {
                    Event::Key(key) if is_end(key) => return Ok(()),
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        view.is_help = key.code == KeyCode::Char('?') && !view.is_help;
                        has_changed = true;
                    }
                    Event::Resize(..) => has_changed = true,
                    _ => {}
                }
            }
            if asked.elapsed() >= EVERY {
                match self.client.ask(&Request::Glance) {
                    Ok(reply) => (view.told, view.trouble) = (reply.value, None),
                    Err(failure) => view.trouble = Some(failure.message),
                }
                (asked, has_changed) = (Stopwatch::start(), true);
            }
            if has_changed {
                terminal.draw(|frame| frame.render_widget(&*view, frame.area()))?;
            }
        }
        Ok(())
    }
}

fn is_end(key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

/// The same as lines of text.
fn snapshot(told: &Value) -> String {
    let area = Rect::new(0, 0, COLUMNS, ROWS);
    let mut buffer = Buffer::empty(area);
    View { told: told.clone(), is_once: true, ..View::default() }.render(area, &mut buffer);
    text_of(&buffer)
}

fn text_of(buffer: &Buffer) -> String {
    let area = buffer.area;
    let line = |row: u16| {
        let cells = (0..area.width).filter_map(|column| buffer.cell((column, row)));
        let line: String = cells.map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    };
    let text = (0..area.height).map(line).collect::<Vec<_>>().join("\n");
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests;
