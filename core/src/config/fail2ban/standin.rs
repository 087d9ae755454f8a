//! What stands in where a directory holds less than fail2ban's own: defaults of jails, filters.

use std::fmt::Write as _;

use crate::filter::catalog;
use crate::filter::settings::Files;

/// The usual values; `action` takes the place of fail2ban's shortcuts.
const DEFAULTS: &str = "\
[DEFAULT]
enabled = false
bantime = 10m
findtime = 10m
maxretry = 5
maxmatches = %(maxretry)s
backend = auto
usedns = warn
ignorecommand =
mode = normal
filter = %(__name__)s
protocol = tcp
chain = INPUT
port = 0:65535
banaction = iptables-multiport
banaction_allports = iptables-allports
action_ = %(banaction)s[port=\"%(port)s\", protocol=\"%(protocol)s\", chain=\"%(chain)s\"]
action = %(action_)s
";

/// The jail and the filter that count the bans of all other jails.
const RECIDIVE_JAIL: &str = "\
[recidive]
logpath = /var/log/fail2ban.log
banaction = %(banaction_allports)s
bantime = 1w
findtime = 1d
";
const RECIDIVE_FILTER: &str = "\
[Definition]
_jailname = recidive
failregex = NOTICE\\s+\\[(?!%(_jailname)s\\])[^\\]]+\\] Ban <HOST>$
";

/// True if a filter of that name can stand in.
pub(super) fn has(name: &str) -> bool {
    text(name).is_some()
}

fn text(name: &str) -> Option<&'static str> {
    if name == "recidive" { Some(RECIDIVE_FILTER) } else { catalog::text(name) }
}

/// Path of a built-in filter.
pub(super) fn filter_path(name: &str) -> String {
    format!("{BUILT_IN}{name}.conf")
}

const BUILT_IN: &str = "built-in/";

/// A directory, with what is missing.
pub(super) struct WithBuiltIn<'a> {
    files: &'a dyn Files,
    jail_conf: String,
    has_own: bool,
}

impl<'a> WithBuiltIn<'a> {
    pub(super) fn new(files: &'a dyn Files, base: &str) -> Self {
        let jail_conf = format!("{base}/jail.conf");
        let has_own = matches!(files.read(&jail_conf), Ok(None));
        Self { files, jail_conf, has_own }
    }

    /// True if the defaults of jails stand in.
    pub(super) fn has_own_jail_conf(&self) -> bool {
        self.has_own
    }
}

impl Files for WithBuiltIn<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        if self.has_own && path == self.jail_conf {
            return Ok(Some(jails().into_bytes()));
        }
        match path.strip_prefix(BUILT_IN) {
            Some(name) => {
                let own = name.strip_suffix(".conf").and_then(text).map(str::to_owned);
                Ok(own.or_else(|| catalog::include(name)).map(String::into_bytes))
            }
            None => self.files.read(path),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        self.files.list(folder)
    }
}

/// The defaults, and a jail with its ports for every built-in filter.
fn jails() -> String {
    let mut text = format!("{DEFAULTS}{RECIDIVE_JAIL}");
    for name in catalog::names() {
        let ports = catalog::builtin(name).map(|filter| filter.port.join(",")).unwrap_or_default();
        let _ = writeln!(text, "[{name}]");
        if !ports.is_empty() {
            let _ = writeln!(text, "port = {ports}");
        }
    }
    text
}
