//! The functions that `sql/pg_sse--*.sql` declares. A Rust function `name` is the SQL function's `name_wrapper` symbol.
//!
//! Not for: views and privileges, which stand in the SQL script.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pgrx::datum::{Array, Interval, TimestampWithTimeZone};
use pgrx::name;
use pgrx::prelude::*;
use sse_proto::annotation::{Annotation, MAX_COMMENT_BYTES, Problem, Skim, too_long};
use sse_proto::route::{self, Endpoint, RouteTable, Routine};

use crate::catalog::{self, VERSION};
use crate::pg::shmem::{self, GatewayState};
use crate::pg::text::{for_message, from_server, to_server};
use crate::{guc, token};

/// Ends `CREATE EXTENSION` with a hint when the library is not preloaded; warns in a database that is not served.
#[pg_extern(sql = false)]
fn check_installation(script_version: &str) {
    if script_version != VERSION {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "the SQL script of pg_sse is of version {script_version}, the loaded library of version {VERSION}"
            ),
            "Install both from one version, and restart the server so that the new library is loaded."
        );
    }
    if shmem::shared().is_none() {
        pg_sys::panic::ErrorReport::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pg_sse must be loaded at server start",
            "check_installation",
        )
        .set_hint(
            "Add pg_sse at the end of shared_preload_libraries in postgresql.conf (shared_preload_libraries = 'pg_sse' when there is nothing else in it), restart the server, and run CREATE EXTENSION again.",
        )
        .report(PgLogLevel::ERROR);
    }
    let database = catalog::current_database();
    if database != guc::database() {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_WARNING,
            format!("routines of database \"{}\" are not served", for_message(&database)),
            format!(
                "The served database is \"{}\". To serve this one, set sse.database in postgresql.conf and restart the server.",
                for_message(&guc::database())
            )
        );
    }
}

/// The mistakes in a routine's comment, one a row.
#[pg_extern(sql = false)]
fn check_routine(routine: pg_sys::Oid) -> SetOfIterator<'static, Vec<u8>> {
    let table = table_of(&catalog::routine_and_rivals(routine.to_u32()));
    let Some(endpoint) = table.endpoint(routine.to_u32()) else { return SetOfIterator::empty() };
    rows(endpoint.problems.iter().chain(&endpoint.call_problems).cloned().collect())
}

/// The mistakes in a text that is meant to become a comment.
#[pg_extern(sql = false)]
fn check_text(comment: &[u8]) -> SetOfIterator<'static, Vec<u8>> {
    // What is longer is not read, so it is not copied and converted either.
    let unread = (comment.len() > MAX_COMMENT_BYTES).then(|| Skim::new(comment).look_at_all());
    let parsed = match unread {
        Some(true) => Err(vec![too_long()]),
        Some(false) => Ok(None),
        None => Annotation::parse(&from_server(comment)),
    };
    match parsed {
        Ok(Some(_)) => SetOfIterator::empty(),
        Err(problems) => rows(problems),
        Ok(None) => {
            notice!(
                "the text has no annotation; to check the comment of a routine, write sse.check('name(types)'::regprocedure)"
            );
            SetOfIterator::empty()
        }
    }
}

fn rows(problems: Vec<Problem>) -> SetOfIterator<'static, Vec<u8>> {
    SetOfIterator::new(
        problems.into_iter().map(|problem| to_server(&problem.to_string())).collect::<Vec<_>>(),
    )
}

/// The subscribe URL of a routine, else the one that it is called with, or null.
#[pg_extern(sql = false)]
fn url(routine: pg_sys::Oid) -> Option<Vec<u8>> {
    let table = table_of(&catalog::routine_and_rivals(routine.to_u32()));
    let endpoint = table.endpoint(routine.to_u32())?;
    let call = endpoint.call.as_ref().map(|(_, path)| path).filter(|_| guc::calls::role().is_some());
    endpoint.url.as_ref().or(call).map(|url| to_server(url))
}

/// One row of `sse.endpoints`, in the order of its columns.
type Row = (
    pg_sys::Oid,
    &'static str,
    Option<&'static str>,
    Option<Vec<u8>>,
    Option<&'static str>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<&'static str>,
    Option<Vec<u8>>,
);

/// The rows of `sse.endpoints`.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)] // pgrx reads the columns off this type; an alias would hide them from it
fn endpoints() -> TableIterator<
    'static,
    (
        name!(routine, pg_sys::Oid),
        name!(kind, &'static str),
        name!(method, Option<&'static str>),
        name!(url, Option<Vec<u8>>),
        name!(level, Option<&'static str>),
        name!(scope, Option<Vec<u8>>),
        name!(topic, Option<Vec<u8>>),
        name!(delivery, Option<&'static str>),
        name!(problem, Option<Vec<u8>>),
    ),
> {
    let routines = served_routines();
    let table = table_of(&routines);
    let rows = table.endpoints().flat_map(|endpoint| {
        let at = routines.binary_search_by_key(&endpoint.oid, |routine| routine.oid).ok();
        let routine = at.map(|at| &routines[at]);
        routine
            .and_then(|routine| row_of(endpoint, routine))
            .into_iter()
            .chain(routine.and_then(|routine| call_row_of(endpoint, routine)))
    });
    TableIterator::new(rows.collect::<Vec<_>>())
}

/// A routine whose comment has a mistake is a row that says only that. A conflict about a URL costs the URL alone.
fn row_of(endpoint: &Endpoint, routine: &Routine) -> Option<Row> {
    let oid = pg_sys::Oid::from(endpoint.oid);
    let problem = (!endpoint.problems.is_empty()).then(|| sentence(&endpoint.problems));
    let annotation =
        endpoint.annotation.as_ref().filter(|annotation| annotation.check(&routine.facts()).is_empty());
    let Some(annotation) = annotation else {
        return Some((oid, "problem", None, None, None, None, None, None, problem));
    };
    if !annotation.is_sse() {
        return problem.is_some().then_some((oid, "problem", None, None, None, None, None, None, problem));
    }
    let kind = match (annotation.publish, annotation.subscribe.is_some()) {
        (true, true) => "publisher and stream",
        (true, false) => "publisher",
        (false, _) => "stream",
    };
    let publishes = annotation.publish;
    let url = endpoint.url.as_deref().map(to_server);
    Some((
        oid,
        kind,
        url.is_some().then_some("GET"),
        url,
        publishes.then(|| annotation.level_or(guc::default_level()).as_str()),
        publishes.then(|| to_server(&annotation.default_scope().to_string())),
        annotation.topic.as_ref().map(|topic| to_server(topic.as_str())),
        publishes.then(|| annotation.delivery_or(guc::default_delivery()).as_str()),
        problem,
    ))
}

/// The row of a routine's calls, where there are calls. One that cannot be called says why.
fn call_row_of(endpoint: &Endpoint, routine: &Routine) -> Option<Row> {
    guc::calls::role()?;
    let annotation = endpoint.annotation.as_ref().filter(|_| endpoint.problems.is_empty())?;
    let method = annotation.http.as_ref()?.method(&routine.facts()).as_str();
    let url = route::base_path(&endpoint.schema, &endpoint.name, annotation, &guc::url_prefix());
    let problem = (!endpoint.call_problems.is_empty()).then(|| sentence(&endpoint.call_problems));
    let oid = pg_sys::Oid::from(endpoint.oid);
    Some((oid, "call", Some(method), Some(to_server(&url)), None, None, None, None, problem))
}

/// So many problems of a routine are in its row: some kilobytes at most. `sse.check` has more of them.
const MAX_PROBLEMS_OF_A_ROW: usize = 10;

fn sentence(problems: &[Problem]) -> Vec<u8> {
    let shown = problems.iter().take(MAX_PROBLEMS_OF_A_ROW);
    let mut sentences: Vec<String> = shown.map(ToString::to_string).collect();
    if problems.len() > MAX_PROBLEMS_OF_A_ROW {
        sentences.push("and more: sse.check(routine) says them".to_owned());
    }
    to_server(&sentences.join("; "))
}

/// The routines as they are in this session's eyes, uncommitted changes of its own included.
fn served_routines() -> Vec<Routine> {
    let mut routines = catalog::routines_with_signatures();
    routines.retain(|routine| guc::schema_is_served(&routine.schema));
    routines
}

fn table_of(routines: &[Routine]) -> RouteTable {
    RouteTable::build(routines, &guc::url_prefix(), guc::default_level()).0
}

/// The row of `sse.stat_ring`, in the order of its columns.
#[pg_extern(sql = false)]
fn stat_ring() -> Option<Vec<i64>> {
    let shared = shmem::shared()?;
    let ring = shared.ring.stats();
    let refusals = &shared.header.refusals;
    Some(
        [
            ring.capacity_bytes,
            ring.used_bytes,
            ring.pushed_total,
            ring.pushed_bytes_total,
            ring.full_total,
            ring.dropped_total,
            refusals.too_large_total.load(Relaxed),
            refusals.parallel_total.load(Relaxed),
            refusals.misspelt_hint_total.load(Relaxed),
            refusals.unmatched_total.load(Relaxed),
            refusals.out_of_memory_total.load(Relaxed),
            refusals.internal_total.load(Relaxed),
            refusals.replaced_characters_total.load(Relaxed),
            shared.header.tickets.given_up_total.load(Relaxed),
            shared.header.tickets.stalls_total.load(Relaxed),
        ]
        .into_iter()
        .map(bigint)
        .collect(),
    )
}

/// The counters of `sse.stat_gateway`. Port and process id stand where the view of version 0.1.0 looks for them, which
/// is in use until `ALTER EXTENSION … UPDATE`; what came later stands behind them.
#[pg_extern(sql = false)]
fn stat_gateway() -> Option<Vec<i64>> {
    const COUNTERS_OF_0_1_0: usize = 26;
    let fields = &shmem::shared()?.header.gateway;
    let mut row: Vec<i64> = fields.counters.iter().map(|counter| bigint(counter.load(Relaxed))).collect();
    let port_and_pid = [&fields.port, &fields.pid].map(|field| i64::from(field.load(Relaxed)));
    row.splice(COUNTERS_OF_0_1_0..COUNTERS_OF_0_1_0, port_and_pid);
    Some(row)
}

/// What the gateway is doing, in words.
#[pg_extern(sql = false)]
fn gateway_state() -> &'static str {
    let Some(shared) = shmem::shared() else { return "not loaded" };
    GatewayState::load(&shared.header.gateway.state, Relaxed).as_str()
}

/// Start of the gateway process.
#[pg_extern(sql = false)]
fn gateway_started_at() -> Option<TimestampWithTimeZone> {
    let started_at = shmem::shared()?.header.gateway.started_at.load(Relaxed);
    (started_at != 0).then(|| TimestampWithTimeZone::try_from(started_at).ok()).flatten()
}

/// When the counters began.
#[pg_extern(sql = false)]
fn stats_reset() -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(shmem::shared()?.header.stats_reset.load(Relaxed)).ok()
}

/// A token for a subscriber (C4.7), signed with `sse.jwt_secret` or the secret of `sse.jwt_secret_file`.
#[pg_extern(sql = false)]
fn issue_token(
    user_id: Option<&[u8]>,
    user_name: Option<&[u8]>,
    roles: Option<Array<&[u8]>>,
    lifetime: Option<Interval>,
) -> Vec<u8> {
    let roles: Vec<String> =
        roles.map(|roles| roles.iter().flatten().map(from_server).collect()).unwrap_or_default();
    let order = token::Order {
        user_id: user_id.map(from_server),
        user_name: user_name.map(from_server),
        roles,
        lifetime: lifetime.map_or_else(guc::auth::session_lifetime, |interval| seconds_of(&interval)),
    };
    match token::issue(&order) {
        Ok(token) => token.into_bytes(),
        Err(error) => refuse_token(&error),
    }
}

/// Months count thirty days, as Postgres' own `extract(epoch from interval)` nearly does.
fn seconds_of(interval: &Interval) -> Duration {
    let days = i128::from(interval.months()) * 30 + i128::from(interval.days());
    let microseconds = days * 86_400_000_000 + i128::from(interval.micros());
    match u64::try_from(microseconds) {
        Ok(microseconds) if microseconds > 0 => Duration::from_micros(microseconds),
        _ => refuse_token(&token::IssueError::Lifetime),
    }
}

fn refuse_token(error: &token::IssueError) -> ! {
    let code = match error {
        token::IssueError::NoSecret | token::IssueError::Secret(_) => {
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
        }
        _ => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
    };
    ereport!(ERROR, code, for_message(&error.to_string()));
}

/// A counter as SQL has it.
pub(crate) fn bigint(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
