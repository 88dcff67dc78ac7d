//! `/api/calls`: the calls that run, and the last ones that were answered.
//!
//! Not for how they are kept: `between/recent_calls.rs`, `between/queue.rs`.

use std::time::SystemTime;

use http::Response;
use serde_json::{Value, json};

use super::{Board, gateway, seconds};
use crate::between::about::About;
use crate::between::recent_calls::RecentCall;
use crate::content::body::Body;
use crate::content::problem::Problem;

pub(super) fn answer(board: &Board) -> Result<Response<Body>, Problem> {
    let gateway = gateway(board)?;
    let now = SystemTime::now();
    let running = gateway.calls.running().into_iter().map(|(since, call)| {
        let started = now.checked_sub(since.elapsed()).unwrap_or(now);
        let About { method, path, user } = &*call;
        json!({ "method": method, "path": path, "started": seconds(started), "user": user })
    });
    let running: Vec<Value> = running.collect();
    let calls: Vec<Value> = gateway.inspection.calls.all().iter().map(|call| ended(call)).collect();
    board.api.answers.value(&json!({ "running": running, "total": calls.len(), "calls": calls }))
}

fn ended(RecentCall { at, method, path, status, took, error }: &RecentCall) -> Value {
    json!({
        "at": seconds(*at),
        "method": method,
        "path": path,
        "status": status,
        "ms": took.as_secs_f64() * 1e3,
        "error": error,
    })
}
