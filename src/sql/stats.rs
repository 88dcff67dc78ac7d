//! The SQL functions behind the views of statistics: JSON objects of figures by name. The views pick the
//! figures by the names of their columns, so no order has to be kept anywhere.
//!
//! Not for: lists of subscribers and routines (`subscribers.rs`, `endpoints.rs`).

use std::sync::atomic::Ordering::Relaxed;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use sse_proto::call::CallRole;

use crate::catalog::call_role;
use crate::histograms;
use crate::pg::call_slot;
use crate::pg::call_state::CallState;
use crate::pg::clock;
use crate::pg::shmem::{self, GatewayState, Shared};
use crate::pg::wal::words::WalFigures;
use crate::pg::want_of_memory::answer;
use crate::stats::{self, Figure};

/// The figures of `sse.stat_ring`.
#[pg_extern(sql = false)]
fn ring_figures() -> Option<Vec<u8>> {
    Some(json(stats::ring(&shmem::shared()?)))
}

/// The figures of `sse.stat_gateway`: its process, its counters, the call workers.
#[pg_extern(sql = false)]
fn gateway_figures() -> Option<Vec<u8>> {
    let shared = shmem::shared()?;
    Some(json(gateway(&shared).into_iter().chain(calls())))
}

/// The figures of `sse.stat_wal`; none where events are in memory.
#[pg_extern(sql = false)]
fn wal_figures() -> Option<Vec<u8>> {
    let shared = shmem::shared()?;
    let figures = if shared.wal.is_on() { wal(&shared.wal.words.figures) } else { json!({}) };
    Some(answer(figures.to_string().into_bytes()))
}

fn wal(figures: &WalFigures) -> Value {
    let (position, end) = (figures.position.load(Relaxed), figures.end.load(Relaxed));
    let held_since = figures.held_since.load(Relaxed);
    json!({
        "pid": figures.pid.load(Relaxed),
        "timeline": figures.timeline.load(Relaxed),
        "position": lsn(position),
        "end_position": lsn(end),
        "begin_position": lsn(figures.begin.load(Relaxed)),
        "behind_us": stats::behind(figures, clock::now_microseconds()),
        "caught_up": figures.caught_up.load(Relaxed) != 0,
        "held_since_us": (held_since != 0).then_some(held_since + POSTGRES_EPOCH_US),
        "held_by": figures.held_by.load(Relaxed),
        "retained_bytes": end.saturating_sub(figures.oldest.load(Relaxed)),
        "events_total": figures.events_total.load(Relaxed),
        "marks_total": figures.marks_total.load(Relaxed),
        "unreadable_total": figures.unreadable_total.load(Relaxed),
        "foreign_total": figures.foreign_total.load(Relaxed),
    })
}

/// 2000-01-01, in microseconds since 1970-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A position as Postgres writes it.
fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

/// The rows of `sse.stat_histograms`, as a JSON array.
#[pg_extern(sql = false)]
fn list_histograms() -> Option<Vec<u8>> {
    Some(answer(histograms::ask(&shmem::shared()?).into_bytes()))
}

/// What the gateway is doing, in words.
#[pg_extern(sql = false)]
fn gateway_state() -> &'static str {
    let Some(shared) = shmem::shared() else { return "not loaded" };
    GatewayState::of(shared.header.gateway.state.load(Relaxed)).as_str()
}

/// Whether calls run, in words, and why not.
#[pg_extern(sql = false)]
fn call_state() -> Option<String> {
    let state = CallState::of(call_slot::memory()?.header.state.load(Relaxed));
    if state != CallState::Refused {
        return Some(state.as_str().to_owned());
    }
    Some(match call_role::check() {
        CallRole::Refused { reason, .. } => format!("{}: {reason}", state.as_str()),
        // What was refused has been mended since.
        _ => CallState::Checking.as_str().to_owned(),
    })
}

/// Start of the gateway process.
#[pg_extern(sql = false)]
fn gateway_started_at() -> Option<TimestampWithTimeZone> {
    let started_at = shmem::shared()?.header.gateway.started_at.load(Relaxed);
    (started_at != 0).then(|| TimestampWithTimeZone::try_from(started_at).ok()).flatten()
}

/// When the counters began: server start.
#[pg_extern(sql = false)]
fn stats_reset() -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(shmem::shared()?.header.stats_reset.load(Relaxed)).ok()
}

/// The gateway's counters, followed by its port and process id, which are 0 without a gateway.
pub(super) fn gateway(shared: &Shared) -> Vec<Figure> {
    let fields = &shared.header.gateway;
    let process = [("port", &fields.port), ("pid", &fields.pid)];
    let process = process.map(|(name, field)| (name, u64::from(field.load(Relaxed))));
    stats::gateway(None, fields).into_iter().chain(process).collect()
}

/// The figures of the call workers; none where there are no calls.
pub(super) fn calls() -> Vec<Figure> {
    call_slot::memory().map_or_else(Vec::new, |memory| stats::calls(memory.header).into())
}

/// Figures as a JSON object. ASCII in every encoding: names and digits.
fn json(figures: impl IntoIterator<Item = Figure>) -> Vec<u8> {
    let object: Map<String, Value> = figures
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(i64::try_from(value).unwrap_or(i64::MAX))))
        .collect();
    answer(Value::Object(object).to_string().into_bytes())
}
