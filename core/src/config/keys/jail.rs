//! Keys that only a jail has.

use crate::config::{Backend, Enabled};

use super::values::{MAX_MAXLINES, PORTS, absolute, boolean, is_port, journalmatch, regexes, text, texts};
use super::{Draft, Key, Misfit, Misfits};

/// Keys that only a jail has.
pub const JAIL_KEYS: &[Key<Draft>] = &[
    Key {
        name: "enabled",
        doc: "whether the jail runs; unset: if its service is found",
        set: |draft, value| {
            draft.enabled = Some(if boolean(value)? { Enabled::Yes } else { Enabled::No });
            Ok(())
        },
    },
    Key {
        name: "backend",
        doc: "auto, journal, file or btmp",
        set: |draft, value| {
            draft.backend = Some(match text(value)? {
                "auto" => Backend::Auto,
                "journal" | "systemd" => Backend::Journal,
                "file" | "pyinotify" | "polling" => Backend::File,
                "btmp" => Backend::Btmp,
                other => {
                    return Err(
                        Misfit(format!("{other:?} is not known"), "use auto, journal, file or btmp").into()
                    );
                }
            });
            Ok(())
        },
    },
    Key {
        name: "logpath",
        doc: "log files, globs allowed; with backend btmp the btmp file",
        set: |draft, value| {
            let paths = texts(value)?;
            let misfits = paths.iter().filter_map(|path| absolute(path).err()).collect();
            draft.logpath = Some(paths);
            Misfits::none(misfits)
        },
    },
    Key {
        name: "journalmatch",
        doc: "journal fields, as in fail2ban: pairs, alternatives joined by +",
        set: |draft, value| {
            draft.journalmatch = Some(journalmatch(text(value)?)?);
            Ok(())
        },
    },
    Key {
        name: "filter",
        doc: "name of a built-in filter; default: the jail's name",
        set: |draft, value| {
            draft.filter = Some(text(value)?.to_owned());
            Ok(())
        },
    },
    Key {
        name: "prefregex",
        doc: "an expression that comes first; its F-CONTENT group is what the others see",
        set: |draft, value| {
            draft.prefregex = Some(text(value)?.trim().to_owned());
            Ok(())
        },
    },
    Key {
        name: "failregex",
        doc: "expressions in fail2ban's language that show a failure",
        set: |draft, value| {
            draft.failregex = Some(regexes(value)?);
            Ok(())
        },
    },
    Key {
        name: "ignoreregex",
        doc: "expressions for lines to be passed over",
        set: |draft, value| {
            draft.ignoreregex = Some(regexes(value)?);
            Ok(())
        },
    },
    Key {
        name: "datepattern",
        doc: "how a line's date is written, in fail2ban's language; unset: found by itself",
        set: |draft, value| {
            draft.datepattern = Some(text(value)?.to_owned());
            Ok(())
        },
    },
    Key {
        name: "maxlines",
        doc: "how many lines a failregex may span; unset: 1",
        set: |draft, value| {
            let lines = text(value)?.parse::<usize>().ok().filter(|lines| (1..=MAX_MAXLINES).contains(lines));
            draft.maxlines =
                Some(lines.ok_or(Misfit("is out of range".into(), "use a number from 1 to 1000"))?);
            Ok(())
        },
    },
    Key {
        name: "port",
        doc: "ports of the service; unset: found from its listening sockets",
        set: |draft, value| {
            let ports = texts(value)?;
            let wrong = |port: &&String| !is_port(port);
            let misfit = |port| Misfit(format!("{port:?} is no port"), PORTS);
            let misfits = ports.iter().filter(wrong).map(misfit).collect();
            draft.port = Some(ports);
            Misfits::none(misfits)
        },
    },
];
