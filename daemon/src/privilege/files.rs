//! Landlock: the kernel lets the process open only what it needs, and connect to name servers only.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};

use super::Needs;

/// The newest version whose rules were tried here; older kernels take as much of it as they know.
const KNOWN: ABI = ABI::V7;

/// Where name servers listen.
const DNS: u16 = 53;

/// Limits the calling thread and those that it starts. Returns the version of Landlock in use.
/// # Errors
/// Why nothing is limited, in words.
pub(super) fn restrict(needs: &Needs) -> Result<u8, String> {
    let status = enter(needs).map_err(|error| format!("Landlock cannot be used: {error}"))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Err("Landlock is switched off in this kernel (lsm=)".to_owned())
        }
        (RulesetStatus::NotEnforced, _) => Err("this kernel has no Landlock (Linux 5.13)".to_owned()),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi as u8),
        (_, _) => Ok(ABI::V1 as u8),
    }
}

fn enter(needs: &Needs) -> Result<RestrictionStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSock
        | AccessFs::RemoveFile
        | AccessFs::Truncate;
    let append = AccessFs::WriteFile | AccessFs::MakeReg;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(scopes())?
        .create()?;
    for path in needs.real_reads() {
        rules = beneath(rules, &path, read)?;
    }
    for path in &needs.writes {
        rules = beneath(rules, path, write)?;
    }
    for directory in needs.appends.iter().filter_map(|file| file.parent()) {
        rules = beneath(rules, directory, append)?;
    }
    for port in needs.ports.iter().chain([&DNS]) {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    rules.restrict_self()
}

/// No signals to others. No abstract sockets of others either, unless the service manager's is one.
fn scopes() -> BitFlags<Scope> {
    let manager = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    match manager.as_encoded_bytes().first() {
        Some(b'@') => Scope::Signal.into(),
        _ => Scope::from_all(KNOWN),
    }
}

/// What is not there needs no rule.
fn beneath(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    rules.add_rule(PathBeneath::new(opened, access))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn only_what_is_needed_can_be_read_and_written() {
        let directory = std::env::temp_dir().join(format!("pillory-landlock-{}", std::process::id()));
        let names = ["read", "written", "closed"];
        let [read, written, closed] = names.map(|name| directory.join(name));
        for inner in [&read, &written, &closed] {
            std::fs::create_dir_all(inner).unwrap();
            std::fs::write(inner.join("file"), "text").unwrap();
        }
        let needs = Needs { reads: vec![read.clone()], writes: vec![written.clone()], ..Needs::default() };
        let tried: Result<_, String> = std::thread::scope(|scope| {
            let work = || {
                let version = restrict(&needs)?;
                let kind = |result: std::io::Result<()>| result.err().map(|error| error.kind());
                Ok((
                    version,
                    [
                        kind(std::fs::read(read.join("file")).map(drop)),
                        kind(std::fs::write(read.join("file"), "changed")),
                        kind(std::fs::write(read.join("new"), "")),
                        kind(
                            std::fs::write(written.join("new"), "")
                                .and_then(|()| std::fs::rename(written.join("new"), written.join("file"))),
                        ),
                        kind(std::fs::remove_file(written.join("file"))),
                        kind(std::fs::read(closed.join("file")).map(drop)),
                        kind(std::fs::read_dir(&closed).map(drop)),
                        kind(std::net::TcpListener::bind("127.0.0.1:0").map(drop)),
                    ],
                ))
            };
            scope.spawn(work).join().unwrap()
        });
        std::fs::remove_dir_all(&directory).unwrap();
        let denied = Some(ErrorKind::PermissionDenied);
        match tried {
            Ok((version, results)) => {
                let listens = if version >= 4 { denied } else { None };
                assert_eq!(results, [None, denied, denied, None, None, denied, denied, listens]);
            }
            Err(why) => eprintln!("skipped: {why}"),
        }
    }
}
