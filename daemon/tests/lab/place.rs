//! A directory of a test's own, in which commands are run that need no daemon and change nothing elsewhere.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Answer, binary};

/// A directory of its own, gone when dropped.
pub struct Place(pub PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Place {
    pub fn new(name: &str) -> Place {
        let directory = std::env::temp_dir().join(format!("pillory-commands-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for the test");
        Place(directory)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file for the test");
        path.display().to_string()
    }

    /// Runs a command that changes nothing outside its own state directory.
    pub fn run(&self, args: &[&str]) -> Answer {
        let mut command = Command::new(binary());
        command.args(args).env("TZ", "UTC").stdin(Stdio::null());
        command.output().expect("the program starts").into()
    }

    /// The same with a state directory and no daemon.
    pub fn offline(&self, args: &[&str]) -> Answer {
        let (state, socket) = (self.0.join("state"), self.0.join("no.sock"));
        let mut all = args.to_vec();
        let (state, socket) = (state.display().to_string(), socket.display().to_string());
        all.extend(["--state-dir", &state, "--control", &socket]);
        self.run(&all)
    }
}
