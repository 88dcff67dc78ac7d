//! What `cargo xtask instructions` counts of the formats. Each test does its subject a thousand times within
//! [`counted`], which is where callgrind counts.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::hint::black_box;

use sse_proto::call::{
    AnswerShape, CallAnswer, CallRequest, EventsEnd, Keys, Outcome, StatementRef, ValueType,
};
use sse_proto::record::{self, Envelope, Record};
use sse_proto::sse::{EventId, append_chunked_event};

const TIMES: usize = 1_000;

/// `cargo xtask instructions` knows it by its name.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

#[test]
#[ignore = "counted by cargo xtask instructions"]
fn by_hand_record() {
    let data = "x".repeat(200);
    let mut bytes = Vec::with_capacity(1024);
    let event = Record::Event { envelope: Envelope::for_all(), data: &data };
    counted(|| {
        for _ in 0..TIMES {
            bytes.clear();
            record::encode_into(black_box(&event), &mut bytes).unwrap();
        }
    });
    assert_eq!(record::decode(&bytes).unwrap(), event);
}

#[test]
#[ignore = "counted by cargo xtask instructions"]
fn by_hand_block() {
    let data = "x".repeat(200);
    let mut bytes = Vec::with_capacity(1024);
    counted(|| {
        for _ in 0..TIMES {
            bytes.clear();
            append_chunked_event(&mut bytes, black_box(EventId::new(7, 8)), None, black_box(&data));
        }
    });
    assert!(bytes.ends_with(b"xx\n\n\r\n"));
}

/// A function of two parameters that answers with one row as an object.
fn request() -> CallRequest<'static> {
    let of_type = |oid| ValueType { oid, is_output: false };
    CallRequest {
        id: 7,
        timeout_ms: 30_000,
        label: "public.orders_of",
        read_only: true,
        is_snapshot: false,
        settings: vec![
            ("request.user_id", "42"),
            ("request.user_name", "somebody"),
            ("request.user_roles", "[\"staff\"]"),
            ("request.method", "GET"),
            ("request.path", "/api/orders-of"),
        ],
        statement: StatementRef {
            sql: "SELECT * FROM public.orders_of(a => $1, b => $2)",
            parameters: vec![Some("42"), Some("a text of a parameter")],
            types: vec![of_type(23), of_type(25)],
            answer: AnswerShape::Object,
            columns: Vec::new(),
            keys: Cow::Owned(Keys::Kept),
            rows: Vec::new(),
        },
        caller: None,
        tells_begin: false,
    }
}

#[test]
#[ignore = "counted by cargo xtask instructions"]
fn by_hand_frames_of_a_call() {
    let request = request();
    let body = b"{\"id\":42,\"item\":\"a lamp\",\"price\":17.50}".to_vec();
    let outcome = Outcome::Done { rows: 1, body, is_null: false };
    let answer = CallAnswer { id: 7, end: EventsEnd::NoEvents, cut: None, outcome };
    let there_and_back = || {
        let frame = black_box(&request).encode().unwrap();
        let received = black_box(CallRequest::decode(&frame).unwrap().id);
        let frame = black_box(&answer).encode().unwrap();
        (received, CallAnswer::decode(frame).unwrap().id)
    };
    counted(|| {
        for _ in 0..TIMES {
            black_box(there_and_back());
        }
    });
    assert_eq!(there_and_back(), (7, 7));
}
