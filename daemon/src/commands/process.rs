//! One command of an action: a shell in a process group of its own, with a time limit and bounded output.
//!
//! This is the only place where anything is executed, and only what the administrator's action files say, or a program
//! that the configuration names for notifications.

use std::io::{PipeReader, Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::clock::Stopwatch;

/// So much of what a command prints is kept for the log.
const KEPT_OUTPUT: usize = 2_000;

/// So long a command may take to end after it was asked to, before it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// What runs commands.
const SHELL: &str = "/bin/sh";

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It could not be started.
    #[error("cannot start {command:?}: {cause}")]
    NotStarted {
        /// The command.
        command: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It ended with another status than 0.
    #[error("{command:?} ended with {status}{output}", output = shown(output))]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// The beginning of what it printed.
        output: String,
    },
    /// It took too long and was ended.
    #[error("{command:?} did not end within {} s and was killed; raise its timeout, or mend it{output}", limit.as_secs(), output = shown(output))]
    TimedOut {
        /// The command.
        command: String,
        /// Its limit.
        limit: Duration,
        /// The beginning of what it printed.
        output: String,
    },
}

fn shown(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() { String::new() } else { format!(": {output}") }
}

/// Runs a program with its arguments, without a shell, and waits for its end. `input`: what is on its standard input;
/// `variables`: all of its environment besides `PATH`.
/// # Errors
/// [`CommandError`] unless it ended with status 0.
#[expect(clippy::disallowed_methods, reason = "a program that the configuration names")]
pub(crate) fn run_program(
    words: &[String],
    variables: &[(&str, String)],
    input: &[u8],
    limit: Duration,
) -> Result<(), CommandError> {
    let command = words.join(" ");
    let not_started = |cause| CommandError::NotStarted { command: command.clone(), cause };
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let start = || {
        let (reader, writer) = std::io::pipe()?;
        // A file and no pipe, so that nobody waits for a program that does not read.
        let given = rustix::fs::memfd_create("message", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut given = std::fs::File::from(given);
        given.write_all(input)?;
        given.rewind()?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(given)
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .spawn()?;
        Ok((reader, child))
    };
    let (output, child) = start().map_err(not_started)?;
    end_of(Running { child, output, printed: Vec::new() }, &command, limit)
}

/// Runs a script in a shell and waits for its end, no longer than `limit`.
///
/// `arguments`: values of `$0`, `$1` and so on. What came from logs is to be passed there: it is no part of the script.
/// # Errors
/// [`CommandError`] unless it ended with status 0.
pub(crate) fn run(command: &str, arguments: &[String], limit: Duration) -> Result<(), CommandError> {
    let not_started = |cause| CommandError::NotStarted { command: command.to_owned(), cause };
    let (output, child) = start(command, arguments).map_err(not_started)?;
    end_of(Running { child, output, printed: Vec::new() }, command, limit)
}

fn end_of(mut running: Running, command: &str, limit: Duration) -> Result<(), CommandError> {
    let not_started = |cause| CommandError::NotStarted { command: command.to_owned(), cause };
    match running.wait(limit).map_err(not_started)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(CommandError::Failed {
            command: command.to_owned(),
            status: in_words(status),
            output: running.printed(),
        }),
        None => {
            running.end();
            Err(CommandError::TimedOut { command: command.to_owned(), limit, output: running.printed() })
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that executes: an action file's own command")]
fn start(command: &str, arguments: &[String]) -> std::io::Result<(PipeReader, Child)> {
    let (reader, writer) = std::io::pipe()?;
    let child = Command::new(SHELL)
        .arg("-c")
        .arg(command)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((reader, child))
}

/// A command that was started.
struct Running {
    child: Child,
    output: PipeReader,
    printed: Vec<u8>,
}

impl Running {
    /// Reads what it prints until it ends; nothing if it does not within `limit`.
    fn wait(&mut self, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
        let watch = Stopwatch::start();
        let pid = Pid::from_child(&self.child);
        let ended = pidfd_open(pid, PidfdFlags::empty())?;
        let mut reads = true;
        loop {
            let Some(left) = limit.checked_sub(watch.elapsed()) else { return Ok(None) };
            let wait = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&ended, PollFlags::IN), PollFd::new(&self.output, PollFlags::IN)];
            let asked = if reads { &mut fds[..] } else { &mut fds[..1] };
            match rustix::event::poll(asked, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let (has_ended, has_printed) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            if has_printed {
                reads = self.read()?;
            }
            if has_ended && !(has_printed && reads) {
                // Whatever it left running may still hold the pipe; nobody waits for that.
                return self.child.wait().map(Some);
            }
        }
    }

    /// Takes in what was printed; false at its end.
    fn read(&mut self) -> std::io::Result<bool> {
        let mut chunk = [0; 4096];
        let count = self.output.read(&mut chunk)?;
        let room = KEPT_OUTPUT.saturating_sub(self.printed.len());
        self.printed.extend_from_slice(&chunk[..count.min(room)]);
        Ok(count > 0)
    }

    /// Ends it and everything in its process group: first by asking, then by force.
    fn end(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::TERM);
        let asked = self.wait(GRACE);
        let _ = kill_process_group(group, Signal::KILL);
        if !matches!(asked, Ok(Some(_))) {
            let _ = self.child.wait();
        }
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn values_reach_a_command_as_they_are() {
        let hostile = "x'; exit 9; echo \"$(exit 8)`exit 7`";
        run(r#"test "$0" = "$1" && test ${#0} = 35"#, &[hostile.to_owned(), hostile.to_owned()], LIMIT)
            .unwrap();
    }

    #[test]
    fn a_failure_tells_its_status_and_its_words() {
        let error = run("echo no such set >&2; exit 3", &[], LIMIT).unwrap_err().to_string();
        assert!(error.ends_with("ended with status 3: no such set"), "{error}");
        let error = run("kill -9 $$", &[], LIMIT).unwrap_err().to_string();
        assert!(error.ends_with("ended with signal 9"), "{error}");
    }

    #[test]
    fn what_hangs_is_ended_with_all_that_it_started() {
        let directory = std::env::temp_dir().join(format!("pillory-command-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let note = directory.join("pid");
        let command = format!("trap '' TERM; sleep 1000 & echo $! > {}; wait; sleep 1000", note.display());
        let watch = Stopwatch::start();
        let error = run(&command, &[], Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(watch.elapsed() < Duration::from_secs(10));
        let sleeper = std::fs::read_to_string(&note).unwrap();
        // What was killed is gone once its parent, init now, has taken notice.
        let is_gone = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.trim())).unwrap_or_default();
            state.is_empty() || state.contains(") Z")
        };
        while !is_gone() {
            assert!(watch.elapsed() < Duration::from_secs(20), "still there");
            std::thread::yield_now();
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn endless_output_is_cut_and_blocks_nobody() {
        let error = run("yes | head -c 10000000; exit 1", &[], LIMIT).unwrap_err();
        assert!(error.to_string().len() < 2 * KEPT_OUTPUT + 200);
    }

    #[test]
    fn nobody_waits_for_what_a_command_leaves_behind() {
        let watch = Stopwatch::start();
        run("sleep 30 & exit 0", &[], LIMIT).unwrap();
        assert!(watch.elapsed() < Duration::from_secs(10));
    }
}
