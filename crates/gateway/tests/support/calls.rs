//! Callable routines, and a stand-in for the workers that run them.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use sse_gateway::{AuthSettings, CallAvailability, CallResult, Config, Gateway, Pushed, Secret, Settings};
use sse_proto::call::{
    CallAnswer, CallRequest, EventsEnd, Mode, Outcome, Parameter, ResultType, Shape, Signature, TypeKind,
};
use sse_proto::record::{Kind, Record};
use sse_proto::route::{RouteTable, Routine};
use sse_proto::word::Level;

use super::peer::{Answer, Peer, ask};
use super::tokens::SECRET;
use super::{TestGateway, config, eventually, settings};

/// A routine of schema `public` with text parameters; a name that ends with `?` has a default, with `[]` is
/// an array.
pub struct Callable {
    pub name: &'static str,
    pub comment: &'static str,
    pub parameters: &'static [&'static str],
    pub result: ResultType,
}

pub fn shape(shape: Shape) -> ResultType {
    ResultType { shape, is_set: false, columns: Vec::new(), kinds: Vec::new() }
}

pub fn row(columns: &[&str]) -> ResultType {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    ResultType { shape: Shape::Composite, is_set: false, columns, kinds: Vec::new() }
}

pub fn callable(
    name: &'static str,
    comment: &'static str,
    parameters: &'static [&'static str],
    result: ResultType,
) -> Callable {
    Callable { name, comment, parameters, result }
}

pub fn routes(callables: &[Callable]) -> Arc<RouteTable> {
    let routines = callables.iter().enumerate().map(|(n, callable)| Routine {
        signature: Some(Signature {
            rows: Vec::new(),
            parameters: callable.parameters.iter().map(|name| parameter(name)).collect(),
            result: callable.result.clone(),
            strict: false,
            may_execute: true,
            owner_may_issue_tokens: true,
        }),
        ..Routine::new(n as u32 + 1, "public", callable.name, callable.comment)
    });
    let table = RouteTable::build(&routines.collect::<Vec<_>>(), "/api", Level::Info);
    for endpoint in table.endpoints() {
        assert!(endpoint.problems.is_empty() && endpoint.call_problems.is_empty(), "{endpoint:?}");
    }
    Arc::new(table)
}

fn parameter(name: &str) -> Parameter {
    let (name, has_default) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
    let (name, is_array) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
    Parameter {
        name: name.to_owned(),
        mode: Mode::In,
        type_oid: if is_array { 1009 } else { 25 },
        type_name: if is_array { "pg_catalog._text" } else { "pg_catalog.text" }.to_owned(),
        kind: if is_array {
            TypeKind::Array { delimiter: ',', element: Arc::new(TypeKind::Scalar) }
        } else {
            TypeKind::Scalar
        },
        has_default,
    }
}

/// A gateway with these calls, ready.
pub fn calling(settings: Settings, callables: &[Callable]) -> TestGateway {
    calling_with(config(), settings, callables)
}

/// The same, of which the configuration matters.
pub fn calling_with(config: Config, settings: Settings, callables: &[Callable]) -> TestGateway {
    let gateway = TestGateway::configured(config, settings);
    gateway.gateway.set_routes(routes(callables), 2);
    gateway.gateway.set_calls(CallAvailability::Ready);
    gateway
}

/// A call as its worker sees it.
#[derive(Debug)]
pub struct Taken {
    pub id: u64,
    pub deadline: Instant,
    pub label: String,
    pub timeout_ms: u32,
    pub read_only: bool,
    pub settings: BTreeMap<String, String>,
    pub sql: String,
    pub parameters: Vec<Option<String>>,
}

pub fn try_take(gateway: &Gateway) -> Option<Taken> {
    let queued = gateway.call_desk().take()?;
    let request = CallRequest::decode(&queued.frame).unwrap();
    assert_eq!(request.id, queued.id);
    let own = |text: &str| text.to_owned();
    Some(Taken {
        id: queued.id,
        deadline: queued.deadline,
        label: own(request.label),
        timeout_ms: request.timeout_ms,
        read_only: request.read_only,
        settings: request.settings.iter().map(|(name, value)| (own(name), own(value))).collect(),
        sql: own(request.statement.sql),
        parameters: request.statement.parameters.iter().map(|value| value.map(str::to_owned)).collect(),
    })
}

/// Waits for the next call.
pub fn take(gateway: &TestGateway) -> Taken {
    let mut taken = None;
    eventually("a call", || {
        taken = taken.take().or_else(|| try_take(&gateway.gateway));
        taken.is_some()
    });
    taken.unwrap()
}

impl Taken {
    pub fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }
}

fn answered(id: u64, end: EventsEnd, outcome: Outcome) -> CallResult {
    CallResult::Answer(CallAnswer { id, end, cut: None, outcome }.into())
}

pub fn done(id: u64, body: &str) -> CallResult {
    done_with(id, body, EventsEnd::NoEvents)
}

/// Done, and this is known of the end of its events.
pub fn done_with(id: u64, body: &str, end: EventsEnd) -> CallResult {
    answered(id, end, Outcome::Done { rows: 1, body: body.as_bytes().to_vec(), is_null: false })
}

pub fn no_row(id: u64) -> CallResult {
    answered(id, EventsEnd::NoEvents, Outcome::Done { rows: 0, body: Vec::new(), is_null: true })
}

pub fn failed(id: u64, sqlstate: &[u8; 5], message: &str, raised: bool) -> CallResult {
    let (sqlstate, message) = (*sqlstate, message.to_owned());
    answered(
        id,
        EventsEnd::NoEvents,
        Outcome::Failed { sqlstate, message, raised, outdated: false, argument: None },
    )
}

/// It was made for other columns of a row type than there are, and was not run.
pub fn outdated(id: u64) -> CallResult {
    let (sqlstate, message) = (*b"40001", String::new());
    answered(
        id,
        EventsEnd::NoEvents,
        Outcome::Failed { sqlstate, message, raised: false, outdated: true, argument: None },
    )
}

/// The record of the end of a call.
pub fn publish_end(gateway: &TestGateway, call: u64) {
    let record = Record::CallEnd { call }.encode().unwrap();
    gateway.publish_batch(|batch| batch.push_record(&record));
}

/// What the gateway tells of calls that have ended comes into the order of events, as the main thread brings
/// it there. How many ends of calls there were, and how many events.
pub fn hand_over(gateway: &TestGateway) -> (usize, usize) {
    let mut records = Vec::new();
    assert!(gateway.gateway.hand_over_endings(|record| {
        records.push(record.to_vec());
        Pushed::Done
    }));
    gateway.publish_batch(|batch| records.iter().for_each(|record| batch.push_record(record)));
    let ends = records.iter().filter(|record| Kind::of(record) == Some(Kind::CallEnd)).count();
    (ends, records.len() - ends)
}

/// Waits until the gateway tells the end of a call, in place of a worker.
pub fn has_told_end(gateway: &TestGateway) {
    eventually("the end of a call is told", || hand_over(gateway) == (1, 0));
}

/// The next call is answered with this body.
pub fn serve(gateway: &TestGateway, body: &str) -> Taken {
    let call = take(gateway);
    gateway.desk().answer(call.id, done(call.id, body));
    call
}

pub fn request(verb: &str, target: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{verb} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}")
}

pub const JSON: &str = "Content-Type: application/json\r\n";

/// A request that must not become a call.
pub fn refused(gateway: &TestGateway, request: &str) -> Answer {
    let answer = ask(gateway.port(), request);
    assert!(gateway.desk().take().is_none(), "{request}");
    answer
}

/// A request whose call is answered with `body`.
pub fn called(gateway: &TestGateway, request: &str, body: &str) -> (Taken, Answer) {
    let mut peer = Peer::ask(gateway.port(), request);
    let call = serve(gateway, body);
    (call, peer.answer(!request.starts_with("HEAD ")))
}

/// A POST whose call is answered with `body`.
pub fn post(gateway: &TestGateway, target: &str, headers: &str, arguments: &str) -> (Taken, Answer) {
    called(gateway, &request("POST", target, &format!("{JSON}{headers}"), arguments), "x")
}

/// Routines of each method and access.
pub fn several() -> Vec<Callable> {
    vec![
        callable("send", "HTTP POST", &["_message_text", "_to?"], shape(Shape::Void)),
        callable("list", "HTTP GET", &["_tags[]?", "limit?"], shape(Shape::Scalar)),
        callable("remove", "HTTP DELETE", &["_id?"], shape(Shape::Scalar)),
        callable("get_all", "HTTP", &[], shape(Shape::Scalar)),
        callable("known", "HTTP POST\n@authorize", &[], shape(Shape::Scalar)),
        callable("staff", "HTTP POST\n@authorize id:alice, role:admin", &[], shape(Shape::Scalar)),
        callable("both_get", "HTTP GET /both", &[], shape(Shape::Scalar)),
        callable("both_put", "HTTP PUT /both", &[], shape(Shape::Scalar)),
        callable("rows", "HTTP GET", &[], row(&["message_id", "created_at"])),
    ]
}

/// A gateway that serves [`several`], and believes tokens.
pub fn gateway() -> TestGateway {
    with(settings())
}

/// The same with these settings.
pub fn with(settings: Settings) -> TestGateway {
    let auth = AuthSettings { jwt_secret: Some(Secret::try_new(SECRET).unwrap()), ..settings.auth };
    calling(Settings { auth, ..settings }, &several())
}

/// A GET without headers.
pub fn get(target: &str) -> String {
    request("GET", target, "", "")
}
