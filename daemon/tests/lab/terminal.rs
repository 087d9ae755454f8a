//! A program in a terminal of its own, as somebody would look on.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use rustix::process::{Pid, Signal, kill_process};

use super::wait::wait_for;

/// How long a program may take that ends by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many rows it has.
pub const ROWS: u16 = 24;

/// A program in a terminal, and all that it has written; killed when dropped.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    written: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts it in a terminal of so many columns.
    #[track_caller]
    pub fn start(mut command: Command, columns: u16) -> Terminal {
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a terminal");
        let end = || Stdio::from(pair.slave.try_clone().expect("a descriptor"));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        // The command holds descriptors of the terminal, too.
        drop(command);
        let written = Arc::new(Mutex::new(String::new()));
        let (kept, mut master) = (Arc::clone(&written), std::fs::File::from(pair.master));
        // It ends with the last program in the terminal.
        std::thread::spawn(move || {
            let (mut part, mut all) = ([0; 4096], Vec::new());
            while let Ok(count @ 1..) = master.read(&mut part) {
                all.extend_from_slice(&part[..count]);
                *kept.lock().expect("nobody panics holding it") =
                    String::from_utf8_lossy(&all).replace("\r\n", "\n");
            }
        });
        Terminal { child, written }
    }

    /// What it has written so far.
    pub fn text(&self) -> String {
        self.written.lock().expect("the reader does not panic").clone()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end; its status and what it wrote.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, String) {
        let code = wait_for(PATIENCE, "its end", || self.child.try_wait().ok().flatten()).code();
        // The reader holds the text as long as it reads.
        wait_for(PATIENCE, "the end of what it writes", || {
            (Arc::strong_count(&self.written) == 1).then_some(())
        });
        (code, self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same text without what colours it.
pub fn without_colour(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.map(|part| part.split_once('m').map_or("", |(_, rest)| rest)).collect::<String>()
}
