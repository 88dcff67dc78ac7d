//! The reverse proxies of docs/operations.md, with the configurations given there (C1.5).

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, Request};
use cluster::{Cluster, PATIENCE, find_program, skip, wait_for};
use common::{SOON, calls};
use tempfile::TempDir;

const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// The origin that the page sends.
const HOST: &str = "intranet.example";

/// The code block of this language, with the gateway's real address in place of the documented one.
fn snippet(language: &str, gateway: SocketAddr) -> Result<String> {
    let (_, from) = OPERATIONS.split_once(&format!("```{language}\n")).context("no such block")?;
    let (block, _) = from.split_once("```").context("it has no end")?;
    ensure!(block.contains("127.0.0.1:8080"), "it leads elsewhere");
    Ok(block.replace("127.0.0.1:8080", &gateway.to_string()))
}

/// Ends with the test.
struct Proxy {
    process: Child,
    http: Client,
    folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a proxy with this file; `None` where it is not installed and its test is to be skipped.
fn start(
    name: &str,
    arguments: &[&str],
    config: impl FnOnce(u16, &Path) -> Result<String>,
) -> Result<Option<Proxy>> {
    let Some(program) = find_program(name) else {
        // Where there are Debian's packages, cargo xtask test installs it.
        skip(env!("CARGO_CRATE_NAME"), name)?;
        return Ok(None);
    };
    let folder = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let file = folder.path().join("config");
    fs::write(&file, config(port, folder.path())?)?;
    let output = fs::File::create(folder.path().join("output"))?;
    let process = Command::new(program)
        .args(arguments)
        .arg(&file)
        .env("HOME", folder.path())
        .env("XDG_DATA_HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let http = Client::new(port);
    let proxy = Proxy { process, http, folder };
    wait_for(PATIENCE, "the proxy listens", || Ok(http.get("/healthz").is_ok().then_some(()))).with_context(
        || {
            let output = fs::read_to_string(proxy.folder.path().join("output"));
            format!("{name} says: {}", output.unwrap_or_default())
        },
    )?;
    Ok(Some(proxy))
}

fn gateway() -> Result<(Cluster, SocketAddr)> {
    let cluster = calls::start(calls::builder().setting("sse.trusted_proxies", "127.0.0.1"))?;
    cluster.sql(
        "create function login() returns table (user_id text) language sql as $$ select 'alice' $$;
         comment on function login() is E'HTTP POST\n@login\n@anonymous';
         create function f(t text) returns void language plpgsql as $$ begin raise info '%', t; end $$;
         comment on function f(text) is '@sse'",
    )?;
    let address = cluster.http()?.address();
    Ok((cluster, address))
}

/// What the documentation promises of all proxies.
fn check(cluster: &Cluster, proxy: &Proxy) -> Result<()> {
    let login = |origin: &str| {
        let request = Request::new("POST", "/api/login").header("Host", HOST).header("Origin", origin);
        proxy.http.request(&request.json(&serde_json::json!({})))
    };
    let answer = login(&format!("http://{HOST}"))?;
    ensure!(answer.status() == 200, "a page logs in: {} {}", answer.status(), answer.text());
    ensure!(answer.header("set-cookie").is_some_and(|cookie| cookie.contains("HttpOnly")), "{answer:?}");
    let foreign = login("http://evil.example")?;
    ensure!(foreign.status() == 403, "a foreign page does not: {}", foreign.status());

    let mut stream = proxy.http.events_with(&Request::get("/api/f/info").header("Host", HOST))?;
    ensure!(stream.next(SOON)?.event == "sse.ready", "the beginning comes at once");
    for n in 0..3 {
        let raised = Instant::now();
        cluster.sql(&format!("select f('{n}')"))?;
        ensure!(stream.next_payload(SOON)?.data == n.to_string(), "each event comes by itself");
        ensure!(raised.elapsed() < SOON, "it is not buffered");
    }
    Ok(())
}

#[test]
fn a_page_behind_the_documented_nginx_logs_in_and_hears_each_event_at_once() -> Result<()> {
    let (cluster, gateway) = gateway()?;
    let config = |port, folder: &Path| {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .concat();
        Ok(format!(
            "daemon off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
             server {{\nlisten 127.0.0.1:{port};\n{1}\n}}\n}}\n",
            folder.display(),
            snippet("nginx", gateway)?
        ))
    };
    let Some(proxy) = start("nginx", &["-e", "stderr", "-c"], config)? else { return Ok(()) };
    check(&cluster, &proxy)
}

#[test]
fn a_page_behind_the_documented_caddy_logs_in_and_hears_each_event_at_once() -> Result<()> {
    let (cluster, gateway) = gateway()?;
    let config = |port, _: &Path| {
        // Without TLS, which would need a name in the real DNS.
        let site = snippet("caddy", gateway)?.replace("example.com {", &format!("http://:{port} {{"));
        Ok(format!("{{\nadmin off\n}}\n{site}"))
    };
    let Some(proxy) = start("caddy", &["run", "--adapter", "caddyfile", "--config"], config)? else {
        return Ok(());
    };
    check(&cluster, &proxy)
}

#[test]
fn a_page_behind_the_documented_haproxy_logs_in_and_hears_each_event_at_once() -> Result<()> {
    let (cluster, gateway) = gateway()?;
    let config = |port, _: &Path| {
        Ok(snippet("haproxy", gateway)?.replace("bind :80\n", &format!("bind 127.0.0.1:{port}\n")))
    };
    let Some(proxy) = start("haproxy", &["-db", "-f"], config)? else { return Ok(()) };
    check(&cluster, &proxy)
}
