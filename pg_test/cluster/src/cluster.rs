//! One running server on a data directory of its own.
//!
//! Not for making the directory (builder.rs) and not for talking to the server (access.rs).

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use test_http::{Client, PATIENCE, Trust};

use crate::builder::{Builder, append_settings, tls_settings};
use crate::install::Install;
use crate::launcher;
use crate::scratch::Scratch;
use crate::wait::{wait_for, wait_until};

/// Only part of the socket's name: the folder belongs to this cluster alone, so the port need not be free.
pub(crate) const PORT: u16 = 5432;

/// How much of the log goes into an error message.
const LOG_TAIL_LINES: usize = 30;

/// How a server is asked to stop, as in `pg_ctl stop -m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for the sessions to end.
    Smart,
    /// Ends the sessions, writes a checkpoint.
    Fast,
    /// Ends at once; the next start recovers.
    Immediate,
}

/// A place in the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogMark(u64);

/// A server. Stopped and removed on drop; when a test panics, the end of its log is printed first.
#[derive(Debug)]
pub struct Cluster {
    install: Arc<Install>,
    postmaster: Mutex<Option<Child>>,
    home: Scratch,
    has_priority: bool,
    trust: Option<Trust>,
    /// The program that runs the server, with its own arguments; empty: it runs by itself.
    under: Vec<OsString>,
}

impl Cluster {
    /// The properties with which it was built.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        install: Arc<Install>,
        home: Scratch,
        has_priority: bool,
        trust: Option<Trust>,
        under: Vec<OsString>,
    ) -> Self {
        Self { install, postmaster: Mutex::new(None), home, has_priority, trust, under }
    }

    /// A client of its gateway, which is at this address: with TLS if the gateway was built with it.
    pub fn client_at(&self, address: SocketAddr) -> Client {
        Client::at(address).trusting(self.trust)
    }

    /// Whether its gateway was built with TLS.
    pub fn is_secure(&self) -> bool {
        self.trust.is_some()
    }

    /// Starts the server and waits until it takes connections (or, as a standby, is consistent).
    ///
    /// # Errors
    /// It ends instead, or takes longer than [`PATIENCE`]; the end of its log is in the message.
    pub fn start(&self) -> Result<()> {
        let mut postmaster = self.postmaster();
        if postmaster.is_some() {
            bail!("the server has been started already");
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let (account, server) = (self.install.account(), self.install.program("postgres"));
        let run_by = self.under.iter().map(OsString::as_os_str);
        let mut line = run_by.chain([server.as_os_str()]);
        let program = Path::new(line.next().unwrap_or_default());
        let mut command =
            if self.has_priority { account.command_with_priority(program) } else { account.command(program) };
        command.args(line).arg("-D").arg(self.data_dir()).current_dir(self.home.path());
        // Its own process group: Ctrl-C at a terminal is for us, and we stop the server.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let started = postmaster.insert(launcher::spawn(command)?);
        // A program that runs it makes it slow.
        let patience = if self.under.is_empty() { PATIENCE } else { 10 * PATIENCE };
        let ready = wait_for(patience, "the server takes connections", || {
            if let Some(status) = started.try_wait()? {
                bail!("the server ended with {status}");
            }
            Ok(is_ready(&self.data_dir(), started.id()).then_some(()))
        });
        if let Err(error) = ready {
            if let Some(mut child) = postmaster.take() {
                end(&mut child, Signal::QUIT)?;
            }
            return Err(error.context(self.log_tail()));
        }
        Ok(())
    }

    /// Stops the server and waits for its end.
    ///
    /// # Errors
    /// It is not running, or does not end within [`PATIENCE`]: then it is killed. If it has ended by itself,
    /// the error has its status.
    pub fn stop(&self, mode: StopMode) -> Result<ExitStatus> {
        let signal_number = match mode {
            StopMode::Smart => Signal::TERM,
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
        };
        let mut child = self.postmaster().take().context("the server is not running")?;
        end(&mut child, signal_number).with_context(|| self.log_tail())
    }

    /// [`Self::stop`], then [`Self::start`].
    pub fn restart(&self, mode: StopMode) -> Result<()> {
        self.stop(mode)?;
        self.start()
    }

    /// Kills the postmaster with SIGKILL and waits until all its processes are gone, so that [`Self::start`]
    /// works.
    pub fn kill_postmaster(&self) -> Result<()> {
        let mut child = self.postmaster().take().context("the server is not running")?;
        child.kill()?;
        child.wait()?;
        // The other processes notice by themselves. The new postmaster refuses to start while one of them
        // still uses the shared memory.
        let data = self.data_dir();
        wait_until(PATIENCE, "the orphaned processes end", || !any_process_in(&data))
    }

    /// Waits for the server to end by itself.
    ///
    /// # Errors
    /// It is not running, or does not end in time.
    pub fn wait_for_end(&self, within: Duration) -> Result<ExitStatus> {
        let mut postmaster = self.postmaster();
        let child = postmaster.as_mut().context("the server is not running")?;
        let status = wait_for(within, "the server ends by itself", || Ok(child.try_wait()?))?;
        *postmaster = None;
        Ok(status)
    }

    /// Makes the server read its configuration again. The call returns before every process has.
    pub fn reload(&self) -> Result<()> {
        signal(self.postmaster_pid()?, Signal::HUP)
    }

    /// Adds a line to postgresql.conf, where it wins over earlier ones. Takes effect with [`Self::reload`] or
    /// a restart.
    ///
    /// # Errors
    /// The file cannot be written, or the value has a line break.
    pub fn configure(&self, name: &str, value: &str) -> Result<()> {
        append_settings(&self.data_dir(), &[(name.to_owned(), value.to_owned())])
    }

    /// The same, and takes effect without anything more.
    pub fn reconfigure(&self, name: &str, value: &str) -> Result<()> {
        self.configure(name, value)?;
        self.reload()
    }

    /// Adds what it was built with for its transport, where another cluster's postgresql.conf has taken the
    /// place of its own.
    pub fn configure_transport(&self) -> Result<()> {
        let Some(_) = self.trust else { return Ok(()) };
        append_settings(&self.data_dir(), &tls_settings(self.home()))
    }

    /// `kill -9` of one process of the server.
    pub fn kill_backend(&self, pid: u32) -> Result<()> {
        signal(pid, Signal::KILL)
    }

    /// Stops one process of the server (SIGSTOP) until the answer is dropped: all its threads stand still
    /// now.
    ///
    /// # Errors
    /// The process does not belong to this server, or not any more.
    pub fn freeze(&self, pid: u32) -> Result<Frozen> {
        if !is_process_in(pid, &self.data_dir()) {
            bail!("{pid} is no process of this server");
        }
        signal(pid, Signal::STOP)?;
        let frozen = Frozen { pid, data: self.data_dir() };
        wait_until(PATIENCE, "a process stands still", || stands_still(pid))?;
        Ok(frozen)
    }

    /// Is the server still there? One that ended by itself is not.
    pub fn is_running(&self) -> bool {
        self.postmaster().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The process id of the postmaster.
    pub fn postmaster_pid(&self) -> Result<u32> {
        Ok(self.postmaster().as_ref().context("the server is not running")?.id())
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The folder with the socket: what `psql -h` takes. Closed to others; only the server's account and root
    /// get in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The installation it runs from.
    pub fn install(&self) -> &Arc<Install> {
        &self.install
    }

    /// Everything in the log so far.
    pub fn log(&self) -> Result<String> {
        self.log_since(LogMark(0))
    }

    /// Where the log ends now.
    pub fn log_mark(&self) -> Result<LogMark> {
        Ok(LogMark(fs::metadata(self.log_path())?.len()))
    }

    /// What the log says after `mark`.
    pub fn log_since(&self, mark: LogMark) -> Result<String> {
        let mut file = fs::File::open(self.log_path())?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until the log says `text` after `mark`, and returns the line.
    pub fn wait_for_log(&self, mark: LogMark, text: &str) -> Result<String> {
        wait_for(PATIENCE, &format!("the log says {text:?}"), || {
            let log = self.log_since(mark)?;
            Ok(log.lines().find(|line| line.contains(text)).map(str::to_owned))
        })
        .with_context(|| self.log_tail())
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("log")
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.log().unwrap_or_else(|error| format!("(no log: {error})"));
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
        format!("the end of the server's log:\n{tail}\n")
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        if self.is_running() {
            let _ = self.stop(StopMode::Immediate);
        }
    }
}

/// A process that was stopped with SIGSTOP; goes on when this is dropped, whatever becomes of the test.
#[derive(Debug)]
pub struct Frozen {
    pid: u32,
    data: PathBuf,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // If it was killed meanwhile, its number may belong to another process by now.
        if is_process_in(self.pid, &self.data) {
            let _ = signal(self.pid, Signal::CONT);
        }
    }
}

/// Sends the signal unless the process is known to be gone: its number may belong to another process by now.
fn end(child: &mut Child, number: Signal) -> Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    signal(child.id(), number)?;
    wait_for(PATIENCE, "the server ends", || Ok(child.try_wait()?)).inspect_err(|_| {
        let _ = child.kill();
        let _ = child.wait();
    })
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).context("not a process id")?;
    kill_process(number, signal).with_context(|| format!("cannot send {signal:?} to process {pid}"))
}

/// Every thread of the process is stopped, or has ended. The signal reaches one of them, and until that one
/// gets a processor, the others run on: for 20 ms on a busy machine.
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    // proc(5): the state stands behind the name, which is in parentheses.
    threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()).all(|stat| {
        stat.rsplit_once(") ").is_some_and(|(_, behind)| behind.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// The eighth line of postmaster.pid says how far the start has got (pg_ctl.c, wait_for_postmaster_start).
fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.first() == Some(&pid.to_string().as_str()) && matches!(lines.get(7), Some(&"ready" | &"standby"))
}

/// Every process of a server has the data directory as its working directory. The first thread of one that
/// ends may be gone before others, which keep the shared memory.
fn any_process_in(data: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let threads = processes.flatten().filter_map(|process| fs::read_dir(process.path().join("task")).ok());
    threads.flat_map(|threads| threads.flatten()).any(|thread| is_in(&thread.path(), data))
}

fn is_in(process: &Path, data: &Path) -> bool {
    fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == data)
}

/// Where there is no /proc, every number is believed.
fn is_process_in(pid: u32, data: &Path) -> bool {
    !Path::new("/proc/self").exists() || is_in(Path::new(&format!("/proc/{pid}")), data)
}
