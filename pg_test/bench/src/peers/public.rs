//! The six functions of public.sql at the hand-written endpoint.
//!
//! Arguments go to the server as texts, which it casts, as those of pg_sse do: so nothing is parsed twice.
//!
//! Not for sessions and settings: session.rs.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde::Deserialize;
use tokio_postgres::types::ToSql;

use super::session::{Caller, Pool};

/// A function whose arguments are in the query string.
struct Function {
    path: &'static str,
    /// Those that may be repeated have `[]` after their names.
    arguments: &'static [&'static str],
    statement: &'static str,
}

/// How the rows of a set become an answer: objects, also where they have one column.
macro_rules! list_of {
    ($call:literal) => {
        concat!("select coalesce(json_agg(t), '[]')::text from (select * from ", $call, ") t")
    };
}

static FUNCTIONS: [Function; 5] = [
    Function { path: "/api/perf-minimal", arguments: &[], statement: list_of!("perf_minimal()") },
    Function {
        path: "/api/perf-test",
        arguments: &[
            "rows", "label", "whole", "big", "exact", "single", "double", "flag", "day", "moment", "instant",
            "key", "document", "binary", "numbers[]", "words[]",
        ],
        statement: "select coalesce(json_agg(t), '[]')::text from (
            select num, txt, label, code, small, whole, big, exact, single, wide, flag, day, clock, moment, instant,
                span, key, document, binary_document as \"binaryDocument\", numbers, words, remark, place
            from perf_test($1::text::int, $2, $3::text::int, $4::text::bigint, $5::text::numeric, $6::text::real,
                $7::text::double precision, $8::text::bool, $9::text::date, $10::text::timestamp,
                $11::text::timestamptz, $12::text::uuid, $13::text::json, $14::text::jsonb, $15::text[]::int[],
                $16::text[])) t",
    },
    Function {
        path: "/api/perf-nested",
        arguments: &["rows", "depth"],
        statement: list_of!("perf_nested($1::text::int, $2::text::int)"),
    },
    Function {
        path: "/api/perf-large-payload",
        arguments: &["kilobytes"],
        statement: list_of!("perf_large_payload($1::text::int)"),
    },
    Function {
        path: "/api/perf-many-params",
        arguments: &[
            "aText", "aInt", "aFlag", "aExact", "bText", "bInt", "bFlag", "bExact", "cText", "cInt", "cFlag",
            "cExact", "dText", "dInt", "dFlag", "dExact", "eText", "eInt", "eFlag", "eExact",
        ],
        statement: list_of!(
            "perf_many_params($1, $2::text::int, $3::text::bool, $4::text::numeric,
                $5, $6::text::int, $7::text::bool, $8::text::numeric, $9, $10::text::int, $11::text::bool,
                $12::text::numeric, $13, $14::text::int, $15::text::bool, $16::text::numeric, $17, $18::text::int,
                $19::text::bool, $20::text::numeric)"
        ),
    },
];

const POST: &str = list_of!("perf_post($1, $2::text::jsonb)");

/// What each session prepares.
pub(super) fn statements() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.statement).chain([POST])
}

/// Adds all six, whose statements have the numbers from `first` on.
pub(super) fn add_routes(mut routes: Router<Arc<Pool>>, first: usize) -> Router<Arc<Pool>> {
    for (number, function) in FUNCTIONS.iter().enumerate() {
        let handler = move |State(pool): State<Arc<Pool>>,
                            ConnectInfo(address): ConnectInfo<SocketAddr>,
                            method: Method,
                            uri: Uri,
                            headers: HeaderMap,
                            Query(given): Query<Vec<(String, String)>>| async move {
            let caller = Caller::new(method, &uri, &headers, address);
            let arguments = function.arguments.iter().map(|name| Argument::of(name, &given));
            match arguments.collect::<Option<Vec<_>>>() {
                Some(arguments) => {
                    let arguments: Vec<_> = arguments.iter().map(Argument::as_sql).collect();
                    pool.call(&caller, first + number, &arguments).await
                }
                None => StatusCode::BAD_REQUEST.into_response(),
            }
        };
        routes = routes.route(function.path, get(handler));
    }
    let handler = move |State(pool): State<Arc<Pool>>,
                        ConnectInfo(address): ConnectInfo<SocketAddr>,
                        method: Method,
                        uri: Uri,
                        headers: HeaderMap,
                        body: Bytes| async move {
        let Ok(Payload { rows, payload }) = serde_json::from_slice(&body) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let (caller, payload) = (Caller::new(method, &uri, &headers, address), payload.to_string());
        pool.call(&caller, first + FUNCTIONS.len(), &[&rows, &payload]).await
    };
    routes.route("/api/perf-post", post(handler))
}

#[derive(Deserialize)]
struct Payload {
    rows: i32,
    payload: serde_json::Value,
}

/// Of a request.
enum Argument<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

impl<'a> Argument<'a> {
    /// `None`: it is missing.
    fn of(name: &str, given: &'a [(String, String)]) -> Option<Self> {
        let is_many = name.ends_with("[]");
        let name = name.trim_end_matches("[]");
        let mut all = given.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        if is_many { Some(Self::Many(all.collect())) } else { all.next().map(Self::One) }
    }

    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::One(text) => text,
            Self::Many(texts) => texts,
        }
    }
}
