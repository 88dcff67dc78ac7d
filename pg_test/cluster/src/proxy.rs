//! A reverse proxy in front of gateways: one with a file of the test's own, or HAProxy as docs/servers.md
//! configures it in front of the servers of a tree.
//!
//! Not for how one must be configured: docs/operations.md and docs/servers.md say it, and
//! `pg_test/tests/proxies.rs` and `standby.rs` try it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use test_http::{Client, PATIENCE};

use crate::account::{Account, find_program};
use crate::scratch::Scratch;
use crate::wait::wait_for;

const SERVERS: &str = include_str!("../../../docs/servers.md");

/// Ends when it is dropped, and with the thread that has started it, where the system can do that (Linux).
#[derive(Debug)]
pub struct Proxy {
    process: Child,
    /// For what it serves.
    pub http: Client,
    folder: Scratch,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    /// HAProxy at this port, in front of these servers.
    ///
    /// # Errors
    /// There is none, or it finds no server that serves; what it says is in the message.
    pub fn of_servers(port: u16, servers: &[SocketAddr]) -> Result<Self> {
        let mut proxy =
            Self::begin("haproxy", &["-db", "-f"], port, |_| configuration(SERVERS, port, servers))?;
        proxy.wait_until("lets a reader through", |http| {
            http.get("/healthz").is_ok_and(|answer| answer.status() == 200)
        })?;
        Ok(proxy)
    }

    /// The program of this name, which is given these arguments and then its file, made for its folder. It is
    /// to listen at this port.
    ///
    /// # Errors
    /// There is none, or it does not listen; what it says is in the message.
    pub fn start(
        name: &str,
        arguments: &[&str],
        port: u16,
        config: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<Self> {
        let mut proxy = Self::begin(name, arguments, port, config)?;
        proxy.wait_until("listens", |http| http.get("/healthz").is_ok())?;
        Ok(proxy)
    }

    fn begin(
        name: &str,
        arguments: &[&str],
        port: u16,
        config: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<Self> {
        let program = find_program(name)
            .with_context(|| format!("there is no {name}: install your system's package of it"))?;
        let folder = Scratch::create(&Account::for_servers()?)?;
        let file = folder.path().join("config");
        fs::write(&file, config(folder.path())?)?;
        let output = File::create(folder.path().join("output"))?;
        let process = until_we_end(&program)
            .args(arguments)
            .arg(&file)
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .current_dir(folder.path())
            // Ctrl-C at a terminal is for us, and we stop it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        Ok(Self { process, http: Client::new(port), folder })
    }

    /// What it has written so far: its errors, and its log where that is `/dev/stdout`.
    pub fn output(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("output"))?)
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(Client) -> bool) -> Result<()> {
        let (http, process) = (self.http, &mut self.process);
        let waited = wait_for(PATIENCE, &format!("the proxy {what}"), || {
            if let Some(status) = process.try_wait()? {
                bail!("it ended with {status}");
            }
            Ok(is_so(http).then_some(()))
        });
        waited.with_context(|| format!("the proxy says: {}", self.output().unwrap_or_default()))
    }
}

/// The configuration of the page, which has two servers, at this port, with as many as there are. Those that
/// it has keep their names.
fn configuration(page: &str, port: u16, servers: &[SocketAddr]) -> Result<String> {
    let (_, block) = page.split_once("```haproxy\n").context("docs/servers.md has no haproxy")?;
    let (block, _) = block.split_once("```").context("its haproxy has no end")?;
    ensure!(block.contains("    bind :80\n"), "it listens elsewhere");
    let mut text = String::new();
    for line in block.split_inclusive('\n') {
        match line.trim() {
            "bind :80" => text += &format!("    bind 127.0.0.1:{port}\n"),
            "server one 127.0.0.1:8080" => {
                for (number, server) in servers.iter().enumerate() {
                    let name = ["one", "two"].get(number).map_or(format!("s{number}"), |name| (*name).into());
                    text += &format!("    server {name} {server}\n");
                }
            }
            "server two 127.0.0.1:8081" => {}
            _ => text += line,
        }
    }
    Ok(text)
}

/// A program that is killed when this thread ends, where the system can do that (Linux).
fn until_we_end(program: &Path) -> Command {
    let Some(setpriv) = find_program("setpriv") else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;

    fn servers<const N: usize>(ports: [u16; N]) -> [SocketAddr; N] {
        ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    #[test]
    fn each_port_of_the_page_becomes_ours_and_nothing_else_is_changed() {
        let ours = configuration(SERVERS, 8080, &servers([8081, 8082])).unwrap();
        assert_eq!(ours.matches("bind 127.0.0.1:8080\n").count(), 1);
        assert_eq!(ours.matches("server one 127.0.0.1:8081\n").count(), 2);
        assert_eq!(ours.matches("server two 127.0.0.1:8082\n").count(), 2);
        let back = ours.replace("bind 127.0.0.1:8080\n", "bind :80\n");
        let back =
            back.replace("127.0.0.1:8081", "127.0.0.1:8080").replace("127.0.0.1:8082", "127.0.0.1:8081");
        assert!(SERVERS.contains(&format!("```haproxy\n{back}```")));
    }

    #[test]
    fn as_many_servers_as_there_are_stand_in_both_places() {
        let ours = configuration(SERVERS, 7, &servers([1, 2, 3])).unwrap();
        for line in ["server one 127.0.0.1:1\n", "server two 127.0.0.1:2\n", "server s2 127.0.0.1:3\n"] {
            assert_eq!(ours.matches(line).count(), 2, "{ours}");
        }
        assert!(!ours.contains("8080") && !ours.contains("8081"), "{ours}");
    }
}
