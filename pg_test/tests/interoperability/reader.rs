//! A program that reads a stream, and what it has seen.
//!
//! Not for which programs there are: interoperability.rs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cluster::PATIENCE;
use cluster::http::EventParser;

/// An event as a client has it.
pub(crate) type Seen = (String, String, String);

/// A client that is reading, and what it reads.
pub(crate) struct Reader {
    pub(crate) process: Option<Child>,
    pub(crate) seen: Receiver<Seen>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Reader {
    /// A program that writes each event as a line of JSON: name, data, id.
    pub(crate) fn of(mut program: Command) -> Result<Self> {
        let mut process =
            program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, seen) = channel();
        let output = process.stdout.take().context("no output")?;
        let mut errors = process.stderr.take().context("no errors")?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = serde_json::from_str::<Seen>(&line);
                if sender
                    .send(event.unwrap_or_else(|_| ("no event".to_owned(), line, String::new())))
                    .is_err()
                {
                    return;
                }
            }
            let mut said = String::new();
            let _ = errors.read_to_string(&mut said);
            let _ = sender.send(("the client ended".to_owned(), said, String::new()));
        });
        Ok(Self { process: Some(process), seen })
    }

    /// curl, begun again with the last id whenever its stream has ended.
    pub(crate) fn curl(program: PathBuf, url: String) -> Self {
        let (sender, seen) = channel();
        thread::spawn(move || {
            let mut last = String::new();
            while follow_with_curl(&program, &url, &mut last, &sender).is_some() {
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self { process: None, seen }
    }

    pub(crate) fn next(&self) -> Result<Seen> {
        self.seen.recv_timeout(PATIENCE).context("no event")
    }

    /// The next event with data of ours. That a stream has begun (again) is none; a gap is an error.
    pub(crate) fn next_payload(&self) -> Result<Seen> {
        loop {
            let event = self.next()?;
            match event.0.as_str() {
                "sse.ready" => {}
                "message" | "note" => return Ok(event),
                _ => bail!("{event:?}"),
            }
        }
    }
}

/// `None` when nobody wants to know any more.
pub(crate) fn follow_with_curl(
    program: &PathBuf,
    url: &str,
    last: &mut String,
    sender: &Sender<Seen>,
) -> Option<()> {
    let mut curl = Command::new(program);
    curl.args(["-sN", url]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if !last.is_empty() {
        curl.args(["-H", &format!("Last-Event-ID: {last}")]);
    }
    let mut process = curl.spawn().ok()?;
    let mut output = process.stdout.take()?;
    let (mut parser, mut bytes) = (EventParser::default(), [0; 4096]);
    let mut is_wanted = true;
    while let Ok(count @ 1..) = output.read(&mut bytes) {
        for event in parser.push(&bytes[..count]) {
            last.clone_from(&event.id);
            is_wanted &= sender.send((event.event, event.data, event.id)).is_ok();
        }
        if !is_wanted {
            break;
        }
    }
    let _ = process.kill();
    let _ = process.wait();
    is_wanted.then_some(())
}
