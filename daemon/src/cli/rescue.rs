//! `pillory rescue-code` makes codes in advance; `pillory rescue` uses one, from wherever there is a way.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::control::Request;
use crate::escape::escape;

use super::client::word;
use super::{Client, Failure, Outcome, exit, print};

/// `pillory rescue-code`
#[derive(Debug, clap::Args)]
pub(crate) struct RescueCode {
    /// How many.
    #[arg(short = 'n', value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    count: u8,
    #[command(flatten)]
    client: Client,
}

impl RescueCode {
    pub(crate) fn run(&self) -> Outcome {
        let reply = self.client.ask(&Request::RescueCodes(usize::from(self.count)))?;
        self.client.show(&reply, |value| {
            let codes: Vec<String> = value["codes"].as_array().into_iter().flatten().map(word).collect();
            format!(
                "{}\neach frees one address for an hour, once; they are shown only now, keep them off this host\n\
                 use: pillory rescue HOST {port} CODE [ADDRESS]   or: echo CODE [ADDRESS] | nc HOST {port}\n",
                codes.join("\n"),
                port = value["port"]
            )
        })
    }
}

/// `pillory rescue`
#[derive(Debug, clap::Args)]
pub(crate) struct Rescue {
    /// The host that shuts you out: a name or an address.
    host: String,
    /// Its rescue port.
    port: u16,
    /// One of its codes.
    code: String,
    /// The address to free; without it the one from which this comes.
    address: Option<IpAddr>,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Rescue {
    pub(crate) fn run(&self) -> Outcome {
        let failed = |error: std::io::Error| {
            let (host, port) = (&self.host, self.port);
            Failure::new(exit::UNREACHABLE, format!("cannot reach the rescue port {port} of {host}: {error}"))
        };
        let said = self.call().map_err(failed)?;
        print(&format!("{}\n", escape(said.trim())))?;
        Ok(u8::from(!said.contains(" is free until ")))
    }

    fn call(&self) -> std::io::Result<String> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let address = self.address.map_or_else(String::new, |address| format!(" {address}"));
        stream.write_all(format!("{}{address}\n", self.code).as_bytes())?;
        let mut said = String::new();
        stream.take(1_000).read_to_string(&mut said)?;
        Ok(said)
    }

    /// Names are asked for by our own questions: a static binary asks no name service.
    fn connect(&self) -> std::io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> = match self.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::from((address, self.port))],
            Err(_) => crate::names::resolve(&self.host, PATIENCE)
                .into_iter()
                .map(|address| SocketAddr::from((address, self.port)))
                .collect(),
        };
        let mut last = std::io::Error::other("it has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
