//! The SQL functions that publish: `sse.publish`, and `sse.authorize`, which makes a hint.
//!
//! Not for what becomes of an event: `publish/capture.rs`.

use std::borrow::Cow;
use std::cell::Cell;

use pgrx::VariadicArray;
use pgrx::prelude::*;
use sse_proto::annotation::Access;
use sse_proto::scope::{self, Scope};
use sse_proto::word::{Delivery, EventName, ExecutionId, Topic};

use crate::guc;
use crate::pg::backend::{self, NoGateway};
use crate::pg::text::{for_message, from_server, to_server, try_from_server};
use crate::pg::{database, shmem};
use crate::publish::capture::{self, Target};
use crate::publish::mistake;

/// Publishes one event without any annotation (C3.4).
#[pg_extern(sql = false)]
fn publish(
    data: Option<&[u8]>,
    scope: Option<&[u8]>,
    event: Option<&[u8]>,
    topic: Option<&[u8]>,
    execution_id: Option<&[u8]>,
    delivery: Option<&[u8]>,
) {
    let data = argument("data", data.unwrap_or_else(|| refuse("data", "it is null")));
    // A missing name makes `'authorize ' || name` null. Null is never wider than what was meant.
    let scope = argument("scope", scope.unwrap_or_else(|| refuse("scope", "it is null")));
    let scope = Scope::parse(&scope).unwrap_or_else(|error| refuse("scope", &error.to_string()));
    let event = event.map(|text| {
        EventName::parse(&from_server(text)).unwrap_or_else(|error| refuse("event", &error.to_string()))
    });
    let topic = topic.map(|text| {
        Topic::parse(&from_server(text)).unwrap_or_else(|error| refuse("topic", &error.to_string()))
    });
    let execution_id = execution_id
        .map(from_server)
        .filter(|id| !id.is_empty())
        .map(|id| ExecutionId::parse(&id).unwrap_or_else(|error| refuse("execution_id", &error.to_string())));
    let delivery = delivery.map_or_else(guc::default_delivery, |text| {
        Delivery::parse(&from_server(text))
            .unwrap_or_else(|| refuse("delivery", "it is neither \"commit\" nor \"immediate\""))
    });
    let no_gateway = backend::no_gateway();
    let Some(shared) = shmem::shared()
        .filter(|shared| no_gateway.is_none() && database::mine_is_served(shared, || guc::DATABASE.text()))
    else {
        warn_once_that_nothing_is_served(no_gateway);
        return;
    };
    guc::with_execution_id(|of_session| {
        let target = Target {
            scope: Cow::Owned(scope),
            topic: topic.as_ref().map(Topic::as_str),
            event: event.as_ref().map(EventName::as_str),
            execution_id: execution_id.as_ref().map(ExecutionId::as_str).or(of_session),
            access: &Access::Unspecified,
            delivery,
        };
        let _ = capture::publish(&shared, &target, &data);
    });
    mistake::say();
}

/// Raises an error when there is no memory for the text: an event without its text would be a different
/// event.
fn argument(name: &str, bytes: &[u8]) -> String {
    let Ok(text) = try_from_server(bytes) else {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            format!("there is no memory for argument {name} of sse.publish")
        );
    };
    text
}

fn refuse(argument: &str, what: &str) -> ! {
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("argument {argument} of sse.publish is not valid: {}", for_message(what))
    );
}

/// A trigger that publishes must not break where routines are not served, and must not fill the log (C1.2).
fn warn_once_that_nothing_is_served(no_gateway: Option<NoGateway>) {
    thread_local! {
        static SAID: Cell<bool> = const { Cell::new(false) };
    }
    if SAID.replace(true) {
        return;
    }
    let (what, detail) = match (shmem::shared(), no_gateway) {
        (None, _) => ("this database is not served", "pg_sse is not in shared_preload_libraries.".to_owned()),
        (Some(_), Some(NoGateway::Standby)) => {
            ("this server is a standby", "Nothing listens here until it is promoted.".to_owned())
        }
        (Some(_), Some(NoGateway::SingleUser)) => {
            ("this server runs for a single user", "It has no background workers.".to_owned())
        }
        (Some(_), None) => {
            let served = for_message(&guc::DATABASE.text());
            ("this database is not served", format!("The served database is \"{served}\" (sse.database)."))
        }
    };
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_WARNING,
        format!("sse.publish does nothing here: {what}"),
        detail
    );
}

/// A hint that names those who may receive an event, correctly quoted (C3.3).
#[pg_extern(sql = false)]
fn authorize(values: VariadicArray<&[u8]>) -> Vec<u8> {
    let values: Vec<String> = values.iter().flatten().map(from_server).collect();
    to_server(&scope::authorize_hint(values.iter().map(String::as_str)))
}
