//! The floor: what nobody can do without. One `send` for each event and connection, by one thread, without
//! HTTP, timers, limits, replay or anybody who must not hear.
//!
//! Events that have come together leave together. A connection that does not take them is closed.
//!
//! Not for use: it never reads what a client sends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Write;
use std::net::TcpStream;

use anyhow::{Result, bail};
use tokio::net::TcpListener;
use tokio_postgres::{AsyncMessage, Config, NoTls};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// Serves until killed; the port is the first line of the output.
pub(crate) fn serve(socket: &str) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (heard, mut events) = tokio::sync::mpsc::unbounded_channel::<String>();
        listen(socket, move |payload| drop(heard.send(payload))).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        let mut connections = Vec::<TcpStream>::new();
        let mut block = Vec::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let socket = accepted?.0.into_std()?;
                    socket.set_nodelay(true)?;
                    (&socket).write_all(HEAD)?;
                    connections.push(socket);
                }
                payload = events.recv() => {
                    let Some(payload) = payload else { bail!("the session has ended") };
                    let mut waiting = VecDeque::from([payload]);
                    while let Ok(payload) = events.try_recv() {
                        waiting.push_back(payload);
                    }
                    block.clear();
                    for payload in waiting {
                        write!(block, "data: {payload}\n\n")?;
                    }
                    connections.retain(|mut socket| matches!(socket.write(&block), Ok(count) if count == block.len()));
                }
            }
        }
    })
}

/// LISTENs in a session of its own; each payload is given to `hear`.
pub(super) async fn listen(socket: &str, mut hear: impl FnMut(String) + Send + 'static) -> Result<()> {
    let mut config = Config::new();
    config.host_path(socket).port(5432).user("app").dbname("postgres");
    let (client, mut connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                hear(notification.payload().to_owned());
            }
        }
    });
    client.batch_execute("listen bench").await?;
    // The session ends with its client.
    std::mem::forget(client);
    Ok(())
}
