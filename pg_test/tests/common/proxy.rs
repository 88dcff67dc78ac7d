//! A reverse proxy in front of a gateway.
//!
//! Not for how one must be configured: docs/operations.md says it, and `proxies.rs` tries it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use cluster::http::Client;
use cluster::{PATIENCE, find_program, skip, wait_for};
use tempfile::TempDir;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const SERVERS: &str = include_str!("../../../docs/servers.md");

/// The code block of docs/operations.md in this language, with the gateway's real address in place of the
/// documented one.
fn snippet(language: &str, gateway: SocketAddr) -> Result<String> {
    let block = block(OPERATIONS, language)?;
    ensure!(block.contains("127.0.0.1:8080"), "it leads elsewhere");
    Ok(block.replace("127.0.0.1:8080", &gateway.to_string()))
}

fn block<'p>(page: &'p str, language: &str) -> Result<&'p str> {
    let (_, from) = page.split_once(&format!("```{language}\n")).context("no such block")?;
    Ok(from.split_once("```").context("it has no end")?.0)
}

/// nginx as docs/operations.md configures it.
pub(crate) fn documented_nginx(file: &str, gateway: SocketAddr) -> Result<Option<Proxy>> {
    Proxy::nginx(file, &snippet("nginx", gateway)?)
}

/// Caddy as docs/operations.md configures it, without TLS, which would need a name in the real DNS.
pub(crate) fn documented_caddy(file: &str, gateway: SocketAddr) -> Result<Option<Proxy>> {
    let config = |port, _: &Path| {
        let site = snippet("caddy", gateway)?.replace("example.com {", &format!("http://:{port} {{"));
        Ok(format!("{{\nadmin off\n}}\n{site}"))
    };
    Proxy::start(file, "caddy", &["run", "--adapter", "caddyfile", "--config"], config)
}

/// HAProxy as docs/operations.md configures it.
pub(crate) fn documented_haproxy(file: &str, gateway: SocketAddr) -> Result<Option<Proxy>> {
    let config = |port, _: &Path| {
        Ok(snippet("haproxy", gateway)?.replace("bind :80\n", &format!("bind 127.0.0.1:{port}\n")))
    };
    Proxy::start(file, "haproxy", &["-db", "-f"], config)
}

/// HAProxy as docs/servers.md configures it, in front of these two.
pub(crate) fn documented_haproxy_of(file: &str, servers: [SocketAddr; 2]) -> Result<Option<Proxy>> {
    let config = |port, _: &Path| {
        let block = block(SERVERS, "haproxy")?.replace("bind :80\n", &format!("bind 127.0.0.1:{port}\n"));
        // Their ports are in no document, so neither replaces a part of the other.
        let [one, two] = servers.map(|server| server.to_string());
        Ok(block.replace("127.0.0.1:8080", &one).replace("127.0.0.1:8081", &two))
    };
    Proxy::start(file, "haproxy", &["-db", "-f"], config)
}

/// Ends with the test.
pub(crate) struct Proxy {
    process: Child,
    pub(crate) http: Client,
    folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    /// nginx with these lines in its `server` block.
    pub(crate) fn nginx(file: &str, server: &str) -> Result<Option<Self>> {
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
        Self::start(file, "nginx", &["-e", "stderr", "-c"], config)
    }

    /// Starts a proxy with this file; `None` where it is not installed and its test is to be skipped.
    pub(crate) fn start(
        file: &str,
        name: &str,
        arguments: &[&str],
        config: impl FnOnce(u16, &Path) -> Result<String>,
    ) -> Result<Option<Self>> {
        let Some(program) = find_program(name) else {
            // Where there are Debian's packages, cargo xtask test installs it.
            skip(file, name)?;
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config_file = folder.path().join("config");
        fs::write(&config_file, config(port, folder.path())?)?;
        let output = fs::File::create(folder.path().join("output"))?;
        let process = Command::new(program)
            .args(arguments)
            .arg(&config_file)
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let http = Client::new(port);
        let proxy = Self { process, http, folder };
        wait_for(PATIENCE, "the proxy listens", || Ok(http.get("/healthz").is_ok().then_some(())))
            .with_context(|| {
                let output = fs::read_to_string(proxy.folder.path().join("output"));
                format!("{name} says: {}", output.unwrap_or_default())
            })?;
        Ok(Some(proxy))
    }

    /// What it has written so far: its errors, and its log where that is `/dev/stdout`.
    pub(crate) fn output(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("output"))?)
    }
}
