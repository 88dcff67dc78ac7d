//! Something between a client and a server that ends connections, cleanly or not, while both would go on.
//!
//! Not for proxies as people have them: proxy.rs.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;
use cluster::http::Client;

/// The sides of the connections that lead to clients.
type Open = Arc<Mutex<Vec<TcpStream>>>;

/// Listens until the process ends.
pub(crate) struct Relay {
    pub(crate) http: Client,
    open: Open,
}

impl Relay {
    pub(crate) fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let http = Client::at(listener.local_addr()?);
        let open = Open::default();
        let all = Arc::clone(&open);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                all.lock().unwrap_or_else(PoisonError::into_inner).push(client);
                let all = Arc::clone(&all);
                let index = all.lock().unwrap_or_else(PoisonError::into_inner).len() - 1;
                thread::spawn(move || copy(from_client, |bytes| (&to_server).write_all(bytes).is_ok()));
                thread::spawn(move || {
                    copy(server, |bytes| {
                        let all = all.lock().unwrap_or_else(PoisonError::into_inner);
                        all.get(index).is_some_and(|mut client| client.write_all(bytes).is_ok())
                    });
                });
            }
        });
        Ok(Self { http, open })
    }

    /// Ends each answer as a server does that has said all: with the last chunk of its body.
    pub(crate) fn end_streams(&self) {
        for mut client in self.open.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = client.write_all(b"0\r\n\r\n");
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Ends each connection in the middle of what it was saying.
    pub(crate) fn cut(&self) {
        for client in self.open.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

/// Until one side has ended.
fn copy(mut from: TcpStream, mut to: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !to(&bytes[..count]) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
}
