//! HAProxy in front of the tree, as docs/servers.md configures it: streams go anywhere, what writes goes to
//! the primary.
//!
//! Not for other proxies, nor for one server: `proxies.rs` of the black box.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use cluster::http::Client;
use cluster::{PATIENCE, Scratch, find_program, lasting_port, wait_until};

const SERVERS: &str = include_str!("../../../../docs/servers.md");

/// Ends with the run.
pub(super) struct Proxy {
    process: Child,
    pub(super) address: SocketAddr,
    _folder: Scratch,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    pub(super) fn start(folder: Scratch, servers: &[SocketAddr]) -> Result<Self> {
        let program = find_program("haproxy").context("haproxy is missing")?;
        let port = lasting_port()?;
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration(port, servers)?)?;
        let output = fs::File::create(folder.path().join("output"))?;
        let mut command = Command::new(program);
        command.args(["-db", "-f"]).arg(&file).current_dir(folder.path()).stdin(Stdio::null());
        let process = command.stdout(output.try_clone()?).stderr(output).spawn()?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let proxy = Self { process, address, _folder: folder };
        let asked = || Client::at(address).get("/api/place-in-tree");
        wait_until(PATIENCE, "the proxy has found a server", || {
            asked().is_ok_and(|answer| answer.status() == 200)
        })?;
        Ok(proxy)
    }
}

/// The documented one, which has two servers, with as many as there are.
fn configuration(port: u16, servers: &[SocketAddr]) -> Result<String> {
    let (_, from) = SERVERS.split_once("```haproxy\n").context("no such block")?;
    let block = from.split_once("```").context("it has no end")?.0;
    ensure!(block.contains("bind :80\n"), "it listens elsewhere");
    let mut text = String::new();
    for line in block.lines() {
        match line.trim() {
            "bind :80" => text.push_str(&format!("    bind 127.0.0.1:{port}\n")),
            line if line.starts_with("server one ") => {
                for (number, server) in servers.iter().enumerate() {
                    text.push_str(&format!("    server s{number} {server}\n"));
                }
            }
            line if line.starts_with("server ") => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_documented_configuration_is_taken_with_all_servers_in_both_places() {
        let servers = [1, 2, 3].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let text = configuration(7, &servers).unwrap();
        assert!(text.contains("bind 127.0.0.1:7\n"));
        assert_eq!(text.matches("127.0.0.1:3\n").count(), 2, "{text}");
        assert!(!text.contains("8080") && !text.contains("8081"));
    }
}
