//! The SQL functions that publish: `sse.publish`, and `sse.authorize`, which makes a hint.
//!
//! Not for what becomes of an event: `publish/capture.rs`.

use std::borrow::Cow;

use pgrx::VariadicArray;
use pgrx::prelude::*;
use sse_proto::annotation::Access;
use sse_proto::encoding::OutOfMemory;
use sse_proto::scope::{self, Scope, ScopeError};
use sse_proto::word::{Delivery, EventName, ExecutionId, Topic};

use crate::guc;
use crate::pg::error_room;
use crate::pg::text::{for_message, to_server, try_from_server};
use crate::pg::want_of_memory::{answer, ask_for, or_raise};
use crate::publish::caller::IdOf;
use crate::publish::capture::{self, Target};
use crate::publish::{mistake, served};

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
    let scope = Scope::parse(&scope).unwrap_or_else(|error| match error {
        ScopeError::OutOfMemory => or_raise(Err(OutOfMemory)),
        error => refuse("scope", &error.to_string()),
    });
    let event = event.map(|text| {
        EventName::parse(&argument("event", text)).unwrap_or_else(|error| refuse("event", &error.to_string()))
    });
    let topic = topic.map(|text| {
        Topic::parse(&argument("topic", text)).unwrap_or_else(|error| refuse("topic", &error.to_string()))
    });
    let execution_id = execution_id
        .map(|text| argument("execution_id", text))
        .filter(|id| !id.is_empty())
        .map(|id| ExecutionId::parse(&id).unwrap_or_else(|error| refuse("execution_id", &error.to_string())));
    let delivery = delivery.map_or_else(guc::default_delivery, |text| {
        Delivery::parse(&argument("delivery", text))
            .unwrap_or_else(|| refuse("delivery", "it is neither \"commit\" nor \"immediate\""))
    });
    let Some(shared) = served::shared_or_warn("sse.publish") else { return };
    IdOf::of(&scope).with(|of_session| {
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
    mistake::say_if_possible();
}

/// Raises an error when there is no memory for the text: an event without one of its texts would be a
/// different event.
fn argument(name: &str, bytes: &[u8]) -> String {
    let Ok(text) = try_from_server(bytes) else {
        error_room::prepare();
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            format!("there is no memory for argument {name} of sse.publish")
        );
    };
    text
}

fn refuse(argument: &str, what: &str) -> ! {
    error_room::prepare();
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("argument {argument} of sse.publish is not valid: {}", for_message(what))
    );
}

/// A value is at most three times as long in UTF-8, and copied; as part of the hint, which grows by doubling
/// and is copied twice, each of its quotes is doubled.
const VALUE_FACTOR: usize = 48;

/// And a place in some lists.
const VALUE_BYTES: usize = 512;

/// A hint that names those who may receive an event, correctly quoted (C3.3).
#[pg_extern(sql = false)]
fn authorize(values: VariadicArray<&[u8]>) -> Vec<u8> {
    let given = || values.iter().flatten();
    or_raise(ask_for(given().map(|value| VALUE_BYTES + VALUE_FACTOR * value.len()).sum()));
    let values: Vec<String> = given().map(|value| or_raise(try_from_server(value))).collect();
    answer(to_server(&scope::authorize_hint(values.iter().map(String::as_str))))
}
