//! Sends events to one side: by a statement in a session of its own, or by POST where no Postgres is between.
//!
//! Not for when: drive.rs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::slice;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, Statement};

/// One session or connection.
pub(crate) enum Publisher {
    /// A statement with one parameter, an array of payloads.
    Sql { runtime: Runtime, client: Box<Client>, statement: Statement },
    /// One request for each event.
    Post { socket: TcpStream, head: String },
}

impl Publisher {
    /// Prepares `statement` in a session of `app` over the socket in this folder.
    pub(crate) fn sql(socket: &Path, statement: &str) -> Result<Self> {
        let (runtime, client) = connect(socket)?;
        let statement = runtime.block_on(client.prepare(statement))?;
        Ok(Self::Sql { runtime, client: Box::new(client), statement })
    }

    /// Posts to `path`.
    pub(crate) fn post(address: SocketAddr, path: &str, kind: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).context("cannot connect")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(crate::crowd::PATIENCE))?;
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: ");
        Ok(Self::Post { socket, head })
    }

    /// Sends these events in this order, each in a transaction of its own, and waits until they are taken.
    pub(crate) fn publish(&mut self, payloads: &[String]) -> Result<()> {
        match self {
            Self::Sql { runtime, client, statement } => {
                // All are on their way at once (pipelining), so that no commit waits for an answer to the one
                // before.
                let each = payloads.iter().map(|payload| {
                    let (client, statement) = (&*client, &*statement);
                    async move { client.execute(statement, &[&slice::from_ref(payload)]).await }
                });
                runtime.block_on(try_join_all(each)).context("the statement")?;
            }
            Self::Post { socket, head } => {
                for payload in payloads {
                    let request = format!("{head}{}\r\n\r\n{payload}", payload.len());
                    socket.write_all(request.as_bytes())?;
                    take_answer(socket)?;
                }
            }
        }
        Ok(())
    }
}

/// A session of `app` over the socket in this folder, with what runs it.
pub(crate) fn connect(socket: &Path) -> Result<(Runtime, Client)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(async {
        let mut config = Config::new();
        config.host_path(socket).port(5432).user("app").dbname("postgres");
        let (client, connection) = config.options("-c client_min_messages=warning").connect(NoTls).await?;
        tokio::spawn(connection);
        anyhow::Ok(client)
    })?;
    Ok((runtime, client))
}

fn take_answer(socket: &mut TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = socket.read(&mut piece)?;
        ensure!(count > 0, "closed before the answer to a POST");
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 2"), "a POST is refused: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
        if bytes.len() >= end + 4 + length {
            return Ok(());
        }
    }
}
