//! A session: one `psql` that stays connected, statements in, rows and messages out.
//!
//! After each statement `psql` is made to print a mark on both of its outputs, so it is certain which output
//! belongs to which statement. Several sessions run side by side; [`Session::send`] starts a statement
//! without waiting for its end.
//!
//! Not for output as a person sees it: [`crate::Cluster::script`].

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use test_http::PATIENCE;

use crate::message::Message;

/// Between columns: a character that no test's data contains.
const FIELD_SEPARATOR: char = '\u{1f}';

/// Stands for NULL.
const NULL: &str = "\u{1d}";

/// At most this much of psql's error output is told when the answer does not come.
const MAX_TOLD_BYTES: usize = 500;

/// The role, the database and the settings of a session.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// `PGOPTIONS`, such as `-c client_min_messages=error`.
    pub options: String,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { database: "postgres".to_owned(), user: "postgres".to_owned(), options: String::new() }
    }
}

/// What one statement, or several sent together, answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The rows of all results; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Notices and errors, in order.
    pub messages: Vec<Message>,
}

impl Reply {
    /// Returns the reply itself, if there was no error in it.
    pub fn ok(self) -> Result<Self> {
        match self.error() {
            Some(error) => bail!("{error}"),
            None => Ok(self),
        }
    }

    /// The first error.
    pub fn error(&self) -> Option<&Message> {
        self.messages.iter().find(|message| message.is_error())
    }

    /// The SQLSTATE of the first error.
    pub fn sqlstate(&self) -> Option<&str> {
        self.error()?.sqlstate.as_deref()
    }

    /// The texts of the messages of one severity.
    pub fn texts(&self, severity: &str) -> Vec<&str> {
        let matching = self.messages.iter().filter(|message| message.severity == severity);
        matching.map(|message| message.text.as_str()).collect()
    }

    /// The first column of the first row.
    pub fn value(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// The rows as `psql -At` prints them, without the last line end.
    pub fn text(&self) -> String {
        let line = |row: &Vec<Option<String>>| {
            row.iter().map(|cell| cell.as_deref().unwrap_or("")).collect::<Vec<_>>().join("|")
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A connected `psql`. Disconnects on drop.
#[derive(Debug)]
pub struct Session {
    psql: Child,
    input: ChildStdin,
    output: Pipe,
    errors: Pipe,
    sent: u64,
    answered: u64,
}

impl Session {
    pub(crate) fn start(mut psql: Command, options: &SessionOptions) -> Result<Self> {
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-0",
            "-F",
            &FIELD_SEPARATOR.to_string(),
            "-P",
            &format!("null={NULL}"),
        ]);
        // With SQLSTATE and LOCATION.
        psql.args(["-v", "ON_ERROR_STOP=off", "-v", "VERBOSITY=verbose"]);
        psql.args(["-U", &options.user, "-d", &options.database]).env("PGOPTIONS", &options.options);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().context("cannot run psql")?;
        let input = child.stdin.take().context("psql has no input")?;
        let output = Pipe::read(child.stdout.take().context("psql has no output")?);
        let errors = Pipe::read(child.stderr.take().context("psql has no error output")?);
        let mut session = Self { psql: child, input, output, errors, sent: 0, answered: 0 };
        session.run("").context("cannot connect")?;
        Ok(session)
    }

    /// Runs SQL (or a `\` command) and waits for its end, at most [`PATIENCE`]. An error of the SQL is in the
    /// reply.
    ///
    /// # Errors
    /// No answer in time, or the connection is lost.
    pub fn run(&mut self, sql: &str) -> Result<Reply> {
        self.send(sql)?;
        self.wait(PATIENCE)
    }

    /// Starts SQL without waiting. Each `send` needs one [`Self::wait`].
    pub fn send(&mut self, sql: &str) -> Result<()> {
        self.sent += 1;
        let mark = mark(self.sent);
        // On a line of its own: the last line may be a comment.
        let end = if needs_semicolon(sql) { "\n;" } else { "" };
        write!(self.input, "{sql}{end}\n\\echo {mark}\n\\warn {mark}\n").context("psql is gone")?;
        self.input.flush().context("psql is gone")
    }

    /// Waits for the answer to the oldest [`Self::send`] that has not been waited for.
    ///
    /// # Errors
    /// None in time: the statement goes on, and a later `wait` may get its answer. Or the connection is lost.
    pub fn wait(&mut self, within: Duration) -> Result<Reply> {
        if self.answered == self.sent {
            bail!("nothing was sent");
        }
        let deadline = Instant::now() + within;
        let mark = mark(self.answered + 1);
        // First the error output, because its mark is printed last. Nothing is taken before both marks are
        // there.
        let there =
            self.errors.wait_for(&mark, deadline).and_then(|()| self.output.wait_for(&mark, deadline));
        if let Err(problem) = there {
            let said = &self.errors.seen[self.errors.seen.len().saturating_sub(MAX_TOLD_BYTES)..];
            bail!("{problem} (psql said last: {:?})", String::from_utf8_lossy(said));
        }
        self.answered += 1;
        let messages = Message::parse_all(&self.errors.take(&mark));
        Ok(Reply { rows: rows(&self.output.take(&mark)), messages })
    }

    /// The process id of this session's backend.
    pub fn backend_pid(&mut self) -> Result<u32> {
        let reply = self.run("select pg_backend_pid()")?.ok()?;
        reply.value().context("no answer")?.parse().context("not a number")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

/// One output of psql, read by a thread of its own, so that a full pipe never stops psql.
#[derive(Debug)]
struct Pipe {
    chunks: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    /// How far `seen` has been searched; without this, large rows would cost the square of their size.
    searched: usize,
}

impl Pipe {
    fn read(mut source: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { chunks, seen: Vec::new(), searched: 0 }
    }

    fn wait_for(&mut self, mark: &str, deadline: Instant) -> Result<()> {
        while self.find(mark).is_none() {
            self.searched = self.seen.len().saturating_sub(mark.len());
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.seen.extend(chunk),
                Err(RecvTimeoutError::Timeout) => bail!("no answer in time"),
                Err(RecvTimeoutError::Disconnected) => bail!("the connection is lost"),
            }
        }
        Ok(())
    }

    /// Position of the mark, its line end included in what must be there.
    fn find(&self, mark: &str) -> Option<usize> {
        let wanted = format!("{mark}\n");
        let mut windows = self.seen[self.searched..].windows(wanted.len());
        Some(self.searched + windows.position(|window| window == wanted.as_bytes())?)
    }

    fn take(&mut self, mark: &str) -> String {
        let Some(position) = self.find(mark) else { return String::new() };
        let text = String::from_utf8_lossy(&self.seen[..position]).into_owned();
        self.seen.drain(..position + mark.len() + 1);
        self.searched = 0;
        text
    }
}

fn mark(number: u64) -> String {
    format!("--end-of-statement-{number}--")
}

/// A `\` command ends with its line; everything else is sent by a semicolon.
fn needs_semicolon(sql: &str) -> bool {
    let text = sql.trim_end();
    let last_line = text.lines().last().unwrap_or("");
    !text.is_empty() && !text.ends_with(';') && !last_line.trim_start().starts_with('\\')
}

/// With `-0` every row, also the last one, ends with a zero byte, which no value can contain.
fn rows(output: &str) -> Vec<Vec<Option<String>>> {
    let cell = |text: &str| (text != NULL).then(|| text.to_owned());
    let row = |text: &str| text.split(FIELD_SEPARATOR).map(cell).collect();
    output.split_terminator('\0').map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_command_gets_no_semicolon() {
        assert!(!needs_semicolon("\\set x 1"));
        assert!(!needs_semicolon("select 1; \n"));
        assert!(!needs_semicolon(""));
        assert!(needs_semicolon("select 1"));
    }

    #[test]
    fn line_breaks_and_null_survive_in_rows() {
        let rows = rows("a\nb\u{1f}\u{1d}\0c\u{1f}\0");
        assert_eq!(rows, [[Some("a\nb".to_owned()), None], [Some("c".to_owned()), Some(String::new())]]);
    }
}
