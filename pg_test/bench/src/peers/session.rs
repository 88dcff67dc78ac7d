//! Sessions of the hand-written endpoint, and what each call does with one: BEGIN, the settings in one
//! statement with SET LOCAL's meaning, the routine, COMMIT, pipelined in one round trip.
//!
//! Not for what is called: endpoint.rs and public.rs.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::join;
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

struct Session {
    client: Client,
    settings: Statement,
    /// By their numbers.
    statements: Vec<Statement>,
}

pub(super) struct Pool {
    idle: Mutex<Vec<Session>>,
    free: Semaphore,
}

impl Pool {
    /// This many sessions over the socket in this folder, each with these statements prepared.
    pub(super) async fn connect(socket: &str, connections: usize, statements: &[&str]) -> Result<Self> {
        let mut idle = Vec::new();
        for _ in 0..connections {
            idle.push(connect(socket, statements).await?);
        }
        Ok(Self { idle: Mutex::new(idle), free: Semaphore::new(connections) })
    }

    /// Calls the statement with this number: the answer to the caller.
    pub(super) async fn call(
        &self,
        caller: &Caller,
        statement: usize,
        arguments: &[&(dyn ToSql + Sync)],
    ) -> Response {
        let borrowed = self.take().await;
        match borrowed.as_ref().and_then(|borrowed| borrowed.session.as_ref()) {
            Some(session) => answer(call(session, caller, &session.statements[statement], arguments).await),
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }

    async fn take(&self) -> Option<Borrowed<'_>> {
        let permit = self.free.acquire().await.ok()?;
        let session = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Some(Borrowed { pool: self, session, _permit: permit })
    }
}

async fn connect(socket: &str, texts: &[&str]) -> Result<Session> {
    let mut config = Config::new();
    config.host_path(socket).port(5432).user("app").dbname("postgres").options("-c statement_timeout=30s");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    let settings = client.prepare(SETTINGS).await?;
    let mut statements = Vec::new();
    for text in texts {
        statements.push(client.prepare(text).await?);
    }
    Ok(Session { client, settings, statements })
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
pub(super) struct Caller {
    headers: String,
    method: Method,
    path: String,
    address: String,
    execution_id: String,
}

impl Caller {
    pub(super) fn new(method: Method, uri: &Uri, headers: &HeaderMap, address: SocketAddr) -> Self {
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
