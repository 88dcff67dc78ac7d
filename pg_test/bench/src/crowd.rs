//! Many streams, read by one thread: it looks for the markers, and tells whoever publishes how far they came.
//!
//! One system call for each wake of a stream, one buffer for all, no parsing beyond the search for markers:
//! so that what is measured is the server. Its own processor time is measured, too.
//!
//! Not for publishing: publisher.rs and drive.rs.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::marker::{self, EDGE, Marker};
use crate::tally::Tally;

/// Connections that are begun before their answers are waited for: less than any server's queue of new ones.
const AT_ONCE: usize = 100;

/// How long a server may take for an answer or for an event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Read at once.
const BUFFER: usize = 256 * 1024;

/// Streams that are open, and the thread that reads them.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    tally: Mutex<Tally>,
    /// Something has become complete, or something is wrong.
    moved: Condvar,
    is_over: AtomicBool,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream, and the part of a marker with which its last bytes ended.
struct Stream {
    socket: TcpStream,
    cut: Vec<u8>,
}

impl Crowd {
    /// Opens this many streams of `path`; the events of so many publishers are expected in them.
    pub(crate) fn connect(address: SocketAddr, path: &str, streams: u32, publishers: usize) -> Result<Self> {
        Self::connect_each(address, |_| path.to_owned(), streams, publishers)
    }

    /// As [`Self::connect`], with a path of its own for each.
    pub(crate) fn connect_each(
        address: SocketAddr,
        path: impl Fn(u32) -> String,
        streams: u32,
        publishers: usize,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::with_capacity(streams as usize);
        while sockets.len() < streams as usize {
            let begin = sockets.len();
            for number in begin..(begin + AT_ONCE).min(streams as usize) {
                let path = path(u32::try_from(number)?);
                sockets.push(ask(address, &path)?);
            }
            for (number, socket) in sockets.iter_mut().enumerate().skip(begin) {
                // Streams of an earlier row may not have left yet.
                let deadline = Instant::now() + PATIENCE;
                while !is_taken(socket)? {
                    ensure!(Instant::now() < deadline, "stream {number}: 503 for {PATIENCE:?}");
                    std::thread::sleep(Duration::from_millis(50));
                    *socket = ask(address, &path(u32::try_from(number)?))?;
                }
            }
        }
        let mut read = Vec::with_capacity(sockets.len());
        for (number, socket) in sockets.into_iter().enumerate() {
            socket.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(socket);
            poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
            read.push(Stream { socket, cut: Vec::new() });
        }
        let shared = Arc::new(Shared {
            tally: Mutex::new(Tally::new(streams, publishers)),
            moved: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("streams".into()).spawn(move || {
            Reader { poll, streams: read, buffer: vec![0; BUFFER], shared: seen }.run();
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.shared.tally()
    }

    /// Waits until `is_reached` or something is wrong; whether it was reached within `patience`.
    pub(crate) fn wait(&self, patience: Duration, mut is_reached: impl FnMut(&Tally) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut tally = self.tally();
        loop {
            if is_reached(&tally) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || tally.faults.closed > 0 {
                return false;
            }
            tally = self.shared.moved.wait_timeout(tally, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask(address: SocketAddr, path: &str) -> Result<std::net::TcpStream> {
    let mut socket = std::net::TcpStream::connect(address).context("cannot connect")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    Ok(socket)
}

/// Takes the head, and nothing of the stream. `false`: there is no room for the stream now.
fn is_taken(socket: &mut std::net::TcpStream) -> Result<bool> {
    let mut bytes = [0; 4096];
    loop {
        let count = socket.peek(&mut bytes).context("no answer")?;
        ensure!(count > 0 && count < bytes.len(), "no head within {count} bytes");
        let Some(end) = memchr::memmem::find(&bytes[..count], b"\r\n\r\n") else { continue };
        if bytes.starts_with(b"HTTP/1.1 503") {
            return Ok(false);
        }
        ensure!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes[..end]));
        socket.read_exact(&mut bytes[..end + 4])?;
        return Ok(true);
    }
}

struct Reader {
    poll: Poll,
    streams: Vec<Stream>,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
}

impl Reader {
    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        // Bytes that came before the registration are told by it, too: epoll looks when it adds.
        while !self.shared.is_over.load(Relaxed) {
            if self.poll.poll(&mut events, Some(Duration::from_millis(100))).is_err() {
                continue;
            }
            let shared = Arc::clone(&self.shared);
            let mut tally = shared.tally();
            let before = (tally.all_complete(), tally.faults);
            for event in &events {
                self.read(event.token().0, &mut tally);
            }
            if (tally.all_complete(), tally.faults) != before {
                shared.moved.notify_all();
            }
        }
    }

    /// Reads what is there. Edges are told once: less than a whole buffer means that nothing is left
    /// (epoll(7)).
    fn read(&mut self, number: usize, tally: &mut Tally) {
        let stream = &mut self.streams[number];
        loop {
            let kept = stream.cut.len();
            self.buffer[..kept].copy_from_slice(&stream.cut);
            stream.cut.clear();
            let count = match stream.socket.read(&mut self.buffer[kept..]) {
                Ok(0) => {
                    tally.faults.closed += 1;
                    return;
                }
                Ok(count) => count,
                Err(error) => {
                    stream.cut.extend_from_slice(&self.buffer[..kept]);
                    if error.kind() == ErrorKind::Interrupted {
                        continue;
                    }
                    if error.kind() != ErrorKind::WouldBlock {
                        tally.faults.closed += 1;
                    }
                    return;
                }
            };
            let bytes = &self.buffer[..kept + count];
            let rest = take_markers(bytes, number, tally);
            stream.cut.extend_from_slice(rest);
            if count < BUFFER - kept {
                return;
            }
        }
    }
}

/// Counts the markers in these bytes, and returns the one that is not whole at their end.
fn take_markers<'a>(bytes: &'a [u8], stream: usize, tally: &mut Tally) -> &'a [u8] {
    let now = marker::now();
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(EDGE, rest) {
        rest = &rest[at..];
        if rest.len() < marker::LENGTH {
            return rest;
        }
        let Some(found) = Marker::read(rest) else {
            tally.faults.unreadable += 1;
            rest = &rest[1..];
            continue;
        };
        tally.receive(stream, found, now);
        rest = &rest[marker::LENGTH..];
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_wherever_reads_cut_it() {
        let bytes = format!(
            "d4\r\nid: 1\ndata: {}\n\n\r\nd4\r\nid: 2\ndata: {}\n\n\r\n",
            Marker::payload(0, 0, 50),
            Marker::payload(0, 1, 50)
        );
        for at in 0..bytes.len() {
            let (mut tally, (one, other)) = (Tally::new(1, 1), bytes.as_bytes().split_at(at));
            let rest = take_markers(one, 0, &mut tally);
            let rest = take_markers(&[rest, other].concat(), 0, &mut tally).len();
            assert_eq!((tally.complete(0), tally.faults, rest), (2, crate::tally::Faults::default(), 0));
        }
    }
}
