//! What a model takes of memory, and when its client is given up: a file of its own, so that no other test
//! takes memory meanwhile.
//!
//! Not for what is written: typescript.rs.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod fixture;

use std::sync::Arc;

use fixture::{Database, INT, VOID};
use sse_client::{TooLarge, typescript};
use sse_proto::call::TypeKind;

const STREAMS: usize = 1_000;

/// Streams of one topic, whose table has as many columns as one can have; with a snapshot of its rows, which
/// are written out as columns, because one of them is too large to be known.
fn database() -> Database {
    let mut database = Database::new();
    let names: Vec<String> = (0..1_600).map(|number| format!("column_with_a_long_name_{number}")).collect();
    let columns: Vec<(&str, u32, bool)> = names.iter().map(|name| (name.as_str(), INT, true)).collect();
    let wide = database.row(100, "wide", &columns);
    database.tells("public.wide", wide, &[&names[0]], &[]);
    let kinds = (0..1_600).map(|n| if n == 1_599 { TypeKind::TooLarge } else { TypeKind::Scalar });
    let now = database.function("wide_now", &[], (wide, true), "");
    now.signature.as_mut().unwrap().result.kinds = kinds.collect();
    for number in 0..STREAMS {
        let comment = "@sse\n@sse_topic public.wide\n@sse_snapshot wide_now as rows";
        database.function(&format!("live_{number}"), &[], (VOID, false), comment);
    }
    database
}

/// Bytes of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

// Attack: whoever may comment thousands of functions ends the server with one wide table.
#[test]
fn streams_share_a_wide_table_and_its_client_is_given_up_as_soon_as_it_is_too_large() {
    let database = database();
    let before = resident();
    let model = database.model(None);
    let taken = resident().saturating_sub(before);
    assert!(taken < 32 << 20, "{STREAMS} streams took {} MB", taken >> 20);
    let streams: Vec<_> = model.routines.iter().filter_map(|routine| routine.stream.as_ref()).collect();
    assert_eq!(streams.len(), STREAMS);
    for stream in &streams {
        assert!(Arc::ptr_eq(stream.changes.as_ref().unwrap(), streams[0].changes.as_ref().unwrap()));
        let (own, first) = (stream.snapshot.as_ref().unwrap(), streams[0].snapshot.as_ref().unwrap());
        assert!(Arc::ptr_eq(&own.answer, &first.answer));
    }
    let mut written = 0;
    assert_eq!(typescript(&model, || written += 1), Err(TooLarge));
    // Each is more than 100 kB.
    assert!(written < 80, "{written}");
    assert!(resident().saturating_sub(before) < 64 << 20);
}
