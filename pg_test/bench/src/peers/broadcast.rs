//! axum and LISTEN, as somebody who knows both would write it: a broadcast channel between the session that
//! listens and one stream for each subscriber.
//!
//! Not for replay or identities: it has none.

use std::convert::Infallible;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::get;
use futures_util::stream::{Stream, unfold};
use tokio::sync::broadcast::{self, Sender};

use super::floor::listen;

/// Events that a slow subscriber may be behind.
const CAPACITY: usize = 1024;

/// Serves until killed; the port is the first line of the output.
pub(crate) fn serve(socket: &str) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let sender = broadcast::channel::<String>(CAPACITY).0;
        let heard = sender.clone();
        listen(socket, move |payload| drop(heard.send(payload))).await?;
        let routes = Router::new().route("/events", get(events)).with_state(sender);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        axum::serve(
            axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))),
            routes,
        )
        .await?;
        Ok(())
    })
}

async fn events(State(sender): State<Sender<String>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = unfold(sender.subscribe(), |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(payload) => return Some((Ok(Event::default().data(payload)), receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
