//! `/api/overview`: the state as a whole, in figures.
//!
//! Not for what the checks look at (`ready`), nor for what the figures mean (docs/metrics.md).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use http::Response;
use serde_json::{Map, Value, json};

use super::{Board, seconds};
use crate::admin::metrics::name;
use crate::content::body::Body;
use crate::content::problem::Problem;
use crate::measures::Distribution;
use crate::tls::Mode;

pub(super) async fn answer(board: &Arc<Board>) -> Result<Response<Body>, Problem> {
    let checks = board.readiness.report(board).await.checks.clone();
    let gateway = board.gateway();
    let facts = board.surroundings.facts();
    let figures = board.surroundings.figures(gateway.as_ref().map(|gateway| &*gateway.stats));
    let named = |figure: &crate::admin::Figure| {
        let name = name(figure.view, figure.column);
        (name.strip_prefix("pg_sse_").unwrap_or(&name).to_owned(), Value::from(figure.value))
    };
    let figures: Map<String, Value> = figures.iter().map(named).collect();
    let window = gateway.as_ref().map(|gateway| {
        json!({
            "used": gateway.stats.window_bytes.load(Ordering::Relaxed),
            "size": gateway.settings().window_size,
            "events": gateway.stats.window_events.load(Ordering::Relaxed),
            "seconds": gateway.inspection.window_age().as_secs_f64(),
        })
    });
    // 0 before the first address is bound.
    let port = gateway.as_ref().map(|gateway| gateway.stats.port.load(Ordering::Relaxed));
    let is_tls = gateway.as_ref().and_then(|gateway| match gateway.tls.mode() {
        Mode::Undecided => None,
        Mode::Plain => Some(false),
        Mode::Tls(_) => Some(true),
    });
    let delays = gateway.as_ref().map(|gateway| gateway.measures.delays());
    let calls = gateway.as_ref().map(|gateway| gateway.measures.all_calls());
    board.api.answers.value(&json!({
        "version": board.surroundings.version(),
        "state": board.surroundings.state(),
        "database": board.surroundings.database(),
        "port": port.filter(|port| *port != 0),
        "tls": is_tls,
        "now": seconds(SystemTime::now()),
        "started": facts.started_at.map(seconds),
        "checks": checks,
        "figures": figures,
        "ring": { "used": facts.ring_used_bytes, "size": facts.ring_capacity_bytes },
        "window": window.unwrap_or_else(|| json!({ "used": 0, "size": 0, "events": 0, "seconds": 0.0 })),
        "event_delay": histogram(delays),
        "call_duration": histogram(calls),
    }))
}

/// In seconds; the counts are cumulative, and `total` is also of what is beyond the last bound.
fn histogram(found: Option<Distribution>) -> Value {
    let Some(found) = found else { return json!({ "le": [], "count": [], "sum": 0.0, "total": 0 }) };
    let bounds: Vec<f64> = found.bounds.iter().map(|bound| *bound as f64 / 1e9).collect();
    let cumulative = found.counts.iter().scan(0, |sum, count| {
        *sum += count;
        Some(*sum)
    });
    let counts: Vec<u64> = cumulative.take(bounds.len()).collect();
    json!({ "le": bounds, "count": counts, "sum": found.sum as f64 / 1e9, "total": found.count() })
}
