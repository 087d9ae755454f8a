//! A mail server on a host's loopback (aiosmtpd): TLS from the first byte and by STARTTLS, a login, and what it was given.

use std::path::PathBuf;

use super::host::{Host, Running};
use super::scene::SOON;
use super::tools::{find, say_skipped, tools_dir};
use super::wait::wait_for;

/// Port with TLS from the first byte.
pub const SMTPS: u16 = 4650;
/// Port with STARTTLS.
pub const SMTP: u16 = 5870;
/// Its name, which its certificate has.
pub const MAIL_HOST: &str = "mail.example.net";
/// The certificate that signed it: its own.
pub const MAIL_CA: &str = "/srv/mail/cert.pem";

/// Takes what comes, unless /srv/mail/refuse holds a refusal.
const SCRIPT: &str = r#"
import os, ssl, sys, threading
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

class Handler:
    async def handle_DATA(self, server, session, envelope):
        try:
            return open('/srv/mail/refuse').read().strip()
        except OSError:
            pass
        number = len(os.listdir('/srv/mail/new'))
        head = 'X-Envelope: %s %s\r\nX-Login: %s\r\n' % (envelope.mail_from, ','.join(envelope.rcpt_tos),
            getattr(session, 'auth_data', None))
        with open('/srv/mail/part', 'wb') as out:
            out.write(head.encode() + envelope.original_content)
        os.rename('/srv/mail/part', '/srv/mail/new/%04d' % number)
        return '250 taken'

def login(server, session, envelope, mechanism, data):
    is_right = data.login == b'pillory' and data.password == b'correct horse'
    return AuthResult(success=is_right, auth_data=data.login.decode())

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain('/srv/mail/cert.pem', '/srv/mail/key.pem')
options = dict(hostname='127.0.0.1', authenticator=login, auth_required=True)
wrapped = Controller(Handler(), port=4650, ssl_context=context, auth_require_tls=False, **options)
upgraded = Controller(Handler(), port=5870, tls_context=context, require_starttls=True, **options)
wrapped.start(); upgraded.start()
threading.Event().wait()
"#;

/// See the module; it ends when dropped.
#[derive(Debug)]
pub struct MailServer {
    host: Host,
    _running: Running,
}

impl MailServer {
    /// Starts it; `None`, with a word, if what it is made of is not here.
    pub fn start(host: &Host) -> Option<MailServer> {
        let modules = tools_dir().join("usr/lib/python3/dist-packages");
        if !modules.join("aiosmtpd").is_dir() || find("python3").is_none() || find("openssl").is_none() {
            say_skipped("no aiosmtpd or openssl here; scripts/fetch-test-tools.sh fetches them");
            return None;
        }
        host.append("/etc/hosts", format!("127.0.0.1 {MAIL_HOST}\n"));
        host.write("/srv/mail/new/.keep", "");
        std::fs::remove_file(host.path("/srv/mail/new/.keep")).expect("it is there");
        let name = format!("/CN={MAIL_HOST}");
        let alternative = format!("subjectAltName=DNS:{MAIL_HOST}");
        host.run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &name,
                "-addext",
                &alternative,
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                "/srv/mail/key.pem",
                "-out",
                MAIL_CA,
            ],
        );
        host.write("/srv/mail/password", "correct horse\n");
        let mut command = host.command("python3");
        command.args(["-c", SCRIPT]).env("PYTHONPATH", modules.canonicalize().expect("it is there"));
        let running = Running::start("aiosmtpd", command);
        for port in [SMTPS, SMTP] {
            wait_for(SOON, &format!("the mail server ({})", running.errors()), || {
                host.listens(port).then_some(())
            });
        }
        Some(MailServer { host: host.clone(), _running: running })
    }

    /// The keys of a section that make it write here.
    pub fn keys(scheme: &str) -> String {
        let port = if scheme == "smtps" { SMTPS } else { SMTP };
        format!(
            "server = \"{scheme}://{MAIL_HOST}:{port}\"\nfrom = \"pillory@example.net\"\nuser = \"pillory\"\n\
             password_file = \"/srv/mail/password\"\nca_file = \"{MAIL_CA}\"\n"
        )
    }

    /// Answers each mail with this from now on; takes it again if that is empty.
    pub fn refuse(&self, words: &str) {
        let path = self.host.path("/srv/mail/refuse");
        match words {
            "" => std::fs::remove_file(path).expect("it was there"),
            words => std::fs::write(path, words).expect("it is written"),
        }
    }

    /// What was taken so far, as it came over the line.
    pub fn mails(&self) -> Vec<String> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(self.host.path("/srv/mail/new"))
            .expect("the directory is there")
            .map(|entry| entry.expect("it can be read").path())
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("it is there")).into_owned())
            .collect()
    }
}

/// The text of a mail: its body, decoded.
pub fn decoded(host: &Host, mail: &str) -> String {
    const READ: &str = "
import sys, email, email.policy
mail = email.message_from_string(sys.argv[1], policy=email.policy.default)
for part in mail.walk():
    if not part.is_multipart():
        print('==', part.get_content_type(), part.get_filename())
        content = part.get_content()
        print(content if isinstance(content, str) else content.decode())
";
    host.run("python3", &["-c", READ, mail]).replace("\r\n", "\n")
}
