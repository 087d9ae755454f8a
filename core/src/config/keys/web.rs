//! `[web]`: the dashboard that the daemon serves.

use std::net::SocketAddr;

use crate::config::raw::Value;
use crate::config::{Listen, Web};

use super::values::{is_host_name, text, texts};
use super::{Misfit, Misfits};

const KEYS: &str = "use listen, token_file or host";

const TOKEN_CURE: &str =
    "add token_file = \"/etc/pillory/web-token\", made by `head -c 32 /dev/urandom | base64`";

/// The section; every problem of it is told.
pub(super) fn read(value: &Value) -> Result<Web, Misfits> {
    let Value::Table(rows) = value else {
        let cure = "write [web] and listen = \"127.0.0.1:8087\" below it";
        return Err(Misfit("is no table".into(), cure).into());
    };
    let (mut listening, mut token_file, mut hosts, mut misfits) = (None, None, Vec::new(), Vec::new());
    for (name, value) in rows {
        let set = match name.as_str() {
            "listen" => listen(value).map(|listen| listening = Some(listen)).map_err(Misfits::from),
            "token_file" => path(value).map(|path| token_file = Some(path)).map_err(Misfits::from),
            "host" => host(value).map(|named| hosts = named),
            _ => Err(Misfit("there is no such key".into(), KEYS).into()),
        };
        if let Err(Misfits(found)) = set {
            misfits
                .extend(found.into_iter().map(|Misfit(what, cure)| Misfit(format!("{name}: {what}"), cure)));
        }
    }
    let Some(listen) = listening.filter(|_| misfits.is_empty()) else {
        if misfits.is_empty() {
            misfits.push(Misfit("lacks listen".into(), "add listen = \"127.0.0.1:8087\""));
        }
        return Err(Misfits(misfits));
    };
    let web = Web { listen, token_file, hosts };
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

fn path(value: &Value) -> Result<std::path::PathBuf, Misfit> {
    match text(value)? {
        path if path.starts_with('/') => Ok(path.into()),
        path => Err(Misfit(format!("{path:?} is no absolute path"), "begin it with /")),
    }
}

fn host(value: &Value) -> Result<Vec<String>, Misfits> {
    let names = texts(value)?;
    let wrong = names.iter().filter(|name| !is_host_name(name));
    let misfit = |name: &String| {
        Misfit(format!("{name:?} is no name of a host"), "write for example \"pillory.example.net\"")
    };
    Misfits::none(wrong.map(misfit).collect())?;
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
            ("", "lacks listen"),
            ("listen = \"localhost:8087\"", "neither an address"),
            ("listen = \"127.0.0.1\"", "neither an address"),
            ("listen = \"127.0.0.1:0\"", "neither an address"),
            ("listen = \"127.0.0.1:1\"\ntoken_file = \"token\"", "no absolute path"),
            ("listen = \"127.0.0.1:1\"\nhost = [\"a/b\"]", "no name of a host"),
            ("listen = \"127.0.0.1:1\"\nport = 1", "use listen, token_file or host"),
        ] {
            let refused = web(lines).unwrap_err();
            assert!(refused.contains(word), "{lines}: {refused}");
        }
    }
}
