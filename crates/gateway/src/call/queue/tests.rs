#![allow(clippy::unwrap_used)]
use super::*;
use crate::request::request_channel;
use crate::settings::Settings;
use sse_proto::call::{CallAnswer, Outcome};

fn shared() -> Arc<Shared> {
    let stats: Arc<Stats> = Arc::default();
    // The other end is kept by nobody: a wake that nobody hears is no error.
    let (outbox, _) = request_channel(Arc::clone(&stats)).unwrap();
    Arc::new(Shared::new(1, None, 1, Arc::new(Settings::default()), stats, outbox))
}

fn enter(shared: &Arc<Shared>, address: &str, size: usize) -> Result<Ticket, NoPlace> {
    enter_until(shared, address, size, Instant::now() + Duration::from_secs(60))
}

fn enter_until(
    shared: &Arc<Shared>,
    address: &str,
    size: usize,
    deadline: Instant,
) -> Result<Ticket, NoPlace> {
    // As numbers of one gateway are, but for where they begin: tests run side by side in one process.
    let id = shared.stats.calls_total.load(Ordering::Relaxed) + 1;
    let call = NewCall { id, frame: id.to_string().into_bytes(), deadline };
    CallQueue::enter(shared, call, address.parse().unwrap(), size)
}

fn take(shared: &Shared) -> Option<u64> {
    shared.calls.take(Instant::now(), &shared.stats).map(|call| {
        assert_eq!(call.frame, call.id.to_string().into_bytes());
        call.id
    })
}

fn done(id: u64) -> CallResult {
    let outcome = Outcome::Done { rows: 1, body: Vec::new(), is_null: false };
    CallResult::Answer(CallAnswer { id, outcome }.into())
}

fn waiting(shared: &Shared) -> u64 {
    shared.stats.calls_waiting.load(Ordering::Relaxed)
}

/// Nothing is left behind: neither a call nor anybody's share.
fn assert_empty(shared: &Shared) {
    let state = shared.calls.state.lock();
    assert!(state.waiting.is_empty() && state.running.is_empty() && state.shares.is_empty());
    assert_eq!(waiting(shared), 0);
    assert!(shared.calls.bodies.is_empty() && shared.calls.answers.is_empty());
}

fn poll(ticket: &mut Ticket) -> Result<CallResult, oneshot::error::TryRecvError> {
    ticket.receiver.try_recv()
}

#[test]
fn calls_are_taken_in_the_order_they_came_and_each_gets_its_answer() {
    let shared = shared();
    let mut tickets: Vec<_> = (0..3).map(|_| enter(&shared, "127.0.0.1", 10).unwrap()).collect();
    assert_eq!(waiting(&shared), 3);
    assert_eq!(
        [take(&shared), take(&shared), take(&shared), take(&shared)],
        [Some(1), Some(2), Some(3), None]
    );
    shared.calls.answer(2, done(2));
    shared.calls.answer(99, done(99));
    shared.calls.answer(1, CallResult::Lost);
    shared.calls.answer(3, CallResult::NotRun);
    assert!(matches!(poll(&mut tickets[1]), Ok(CallResult::Answer(answered)) if answered.id() == 2));
    assert!(matches!(poll(&mut tickets[0]), Ok(CallResult::Lost)));
    assert!(matches!(poll(&mut tickets[2]), Ok(CallResult::NotRun)));
    drop(tickets);
    assert_eq!(shared.calls.poll_cancelled(), None);
    assert_empty(&shared);
}

// One address fills the queue, and nobody else gets in.
#[test]
fn an_address_has_half_of_the_queue_and_all_together_have_all_of_it() {
    let shared = shared();
    let mut tickets = Vec::new();
    for (address, expected) in [
        ("203.0.113.9", Ok(())),
        ("203.0.113.9", Ok(())),
        ("203.0.113.9", Err(NoPlace::Address)),
        ("2001:db8::1", Ok(())),
        ("2001:db8::2", Ok(())),
        ("2001:db8::3", Err(NoPlace::Full)),
    ] {
        let entered = enter(&shared, address, 4);
        let checked = shared.calls.check(address.parse().unwrap(), 4);
        assert_eq!(entered.as_ref().map(|_| ()).map_err(|no| *no), expected, "{address}");
        if let Err(error) = expected {
            assert_eq!(checked, Err(error));
        }
        tickets.extend(entered.ok());
    }
    // A place that becomes free, taken by a worker or left by its peer, is free for the next.
    take(&shared).unwrap();
    assert!(enter(&shared, "203.0.113.9", 4).is_ok(), "left at once");
    drop(tickets.pop());
    assert!(enter(&shared, "2001:db8::4", 4).is_ok());
    drop(tickets);
    assert_eq!(shared.calls.poll_cancelled(), Some(1));
    assert_empty(&shared);
    // The smallest queues still let somebody in.
    assert!(enter(&shared, "127.0.0.1", 1).is_ok());
    assert_eq!(enter(&shared, "127.0.0.1", 0).err(), Some(NoPlace::Full));
}

#[test]
fn a_call_that_is_given_up_is_taken_out_while_it_waits_and_cancelled_while_it_runs() {
    let shared = shared();
    let (first, second) = (enter(&shared, "::1", 10).unwrap(), enter(&shared, "::1", 10).unwrap());
    let third = enter(&shared, "::1", 10).unwrap();
    assert_eq!(second.standing(), Standing::Waiting);
    drop(second);
    assert_eq!((take(&shared), shared.calls.poll_cancelled()), (Some(1), None));
    assert!(matches!(first.standing(), Standing::RunningSince(_)));
    drop(first);
    assert_eq!((shared.calls.poll_cancelled(), shared.calls.poll_cancelled()), (Some(1), None));
    shared.calls.answer(1, done(1));
    assert_eq!(take(&shared), Some(3));
    shared.calls.answer(3, done(3));
    assert_eq!(third.standing(), Standing::Over);
    drop(third);
    assert_eq!(shared.calls.poll_cancelled(), None, "it was answered");
    assert_eq!(shared.stats.calls_cancelled_total.load(Ordering::Relaxed), 1);
    assert_empty(&shared);
}

#[test]
fn a_call_whose_time_is_over_is_not_handed_out() {
    let shared = shared();
    let now = Instant::now();
    let mut late = enter_until(&shared, "::1", 10, now).unwrap();
    let in_time = enter_until(&shared, "::1", 10, now + Duration::from_secs(60)).unwrap();
    assert_eq!(shared.calls.take(now, &shared.stats).map(|call| call.id), Some(2));
    assert!(matches!(poll(&mut late), Err(oneshot::error::TryRecvError::Closed)));
    assert_eq!(late.standing(), Standing::Over);
    drop((late, in_time));
    assert_eq!(shared.calls.poll_cancelled(), Some(2));
    assert_empty(&shared);
}

// Answers that nobody reads: calls of that address are refused before they run, those of others go on.
#[test]
fn an_address_that_reads_no_answers_has_no_calls_run() {
    let shared = shared();
    let (greedy, other) = ("203.0.113.9".parse().unwrap(), "203.0.113.10".parse().unwrap());
    let mut unread = shared.calls.answers.room(greedy);
    for (bytes, checked) in
        [(ANSWER_BYTES / 2 - MIN_FREE_BYTES - 1, Ok(())), (1, Ok(())), (1, Err(NoPlace::Answers))]
    {
        assert!(unread.try_grow(bytes, ANSWER_BYTES));
        assert_eq!(shared.calls.check(greedy, 10), checked);
        assert_eq!(shared.calls.check(other, 10), Ok(()));
    }
    drop(unread);
    assert_eq!(shared.calls.check(greedy, 10), Ok(()));
}

// As many peers as there are sockets make us keep a whole body each.
#[test]
fn a_single_body_of_the_size_that_is_allowed_always_has_room_by_itself() {
    assert_eq!(request_bytes(1), MIN_REQUEST_BYTES);
    assert_eq!(request_bytes(MIN_REQUEST_BYTES / 4 + 1), MIN_REQUEST_BYTES + 4);
    let shared = shared();
    assert!(shared.calls.body_room("::1".parse().unwrap()).try_grow(1 << 26, request_bytes(1 << 26)));
    assert_empty(&shared);
}

/// Somebody else's answer: a worker that outlives its gateway still has a call of it.
#[test]
fn no_two_gateways_of_a_process_give_the_same_number() {
    let (one, other) = (shared(), shared());
    let numbers: Vec<u64> = (0..3).flat_map(|_| [one.calls.number(), other.calls.number()]).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), numbers.len(), "{numbers:?}");
    let later = CallQueue::new(1 << 40);
    assert!(later.number() > 1 << 40);
    assert!(CallQueue::new(1).number() > 1 << 40, "never less than before");
}
