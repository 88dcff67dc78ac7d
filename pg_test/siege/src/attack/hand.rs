//! What an attacker has: random numbers, an address of its own, a session, sockets that it keeps open.
//!
//! Not for what it does with them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::http;
use fastrand::Rng;

use crate::ground::Ground;
use crate::wire::{Reply, Wire};

/// Longer than any statement of an attacker should take. A statement that takes longer is abandoned, and
/// counted as failed.
const PATIENCE: Duration = Duration::from_secs(25);

/// The address of attackers that do not read.
const NARROW: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 250);

/// What one strike did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It had its effect, this many times.
    Struck(u64),
    /// It was refused, as it may be; with this answer.
    Refused(String),
}

/// The count of an attacker's strikes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) struck: u64,
    pub(crate) refused: u64,
    pub(crate) last_refusal: String,
    /// Neither effect nor refusal: no connection, or no answer. What that means is not judged here; an outage
    /// causes some.
    pub(crate) failed: u64,
    pub(crate) last_failure: String,
}

pub(crate) struct Hand {
    pub(crate) ground: Arc<Ground>,
    pub(crate) rng: Rng,
    /// Its address in the loopback network.
    source: Ipv4Addr,
    session: Option<(&'static str, Wire)>,
    /// Sockets that are kept open, and until when.
    held: Vec<(http::Wire, Instant)>,
    tokens: BTreeMap<&'static str, String>,
    /// Number of strikes, for what must differ from one to the next.
    pub(crate) number: u64,
    pub(crate) text: String,
}

impl Hand {
    pub(crate) fn new(ground: Arc<Ground>, rng: Rng, number: usize) -> Self {
        // 127.0.0.1 belongs to the honest parties.
        let last = u8::try_from(number % 200 + 2).unwrap_or(2);
        let source = Ipv4Addr::new(127, 0, 1, last);
        let (held, tokens) = Default::default();
        Self { ground, rng, source, session: None, held, tokens, number: 0, text: String::new() }
    }

    /// Drops everything that may be broken.
    pub(crate) fn let_go(&mut self) {
        self.session = None;
        self.held.clear();
    }

    /// Runs SQL in a session with this role, which is kept open.
    pub(crate) fn query(&mut self, role: &'static str, sql: &str) -> Result<Reply> {
        if self.session.as_ref().is_none_or(|(kept, _)| *kept != role) {
            self.session = Some((role, self.ground.session(role)?));
        }
        let (_, session) = self.session.as_mut().context("no session")?;
        session.query(sql, PATIENCE)
    }

    /// The same as a strike; an error of the SQL is a refusal.
    pub(crate) fn strike(&mut self, role: &'static str, sql: &str) -> Result<Blow> {
        match self.query(role, sql)?.error {
            None => Ok(Blow::Struck(1)),
            Some(error) => Ok(Blow::Refused(error)),
        }
    }

    /// A token of this user, which is kept.
    pub(crate) fn token(&mut self, user: &'static str) -> Result<String> {
        if let Some(token) = self.tokens.get(user) {
            return Ok(token.clone());
        }
        let sql = format!("select sse.issue_token('{user}', '{user}', '{{}}'::text[], '1 day')");
        let token = self.query("postgres", &sql)?.ok()?.context("no token")?;
        self.tokens.insert(user, token.clone());
        Ok(token)
    }

    pub(crate) fn connect(&self) -> Result<http::Wire> {
        self.ground.connect_from(self.source, None)
    }

    pub(crate) fn connect_by_http2(&self) -> Result<http::Wire> {
        self.ground.connect_by_http2_from(self.source, None)
    }

    /// As [`Hand::connect_narrowly`].
    pub(crate) fn connect_narrowly_by_http2(&self) -> Result<http::Wire> {
        let mut wire = self.ground.connect_by_http2_from(NARROW, Some(4096))?;
        wire.set_read_size(4096);
        Ok(wire)
    }

    /// A socket alone, without TLS whatever the gateway speaks.
    pub(crate) fn connect_without_tls(&self) -> Result<TcpStream> {
        self.ground.tcp_from(self.source, None)
    }

    /// With a receive buffer as small as the system allows, so that little is taken from the gateway. All
    /// attackers use one address: one address may hold half of what there is, and the honest parties must
    /// have a chance.
    pub(crate) fn connect_narrowly(&self) -> Result<http::Wire> {
        let mut wire = self.ground.connect_from(NARROW, Some(4096))?;
        wire.set_read_size(4096);
        Ok(wire)
    }

    /// Sends a request on a connection of its own and answers with status and beginning of the answer.
    pub(crate) fn ask(&self, request: &[u8]) -> Result<(u16, String)> {
        let mut stream = self.connect()?;
        // A request that is too large is answered before all of it is sent.
        let sent = stream.write_all(request);
        let head = read_head(&mut stream);
        if head.is_err() {
            sent.context("cannot send")?;
        }
        let head = head?;
        Ok((status(&head)?, head))
    }

    /// Keeps a socket for this long, and drops those whose time is over; at most `most` are kept.
    pub(crate) fn hold(&mut self, stream: http::Wire, time: Duration, most: usize) {
        let now = Instant::now();
        self.held.retain(|(_, until)| *until > now);
        if self.held.len() >= most {
            self.held.remove(0);
        }
        self.held.push((stream, now + time));
    }

    /// Takes a little of all sockets that are kept.
    pub(crate) fn sip(&mut self) {
        let mut buffer = vec![0; 20_000];
        for (stream, _) in &mut self.held {
            // What comes, and whether anything does, makes no difference here.
            let _ = stream.socket().set_nonblocking(true);
            let _ = stream.read(&mut buffer);
            let _ = stream.socket().set_nonblocking(false);
        }
    }

    /// Many small ones, and a few up to `most`: each magnitude is as likely as the next.
    pub(crate) fn any_size(&mut self, most: u32) -> u32 {
        let magnitude = self.rng.u32(0..=most.ilog2());
        self.rng.u32(1..=2_u32.pow(magnitude)).min(most)
    }
}

/// A request without a body, on a connection that is closed afterwards.
pub(crate) fn request(method: &str, target: &str, headers: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
        .into_bytes()
}

/// A POST of JSON.
pub(crate) fn post(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n{headers}", body.len());
    let mut request = request("POST", target, &headers);
    request.extend(body);
    request
}

/// Until the end of the head, and what comes with it. Not by the client of the honest parties: it reads
/// ahead, and these sockets are to take as little as they can.
pub(crate) fn read_head(stream: &mut impl Read) -> Result<String> {
    let (mut head, mut buffer) = (Vec::new(), [0; 512]);
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut buffer).context("no answer")? {
            0 => bail!("closed without an answer"),
            length => head.extend(&buffer[..length]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The value of a header, or of a field of the stream after the head; names in lower case.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next_back()
}

pub(crate) fn status(head: &str) -> Result<u16> {
    let number = head.split(' ').nth(1).context("no status")?;
    number.parse().with_context(|| format!("no status: {number:?}"))
}
