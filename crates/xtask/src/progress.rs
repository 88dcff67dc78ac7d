//! A long command, folded behind one line that moves; its output is kept for when it fails.
//!
//! On a terminal that is a bar or a spinner. Elsewhere, as in a CI log, a line now and then.
//!
//! Not for commands that talk to a person.

use std::io::{IsTerminal, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a line says that it goes on, where there is no terminal.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// What a finished command leaves.
pub(crate) struct Folded {
    pub(crate) status: ExitStatus,
    /// Lines of standard output alone.
    pub(crate) stdout: Vec<String>,
    /// Lines of both outputs as they came, without cargo's progress bar.
    pub(crate) lines: Vec<String>,
}

impl Folded {
    /// Everything it printed.
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// Returns itself if the command succeeded.
    ///
    /// # Errors
    /// It failed: all its output is in the message.
    pub(crate) fn ok(self, what: &str) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        bail!("{what} failed ({}):\n{}", self.status, self.text())
    }
}

/// Runs `command` to its end behind a line that begins with `title`.
///
/// # Errors
/// It cannot be started. One that fails is in [`Folded::status`].
pub(crate) fn run(title: &str, mut command: Command) -> Result<Folded> {
    // Cargo draws its bar even into a pipe, so that we can read it.
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "100");
    command.env("CARGO_TERM_COLOR", "never");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let (sender, pieces) = channel();
    if let Some(stdout) = child.stdout.take() {
        read_lines(stdout, Source::Stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        read_lines(stderr, Source::Stderr, sender);
    }
    let (stdout, lines) = collect(title, &pieces);
    let status = child.wait()?;
    Ok(Folded { status, stdout, lines })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Stdout,
    Stderr,
}

/// Ends when both outputs are closed.
fn collect(title: &str, pieces: &Receiver<(Source, String)>) -> (Vec<String>, Vec<String>) {
    let mut meter = Meter::new(title);
    let (mut stdout, mut lines) = (Vec::new(), Vec::new());
    loop {
        let line = match pieces.recv_timeout(Duration::from_secs(1)) {
            Ok((Source::Stdout, line)) => {
                stdout.push(line.clone());
                line
            }
            Ok((Source::Stderr, line)) => line,
            Err(RecvTimeoutError::Timeout) => {
                meter.tick();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        meter.tick();
        if let Some((done, all)) = cargo_progress(&line) {
            meter.advance(done, all);
        } else {
            meter.show(&line);
            lines.push(line);
        }
    }
    meter.bar.finish_and_clear();
    (stdout, lines)
}

/// All lines that move: of several commands at once each has its own.
static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The line that moves.
struct Meter {
    title: String,
    bar: ProgressBar,
    latest: String,
    next_sign: Option<Instant>,
    started: Instant,
}

impl Meter {
    fn new(title: &str) -> Self {
        let bar = LINES.add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {prefix} {elapsed:>4} {wide_msg:.dim}"));
        bar.set_prefix(title.to_owned());
        let next_sign = if std::io::stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_millis(100));
            None
        } else {
            Some(Instant::now() + SIGN_OF_LIFE)
        };
        Self { title: title.to_owned(), bar, latest: String::new(), next_sign, started: Instant::now() }
    }

    fn advance(&mut self, done: u64, all: u64) {
        if self.bar.length() != Some(all) {
            self.bar.set_length(all);
            self.bar
                .set_style(style("{spinner} {prefix} {elapsed:>4} [{bar:24}] {pos}/{len} {wide_msg:.dim}"));
        }
        self.bar.set_position(done);
        self.latest = format!("{done} of {all}");
    }

    fn show(&mut self, line: &str) {
        // JSON messages of cargo are for us, not for people.
        if !line.trim().is_empty() && !line.starts_with('{') {
            line.trim().clone_into(&mut self.latest);
            self.bar.set_message(self.latest.clone());
        }
    }

    fn tick(&mut self) {
        if self.next_sign.is_some_and(|next| next <= Instant::now()) {
            self.next_sign = Some(Instant::now() + SIGN_OF_LIFE);
            eprintln!("      … {}, {} s: {}", self.title, self.started.elapsed().as_secs(), self.latest);
        }
    }
}

/// A template that does not parse shows as the default one; nothing depends on it.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Sends what ends with a line feed or a carriage return: cargo rewrites its bar with the latter.
fn read_lines(mut source: impl Read + Send + 'static, from: Source, to: Sender<(Source, String)>) {
    thread::spawn(move || {
        let (mut buffer, mut pending) = (vec![0; 16 * 1024], Vec::new());
        while let Ok(length @ 1..) = source.read(&mut buffer) {
            pending.extend_from_slice(&buffer[..length]);
            while let Some(end) = pending.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let _ = to.send((from, clean(&line[..end])));
            }
        }
        if !pending.is_empty() {
            let _ = to.send((from, clean(&pending)));
        }
    });
}

/// Removes the escape sequence with which cargo clears its bar.
fn clean(line: &[u8]) -> String {
    String::from_utf8_lossy(line).replace("\u{1b}[K", "")
}

/// `    Building [=====>    ] 45/120: hyper, tokio` gives 45 and 120. The rest of a bar that was cleared
/// counts, too, although it is empty.
fn cargo_progress(line: &str) -> Option<(u64, u64)> {
    let (_, rest) = line.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (done, rest) = rest.split_once('/')?;
    let all: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((done.trim().parse().ok()?, all.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cargos_bar_is_read_and_nothing_else() {
        assert_eq!(cargo_progress("    Building [==>   ] 45/120: hyper"), Some((45, 120)));
        assert_eq!(cargo_progress("   Compiling hyper v1.0.0"), None);
    }

    #[test]
    fn both_outputs_and_the_status_are_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let folded = run("test", command).unwrap();
        assert_eq!(folded.status.code(), Some(3));
        assert_eq!(folded.stdout, ["out"]);
        assert_eq!(folded.lines.len(), 2);
        assert!(folded.ok("it").is_err());
    }
}
