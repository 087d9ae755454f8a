//! `[web]`: the dashboard that the daemon serves.

use std::net::SocketAddr;

use crate::config::raw::Value;
use crate::config::{Listen, Web};

use super::section::Section;
use super::values::{is_host_name, path, text, texts};
use super::{Misfit, Misfits, Row};

const TOKEN_CURE: &str =
    "add token_file = \"/etc/pillory/web-token\", made by `head -c 32 /dev/urandom | base64`";

/// The keys.
pub(super) const KEYS: &[Row] = &[
    ("listen", "an address with a port, or the path of a socket file; unset: nothing is served"),
    ("token_file", "a file with the token that banning and unbanning there needs; unset: it only shows"),
    ("host", "names beside those of loopback by which it is reached, as behind a proxy"),
];

/// The section; every problem of it is told.
pub(super) fn read(value: &Value) -> Result<Web, Misfits> {
    let mut section = Section::new(value, "write [web] and listen = \"127.0.0.1:8087\" below it", KEYS)?;
    let listen = section.need("listen", "add listen = \"127.0.0.1:8087\"", listen);
    let token_file = section.take("token_file", path);
    let hosts = section.take("host", host).unwrap_or_default();
    let web = section.finish(listen.map(|listen| Web { listen, token_file, hosts }))?;
    if web.needs_token() && web.token_file.is_none() {
        let what = match &web.listen {
            Listen::Tcp(addr) if !addr.ip().is_loopback() => {
                format!("listen: {addr} is reached from other hosts, and there is no token")
            }
            _ => "host: another name means that others reach it, and there is no token".to_owned(),
        };
        return Err(Misfit(what, TOKEN_CURE).into());
    }
    Ok(web)
}

fn listen(value: &Value) -> Result<Listen, Misfit> {
    let text = text(value)?;
    if text.starts_with('/') {
        return Ok(Listen::Unix(text.into()));
    }
    let addr = text.parse::<SocketAddr>().ok().filter(|addr| addr.port() > 0);
    addr.map(Listen::Tcp).ok_or_else(|| {
        let cure = "write for example \"127.0.0.1:8087\", \"[::1]:8087\" or \"/run/pillory/web.sock\"";
        Misfit(format!("{text:?} is neither an address with a port nor an absolute path"), cure)
    })
}

fn host(value: &Value) -> Result<Vec<String>, Misfit> {
    let names = texts(value)?;
    let wrong: Vec<String> =
        names.iter().filter(|name| !is_host_name(name)).map(|name| format!("{name:?}")).collect();
    if !wrong.is_empty() {
        let what = format!("{} is no name of a host", wrong.join(", "));
        return Err(Misfit(what, "write for example \"pillory.example.net\""));
    }
    Ok(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{raw, resolve};

    fn web(lines: &str) -> Result<Option<Web>, String> {
        let raw = raw::parse("test.toml", &format!("[web]\n{lines}\n")).expect("TOML");
        let told = |problems: Vec<crate::config::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        resolve::resolve(&raw).map(|config| config.web).map_err(told)
    }

    #[test]
    fn on_loopback_and_at_a_socket_it_needs_no_token() {
        for (listen, needs) in [("127.0.0.1:8087", false), ("[::1]:1", false), ("/run/w.sock", false)] {
            let web = web(&format!("listen = \"{listen}\"")).unwrap().unwrap();
            assert_eq!((web.needs_token(), web.listen.to_string().as_str()), (needs, listen));
        }
    }

    #[test]
    fn where_others_reach_it_a_token_is_a_must() {
        let token = "\ntoken_file = \"/etc/pillory/web-token\"";
        for lines in [
            "listen = \"0.0.0.0:8087\"",
            "listen = \"[::]:8087\"",
            "listen = \"192.0.2.1:80\"",
            "listen = \"127.0.0.1:8087\"\nhost = \"pillory.example.net\"",
        ] {
            let refused = web(lines).unwrap_err();
            assert!(refused.contains("there is no token") && refused.contains("token_file"), "{refused}");
            assert!(web(&format!("{lines}{token}")).unwrap().unwrap().needs_token());
        }
    }

    #[test]
    fn every_slip_is_told_with_a_cure() {
        for (lines, word) in [
            ("", "listen is missing"),
            ("listen = \"localhost:8087\"", "neither an address"),
            ("listen = \"127.0.0.1\"", "neither an address"),
            ("listen = \"127.0.0.1:0\"", "neither an address"),
            ("listen = \"127.0.0.1:1\"\ntoken_file = \"token\"", "no absolute path"),
            ("listen = \"127.0.0.1:1\"\nhost = [\"a/b\"]", "no name of a host"),
            ("listen = \"127.0.0.1:1\"\nport = 1", "there is no key \"port\""),
        ] {
            let refused = web(lines).unwrap_err();
            assert!(refused.contains(word), "{lines}: {refused}");
        }
    }
}
