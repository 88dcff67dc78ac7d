//! The hand-written side: axum and tokio-postgres, as somebody who knows both would write it. A pool of
//! connections over the unix socket, everything prepared, and each call one round trip (session.rs).
//!
//! Not for identities: both sides are called anonymously. Not for the six functions of a public comparison:
//! public.rs.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::public;
use super::session::{Caller, Pool};

/// `returns table` is a set: a list, also of one. The numbers of the statements are their places here.
const STATEMENTS: [&str; 3] = [
    "select coalesce(json_agg(t), '[]')::text from (select id, title, created_at as \"createdAt\" from get_one($1)) t",
    "select coalesce(json_agg(t), '[]')::text from (select id, title, created_at as \"createdAt\" from get_ten($1)) t",
    "call add_note($1, $2)",
];

/// Serves until killed; the port is the first line of the output.
pub(crate) fn serve(socket: &str, connections: usize) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let statements: Vec<&str> = STATEMENTS.into_iter().chain(public::statements()).collect();
        let pool = Arc::new(Pool::connect(socket, connections, &statements).await?);
        let routes = Router::new()
            .route("/api/get-one", get(one))
            .route("/api/get-ten", get(ten))
            .route("/api/add-note", post(add));
        let routes = public::add_routes(routes, STATEMENTS.len()).with_state(pool);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        axum::serve(
            axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))),
            routes.into_make_service_with_connect_info::<SocketAddr>(),
        )
        .await?;
        Ok(())
    })
}

#[derive(Deserialize)]
struct ById {
    id: i32,
}

async fn one(
    State(pool): State<Arc<Pool>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Query(by): Query<ById>,
) -> Response {
    pool.call(&Caller::new(method, &uri, &headers, address), 0, &[&by.id]).await
}

async fn ten(
    State(pool): State<Arc<Pool>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Query(by): Query<ById>,
) -> Response {
    pool.call(&Caller::new(method, &uri, &headers, address), 1, &[&by.id]).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    item_id: i32,
    note: String,
}

async fn add(
    State(pool): State<Arc<Pool>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(note) = serde_json::from_slice::<Note>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    pool.call(&Caller::new(method, &uri, &headers, address), 2, &[&note.item_id, &note.note]).await
}
