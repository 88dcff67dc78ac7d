//! A reverse proxy in front of a gateway, as the documentation configures it.
//!
//! Not for how one must be configured: docs/operations.md says it, and `proxies.rs` tries it. Not for how one
//! runs: `cluster::Proxy`.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cluster::{Proxy, find_program, lasting_port, skip};

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The code block of docs/operations.md in this language, with the gateway's real address in place of the
/// documented one.
fn snippet(language: &str, gateway: SocketAddr) -> Result<String> {
    let (_, from) = OPERATIONS.split_once(&format!("```{language}\n")).context("no such block")?;
    let (block, _) = from.split_once("```").context("it has no end")?;
    ensure!(block.contains("127.0.0.1:8080"), "it leads elsewhere");
    Ok(block.replace("127.0.0.1:8080", &gateway.to_string()))
}

/// nginx as docs/operations.md configures it.
pub(crate) fn documented_nginx(file: &str, gateway: SocketAddr) -> Result<Option<Proxy>> {
    nginx(file, &snippet("nginx", gateway)?)
}

/// Caddy as docs/operations.md configures it, without TLS, which would need a name in the real DNS.
pub(crate) fn documented_caddy(file: &str, gateway: SocketAddr) -> Result<Option<Proxy>> {
    let config = |port, _: &Path| {
        let site = snippet("caddy", gateway)?.replace("example.com {", &format!("http://:{port} {{"));
        Ok(format!("{{\nadmin off\n}}\n{site}"))
    };
    start(file, "caddy", &["run", "--adapter", "caddyfile", "--config"], config)
}

/// HAProxy as docs/operations.md configures it.
pub(crate) fn documented_haproxy(file: &str, gateway: SocketAddr) -> Result<Option<Proxy>> {
    let config = |port, _: &Path| {
        Ok(snippet("haproxy", gateway)?.replace("bind :80\n", &format!("bind 127.0.0.1:{port}\n")))
    };
    start(file, "haproxy", &["-db", "-f"], config)
}

/// HAProxy as docs/servers.md configures it, in front of these two.
pub(crate) fn documented_haproxy_of(file: &str, servers: [SocketAddr; 2]) -> Result<Option<Proxy>> {
    if !is_here(file, "haproxy")? {
        return Ok(None);
    }
    Proxy::of_servers(lasting_port()?, &servers).map(Some)
}

/// nginx with these lines in its `server` block.
pub(crate) fn nginx(file: &str, server: &str) -> Result<Option<Proxy>> {
    let config = |port, folder: &Path| {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .concat();
        Ok(format!(
            "daemon off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
             server {{\nlisten 127.0.0.1:{port};\n{server}\n}}\n}}\n",
            folder.display(),
        ))
    };
    start(file, "nginx", &["-e", "stderr", "-c"], config)
}

/// Starts a proxy with this file; `None` where it is not installed and its test is to be skipped.
fn start(
    file: &str,
    name: &str,
    arguments: &[&str],
    config: impl FnOnce(u16, &Path) -> Result<String>,
) -> Result<Option<Proxy>> {
    if !is_here(file, name)? {
        return Ok(None);
    }
    let port = lasting_port()?;
    Proxy::start(name, arguments, port, |folder| config(port, folder)).map(Some)
}

/// Where there are Debian's packages, cargo xtask test installs it.
fn is_here(file: &str, name: &str) -> Result<bool> {
    let is_here = find_program(name).is_some();
    if !is_here {
        skip(file, name)?;
    }
    Ok(is_here)
}
