//! For tests: runs a closure in a network namespace of its own, so that nothing touches the host.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Output;

#[allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "the lab's, of which this needs a part"
)]
#[path = "../../tests/lab/tools.rs"]
mod tools;

/// Runs `test` on a thread with a fresh, empty network namespace; loopback is up.
///
/// Returns nothing, and says so, if that is not permitted here.
pub fn in_new_namespace<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let thread = std::thread::spawn(move || {
        // Deprecated for what it can do with file descriptors; a network namespace is a thread's own affair.
        #[allow(deprecated)]
        let unshared = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET);
        if let Err(error) = unshared {
            eprintln!("skipped: cannot make a network namespace: {error}");
            return None;
        }
        run("ip", &["link", "set", "lo", "up"]);
        Some(test())
    });
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs a program in the calling thread's namespace; a missing program is no output.
pub fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let Some(tool) = tools::find(program) else {
        tools::say_skipped(&format!("no {program} here; scripts/fetch-test-tools.sh fetches it"));
        return None;
    };
    let output = tool.command().args(arguments).output();
    output.inspect_err(|error| tools::say_skipped(&format!("cannot run {program}: {error}"))).ok()
}

/// Runs a program that must succeed and returns what it printed.
pub fn must_run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = run(program, arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The `n`-th of many scattered IPv4 addresses.
pub fn scattered(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0100_0000 + (n.wrapping_mul(2_654_435_761) & 0x3fff_ffff)))
}
