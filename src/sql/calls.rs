//! What `sse.stat_gateway` shows of HTTP calls, besides the gateway's own counters.
//!
//! Not for which routines are called how: `sse.endpoints` (`endpoints.rs`).

use std::sync::atomic::Ordering::Relaxed;

use pgrx::prelude::*;
use sse_proto::call::CallRole;

use super::bigint;
use crate::catalog::call_role;
use crate::pg::call_slot::{self, CallState};

/// Figures of the call workers, in the order of the view's columns.
#[pg_extern(sql = false)]
fn stat_calls() -> Option<Vec<i64>> {
    let header = call_slot::memory()?.header;
    Some(vec![
        i64::from(header.ready.load(Relaxed)),
        i64::from(header.running.load(Relaxed)),
        bigint(header.lost_total.load(Relaxed)),
        bigint(header.workers_total.load(Relaxed)),
    ])
}

/// Whether calls run, in words, and why not.
#[pg_extern(sql = false)]
fn call_state() -> Option<String> {
    let state = CallState::load(&call_slot::memory()?.header.state, Relaxed);
    if state != CallState::Refused {
        return Some(state.as_str().to_owned());
    }
    Some(match call_role::check() {
        CallRole::Refused { reason, .. } => format!("{}: {reason}", state.as_str()),
        // Mended since.
        _ => CallState::Checking.as_str().to_owned(),
    })
}
