//! Subscribers of every kind: those that read and leave, that are cut off, that do not read, that come back,
//! that have a token, and those that ask for something else altogether.
//!
//! Not for checking what they get, except that it is an answer: the black-box tests do that.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, EventStream, Request, StreamError};
use cluster::{Cluster, PATIENCE};
use rustix::net::sockopt::set_socket_recv_buffer_size;

/// Of the throwaway server.
pub(super) const SECRET: &str = "a secret of the soak, 32 bytes at least";

/// Threads; each has one connection at a time, or a handful.
const WORKERS: u64 = 16;

/// Streams that are opened once and stay, so that there is always somebody to deliver to.
const LISTENERS: u64 = 16;

/// Longer than a stream can go without an event while the publisher runs, also on a machine that is busy
/// otherwise.
const SOON: Duration = PATIENCE;

/// Longer than `sse.write_timeout` of the soak.
const UNREAD: Duration = Duration::from_millis(2500);

/// Who churns.
pub(super) struct Churn {
    http: Client,
    /// By user id, 1 to 10.
    tokens: Arc<[String]>,
}

/// What they did.
#[derive(Default)]
pub(super) struct Tally {
    visits: [AtomicU64; VISITS.len()],
    events: AtomicU64,
}

/// One kind of visitor.
struct Visit {
    name: &'static str,
    /// How often it comes, compared with the others.
    weight: u64,
    make: fn(&Visitor) -> Result<()>,
}

const VISITS: [Visit; 9] = [
    Visit { name: "left", weight: 20, make: Visitor::read_and_leave },
    Visit { name: "reset", weight: 10, make: Visitor::leave_unread },
    Visit { name: "resumed", weight: 10, make: Visitor::come_back },
    Visit { name: "signed in", weight: 10, make: Visitor::read_signed_in },
    Visit { name: "topics", weight: 5, make: Visitor::read_topics },
    Visit { name: "stalled", weight: 1, make: Visitor::stall },
    Visit { name: "other answers", weight: 20, make: Visitor::ask_other_things },
    Visit { name: "files", weight: 5, make: Visitor::fetch_file },
    Visit { name: "broken off", weight: 5, make: Visitor::break_off },
];

#[derive(Clone)]
struct Visitor {
    http: Client,
    tokens: Arc<[String]>,
    tally: Arc<Tally>,
    /// Draws how much a visitor reads, as whom, and what it asks for.
    number: u64,
}

/// Threads at work.
pub(super) struct Workers {
    threads: Vec<JoinHandle<Result<()>>>,
    tally: Arc<Tally>,
}

impl Churn {
    pub(super) fn new(cluster: &Cluster) -> Result<Self> {
        let tokens = cluster.sql(
            "select sse.issue_token(n::text, 'user ' || n, array['staff'], '1 day') from generate_series(1, 10) n",
        )?;
        let tokens: Arc<[String]> = tokens.lines().map(str::to_owned).collect();
        ensure!(tokens.len() == 10, "no tokens");
        Ok(Self { http: cluster.http()?, tokens })
    }

    /// Visits for which no publisher is needed, once each.
    pub(super) fn one_of_each(&self) -> Result<()> {
        let visitor = self.visitor(0, &Arc::default());
        visitor.fetch_file()?;
        visitor.break_off()?;
        (0..4).try_for_each(|number| visitor.with_number(number).ask_other_things())
    }

    /// Lets visitors come and go until `stop` is set.
    pub(super) fn start(&self, stop: &Arc<AtomicBool>) -> Workers {
        let tally = Arc::new(Tally::default());
        let spawn = |work: fn(&Visitor, &AtomicBool) -> Result<()>, number: u64| {
            let (visitor, stop) = (self.visitor(number, &tally), Arc::clone(stop));
            thread::spawn(move || work(&visitor, &stop))
        };
        let workers = (0..WORKERS).map(|number| spawn(churn, number));
        let threads = workers.chain((0..LISTENERS).map(|number| spawn(listen, number))).collect();
        Workers { threads, tally }
    }

    fn visitor(&self, number: u64, tally: &Arc<Tally>) -> Visitor {
        Visitor { http: self.http, tokens: Arc::clone(&self.tokens), tally: Arc::clone(tally), number }
    }
}

impl Workers {
    pub(super) fn join(self) -> Result<Arc<Tally>> {
        for thread in self.threads {
            thread.join().unwrap_or_else(|_| bail!("panicked"))?;
        }
        Ok(self.tally)
    }
}

/// One visit after another; each worker takes the kinds in an order of its own.
fn churn(worker: &Visitor, stop: &AtomicBool) -> Result<()> {
    let all: u64 = VISITS.iter().map(|visit| visit.weight).sum();
    let mut number = worker.number;
    while !stop.load(Ordering::Relaxed) {
        // With steps of the golden ratio every kind comes as often as its weight says, and never in the same
        // order.
        number += WORKERS;
        let mut place = ((number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * all) >> 32;
        for (kind, visit) in VISITS.iter().enumerate() {
            if place < visit.weight {
                let visited = (visit.make)(&worker.with_number(number));
                visited.with_context(|| format!("a visit of the kind {:?}", visit.name))?;
                worker.tally.visits[kind].fetch_add(1, Ordering::Relaxed);
                break;
            }
            place -= visit.weight;
        }
    }
    Ok(())
}

/// A stream that stays. Even the publisher's end is no reason to go.
fn listen(visitor: &Visitor, stop: &AtomicBool) -> Result<()> {
    let path = if visitor.number.is_multiple_of(2) { "/api/say/info" } else { "/api/say/info?topic=t" };
    let mut stream = visitor.http.events(path)?;
    let mut heard_at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match stream.next(Duration::from_millis(200)) {
            Ok(_) => {
                heard_at = Instant::now();
                visitor.tally.events.fetch_add(1, Ordering::Relaxed);
            }
            Err(StreamError::TimedOut) => {
                ensure!(heard_at.elapsed() < SOON, "nothing has come for {SOON:?}");
            }
            Err(error) => bail!("a stream that stayed: {error}"),
        }
        // This thread must not collect what the stream keeps for tests.
        if stream.bytes().len() > 4 << 20 {
            stream = visitor.http.events_after(path, stream.last_event_id())?;
        }
    }
    Ok(())
}

impl Visitor {
    fn with_number(&self, number: u64) -> Self {
        Self { number, ..self.clone() }
    }

    fn read(&self, stream: &mut EventStream) -> Result<()> {
        for _ in 0..=self.number % 8 {
            stream.next(SOON)?;
            self.tally.events.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn token(&self) -> String {
        format!("Bearer {}", self.tokens[self.number as usize % self.tokens.len()])
    }

    fn read_and_leave(&self) -> Result<()> {
        self.read(&mut self.http.events("/api/say/info")?)
    }

    /// A socket that is closed with something unread in it sends a reset.
    fn leave_unread(&self) -> Result<()> {
        let streams: Vec<EventStream> =
            (0..4).map(|_| self.http.events("/api/say/info")).collect::<Result<_>>()?;
        let mut witness = self.http.events("/api/say/info")?;
        self.read(&mut witness)?;
        drop(streams);
        Ok(())
    }

    fn come_back(&self) -> Result<()> {
        let mut stream = self.http.events("/api/say/info")?;
        self.read(&mut stream)?;
        let id = stream.last_event_id().to_owned();
        drop(stream);
        self.read(&mut self.http.events_after("/api/say/info", &id)?)?;
        self.read(&mut self.http.events(&format!("/api/tell/info?last_event_id={id}"))?)?;
        self.read(&mut self.http.events_after("/api/say/info", "0-0")?)
    }

    fn read_signed_in(&self) -> Result<()> {
        let request = Request::get("/api/whisper/info").header("Authorization", &self.token());
        self.read(&mut self.http.events_with(&request)?)
    }

    fn read_topics(&self) -> Result<()> {
        let topics: String = (0..20).map(|n| format!("&topic={}.{n}", self.number)).collect();
        self.read(&mut self.http.events(&format!("/api/tell/info?id={}{topics}", self.number))?)
    }

    /// Reads nothing until it is disconnected.
    fn stall(&self) -> Result<()> {
        let mut connection = self.http.connect()?;
        set_socket_recv_buffer_size(connection.socket(), 4096)?;
        connection.send(&Request::get("/api/say/info?topic=t"))?;
        connection.head()?;
        thread::sleep(UNREAD);
        Ok(())
    }

    fn ask_other_things(&self) -> Result<()> {
        let (request, status) = match self.number % 4 {
            0 => (Request::new("HEAD", "/api/say/info"), 200),
            1 => (Request::get(&format!("/api/nothing/{}", self.number)), 404),
            2 => (Request::get("/api/say/info").header("Authorization", "Bearer a.b.c"), 401),
            _ => (Request::new("POST", "/api/say/info"), 405),
        };
        let answer = self.http.request(&request)?;
        ensure!(answer.status() == status, "{request:?} is answered with {}", answer.status());
        Ok(())
    }

    fn fetch_file(&self) -> Result<()> {
        let answer = self.http.get("/page.html")?;
        ensure!((answer.status(), answer.body.len()) == (200, 200_000), "the page is not served");
        Ok(())
    }

    /// Half a request, and half a file.
    fn break_off(&self) -> Result<()> {
        self.http.connect()?.send_bytes(b"GET /api/say/info HTTP/1.1\r\nHo")?;
        let mut connection = self.http.connect()?;
        connection.send(&Request::get("/page.html"))?;
        connection.head()?;
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("visits     ")?;
        for (visit, count) in VISITS.iter().zip(&self.visits) {
            write!(f, " {} {},", visit.name, count.load(Ordering::Relaxed))?;
        }
        write!(f, " {} events read", self.events.load(Ordering::Relaxed))
    }
}
