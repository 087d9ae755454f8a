//! What is typed for the golden files, and what it finds.

/// A file's name, and the commands that are typed for it, one after the other, once for each form. So each session leaves
/// all as it was.
pub type Session = (&'static str, &'static [&'static str]);

pub const SESSIONS: &[Session] = &[
    ("past", &["pillory attempts --jail sshd", "pillory history --jail sshd"]),
    ("bare", &["pillory"]),
    ("help", &["pillory --help", "pillory ban --help"]),
    (
        "check",
        &["pillory check", "pillory check --config /run/slips.toml", "pillory check --config /run/no.toml"],
    ),
    ("test-filter", &["pillory test-filter sshd /run/sshd.log --now 1795374900 --tz UTC"]),
    ("restrict", &["pillory restrict web", "pillory restrict ssh", "pillory restrict ssh --suggest"]),
    ("rescue-code", &["pillory rescue-code -n 2"]),
    (
        "off-on-reload",
        &[
            "pillory off --for 1h",
            "pillory on",
            "pillory off",
            "pillory status sshd | grep -e OFF -e 'ban waits'",
            "pillory on",
            "pillory reload",
        ],
    ),
    (
        "allow-answers",
        &[
            "pillory allow 203.0.113.50",
            "pillory allow 203.0.113.51 203.0.113.52 --for 8h",
            "pillory allow",
            "pillory allow --remove 203.0.113.50 203.0.113.51 203.0.113.52",
            "pillory allow --remove 203.0.113.50",
            "pillory allow",
        ],
    ),
    (
        "refused",
        &[
            "cp /etc/pillory/pillory.toml /run/kept.toml; cp /run/slips.toml /etc/pillory/pillory.toml; pillory reload",
            "cp /run/kept.toml /etc/pillory/pillory.toml; pillory reload",
            "pillory apply /run/slips.toml",
            "pillory apply /run/no.toml",
            "pillory confirm",
        ],
    ),
    ("second-run", &["pillory run"]),
    (
        "nothing-matches",
        &[
            "pillory attempts --user nobody",
            "pillory history --ip 203.0.113.250",
            "pillory attempts --since '2 days ago' --until yesterday",
            "pillory attempts -n x",
            "pillory attempts --since whenever",
        ],
    ),
    (
        "unread",
        &[
            "pillory scan /run/no.log",
            "pillory test-filter sshd /run/no.log",
            "pillory test-filter --jail sshd /run/sshd.log --now 1795374900 --tz UTC",
            "pillory import --fail2ban /run/no --out /run/never.toml",
            "pillory import /run/no.list",
        ],
    ),
    (
        "import",
        &[
            "pillory import /run/list --dry-run",
            "pillory import /run/list",
            "pillory import /run/list",
            "pillory unban 203.0.113.77 2001:db8:9::7 203.0.113.128/25",
        ],
    ),
    ("notify", &["pillory notify", "pillory notify --test chat", "pillory notify --test nobody"]),
    ("reports", &["pillory reports", "pillory reports review </dev/null", "pillory reports --dry-run"]),
    (
        "unlist",
        &[
            "pillory unlist",
            "pillory unlist 203.0.113.7 2001:db8:9::/48",
            "pillory unlist",
            "pillory unlist --remove 203.0.113.7 2001:db8:9::/48 192.0.2.77",
        ],
    ),
    ("wall-text", &["pillory wall --text"]),
    ("explain-whois", &["pillory explain 198.51.100.70 --whois"]),
    (
        "ban-net",
        &[
            "pillory ban 198.51.100.70 --net </dev/null",
            "pillory ban 198.51.100.70 --net --yes",
            "pillory unban 198.51.100.0/25",
        ],
    ),
    ("status-jail", &["pillory status sshd", "pillory status shd"]),
    ("check-fail2ban", &["pillory check --fail2ban /run/fail2ban"]),
    (
        "import-fail2ban",
        &[
            "pillory import --fail2ban /run/fail2ban",
            "pillory import --fail2ban /run/fail2ban --out /run/moved.toml",
            "pillory import --fail2ban /run/fail2ban --out /run/list",
        ],
    ),
    (
        "rescue",
        &[
            "pillory rescue 127.0.0.1 2200 abcd-efgh",
            "pillory rescue 127.0.0.1 2200 \"$(pillory rescue-code -n 1 | head -n 1)\" 203.0.113.9",
            "pillory rescue 127.0.0.1 2201 abcd-efgh",
        ],
    ),
    (
        "habits",
        &[
            "pillory banned",
            "pillory set sshd banip 203.0.113.99",
            "pillory set sshd unbanip 203.0.113.99",
            "pillory set sshd maxretry 3",
            "pillory set sshd addlogpath /var/log/auth.log",
            "pillory set sshd maxlins 3",
            "pillory set dbpurgeage 1d",
            "pillory status sshd short | grep 1.banned",
            "pillory status sshd cymru",
            "pillory unban all",
            "pillory -v -s /run/fail2ban/fail2ban.sock status sshd",
            "pillory get sshd findtime",
            "pillory restart",
        ],
    ),
    (
        "slips",
        &[
            "pillory statsu",
            "pillory ban",
            "pillory ban 203.0.113",
            "pillory unban 203.0.113.99",
            "pillory list --jail shd",
            "pillory ban 203.0.113.99 --bantime 1x",
        ],
    ),
    ("wall", &["pillory wall --out /srv/wall", "pillory wall --out /srv", "pillory wall --out /etc"]),
    ("export", &["pillory export"]),
    (
        "not-permitted",
        &[
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory status",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory unban 203.0.113.77 --json",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory check --config /run/closed/pillory.toml",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory check --fail2ban /run/closed",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory import --fail2ban /run/closed --out /run/never.toml",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory test-filter sshd /run/closed/auth.log",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory scan /run/closed/auth.log",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory run --config /run/closed/pillory.toml",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory run --fail2ban /run/closed",
            "setpriv --reuid=1001 --regid=1001 --clear-groups pillory apply /run/closed/pillory.toml",
        ],
    ),
];

/// These where no daemon runs.
pub const WITHOUT_A_DAEMON: Session = (
    "without-a-daemon",
    &[
        "pillory",
        "pillory status",
        "pillory list",
        "pillory ban 203.0.113.7",
        "pillory unban 203.0.113.7",
        "pillory off",
        "pillory explain 203.0.113.7",
        "pillory on",
        "setpriv --reuid=1001 --regid=1001 --clear-groups pillory",
        "setpriv --reuid=1001 --regid=1001 --clear-groups pillory run",
    ],
);

/// These where nothing is configured, and nobody has come yet.
pub const UNCONFIGURED: Session = (
    "unconfigured",
    &[
        "pillory attempts",
        "pillory history",
        "pillory list",
        "pillory allow",
        "pillory rescue-code",
        "pillory notify",
        "pillory reports",
        "pillory restrict ssh",
        "pillory restrict ssh --suggest",
        "pillory wall --out /srv/wall",
    ],
);

/// The help of each command.
pub const HELPS: Session = (
    "helps",
    &[
        "pillory run --help",
        "pillory status --help",
        "pillory list --help",
        "pillory ban --help",
        "pillory unban --help",
        "pillory allow --help",
        "pillory rescue-code --help",
        "pillory rescue --help",
        "pillory restrict --help",
        "pillory off --help",
        "pillory on --help",
        "pillory explain --help",
        "pillory attempts --help",
        "pillory history --help",
        "pillory reload --help",
        "pillory apply --help",
        "pillory confirm --help",
        "pillory check --help",
        "pillory import --help",
        "pillory export --help",
        "pillory doctor --help",
        "pillory test-filter --help",
        "pillory scan --help",
        "pillory rehearse --help",
        "pillory wall --help",
        "pillory unlist --help",
        "pillory metrics --help",
        "pillory notify --help",
        "pillory reports --help",
        "pillory top --help",
    ],
);

/// These are typed over ssh.
pub const APPLY_CONFIRM: Session = (
    "apply-confirm",
    &[
        "pillory apply /run/new.toml",
        "pillory confirm",
        "pillory apply /run/new.toml --confirm 5m",
        "pillory confirm --take-back",
        "pillory confirm",
    ],
);

/// Has what the commands ask for; nothing is told to anybody while they do.
pub const CONFIG: &str = "widen = false\n\
    [rescue]\nport = 2200\n\
    [restrict.web]\nport = 8443\nallow = [\"203.0.113.0/24\", \"2001:db8:5::/48\"]\n\
    [wall]\ncontact = \"abuse@example.net\"\nmin_attempts = 2\ndelay = \"0s\"\n\
    [notify.owner]\nkind = \"syslog\"\nserver = \"udp://127.0.0.1:514\"\non = \"stop\"\n\
    [notify.chat]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:8080/alerts\"\non = [\"stop\", \"start\"]\n\
    [report.abuseipdb]\nurl = \"http://127.0.0.1:8080/api/v2\"\nkey_file = \"/srv/key\"\ndelay = \"1s\"\n";

/// Of a configuration with three slips.
pub const SLIPS: &str = "maxretries = 3\nbantime = \"10x\"\n[jail.ssh]\nfilter = \"shd\"\n";

/// A list with all that a list may have.
pub const LIST: &str = "# from a friend\n203.0.113.77  # guesses at the shop\n2001:db8:9::7\n203.0.113.130/25\n\
    198.18.0.0/15\n127.0.0.1\nnot an address\n192.0.2.300\n";

/// What somebody who comes from fail2ban may have: a jail that is built in, one of their own with what has no counterpart,
/// and one with a slip.
pub const FAIL2BAN: [(&str, &str); 3] = [
    (
        "jail.local",
        "[DEFAULT]\nignoreip = 127.0.0.1/8 203.0.113.0/24\nbantime = 1h\n\n\
         [sshd]\nenabled = true\nlogpath = /var/log/auth.log\nmaxretry = 3\n\n\
         [shop]\nenabled = true\nfilter = shop\nlogpath = /srv/shop.log\naction = tell\n\n\
         [till]\nenabled = true\nfilter = shop[\nlogpath = /srv/shop.log\nport = nosuchport\n",
    ),
    ("filter.d/shop.conf", "[Definition]\nfailregex = ^no from <HOST>$\n"),
    ("action.d/tell.conf", "[Definition]\nactionban = tell <ip>\n"),
];

/// Lines of sshd: a failure of a user, one of nobody, a good login, and one that is nothing.
pub const SSHD: &str = "Nov 22 19:14:01 web sshd[811]: Failed password for root from 198.51.100.7 port 50022 ssh2\n\
    Nov 22 19:14:02 web sshd[812]: Invalid user admin from 2001:db8:1::10 port 50023\n\
    Nov 22 19:14:03 web sshd[813]: Accepted publickey for alice from 192.0.2.10 port 50024 ssh2: ED25519 SHA256:abc\n\
    Nov 22 19:14:04 web sshd[1]: Server listening on 0.0.0.0 port 22.\n";
