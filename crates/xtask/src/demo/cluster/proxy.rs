//! HAProxy in front of both servers, as docs/servers.md configures it.
//!
//! Not for what that page's configuration promises: `pg_test/tests/standby.rs`.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use cluster::http::Client;
use cluster::{Account, PATIENCE, Scratch, find_program, wait_for};

const SERVERS: &str = include_str!("../../../../../docs/servers.md");

/// Ends when it is dropped, and with the process that has started it.
pub(super) struct Proxy {
    process: Child,
    pub(super) http: Client,
    _folder: Scratch,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    /// On this port, in front of the servers on those.
    ///
    /// # Errors
    /// There is no HAProxy, or it does not listen; what it says is in the message.
    pub(super) fn start(port: u16, servers: [u16; 2]) -> Result<Self> {
        let program =
            find_program("haproxy").context("there is no haproxy: install your system's package of it")?;
        let folder = Scratch::create(&Account::for_servers()?)?;
        let [config, output] = ["haproxy.cfg", "output"].map(|name| folder.path().join(name));
        fs::write(&config, configuration(SERVERS, port, servers)?)?;
        let said = File::create(&output)?;
        let process = until_we_end(&program)
            .args(["-db", "-f"])
            .arg(&config)
            .current_dir(folder.path())
            // Ctrl-C at a terminal is for us, and we stop it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .context("cannot run haproxy")?;
        let mut proxy = Self { process, http: Client::new(port), _folder: folder };
        wait_for(PATIENCE, "the proxy lets a reader through", || {
            if let Some(status) = proxy.process.try_wait()? {
                bail!("haproxy ended with {status}");
            }
            Ok(proxy.http.get("/healthz").is_ok_and(|answer| answer.status() == 200).then_some(()))
        })
        .with_context(|| format!("haproxy says: {}", fs::read_to_string(&output).unwrap_or_default()))?;
        Ok(proxy)
    }
}

/// The configuration of the page, at our ports.
fn configuration(page: &str, port: u16, servers: [u16; 2]) -> Result<String> {
    let (_, block) = page.split_once("```haproxy\n").context("docs/servers.md has no haproxy")?;
    let (mut block, _) = block.split_once("```").context("its haproxy has no end")?;
    let mut found = String::new();
    let replaced = [
        ("bind :80\n", format!("bind 127.0.0.1:{port}\n")),
        ("127.0.0.1:8080", format!("127.0.0.1:{}", servers[0])),
        ("127.0.0.1:8081", format!("127.0.0.1:{}", servers[1])),
    ];
    // From the front to the back, so that nothing that was replaced is replaced again.
    while let Some((at, (from, to))) =
        replaced.iter().filter_map(|pair| Some((block.find(pair.0)?, pair))).min_by_key(|(at, _)| *at)
    {
        found.push_str(&block[..at]);
        found.push_str(to);
        block = &block[at + from.len()..];
    }
    Ok(found + block)
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
    use super::*;

    #[test]
    fn each_port_of_the_page_becomes_ours_and_nothing_else_is_changed() {
        let ours = configuration(SERVERS, 8080, [8081, 8082]).unwrap();
        assert_eq!(ours.matches("bind 127.0.0.1:8080\n").count(), 1);
        assert_eq!(ours.matches("server one 127.0.0.1:8081\n").count(), 2);
        assert_eq!(ours.matches("server two 127.0.0.1:8082\n").count(), 2);
        let back = ours.replace("bind 127.0.0.1:8080\n", "bind :80\n");
        let back =
            back.replace("127.0.0.1:8081", "127.0.0.1:8080").replace("127.0.0.1:8082", "127.0.0.1:8081");
        assert!(SERVERS.contains(&format!("```haproxy\n{back}```")));
    }
}
