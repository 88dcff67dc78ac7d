//! Watches, all the time, what the gateway holds and what the server logs.
//!
//! Not for what the honest parties see.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::{Clock, anonymous_bytes};

use crate::ground::Ground;
use crate::processor::{self, Look, Machine};

/// Between two looks.
const PACE: Duration = Duration::from_millis(100);

/// The gateway's process is asked for once in this many looks: only an outage may change it.
const ASKING: u64 = 20;

/// Who used the processors is asked for once in this many looks: all processes are looked at.
const COUNTING: u64 = 5;

/// Lines that the log must not have. Each means that a process did not end by itself.
const ALARMS: [&str; 8] = [
    "terminating any other active server processes",
    "all server processes terminated; reinitializing",
    "was terminated by signal",
    "PANIC:",
    "TRAP:",
    "panicked at",
    "memory allocation of",
    "AddressSanitizer",
];

/// At most this many findings are told.
const MAX_TOLD: usize = 10;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// When, and `RssAnon` of the gateway then, in bytes.
    pub(crate) memory: Vec<(u64, u64)>,
    /// Who used the processors, and how long the gateway's threads waited for one.
    pub(crate) machine: Machine,
    /// Lines of the log that should not be there.
    pub(crate) alarms: Vec<String>,
    /// Its end is that of the run.
    pub(crate) log: Vec<u8>,
}

/// A thread that looks.
pub(crate) struct Watch {
    thread: JoinHandle<Result<Findings>>,
    end: Arc<AtomicBool>,
    is_alarmed: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn start(ground: Arc<Ground>, clock: Clock) -> Self {
        let (end, is_alarmed): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let (told, alarm) = (Arc::clone(&end), Arc::clone(&is_alarmed));
        let thread = thread::spawn(move || watch(&ground, clock, &told, &alarm));
        Self { thread, end, is_alarmed }
    }

    /// The log says that the server crashed: there is no use in waiting.
    pub(crate) fn is_alarmed(&self) -> bool {
        self.is_alarmed.load(Relaxed)
    }

    pub(crate) fn end(self) -> Result<Findings> {
        self.end.store(true, Relaxed);
        self.thread.join().ok().context("the watch has panicked")?
    }
}

fn watch(ground: &Ground, clock: Clock, end: &AtomicBool, is_alarmed: &AtomicBool) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut log = Log::open(ground.home.join("log"))?;
    let mut session = ground.session("postgres")?;
    let (mut looks, mut pid) = (0_u64, None);
    loop {
        // The last look comes after the end was told.
        let is_last = end.load(Relaxed);
        if looks.is_multiple_of(ASKING) || pid.is_none() {
            let sql = "select pid from pg_stat_get_activity(null) where backend_type = 'pg_sse gateway'";
            pid = session.query(sql, Duration::from_secs(20)).ok().and_then(|reply| reply.value);
        }
        looks += 1;
        if let Some(bytes) = pid.as_deref().and_then(|pid| anonymous_bytes(pid.parse().ok()?).ok()) {
            findings.memory.push((clock.now(), bytes));
        }
        if let Some(pid) = pid.as_deref() {
            findings.machine.looks.push(Look { at: clock.now(), waited: processor::waited(pid) });
            if looks.is_multiple_of(COUNTING) {
                findings.machine.usages.extend(processor::usage(clock.now(), pid));
            }
        }
        findings.alarms.extend(log.alarms()?);
        if !findings.alarms.is_empty() {
            is_alarmed.store(true, Relaxed);
        }
        if is_last {
            findings.log = log.bytes;
            findings.alarms.truncate(MAX_TOLD);
            return Ok(findings);
        }
        thread::sleep(PACE);
    }
}

struct Log {
    file: File,
    bytes: Vec<u8>,
    /// How many bytes of it have been looked at: whole lines.
    looked_at: usize,
}

impl Log {
    fn open(path: PathBuf) -> Result<Self> {
        let mut file = File::open(&path).with_context(|| path.display().to_string())?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, bytes: Vec::new(), looked_at: 0 })
    }

    fn alarms(&mut self) -> Result<Vec<String>> {
        self.file.read_to_end(&mut self.bytes)?;
        let new = &self.bytes[self.looked_at..];
        let Some(end) = new.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let found = alarms(&new[..=end]);
        self.looked_at += end + 1;
        Ok(found)
    }
}

/// The lines that should not be there, among whole lines.
fn alarms(lines: &[u8]) -> Vec<String> {
    let alarm = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        ALARMS.iter().any(|alarm| text.contains(alarm)).then(|| shortened(&text))
    };
    lines.split(|byte| *byte == b'\n').filter_map(alarm).collect()
}

/// The lines that are not valid in the server's encoding, which is UTF-8.
pub(crate) fn invalid_lines(log: &[u8]) -> Vec<String> {
    let lines = log.split(|byte| *byte == b'\n');
    let invalid = lines.filter(|line| std::str::from_utf8(line).is_err());
    invalid.map(|line| shortened(&line.escape_ascii().to_string())).take(MAX_TOLD).collect()
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_a_line_that_says_how_processes_ended() {
        let log = b"LOG:  ready\nLOG:  background worker \"pg_sse gateway\" (PID 7) was terminated by signal 6: Aborted\n";
        assert_eq!(alarms(log).len(), 1);
        assert!(alarms(b"FATAL:  terminating connection due to administrator command\n").is_empty());
    }

    #[test]
    fn one_byte_that_is_not_utf8_is_found() {
        assert!(invalid_lines("LOG:  über\nLOG:  x\n".as_bytes()).is_empty());
        assert_eq!(invalid_lines(b"LOG:  x\nSTATEMENT:  \xeb(\x83\n"), [r"STATEMENT:  \xeb(\x83"]);
    }
}
