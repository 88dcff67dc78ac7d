//! The SQL functions about annotated routines: what is wrong with a comment, which URL a routine has, and the
//! rows of `sse.endpoints`.
//!
//! Not for reading the catalog (`catalog/`), and not for routes (`sse_proto::route`).

use pgrx::name;
use pgrx::prelude::*;
use sse_proto::annotation::{Annotation, MAX_COMMENT_BYTES, Problem, Skim, too_long};
use sse_proto::route::{self, Endpoint, Routine};

use crate::catalog::Reading;
use crate::catalog::routes::table_of;
use crate::pg::jit;
use crate::pg::routine;
use crate::pg::text::{to_server, try_from_server};
use crate::pg::want_of_memory::{answer, ask_for, or_raise};
use crate::publish::annotations;
use crate::{catalog, guc};

/// The mistakes in a routine's comment, one in each row.
#[pg_extern(sql = false)]
fn check_routine(routine: pg_sys::Oid) -> SetOfIterator<'static, Vec<u8>> {
    let oid = routine.to_u32();
    let reading = catalog::routine_and_rivals(oid);
    if reading.beyond.binary_search(&oid).is_ok() && !jit::without(|| catalog::ours(&[oid])).is_empty() {
        return rows(vec![route::beyond_weight()]);
    }
    let table = table_of(&reading.routines);
    let Some(endpoint) = table.endpoint(oid) else { return SetOfIterator::empty() };
    let mut problems: Vec<Problem> =
        endpoint.problems.iter().chain(&endpoint.call_problems).cloned().collect();
    problems.extend(hint(endpoint));
    rows(problems)
}

/// The mistakes in a text that is meant to become a comment.
#[pg_extern(sql = false)]
fn check_text(comment: &[u8]) -> SetOfIterator<'static, Vec<u8>> {
    // A longer text is not read, so it is not copied and converted either.
    let unread = (comment.len() > MAX_COMMENT_BYTES).then(|| Skim::new(comment).look_at_all());
    let parsed = match unread {
        Some(true) => Err(vec![too_long()]),
        Some(false) => Ok(None),
        None => {
            or_raise(ask_for(routine::made_of_comment(comment.len())));
            Annotation::parse(&or_raise(try_from_server(comment)))
        }
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

/// The URL to subscribe to a routine, else the URL to call it, or null.
#[pg_extern(sql = false)]
fn url(routine: pg_sys::Oid) -> Option<Vec<u8>> {
    let table = table_of(&catalog::routine_and_rivals(routine.to_u32()).routines);
    let endpoint = table.endpoint(routine.to_u32())?;
    let call = endpoint.call.as_ref().map(|(_, path)| path).filter(|_| guc::CALL_ROLE.optional().is_some());
    endpoint.url.as_ref().or(call).map(|url| answer(to_server(url)))
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
    let Reading { mut routines, beyond, .. } = catalog::all();
    routines.retain(|routine| guc::schema_is_served(&routine.schema));
    let table = table_of(&routines);
    let rows = table.endpoints().flat_map(|endpoint| {
        pgrx::check_for_interrupts!();
        let at = routines.binary_search_by_key(&endpoint.oid, |routine| routine.oid).ok();
        let routine = at.map(|at| &routines[at]);
        routine
            .and_then(|routine| row_of(endpoint, routine))
            .into_iter()
            .chain(routine.and_then(|routine| call_row_of(endpoint, routine)))
    });
    let too_many = jit::without(|| catalog::ours(&beyond)).into_iter().map(|oid| {
        let problem = Some(sentence(&[route::beyond_weight()]));
        (pg_sys::Oid::from(oid), "problem", None, None, None, None, None, None, problem)
    });
    let mut rows: Vec<Row> = rows.chain(too_many).collect();
    rows.sort_by_key(|row| row.0.to_u32());
    TableIterator::new(rows)
}

/// What is said of a routine that works all the same.
fn hint(endpoint: &Endpoint) -> Option<Problem> {
    let annotation = endpoint.annotation.as_ref().filter(|_| endpoint.problems.is_empty())?;
    annotations::without_snapshots(annotation)
}

/// A routine whose comment has a mistake gets one row that says only that. A conflict about a URL costs only
/// that URL.
fn row_of(endpoint: &Endpoint, routine: &Routine) -> Option<Row> {
    let oid = pg_sys::Oid::from(endpoint.oid);
    let problem = (!endpoint.problems.is_empty()).then(|| sentence(&endpoint.problems));
    let problem = problem.or_else(|| hint(endpoint).map(|hint| sentence(&[hint])));
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

/// The row for the calls of a routine. A routine that cannot be called says why.
fn call_row_of(endpoint: &Endpoint, routine: &Routine) -> Option<Row> {
    let annotation = endpoint.annotation.as_ref().filter(|_| endpoint.problems.is_empty())?;
    let method = annotation.http.as_ref()?.method(&routine.facts()).as_str();
    let url = route::base_path(&endpoint.schema, &endpoint.name, annotation, &guc::URL_PREFIX.text());
    // While calls are off the signature is not read, which would be the problem of every routine.
    let problem = match annotations::without_calls(endpoint) {
        Some(problem) => Some(sentence(&[problem])),
        None => (!endpoint.call_problems.is_empty()).then(|| sentence(&endpoint.call_problems)),
    };
    let oid = pg_sys::Oid::from(endpoint.oid);
    Some((oid, "call", Some(method), Some(to_server(&url)), None, None, None, None, problem))
}

/// At most this many problems of a routine are in its row: some kilobytes. `sse.check` has more of them.
const MAX_PROBLEMS_OF_A_ROW: usize = 10;

fn sentence(problems: &[Problem]) -> Vec<u8> {
    let shown = problems.iter().take(MAX_PROBLEMS_OF_A_ROW);
    let mut sentences: Vec<String> = shown.map(ToString::to_string).collect();
    if problems.len() > MAX_PROBLEMS_OF_A_ROW {
        sentences.push("and more: sse.check(routine) shows them".to_owned());
    }
    to_server(&sentences.join("; "))
}
