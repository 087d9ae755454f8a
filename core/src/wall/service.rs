//! What attackers are after, in words for everybody: the names of jails stay on the host.

/// A kind of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// ssh.
    Ssh,
    /// WordPress.
    WordPress,
    /// Other services of the web.
    Web,
    /// Mail, in and out.
    Mail,
    /// FTP.
    Ftp,
    /// Whatever else has a login.
    Other,
}

impl Service {
    /// All of them, in the order in which they are shown where nothing else orders them.
    pub const ALL: [Service; 6] =
        [Service::Ssh, Service::WordPress, Service::Web, Service::Mail, Service::Ftp, Service::Other];

    /// By the name of a jail, as far as it says what it guards.
    pub fn of_jail(jail: &str) -> Service {
        let begins = |words: &[&str]| words.iter().any(|word| jail.starts_with(word));
        match jail {
            _ if begins(&["ssh", "dropbear"]) => Service::Ssh,
            _ if begins(&["wordpress", "wp-"]) => Service::WordPress,
            _ if begins(&["nginx", "apache", "lighttpd", "php"]) => Service::Web,
            _ if begins(&["postfix", "dovecot", "exim", "courier", "cyrus", "sendmail", "sieve"]) => {
                Service::Mail
            }
            _ if begins(&["vsftpd", "proftpd", "pure-ftpd", "wuftpd"]) => Service::Ftp,
            _ => Service::Other,
        }
    }

    /// What is attempted: `ssh attempts`, `WP login attempts`.
    pub fn attempts(self) -> &'static str {
        match self {
            Service::Ssh => "ssh attempts",
            Service::WordPress => "WP login attempts",
            Service::Web => "web attempts",
            Service::Mail => "mail login attempts",
            Service::Ftp => "FTP login attempts",
            Service::Other => "login attempts",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Several services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Services(u8);

impl Services {
    /// Adds one.
    pub fn add(&mut self, service: Service) {
        self.0 |= service.bit();
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Services) {
        self.0 |= other.0;
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Service> {
        Service::ALL.into_iter().filter(move |service| self.0 & service.bit() != 0)
    }

    /// `ssh attempts, WP login attempts`
    pub fn words(self) -> String {
        self.iter().map(Service::attempts).collect::<Vec<_>>().join(", ")
    }
}
