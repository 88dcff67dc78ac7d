//! Runs snapshots as calls are run (C7.6): one task for all runtime threads, which lets few of them into the
//! queue at a time.
//!
//! Not for who waits (`between/snapshots`), nor for the stream's bytes (`stream/slab/snapshots`).

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_proto::call::{AnswerShape, Outcome, UserParameters};
use sse_proto::route::Snapshot;
use tokio::task::spawn_local;

use super::context::CallContext;
use super::run::{Arguments, Job, Purpose, Ran, run};
use super::waiting::Failure;
use crate::between::queue::{CallAvailability, CallQueue};
use crate::between::snapshots::{RunResult, Unwanted, WantedRun};
use crate::shared::Shared;
use crate::stats::Stats;

/// How soon a run that found no place, or no worker yet, is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How long runs wait for the first worker: it is there within a second of the gateway's start. A role that
/// cannot be used stays so for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose share of memory the runs have that are for all: no peer has this address.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Whose turn among calls a run takes: its own. Runs have had their turns among each other, so that one which
/// waited behind the calls of its address would keep everybody's snapshots waiting. No peer has an address of
/// this network (RFC 1122), and no more runs are on their way than there are workers.
fn party(run: u64) -> IpAddr {
    Ipv4Addr::from_bits(run as u32 & 0x00ff_ffff).into()
}

/// Runs snapshots until the gateway stops. To be started once, in a `LocalSet`.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let mut stop = shared.stop_changes();
    // Each run holds one more of it.
    let places = Rc::new(());
    loop {
        // At most half of the workers, so that calls always have the others.
        let limit = (shared.settings().call_workers / 2).max(1);
        let expired = shared.snapshots.expire(Instant::now());
        Stats::add(&shared.stats.snapshots_failed_total, expired.runs);
        while Rc::strong_count(&places) <= limit
            && let Some((order, unwanted)) = shared.snapshots.next()
        {
            let (shared, place) = (Arc::clone(&shared), Rc::clone(&places));
            spawn_local(async move {
                carry_out(&shared, order, unwanted).await;
                drop(place);
                shared.snapshots.look_again();
            });
        }
        tokio::select! {
            _ = stop.wait_for(Option::is_some) => return,
            () = shared.snapshots.news() => {}
            () = until(expired.next) => {}
        }
    }
}

/// Waits for this moment; `None`: for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => pending().await,
    }
}

async fn carry_out(shared: &Arc<Shared>, order: WantedRun, unwanted: Unwanted) {
    let state = tokio::select! {
        state = run_until_done(shared, &order) => state,
        // The run is cancelled by being dropped.
        _ = unwanted => return,
    };
    let counter = match &state {
        Some(_) => &shared.stats.snapshots_total,
        None => &shared.stats.snapshots_failed_total,
    };
    Stats::add(counter, 1);
    shared.snapshots.finish(order.id, state);
}

/// Whether a run that has waited for the first worker since then waits no longer.
fn gives_up(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= PATIENCE
}

/// What is run: the function of this name as the routes have it now. It may have been made anew, with another
/// type, while the run waited.
fn current(shared: &Shared, order: &WantedRun) -> Arc<Snapshot> {
    let routes = shared.routes.present();
    let route = routes.as_ref().and_then(|routes| routes.find(&order.path));
    let is_same = |now: &&Arc<Snapshot>| {
        let (now, then) = (&now.call, &order.snapshot.call);
        (&now.schema, &now.name) == (&then.schema, &then.name)
    };
    let now = route.and_then(|route| route.snapshot.as_ref()).filter(is_same);
    let now = now.filter(|now| now.is_personal() == order.snapshot.is_personal());
    Arc::clone(now.unwrap_or(&order.snapshot))
}

/// `None`: there is no result. How long it may wait is for those to say who wait for it: the last of them
/// ends it.
async fn run_until_done(shared: &Arc<Shared>, order: &WantedRun) -> Option<RunResult> {
    let since = Instant::now();
    loop {
        let settings = shared.settings();
        match shared.call_state() {
            CallAvailability::Off => return None,
            CallAvailability::Unavailable if gives_up(since, Instant::now()) => return None,
            CallAvailability::Unavailable => {
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
            CallAvailability::Ready => {}
        }
        let snapshot = current(shared, order);
        let address = order.address.unwrap_or(NOBODY);
        let (context, user) = match &order.asker {
            Some(asker) => (CallContext::of(asker), asker.user.clone()),
            None => (CallContext::of_nobody(), UserParameters::default()),
        };
        // Before the call enters the queue, so before its snapshot is taken: all of this has committed.
        let position = shared.published.last();
        shared.snapshots.queued(order.id, position);
        let job = Job {
            calls: &[&snapshot.call],
            arguments: Arguments::Pairs(Vec::new()),
            user,
            context,
            address,
            party: Some(party(order.id)),
            own_events: None,
            may_have_new_columns: true,
            is_head: false,
            purpose: Purpose::Snapshot,
        };
        let begun = || shared.snapshots.begun(order.id);
        match run(shared, &settings, job, shared.calls.body_room(address), begun).await {
            Ok(ran) => return state(ran, position, address, settings.max_event_size),
            Err(Failure::NoPlace(_) | Failure::NotRun | Failure::NotInTime) => {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(_) => return None,
        }
    }
}

fn state(ran: Ran<'_>, position: u64, address: IpAddr, max_bytes: usize) -> Option<RunResult> {
    let Ran { id, cut, outcome: Outcome::Done { rows, body, is_null }, shape, room, .. } = ran else {
        return None;
    };
    let is_empty = is_null || shape == AnswerShape::Nothing || (rows == 0 && shape != AnswerShape::Array);
    let text = if is_empty { "null".to_owned() } else { String::from_utf8(body).ok()? };
    if text.len() > max_bytes {
        return None;
    }
    let ended_before = CallQueue::last_number();
    Some(RunResult { call: id, ended_before, position, cut: cut?, text, address, _room: room })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_wait_for_the_first_worker_for_five_seconds() {
        let since = Instant::now();
        let at = Duration::from_secs(5);
        for (waited, is_over) in
            [(at - Duration::from_nanos(1), false), (at, true), (at + Duration::from_nanos(1), true)]
        {
            assert_eq!(gives_up(since, since + waited), is_over, "{waited:?}");
        }
    }
}
