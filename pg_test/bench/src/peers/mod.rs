//! Who is compared with, and how each is started. Programs of this package are processes of it; what comes
//! from a registry is installed into a folder of the run, or is left out by name with the reason.
//!
//! Not for what is measured.

pub(crate) mod broadcast;
pub(crate) mod endpoint;
pub(crate) mod floor;
pub(crate) mod foreign;
mod public;
mod session;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A program that is killed, with everything below it, when this is dropped.
pub(crate) struct Program {
    child: Child,
    /// The port that it said, or was told.
    pub(crate) port: u16,
}

impl Program {
    /// Starts a program that says its port in its first line.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let child = command.stdout(Stdio::piped()).spawn();
        let mut started = Self { child: child.with_context(|| format!("cannot run {command:?}"))?, port: 0 };
        let mut line = String::new();
        BufReader::new(started.child.stdout.take().context("no output")?).read_line(&mut line)?;
        started.port = line.trim().parse().with_context(|| format!("no port of {command:?}"))?;
        Ok(started)
    }

    /// Starts one of this executable's own.
    pub(crate) fn start_own(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::start(command)
    }

    /// Starts a program that listens on the port that it was told, and waits for that.
    pub(crate) fn start_on(port: u16, mut command: Command) -> Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let started = Self { child, port };
        cluster::wait_for(cluster::PATIENCE, "the peer listens", || {
            Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
        })?;
        Ok(started)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Workers of a program that has some end with it, but nginx's do not.
        for pid in crate::process::tree(self.child.id()).into_iter().skip(1) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap_or(0));
            let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
