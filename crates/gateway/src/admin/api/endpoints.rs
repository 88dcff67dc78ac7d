//! `/api/endpoints`: the routines that are served, and what is wrong with the others.
//!
//! They are those of the route table in force, which has a bounded size per owner (`proto::route::weight`),
//! problems included; nothing else is kept for this, and nothing is read from the catalog.
//!
//! Not for what a problem is: `proto::route`, `proto::annotation`.

use std::sync::Arc;

use http::Response;
use serde_json::{Value, json};
use sse_proto::annotation::Problem as Mistake;
use sse_proto::route::{Endpoint, RouteTable, calls_are_off};

use super::{Board, gateway, subscribers};
use crate::between::queue::CallAvailability;
use crate::between::shown::{cut, cut_display};
use crate::content::body::Body;
use crate::content::problem::Problem;

/// Endpoints that are listed; `total` counts the others.
const MAX_ENDPOINTS: usize = 2000;

/// Longest text of a list in bytes: name, URL, scope. A longer one is cut.
const MAX_TEXT_BYTES: usize = 300;

/// The same for what is wrong: two or three mistakes.
const MAX_PROBLEM_BYTES: usize = 1000;

/// Mistakes that are told of one routine; `sse.check()` has more.
const MAX_PROBLEMS: usize = 3;

pub(super) async fn answer(board: &Arc<Board>) -> Result<Response<Body>, Problem> {
    let found = subscribers::survey(board, 0).await?;
    let gateway = gateway(board)?;
    let Some(table) = gateway.routes.present() else {
        return board.api.answers.list("endpoints", 0, std::iter::empty());
    };
    let are_off = gateway.call_state() == CallAvailability::Off;
    let rows = || table.endpoints().flat_map(|endpoint| rows(endpoint, are_off).into_iter().flatten());
    let (wrong, right) = (rows().filter(Row::is_wrong), rows().filter(|row| !row.is_wrong()));
    let listed = wrong
        .chain(right)
        .take(MAX_ENDPOINTS)
        .map(|row| row.value(&table, row.url.and_then(|url| found.of_path(url))));
    board.api.answers.list("endpoints", rows().count() as u64, listed)
}

/// One of the lines that a routine has.
struct Row<'t> {
    endpoint: &'t Endpoint,
    /// `None`: its comment cannot be read.
    kind: Option<&'static str>,
    method: Option<&'static str>,
    url: Option<&'t str>,
    mistakes: &'t [Mistake],
    /// Its call has nothing at its path, because there are no calls.
    is_off: bool,
}

/// A line for what it publishes or lets others hear, and one for its call.
fn rows(endpoint: &Endpoint, are_off: bool) -> [Option<Row<'_>>; 2] {
    let line = |kind, method, url, mistakes| Row { endpoint, kind, method, url, mistakes, is_off: false };
    let Some(annotation) = &endpoint.annotation else {
        return [Some(line(None, None, None, &endpoint.problems)), None];
    };
    let has_http = annotation.http.is_some();
    let of_stream = (annotation.is_sse() || !has_http).then(|| {
        let kind = if annotation.subscribe.is_some() { "stream" } else { "publisher" };
        let url = endpoint.url.as_deref();
        line(Some(kind), url.map(|_| "GET"), url, &endpoint.problems)
    });
    let of_call = has_http.then(|| {
        let call = endpoint.call.as_ref();
        let (method, url) = (call.map(|(method, _)| method.as_str()), call.map(|(_, path)| path.as_str()));
        let mistakes =
            if endpoint.problems.is_empty() { &endpoint.call_problems } else { &endpoint.problems };
        if are_off && endpoint.problems.is_empty() {
            Row { is_off: true, ..line(Some("call"), method, None, &[]) }
        } else {
            line(Some("call"), method, url, mistakes)
        }
    });
    [of_stream, of_call]
}

impl Row<'_> {
    fn is_wrong(&self) -> bool {
        self.is_off || !self.mistakes.is_empty()
    }

    fn value(&self, table: &RouteTable, subscribers: Option<u64>) -> Value {
        let Self { endpoint, kind, method, url, .. } = self;
        let publishes = endpoint.annotation.as_ref().filter(|annotation| annotation.publish);
        let publishes = publishes.filter(|_| *kind != Some("call"));
        json!({
            "routine": self.name(table),
            "kind": kind,
            "method": method,
            "url": url.map(|url| cut(url, MAX_TEXT_BYTES)),
            "scope": publishes.map(|annotation| cut_display(&annotation.default_scope(), MAX_TEXT_BYTES)),
            "level": publishes.map(|annotation| annotation.level_or(endpoint.default_level).as_str()),
            "subscribers": if *kind == Some("call") { None } else { subscribers },
            "problem": self.problem(),
        })
    }

    /// With the types of its arguments, where these are known: they are read of what can be called.
    fn name(&self, table: &RouteTable) -> String {
        let Endpoint { oid, schema, name, call, .. } = self.endpoint;
        let point = call.as_ref().and_then(|(_, path)| table.find_calls(path));
        let call = point.and_then(|point| point.calls.iter().find(|call| call.oid == *oid));
        let mut text = format!("{}.{}", cut(schema, MAX_TEXT_BYTES), cut(name, MAX_TEXT_BYTES));
        let Some(call) = call else { return text };
        text.push('(');
        let inputs = call.signature.parameters.iter().filter(|parameter| parameter.is_input());
        for (number, parameter) in inputs.enumerate() {
            if text.len() > MAX_TEXT_BYTES {
                text.push('…');
                break;
            }
            text.push_str(if number > 0 { ", " } else { "" });
            text.push_str(&cut(&parameter.type_name, MAX_TEXT_BYTES));
        }
        text.push(')');
        text
    }

    fn problem(&self) -> Option<String> {
        if self.is_off {
            return Some(cut_display(&calls_are_off(), MAX_PROBLEM_BYTES));
        }
        let shown = self.mistakes.iter().take(MAX_PROBLEMS);
        let mut said: Vec<String> = shown.map(|mistake| cut_display(mistake, MAX_PROBLEM_BYTES)).collect();
        if self.mistakes.len() > MAX_PROBLEMS {
            said.push("and more: sse.check() shows them".to_owned());
        }
        (!said.is_empty()).then(|| cut(&said.join("; "), MAX_PROBLEM_BYTES))
    }
}
