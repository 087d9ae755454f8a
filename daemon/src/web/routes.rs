//! What stands where, and who may have it.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use askama::Template;
use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::Value;

use crate::control::server::Desk;
use crate::control::{Reply, Request as Order};
use crate::escape::escape;
use crate::outputs::metrics;

use super::access::{Guard, Refused, Visitor, is_own_page, is_planted};
use super::request::{Method, Request};
use super::response::{Response, Status};
use super::{Line, bans, events, forms, overview, wall};

/// How long the engine may take: it waits for the disk.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

const STYLE: &str =
    concat!(include_str!("../../templates/wall/style.css"), include_str!("../../templates/web/style.css"));
const SCRIPT: &str = include_str!("../../templates/web/live.js");

const CROWDED: &str = "too many ask at once; try again soon";

/// So many read the store for a page at once, beside whoever asks the engine: who wants to know all of it takes seconds, and
/// others shall not wait for that, nor all of them take the processors from the engine.
const MOST_READING: usize = 2;

/// Places that so many may have at once.
#[derive(Debug)]
struct Places(Sender<()>, Receiver<()>);

impl Places {
    fn new(most: usize) -> Places {
        let (taken, free) = bounded(most);
        Places(taken, free)
    }

    /// One of them; nothing if others have them for too long.
    fn take(&self) -> Option<Turn<'_>> {
        self.0.send_timeout((), PATIENCE).ok().map(|()| Turn(&self.1))
    }
}

/// One of these places; given back in any case, after a fault in a page too.
struct Turn<'s>(&'s Receiver<()>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Only who put something there takes it out.
        let _ = self.0.try_recv();
    }
}

/// Everything that is served.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) desk: Desk,
    guard: Guard,
    wall: wall::Kept,
    followers: std::sync::Arc<AtomicUsize>,
    /// One question is on its way at a time: a crowd of readers keeps the engine from no ban.
    asking: Places,
    /// See [`MOST_READING`].
    reading: Places,
    /// The same for who asks for no single source, which takes no time: an overview and a scrape wait for no long story.
    glancing: Places,
}

/// How a request goes on.
pub(super) enum Answer {
    /// With this, and then it is over.
    Page(Response),
    /// With events for as long as both want.
    Events(events::Seat),
}

/// What every page has.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) title: &'static str,
    /// What the forms of a session carry; without it there are none.
    pub(super) csrf: Option<String>,
    /// Somebody could log in.
    pub(super) may_log_in: bool,
}

/// Something in words.
#[derive(Template)]
#[template(path = "web/said.html")]
pub(super) struct Said<'a> {
    pub(super) frame: &'a Frame,
    pub(super) lines: Vec<String>,
    /// Where to go on.
    pub(super) next: (String, &'static str),
}

#[derive(Template)]
#[template(path = "web/login.html")]
struct Login<'a> {
    frame: &'a Frame,
    has_token: bool,
    problem: &'a str,
}

impl Site {
    pub(super) fn new(desk: Desk, guard: Guard) -> Site {
        let [reading, glancing] = [(), ()].map(|()| Places::new(MOST_READING));
        let asking = Places::new(1);
        let (wall, followers) = (wall::Kept::default(), Default::default());
        Site { desk, guard, wall, followers, asking, reading, glancing }
    }

    /// What a request gets.
    pub(super) fn answer(&self, request: &Request, line: Line) -> Answer {
        if let Some(response) = self.for_everybody(request, line) {
            return Answer::Page(response);
        }
        let visitor = match self.guard.visitor(request, line) {
            Ok(visitor) => visitor,
            Err(refused) => return Answer::Page(refusal(refused)),
        };
        if request.method == Method::Post {
            return Answer::Page(self.act(request, &visitor, line));
        }
        if is_planted(request) {
            return Answer::Page(Response::refusal(Status::FORBIDDEN));
        }
        if !visitor.may_read() {
            return Answer::Page(self.login("", &visitor).with_status(Status::UNAUTHORIZED));
        }
        if request.path == "/events" && request.method == Method::Get {
            let seat = events::Seat::take(&self.followers, &self.desk.state_dir);
            return seat.map_or_else(|| Answer::Page(Response::refusal(Status::UNAVAILABLE)), Answer::Events);
        }
        Answer::Page(self.read(request, &visitor))
    }

    /// What needs no right; nothing if it needs one.
    fn for_everybody(&self, request: &Request, line: Line) -> Option<Response> {
        if request.path == "/healthz" {
            return Some(Response::data("text/plain; charset=utf-8", "ok\n"));
        }
        if !self.guard.answers_to(&request.host, line) {
            let words =
                "This host is not known by that name; add it as `host` under [web] in the configuration.\n";
            let refused = Response::data("text/plain; charset=utf-8", words);
            return Some(refused.with_status(Status::MISDIRECTED));
        }
        match request.path.as_str() {
            "/style.css" => Some(Response::data("text/css; charset=utf-8", STYLE)),
            "/live.js" => Some(Response::data("text/javascript; charset=utf-8", SCRIPT)),
            _ => None,
        }
    }

    fn read(&self, request: &Request, visitor: &Visitor) -> Response {
        let frame = |title| self.frame(title, visitor);
        match request.path.as_str() {
            "/" => match self.ask(Order::Glance) {
                Ok(status) => overview::page(&frame("Overview"), &status),
                Err(reply) => unanswered(&frame("No answer"), &reply.message),
            },
            "/bans" => match self.asking.take() {
                Some(_turn) => bans::page(&frame("Bans"), &self.desk, &request.query),
                None => unanswered(&frame("No answer"), CROWDED),
            },
            "/address" => forms::address(&frame("Address"), self, request),
            "/confirm" => forms::confirm(&frame("Sure?"), &request.query),
            "/login" => self.login("", visitor),
            "/metrics" => match self.ask(Order::Status) {
                Ok(status) => {
                    Response::data("text/plain; version=0.0.4; charset=utf-8", metrics::text(&status))
                }
                Err(_) => Response::refusal(Status::UNAVAILABLE),
            },
            "/wall" => Response::see_other("/wall/".to_owned()),
            path => match path.strip_prefix("/wall/") {
                Some(file) => self.wall.page(&self.desk, file),
                None => Response::refusal(Status::NOT_FOUND),
            },
        }
    }

    fn act(&self, request: &Request, visitor: &Visitor, line: Line) -> Response {
        if request.path == "/login" {
            return self.log_in(request, visitor, line);
        }
        if !matches!(request.path.as_str(), "/ban" | "/unban" | "/logout") {
            return Response::refusal(Status::METHOD);
        }
        if !visitor.may_act(request) {
            return match visitor {
                Visitor::Session(_) => Response::refusal(Status::FORBIDDEN),
                _ => self.login("this needs the token", visitor).with_status(Status::UNAUTHORIZED),
            };
        }
        match request.path.as_str() {
            "/logout" => Response::see_other("/".to_owned()).with("Set-Cookie", self.guard.log_out(request)),
            _ => forms::act(&self.frame("Done", visitor), self, request, (visitor, line.peer)),
        }
    }

    fn log_in(&self, request: &Request, visitor: &Visitor, line: Line) -> Response {
        // Somebody else's page must not log a browser in, either.
        if !is_own_page(request) {
            return Response::refusal(Status::FORBIDDEN);
        }
        match self.guard.log_in(request, line) {
            Ok(cookie) => Response::see_other("/".to_owned()).with("Set-Cookie", cookie),
            Err(Refused::Wrong) => {
                self.login("this is not the token", visitor).with_status(Status::FORBIDDEN)
            }
            Err(Refused::TooMany) => self
                .login("this is not the token, and too many before it were none", visitor)
                .with_status(Status::MANY),
        }
    }

    fn login(&self, problem: &str, visitor: &Visitor) -> Response {
        let frame = self.frame("Log in", visitor);
        Response::page(&Login { frame: &frame, has_token: self.guard.has_token(), problem })
            .with("WWW-Authenticate", "Bearer".to_owned())
    }

    fn frame(&self, title: &'static str, visitor: &Visitor) -> Frame {
        let csrf = match visitor {
            Visitor::Session(csrf) => Some(csrf.clone()),
            _ => None,
        };
        Frame { title, may_log_in: self.guard.has_token() && csrf.is_none(), csrf }
    }

    /// The data of an answer.
    pub(super) fn ask(&self, order: Order) -> Result<Value, Reply> {
        let crowded = || Reply::say(69, CROWDED);
        let (mut reply, more) = {
            let _turn = self.asking.take().ok_or_else(crowded)?;
            self.desk.ask_engine(order, Some(PATIENCE))
        };
        if reply.value.is_null() {
            return Err(reply);
        }
        let places = if more.is_long() { &self.reading } else { &self.glancing };
        let _turn = places.take().ok_or_else(crowded)?;
        self.desk.complete(&mut reply, more);
        Ok(reply.value)
    }
}

/// That the daemon gave no answer, and why.
pub(super) fn unanswered(frame: &Frame, why: &str) -> Response {
    let said = Said { frame, lines: vec![escape(why)], next: ("/".to_owned(), "Overview") };
    Response::page(&said).with_status(Status::UNAVAILABLE)
}

fn refusal(refused: Refused) -> Response {
    match refused {
        Refused::Wrong => {
            Response::refusal(Status::UNAUTHORIZED).with("WWW-Authenticate", "Bearer".to_owned())
        }
        Refused::TooMany => Response::refusal(Status::MANY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillory_core::config::{Listen, Web};

    #[test]
    fn who_reads_a_long_past_keeps_nobody_from_asking_the_engine() {
        let ((orders, engine), (kernel, _jobs)) = (bounded(9), bounded(1));
        let desk = Desk { orders, kernel, state_dir: "/nowhere".into(), reviews: Default::default() };
        let listen = Listen::Unix("/nowhere".into());
        let web = Web { listen, token_file: None, hosts: Vec::new() };
        let site = Site::new(desk, Guard::of(&web).unwrap());
        let long: Vec<_> = (0..MOST_READING).map(|_| site.reading.take().unwrap()).collect();
        std::thread::scope(|scope| {
            let asking = [(), ()].map(|()| scope.spawn(|| site.ask(Order::Glance).is_ok()));
            for _ in &asking {
                let (_, to) = engine.recv_timeout(PATIENCE).unwrap();
                let value = serde_json::json!({"warnings": []});
                to.send(Reply { exit: 0, message: String::new(), value }).unwrap();
            }
            assert_eq!(asking.map(|asked| asked.join().unwrap()), [true, true]);
            drop(long);
        });
    }
}
