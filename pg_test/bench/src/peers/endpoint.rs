//! The hand-written side: axum and tokio-postgres, as somebody who knows both would write it.
//!
//! A pool of connections over the unix socket, everything prepared, and each call one round trip: BEGIN, the
//! settings in one statement with SET LOCAL's meaning, the routine, COMMIT, pipelined.
//!
//! Not for identities: both sides are called anonymously.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::join;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};

/// The same nine as pg_sse.
const SETTINGS: &str =
    "select set_config('request.user_id', $1, true), set_config('request.user_name', $2, true),
    set_config('request.user_roles', $3, true), set_config('request.jwt.claims', $4, true),
    set_config('request.headers', $5, true), set_config('request.method', $6, true),
    set_config('request.path', $7, true), set_config('request.ip_address', $8, true),
    set_config('sse.execution_id', $9, true)";

/// `returns table` is a set: a list, also of one.
const ONE: &str = "select coalesce(json_agg(t), '[]')::text from (select id, title, created_at as \"createdAt\" from get_one($1)) t";
const TEN: &str = "select coalesce(json_agg(t), '[]')::text from (select id, title, created_at as \"createdAt\" from get_ten($1)) t";
const ADD: &str = "call add_note($1, $2)";

struct Session {
    client: Client,
    settings: Statement,
    one: Statement,
    ten: Statement,
    add: Statement,
}

struct Pool {
    idle: Mutex<Vec<Session>>,
    free: Semaphore,
}

/// Serves until killed; the port is the first line of the output.
pub(crate) fn serve(socket: &str, connections: usize) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut idle = Vec::new();
        for _ in 0..connections {
            idle.push(connect(socket).await?);
        }
        let pool = Arc::new(Pool { idle: Mutex::new(idle), free: Semaphore::new(connections) });
        let routes = Router::new()
            .route("/api/get-one", get(one))
            .route("/api/get-ten", get(ten))
            .route("/api/add-note", post(add))
            .with_state(pool);
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

async fn connect(socket: &str) -> Result<Session> {
    let mut config = Config::new();
    config.host_path(socket).port(5432).user("app").dbname("postgres").options("-c statement_timeout=30s");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(Session {
        settings: client.prepare(SETTINGS).await?,
        one: client.prepare(ONE).await?,
        ten: client.prepare(TEN).await?,
        add: client.prepare(ADD).await?,
        client,
    })
}

impl Pool {
    async fn take(&self) -> Option<Borrowed<'_>> {
        let permit = self.free.acquire().await.ok()?;
        let session = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Some(Borrowed { pool: self, session, _permit: permit })
    }
}

struct Borrowed<'a> {
    pool: &'a Pool,
    session: Option<Session>,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
    }
}

/// What the settings are made of.
struct Caller {
    headers: String,
    method: Method,
    path: String,
    address: String,
    execution_id: String,
}

impl Caller {
    fn new(method: Method, uri: &Uri, headers: &HeaderMap, address: SocketAddr) -> Self {
        let shown =
            headers.iter().filter(|(name, _)| **name != header::AUTHORIZATION && **name != header::COOKIE);
        let shown: serde_json::Map<String, serde_json::Value> = shown
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect();
        let execution_id = headers.get("x-execution-id").or_else(|| headers.get("x-npgsqlrest-id"));
        Self {
            headers: serde_json::Value::Object(shown).to_string(),
            method,
            path: uri.path().to_owned(),
            address: address.ip().to_string(),
            execution_id: execution_id.and_then(|value| value.to_str().ok()).unwrap_or("").to_owned(),
        }
    }
}

async fn call(
    session: &Session,
    caller: &Caller,
    statement: &Statement,
    arguments: &[&(dyn ToSql + Sync)],
) -> Result<Option<String>, tokio_postgres::Error> {
    let client = &session.client;
    let settings: [&(dyn ToSql + Sync); 9] = [
        &"",
        &"",
        &"",
        &"",
        &caller.headers,
        &caller.method.as_str(),
        &caller.path,
        &caller.address,
        &caller.execution_id,
    ];
    // Polled together, so sent together.
    let (begun, set, rows, committed) = join!(
        client.batch_execute("begin"),
        client.query(&session.settings, &settings),
        client.query(statement, arguments),
        client.batch_execute("commit"),
    );
    begun?;
    set?;
    let rows = rows?;
    committed?;
    Ok(rows.first().map(|row| row.get(0)))
}

fn answer(result: Result<Option<String>, tokio_postgres::Error>) -> Response {
    let safe = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::CACHE_CONTROL, "no-store")];
    match result {
        Ok(Some(json)) => (safe, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(None) => (StatusCode::NO_CONTENT, safe).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, safe).into_response(),
    }
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
    let caller = Caller::new(method, &uri, &headers, address);
    let borrowed = pool.take().await;
    match borrowed.as_ref().and_then(|borrowed| borrowed.session.as_ref()) {
        Some(session) => answer(call(session, &caller, &session.one, &[&by.id]).await),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn ten(
    State(pool): State<Arc<Pool>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Query(by): Query<ById>,
) -> Response {
    let caller = Caller::new(method, &uri, &headers, address);
    let borrowed = pool.take().await;
    match borrowed.as_ref().and_then(|borrowed| borrowed.session.as_ref()) {
        Some(session) => answer(call(session, &caller, &session.ten, &[&by.id]).await),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
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
    let caller = Caller::new(method, &uri, &headers, address);
    let borrowed = pool.take().await;
    match borrowed.as_ref().and_then(|borrowed| borrowed.session.as_ref()) {
        Some(session) => answer(call(session, &caller, &session.add, &[&note.item_id, &note.note]).await),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
