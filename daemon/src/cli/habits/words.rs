//! fail2ban-client's words, and what becomes of each.

/// What becomes of words that fail2ban-client knows.
pub(super) enum Here {
    /// They mean this.
    Do(&'static str),
    /// They mean something else, or nothing; this does it.
    Instead(&'static str),
}
use Here::{Do, Instead};

/// fail2ban-client's words, the first row that fits counts. Capitals stand for a word, `..` behind them for one or more.
///
/// Source: fail2ban 1.1, `fail2ban-client --help`.
pub(super) const HABITS: &[(&str, Here)] = &[
    ("-t", Do("check")),
    ("--test", Do("check")),
    ("-c DIR -t", Do("check --fail2ban DIR")),
    ("-c DIR --test", Do("check --fail2ban DIR")),
    (
        "-d",
        Instead(
            "`pillory check` says what is wrong with the configuration; `man pillory.toml` has every default",
        ),
    ),
    (
        "--dp",
        Instead(
            "`pillory check` says what is wrong with the configuration; `man pillory.toml` has every default",
        ),
    ),
    ("-i", Instead("there is no shell of its own: `pillory --help` lists the commands")),
    ("ping", Do("status")),
    ("version", Do("--version")),
    ("echo ANY..", Instead("`pillory status` tells whether the daemon answers")),
    ("echo", Instead("`pillory status` tells whether the daemon answers")),
    ("banned", Do("list")),
    ("banned IP..", Do("explain IP..")),
    ("stat", Do("status")),
    ("stats", Do("status")),
    ("statistics", Do("status")),
    ("start", Instead("`systemctl start pillory` starts the service, `pillory run` runs it here")),
    (
        "stop",
        Instead(
            "`systemctl stop pillory` stops the service and leaves its bans to end by themselves, `pillory off` lifts all bans",
        ),
    ),
    (
        "restart",
        Instead(
            "`pillory reload` reads the configuration again, `systemctl restart pillory` starts the service anew",
        ),
    ),
    ("reload --all", Do("reload")),
    ("reload JAIL", Instead(RELOAD)),
    ("reload --restart", Instead(RELOAD)),
    ("reload --unban", Instead(RELOAD)),
    ("reload --restart JAIL", Instead(RELOAD)),
    ("reload --unban JAIL", Instead(RELOAD)),
    ("start JAIL", Instead("write enabled = true below [jail.JAIL] in pillory.toml, then `pillory reload`")),
    ("stop JAIL", Instead("write enabled = false below [jail.JAIL] in pillory.toml, then `pillory reload`")),
    (
        "restart ANY..",
        Instead(
            "`pillory reload` reads the configuration of all jails again; `pillory unban --all --jail JAIL` lifts a jail's bans",
        ),
    ),
    ("add JAIL", Instead("write a section [jail.JAIL] in pillory.toml, then `pillory reload`")),
    ("add JAIL ANY", Instead("write a section [jail.JAIL] in pillory.toml, then `pillory reload`")),
    (
        "flushlogs",
        Instead(
            "the log goes to standard error, so there is none to open again; `journalctl -u pillory` shows it",
        ),
    ),
    ("status JAIL short", Do("status JAIL")),
    ("status JAIL basic", Do("status JAIL")),
    ("status JAIL stats", Do("status JAIL")),
    ("status JAIL cymru", Instead("`pillory explain ADDRESS --whois` says in whose network an address is")),
    ("status --all ANY", Do("status --all")),
    ("banip IP..", Do("ban IP..")),
    ("banip", Instead("name whom: `pillory ban ADDRESS`, or more of them")),
    ("unbanip IP..", Do("unban IP..")),
    ("unbanip", Instead("name whom: `pillory unban ADDRESS`, or more of them")),
    ("unban all", Instead("`pillory unban --all` lifts every ban")),
    ("get JAIL banip", Do("list --jail JAIL")),
    ("get JAIL banip --with-time", Do("list --jail JAIL")),
    ("get JAIL banned", Do("list --jail JAIL")),
    ("get JAIL banned IP..", Do("explain IP..")),
    ("get JAIL logpath", Do("status JAIL")),
    (
        "get JAIL ignoreip",
        Instead(
            "`pillory explain ADDRESS` says whether it is never banned, and why; `pillory allow` lists who was allowed by command",
        ),
    ),
    (
        "get JAIL failregex",
        Instead(
            "`pillory test-filter --jail JAIL LOG` says which of its expressions match; `man pillory-filter` tells what filters are made of",
        ),
    ),
    ("get JAIL actions", Instead(ACTIONS)),
    ("get JAIL ignoreself", Instead(SELF)),
    ("get JAIL logencoding", Instead(ENCODING)),
    ("get JAIL maxmatches", Instead(MATCHES)),
    ("get JAIL usedns", Instead(DIRECTORY_ONLY)),
    ("get JAIL ignorecommand", Instead(DIRECTORY_ONLY)),
    ("get JAIL ignorecache", Instead(DIRECTORY_ONLY)),
    (
        "get JAIL KEY",
        Instead(
            "what [jail.JAIL] of pillory.toml says of KEY holds, else what its top says; `man pillory.toml` has the defaults",
        ),
    ),
    ("get JAIL KEY ANY..", Instead(ACTIONS)),
    ("get dbfile", Instead(STATE)),
    ("get dbmaxmatches", Instead(MATCHES)),
    ("get dbpurgeage", Instead(KEPT)),
    ("get loglevel", Instead(LEVEL)),
    ("get logtarget", Instead(LOG)),
    ("get syslogsocket", Instead(LOG)),
    ("get allowipv6", Instead(IPV6)),
    ("get KEY", Instead("pillory.toml says it; `man pillory.toml` has every key")),
    ("set JAIL banip IP..", Do("ban --jail JAIL IP..")),
    ("set JAIL banip", Instead("name whom: `pillory ban --jail JAIL ADDRESS`, or more of them")),
    ("set JAIL unbanip", Instead("name whom: `pillory unban --jail JAIL ADDRESS`, or more of them")),
    (
        "set JAIL unbanip --report-absent",
        Instead("name whom: `pillory unban --jail JAIL ADDRESS`, or more of them"),
    ),
    ("set JAIL unbanip --report-absent IP..", Do("unban --jail JAIL IP..")),
    ("set JAIL unbanip IP..", Do("unban --jail JAIL IP..")),
    (
        "set JAIL addignoreip",
        Instead("name whom: `pillory allow ADDRESS` does it for all jails; `pillory allow` lists who is"),
    ),
    (
        "set JAIL delignoreip",
        Instead("name whom: `pillory allow --remove ADDRESS`; `pillory allow` lists who is"),
    ),
    (
        "set JAIL addignoreip IP..",
        Instead(
            "`pillory allow IP..` does it for all jails, and over restarts; `--for 8h` ends it by itself",
        ),
    ),
    (
        "set JAIL delignoreip IP..",
        Instead(
            "`pillory allow --remove IP..` does it, for all jails; what ignoreip in pillory.toml lists stays",
        ),
    ),
    ("set JAIL addlogpath ANY..", Instead(LOGPATH)),
    ("set JAIL dellogpath ANY..", Instead(LOGPATH)),
    ("set JAIL addjournalmatch ANY..", Instead(JOURNAL)),
    ("set JAIL deljournalmatch ANY..", Instead(JOURNAL)),
    ("set JAIL addfailregex ANY..", Instead(FAILREGEX)),
    ("set JAIL delfailregex ANY..", Instead(FAILREGEX)),
    ("set JAIL addignoreregex ANY..", Instead(IGNOREREGEX)),
    ("set JAIL delignoreregex ANY..", Instead(IGNOREREGEX)),
    ("set JAIL addaction ANY..", Instead(ACTIONS)),
    ("set JAIL delaction ANY..", Instead(ACTIONS)),
    ("set JAIL action ANY..", Instead(ACTIONS)),
    ("set JAIL attempt IP", Instead(ATTEMPT)),
    ("set JAIL attempt IP ANY..", Instead(ATTEMPT)),
    (
        "set JAIL idle off",
        Instead("write enabled = true below [jail.JAIL] in pillory.toml, then `pillory reload`"),
    ),
    (
        "set JAIL idle ANY..",
        Instead(
            "write enabled = false below [jail.JAIL] in pillory.toml, then `pillory reload`; `pillory off` stops all of them",
        ),
    ),
    ("set JAIL ignoreself ANY..", Instead(SELF)),
    ("set JAIL logencoding ANY..", Instead(ENCODING)),
    ("set JAIL maxmatches ANY..", Instead(MATCHES)),
    ("set JAIL usedns ANY..", Instead(DIRECTORY_ONLY)),
    ("set JAIL ignorecommand ANY..", Instead(DIRECTORY_ONLY)),
    ("set JAIL ignorecache ANY..", Instead(DIRECTORY_ONLY)),
    ("set dbfile ANY..", Instead(STATE)),
    ("set dbmaxmatches ANY..", Instead(MATCHES)),
    ("set dbpurgeage ANY..", Instead(KEPT)),
    ("set loglevel ANY..", Instead(LEVEL)),
    ("set logtarget ANY..", Instead(LOG)),
    ("set syslogsocket ANY..", Instead(LOG)),
    ("set allowipv6 ANY..", Instead(IPV6)),
    (
        "set JAIL KEY ANY..",
        Instead(
            "write KEY below [jail.JAIL] in pillory.toml, then `pillory reload`, or `pillory apply FILE` to try it",
        ),
    ),
    (
        "set KEY ANY..",
        Instead("write it in pillory.toml, then `pillory reload`; `man pillory.toml` has every key"),
    ),
];

const ACTIONS: &str = "no jail has actions of its own: banaction at the top of pillory.toml says how bans are enforced, [notify.NAME] and [report.NAME] who is told; `pillory check --fail2ban DIR` says what becomes of a directory's";

const LOGPATH: &str = "write all its logs as logpath below [jail.JAIL] in pillory.toml, then `pillory reload`; `pillory status JAIL` shows what it reads";

const JOURNAL: &str =
    "write all of them as journalmatch below [jail.JAIL] in pillory.toml, then `pillory reload`";

const FAILREGEX: &str = "write all of them as failregex below [jail.JAIL] in pillory.toml, try them with `pillory test-filter --jail JAIL LOG`, then `pillory reload`";

const IGNOREREGEX: &str = "write all of them as ignoreregex below [jail.JAIL] in pillory.toml, try them with `pillory test-filter --jail JAIL LOG`, then `pillory reload`";

const ATTEMPT: &str = "failures are counted from logs only; `pillory ban --jail JAIL IP` bans at once";

const SELF: &str = "this host's own addresses are never banned, so there is nothing to set";

const ENCODING: &str = "logs are read whatever their encoding, so there is nothing to set";

const MATCHES: &str = "every attempt is kept as long as retention at the top of pillory.toml says; `pillory attempts --ip ADDRESS` lists them";

const DIRECTORY_ONLY: &str = "only the jails of a fail2ban directory have that: name the directory as fail2ban at the top of pillory.toml, and change it there";

const STATE: &str = "state is kept in /var/lib/pillory; `pillory run --state-dir DIR` keeps it elsewhere";

const KEPT: &str = "write it as retention at the top of pillory.toml, then `pillory reload`";

const LEVEL: &str = "there is one level: bans, unbans and what is wrong; `pillory attempts` lists failures, and a file named as fail2ban_log at the top of pillory.toml has them, too";

const LOG: &str = "the log goes to standard error, as a service to the journal (`journalctl -u pillory`); name a file for fail2ban's lines as fail2ban_log at the top of pillory.toml";

const IPV6: &str = "both families are judged, so there is nothing to set";

const RELOAD: &str = "`pillory reload` reads the configuration of all jails again, and keeps bans and counts";
