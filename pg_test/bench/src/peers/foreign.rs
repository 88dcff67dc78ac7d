//! Peers that are no part of this package: from npm, PyPI and Debian, installed into a folder of the run.
//!
//! Not for peers that cannot be had from a registry.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Program;

const NODE: &str = include_str!("node.mjs");
const FASTAPI: &str = include_str!("fastapi.py");

/// Installs Node's `pg` beside the program that uses it.
///
/// # Errors
/// There is no Node, or npm cannot reach the registry.
pub(crate) fn install_node(folder: &Path) -> Result<PathBuf> {
    let folder = made(folder, "node")?;
    let mut npm = cluster::npm()?;
    run(npm.current_dir(&folder).args(["install", "--silent", "--no-audit", "--no-fund", "pg@8"]))?;
    let program = folder.join("server.mjs");
    fs::write(&program, NODE)?;
    Ok(program)
}

/// Node's own HTTP server, and `pg` that LISTENs.
pub(crate) fn start_node(program: &Path, socket: &Path) -> Result<Program> {
    let mut node = cluster::node()?;
    node.arg(program).arg(socket);
    Program::start(node)
}

/// Installs FastAPI with sse-starlette, asyncpg and uvicorn.
///
/// # Errors
/// There is no Python, or pip cannot reach the registry.
pub(crate) fn install_fastapi(folder: &Path) -> Result<PathBuf> {
    let folder = made(folder, "fastapi")?;
    let environment = folder.join("environment");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut pip = Command::new(environment.join("bin/pip"));
    let packages = ["fastapi", "sse-starlette", "uvicorn[standard]", "asyncpg"];
    run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages))?;
    fs::write(folder.join("server.py"), FASTAPI)?;
    Ok(folder)
}

/// FastAPI and sse-starlette, one process, over asyncpg that LISTENs.
pub(crate) fn start_fastapi(folder: &Path, socket: &Path) -> Result<Program> {
    let port = free_port()?;
    let mut uvicorn = Command::new(folder.join("environment/bin/uvicorn"));
    uvicorn.current_dir(folder).env("BENCH_SOCKET", socket);
    uvicorn.args(["server:app", "--log-level", "critical", "--no-access-log", "--port", &port.to_string()]);
    Program::start_on(port, uvicorn)
}

/// Unpacks Debian's module of nchan; nginx itself must be there.
///
/// # Errors
/// There is no nginx, or no such package for it.
pub(crate) fn install_nchan(folder: &Path) -> Result<PathBuf> {
    let folder = made(folder, "nchan")?;
    cluster::find_program("nginx").context("there is no nginx")?;
    run(Command::new("apt-get").current_dir(&folder).args(["-qq", "download", "libnginx-mod-nchan"]))?;
    let mut files = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let package = files.find(|path| path.extension().is_some_and(|end| end == "deb"));
    run(Command::new("dpkg").arg("-x").arg(package.context("no package")?).arg(&folder))?;
    Ok(folder)
}

/// nginx with nchan, one worker. Events are posted to it, without Postgres.
pub(crate) fn start_nchan(folder: &Path) -> Result<Program> {
    let port = free_port()?;
    let root = folder.display();
    let configuration = format!(
        "load_module {root}/usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {root}/pid; error_log {root}/error.log crit;
events {{ worker_connections 19000; }}
http {{
    access_log off; keepalive_requests 1000000000; client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
    nchan_message_buffer_length 1000; nchan_message_timeout 5m;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /events {{ nchan_subscriber eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; }}
        location = /publish {{ nchan_publisher; nchan_channel_id bench; }}
    }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut nginx = Command::new(cluster::find_program("nginx").context("there is no nginx")?);
    nginx.arg("-c").arg(file);
    Program::start_on(port, nginx)
}

/// Builds the server of Durable Streams.
pub(crate) fn install_durable_streams(folder: &Path) -> Result<PathBuf> {
    let folder = made(folder, "durable-streams")?;
    let mut cargo = cluster::cargo();
    // The package brings a lock file, which is what its authors have run.
    cargo.args(["install", "--quiet", "--locked", "durable-streams", "--root"]).arg(&folder);
    run(cargo.env("CARGO_TARGET_DIR", folder.join("target")))?;
    Ok(folder)
}

/// Durable Streams, with the events in memory; they are posted to it, without Postgres.
pub(crate) fn start_durable_streams(folder: &Path) -> Result<Program> {
    let (port, data) = (free_port()?, folder.join("data"));
    let _ = fs::remove_dir_all(&data);
    let mut server = Command::new(folder.join("bin/durable-streams-server"));
    server.args(["--port", &port.to_string(), "--durability", "memory", "--data-dir"]).arg(data);
    let program = Program::start_on(port, server)?;
    let http = cluster::http::Client::new(port);
    let create = cluster::http::Request::new("PUT", "/bench").header("Content-Type", "text/plain");
    let answer = http.request(&create)?;
    ensure!((200..300).contains(&answer.status()), "the stream is not made: {}", answer.status());
    Ok(program)
}

fn made(folder: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{:?}: {}",
        command.get_program(),
        said.lines().last().unwrap_or("no word")
    );
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
