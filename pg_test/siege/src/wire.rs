//! A session with the server: the frontend protocol (PostgreSQL documentation, "Message Formats"), as far as
//! it is needed.
//!
//! `psql` shows a notification only after its next statement, and one process for each hostile session would
//! take the processors from what is measured. So this is not [`cluster::Session`].
//!
//! Not a driver: simple queries in, the first value and the first error out.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Version 3.0.
const PROTOCOL: u32 = 196_608;

/// What one query answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// First column of the first row.
    pub(crate) value: Option<String>,
    /// Message of the first error.
    pub(crate) error: Option<String>,
}

impl Reply {
    /// The value, if there was no error.
    pub(crate) fn ok(self) -> Result<Option<String>> {
        match self.error {
            Some(error) => bail!("{error}"),
            None => Ok(self.value),
        }
    }
}

/// A session. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UnixStream,
    pending: Vec<u8>,
    current: Reply,
    replies: VecDeque<Reply>,
    notifications: VecDeque<String>,
}

impl Wire {
    /// Connects to database `postgres` as `user`.
    pub(crate) fn connect(home: &Path, user: &str, within: Duration) -> Result<Self> {
        let stream = UnixStream::connect(home.join(".s.PGSQL.5432")).context("no server")?;
        stream.set_write_timeout(Some(within))?;
        let (current, replies) = (Reply::default(), VecDeque::new());
        let mut wire = Self { stream, pending: Vec::new(), current, replies, notifications: VecDeque::new() };
        let mut packet = PROTOCOL.to_be_bytes().to_vec();
        for text in ["user", user, "database", "postgres", "application_name", "siege"] {
            packet.extend(text.as_bytes());
            packet.push(0);
        }
        packet.push(0);
        wire.stream.write_all(&length_of(packet.len()))?;
        wire.stream.write_all(&packet)?;
        wire.reply(within)?.ok().context("cannot connect")?;
        Ok(wire)
    }

    /// Runs SQL and waits for its end.
    pub(crate) fn query(&mut self, sql: &str, within: Duration) -> Result<Reply> {
        self.send(sql)?;
        self.reply(within)
    }

    /// Starts SQL; each needs one [`Self::reply`], or is found by [`Self::poll`]. Several may be on their
    /// way.
    pub(crate) fn send(&mut self, sql: &str) -> Result<()> {
        let mut packet = vec![b'Q'];
        packet.extend(length_of(sql.len() + 1));
        packet.extend(sql.as_bytes());
        packet.push(0);
        self.stream.write_all(&packet).context("the session is lost")
    }

    /// Waits for the oldest answer that has not been taken.
    pub(crate) fn reply(&mut self, within: Duration) -> Result<Reply> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            if !self.read(deadline)? {
                bail!("no answer from the server in {within:?}");
            }
        }
    }

    /// An answer that has come already.
    pub(crate) fn poll(&mut self) -> Result<Option<Reply>> {
        if self.replies.is_empty() {
            self.stream.set_nonblocking(true)?;
            let read = self.read(Instant::now());
            self.stream.set_nonblocking(false)?;
            read?;
        }
        Ok(self.replies.pop_front())
    }

    /// Payload of the next notification; `None` when there is none in time.
    pub(crate) fn notification(&mut self, within: Duration) -> Result<Option<String>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(payload) = self.notifications.pop_front() {
                return Ok(Some(payload));
            }
            if !self.read(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Reads once; `false` when nothing came before the deadline.
    fn read(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the server has ended the session"),
            Ok(length) => self.pending.extend(&buffer[..length]),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error).context("the session is lost"),
        }
        self.parse()?;
        Ok(true)
    }

    fn parse(&mut self) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        let mut start = 0;
        while let Some([kind, a, b, c, d]) =
            pending.get(start..start + 5).and_then(|head| <[u8; 5]>::try_from(head).ok())
        {
            let end = start + 1 + u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(body) = pending.get(start + 5..end) else { break };
            self.take(kind, body)?;
            start = end;
        }
        pending.drain(..start);
        self.pending = pending;
        Ok(())
    }

    fn take(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        match kind {
            b'R' if body != [0; 4] => bail!("the server wants a password"),
            b'Z' => self.replies.push_back(std::mem::take(&mut self.current)),
            b'D' if self.current.value.is_none() => self.current.value = first_value(body),
            b'E' if self.current.error.is_none() => self.current.error = Some(message(body)),
            b'A' => {
                let payload = body.get(4..).and_then(|rest| rest.split(|byte| *byte == 0).nth(1));
                self.notifications.push_back(text(payload.context("a notification without a payload")?));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A length includes itself.
fn length_of(rest: usize) -> [u8; 4] {
    u32::try_from(rest + 4).unwrap_or(u32::MAX).to_be_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn first_value(row: &[u8]) -> Option<String> {
    let length = u32::from_be_bytes(row.get(2..6)?.try_into().ok()?);
    Some(text(row.get(6..6 + usize::try_from(length).ok()?)?))
}

/// Field `M`, with the SQLSTATE (`C`) in front.
fn message(fields: &[u8]) -> String {
    let field = |kind: u8| {
        let found = fields.split(|byte| *byte == 0).find(|field| field.first() == Some(&kind));
        found.map_or_else(String::new, |field| text(&field[1..]))
    };
    format!("{}: {}", field(b'C'), field(b'M'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_its_sqlstate_and_message() {
        assert_eq!(message(b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0"), "22012: division by zero");
    }

    #[test]
    fn null_and_a_row_without_columns_are_no_value() {
        assert_eq!(first_value(&[0, 1, 0, 0, 0, 2, b'o', b'k']), Some("ok".to_owned()));
        assert_eq!(first_value(&[0, 1, 255, 255, 255, 255]), None);
        assert_eq!(first_value(&[0, 0]), None);
    }
}
