//! An HTTP server of the test on a host's loopback: it keeps what it is asked, and answers as it is told, badly too.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::host::Host;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `POST`
    pub method: String,
    /// `/path`
    pub path: String,
    /// Field names in small letters.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: String,
    /// When it came.
    pub at: Instant,
}

impl Asked {
    /// The value of a header field; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.body))
    }
}

/// How the next requests are answered; then 200.
#[derive(Debug, Clone)]
pub enum Answering {
    /// With this status, more header fields and this body.
    With(u16, &'static str, String),
    /// By hanging up.
    Nothing,
}

/// See the module; it ends when dropped.
#[derive(Debug)]
pub struct WebServer {
    asked: Arc<Mutex<Vec<Asked>>>,
    next: Arc<Mutex<VecDeque<Answering>>>,
    usual: Arc<Mutex<String>>,
    /// Nobody is answered.
    is_held: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    host: Host,
    port: u16,
}

impl WebServer {
    /// Listens on this port of the host's loopback.
    pub fn start(host: &Host, port: u16) -> WebServer {
        let listener = host.in_network(|| TcpListener::bind(("127.0.0.1", port)).expect("the port is free"));
        let server = WebServer {
            asked: Arc::default(),
            next: Arc::default(),
            usual: Arc::new(Mutex::new("{}".to_owned())),
            is_held: Arc::default(),
            ends: Arc::default(),
            host: host.clone(),
            port,
        };
        let (asked, next, usual) =
            (Arc::clone(&server.asked), Arc::clone(&server.next), Arc::clone(&server.usual));
        let (is_held, ends) = (Arc::clone(&server.is_held), Arc::clone(&server.ends));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let Some(request) = read(&stream) else { continue };
                asked.lock().unwrap().push(request);
                while is_held.load(Ordering::SeqCst) && !ends.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let usual = Answering::With(200, "", usual.lock().unwrap().clone());
                answer(stream, next.lock().unwrap().pop_front().unwrap_or(usual));
            }
        });
        server
    }

    /// Answers the next requests like this, in this order.
    pub fn next(&self, answers: impl IntoIterator<Item = Answering>) {
        self.next.lock().unwrap().extend(answers);
    }

    /// What is said to all others.
    pub fn says(&self, body: &str) {
        *self.usual.lock().unwrap() = body.to_owned();
    }

    /// From now on everybody waits for an answer, or no longer.
    pub fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::SeqCst);
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // A knock, so that the thread sees it.
        let port = self.port;
        drop(self.host.in_network(|| TcpStream::connect(("127.0.0.1", port))));
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let at = Instant::now();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, headers, body: String::from_utf8_lossy(&body).into_owned(), at })
}

fn answer(mut stream: TcpStream, answering: Answering) {
    if let Answering::With(status, headers, body) = answering {
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
            body.len()
        );
        // Whoever asked may be gone.
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    }
    let _ = stream.shutdown(Shutdown::Both);
}
