//! The load: this many connections that are kept open, each with one request after the other, and how long
//! each request took.
//!
//! What is asked for is in call.rs.
//!
//! Not a general HTTP client: it reads what these two servers answer, and stops at anything else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::call::Call;

/// What was measured.
pub(crate) struct Sample {
    /// Of every call, in microseconds.
    latencies: Vec<u32>,
    pub(crate) elapsed: Duration,
    /// Calls, with those while it was getting warm.
    pub(crate) all: u64,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn percentile(&mut self, percent: usize) -> u32 {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or(0)
    }
}

/// For this share of the time it calls before it counts.
pub(crate) const WARMING: f64 = 0.1;

/// Calls for `duration` with this many requests in flight.
pub(crate) fn run(port: u16, call: Call, flight: usize, duration: Duration) -> Result<Sample> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let start = Instant::now() + duration.mul_f64(WARMING);
        let tasks: Vec<_> = (0..flight)
            .map(|lane| tokio::spawn(lane_of(port, call, lane, start, start + duration)))
            .collect();
        let mut sample = Sample { elapsed: duration, latencies: Vec::new(), all: 0 };
        for task in tasks {
            let (latencies, all) = task.await??;
            sample.latencies.extend(latencies);
            sample.all += all;
        }
        ensure!(!sample.latencies.is_empty(), "no call was answered");
        Ok(sample)
    })
}

/// One call: its status and body.
pub(crate) fn ask(port: u16, call: Call) -> Result<(u16, String)> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut connection = Connection::open(port).await?;
        let mut request = Vec::new();
        call.request(1, &mut request);
        let (status, body) = connection.exchange(&request).await?;
        Ok((status, String::from_utf8(body.to_vec())?))
    })
}

/// How long each call took that counts, and how many there were in all.
async fn lane_of(
    port: u16,
    call: Call,
    lane: usize,
    start: Instant,
    end: Instant,
) -> Result<(Vec<u32>, u64)> {
    let mut connection = Connection::open(port).await?;
    let (mut request, mut latencies, mut all) = (Vec::new(), Vec::new(), 0);
    let mut number = u32::try_from(lane)?.wrapping_mul(1_000_003);
    loop {
        number = number.wrapping_add(1);
        call.request(number, &mut request);
        let asked = Instant::now();
        let (status, _) = connection.exchange(&request).await?;
        let answered = Instant::now();
        ensure!((200..300).contains(&status), "{}: status {status}", call.name());
        all += 1;
        if asked >= start && (answered < end || latencies.is_empty()) {
            latencies.push(u32::try_from((answered - asked).as_micros()).unwrap_or(u32::MAX));
        }
        // One that counts there is in any case, however slow the machine is.
        if answered >= end && !latencies.is_empty() {
            return Ok((latencies, all));
        }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
            if let Some((status, from)) = self.answered()? {
                return Ok((status, &self.buffer[from..]));
            }
        }
    }

    /// The status, and where the body begins, once the whole answer is there.
    fn answered(&self) -> Result<Option<(u16, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(&self.buffer)? else { return Ok(None) };
        let status = response.code.context("no status")?;
        let length =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length: usize = match length {
            Some(header) => std::str::from_utf8(header.value)?.parse()?,
            None if status == 204 => 0,
            None => bail!("an answer without a length"),
        };
        Ok((self.buffer.len() >= head + length).then_some((status, head)))
    }
}
