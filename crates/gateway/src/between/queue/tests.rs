#![allow(clippy::unwrap_used)]
use super::*;
use crate::between::outbox::errand_channel;
use sse_proto::call::{CallAnswer, EventsEnd, Outcome};

fn queue() -> Arc<CallQueue> {
    queue_of(1)
}

fn queue_of(epoch: u64) -> Arc<CallQueue> {
    let stats: Arc<Stats> = Arc::default();
    // The other end is kept by nobody: a wake that nobody hears is no error.
    let (outbox, _) = errand_channel(Arc::clone(&stats)).unwrap();
    Arc::new(CallQueue::new(epoch, stats, Arc::new(outbox)))
}

fn enter(queue: &Arc<CallQueue>, address: &str, size: usize) -> Result<PendingCall, NoPlace> {
    enter_as(queue, address, size, false)
}

fn about(path: &str) -> About {
    About { method: "GET".to_owned(), path: path.to_owned(), user: None }
}

fn enter_as(
    queue: &Arc<CallQueue>,
    address: &str,
    size: usize,
    goes_on: bool,
) -> Result<PendingCall, NoPlace> {
    // As numbers of one gateway are, but for where they begin: tests run side by side in one process.
    let id = queue.stats.calls_total.load(Ordering::Relaxed) + 1;
    let call = NewCall {
        id,
        frame: id.to_string().into_bytes(),
        deadline: Instant::now() + Duration::from_secs(60),
        tells_begin: false,
        party: None,
        about: Arc::new(about(&id.to_string())),
        goes_on,
    };
    queue.enter(call, address.parse().unwrap(), size)
}

fn enter_going_on(queue: &Arc<CallQueue>, address: &str) -> PendingCall {
    enter_as(queue, address, 100, true).unwrap()
}

fn take(queue: &CallQueue) -> Option<u64> {
    take_of(queue, 16)
}

fn take_of(queue: &CallQueue, workers: usize) -> Option<u64> {
    queue.take(Instant::now(), 0, workers).map(|call| {
        assert_eq!(call.frame, call.id.to_string().into_bytes());
        call.id
    })
}

fn done(id: u64) -> CallResult {
    let outcome = Outcome::Done { rows: 1, body: Vec::new(), is_null: false };
    CallResult::Answer(CallAnswer { id, end: EventsEnd::NoEvents, cut: None, outcome }.into())
}

fn waiting(queue: &CallQueue) -> u64 {
    queue.stats.calls_waiting.load(Ordering::Relaxed)
}

/// Nothing is left behind: neither a call nor anybody's share.
fn assert_empty(queue: &CallQueue) {
    let state = queue.state.lock();
    assert!(state.waiting.is_empty() && state.running.is_empty() && state.turns.is_empty());
    assert!(state.turns_without.is_empty() && state.running_without == 0);
    assert_eq!(waiting(queue), 0);
    assert!(queue.bodies.is_empty() && queue.answers.is_empty());
}

// Attack: one address, which needs no connection for it, fills the queue with calls that take long.
#[test]
fn a_network_with_calls_running_waits_for_those_that_have_fewer() {
    let queue = queue();
    let of = |address| enter(&queue, address, 100).unwrap();
    let mut pending: Vec<_> = (0..5).map(|_| of("203.0.113.9")).collect();
    assert_eq!([take(&queue), take(&queue)], [Some(1), Some(2)]);
    pending.extend(["198.51.100.1", "198.51.100.2", "198.51.100.1"].map(of));
    // Those that have none running, the oldest first; then one of each; then who has the fewest.
    assert_eq!([take(&queue), take(&queue), take(&queue)], [Some(6), Some(7), Some(8)]);
    queue.answer(1, done(1));
    assert_eq!([take(&queue), take(&queue), take(&queue)], [Some(3), Some(4), Some(5)]);
    drop(pending);
    assert_empty(&queue);
}

// Attack: one address has many calls waiting, and there is one worker.
#[test]
fn with_one_worker_an_address_waits_for_one_call_of_another() {
    let queue = queue();
    let of = |address| enter(&queue, address, 1000).unwrap();
    let mut pending: Vec<_> = (0..400).map(|_| of("203.0.113.9")).collect();
    pending.push(of("198.51.100.1"));
    for wanted in [1, 401, 2] {
        assert_eq!(take(&queue), Some(wanted));
        queue.answer(wanted, done(wanted));
    }
    drop(pending);
    assert_empty(&queue);
}

#[test]
fn a_call_that_is_given_up_is_taken_out_while_it_waits_and_cancelled_while_it_runs() {
    let queue = queue();
    let (first, second) = (enter(&queue, "::1", 10).unwrap(), enter(&queue, "::1", 10).unwrap());
    let third = enter(&queue, "::1", 10).unwrap();
    assert_eq!(second.standing(), Standing::Waiting);
    drop(second);
    assert_eq!((take(&queue), queue.poll_cancelled()), (Some(1), None));
    assert!(matches!(first.standing(), Standing::RunningSince(_)));
    drop(first);
    assert_eq!((queue.poll_cancelled(), queue.poll_cancelled()), (Some(1), None));
    queue.answer(1, done(1));
    assert_eq!(take(&queue), Some(3));
    queue.answer(3, done(3));
    assert_eq!(third.standing(), Standing::Over);
    drop(third);
    assert_eq!(queue.poll_cancelled(), None, "it was answered");
    assert_eq!(queue.stats.calls_cancelled_total.load(Ordering::Relaxed), 1);
    assert_empty(&queue);
}

// Answers that nobody reads: calls of that address are refused before they run, those of others go on.
#[test]
fn an_address_that_reads_no_answers_has_no_calls_run() {
    let queue = queue();
    let (greedy, other) = ("203.0.113.9".parse().unwrap(), "203.0.113.10".parse().unwrap());
    let mut unread = queue.answers.room(greedy);
    for (bytes, checked) in
        [(ANSWER_BYTES / 2 - MIN_FREE_BYTES - 1, Ok(())), (1, Ok(())), (1, Err(NoPlace::Answers))]
    {
        assert!(unread.try_grow(bytes, ANSWER_BYTES));
        assert_eq!(queue.check(greedy, 10), checked);
        assert_eq!(queue.check(other, 10), Ok(()));
    }
    drop(unread);
    assert_eq!(queue.check(greedy, 10), Ok(()));
}

// As many peers as there are sockets make us keep a whole body each.
#[test]
fn a_single_body_of_the_size_that_is_allowed_always_has_room_by_itself() {
    assert_eq!(request_bytes(1), MIN_REQUEST_BYTES);
    assert_eq!(request_bytes(MIN_REQUEST_BYTES / 4 + 1), MIN_REQUEST_BYTES + 4);
    let queue = queue();
    assert!(queue.body_room("::1".parse().unwrap()).try_grow(1 << 26, request_bytes(1 << 26)));
    assert_empty(&queue);
}

/// Somebody else's answer: a worker that outlives its gateway still has a call of it.
#[test]
fn no_two_gateways_of_a_process_give_the_same_number() {
    let (one, other) = (queue(), queue());
    let numbers: Vec<u64> = (0..3).flat_map(|_| [one.number(), other.number()]).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), numbers.len(), "{numbers:?}");
    let later = queue_of(1 << 40);
    assert!(later.number() > 1 << 40);
    assert!(queue().number() > 1 << 40, "never less than before");
}

// Two reports, and nobody can log in.
#[test]
fn calls_that_go_on_leave_one_of_several_workers_to_others() {
    for (workers, places) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
        let queue = queue();
        let pending: Vec<_> = (0..6).map(|n| enter_going_on(&queue, &format!("192.0.2.{n}"))).collect();
        let taken: Vec<_> = std::iter::from_fn(|| take_of(&queue, workers)).collect();
        assert_eq!(taken.len(), places, "{workers}");
        let other = enter(&queue, "127.0.0.1", 100).unwrap();
        assert!(take_of(&queue, workers).is_some(), "{workers}");
        // The next one has its turn when one has ended, however that came.
        queue.answer(taken[0], done(taken[0]));
        assert!(take_of(&queue, workers).is_some() && take_of(&queue, workers).is_none(), "{workers}");
        drop((pending, other));
        while queue.poll_cancelled().is_some() {}
        assert_empty(&queue);
    }
}

#[test]
fn calls_that_go_on_and_others_take_turns() {
    let queue = queue();
    let going_on: Vec<_> = (0..4).map(|_| enter_going_on(&queue, "127.0.0.1")).collect();
    let others: Vec<_> = (0..4).map(|_| enter(&queue, "127.0.0.1", 100).unwrap()).collect();
    let turn = || {
        let id = take_of(&queue, 2).unwrap();
        queue.answer(id, done(id));
        id
    };
    let turns: Vec<_> = (0..8).map(|_| turn()).collect();
    let first = turns.iter().min().unwrap();
    assert_eq!(turns.iter().map(|id| id - first < 4).filter(|goes_on| *goes_on).count(), 4);
    assert!(turns.windows(2).all(|pair| (pair[0] - first < 4) != (pair[1] - first < 4)), "{turns:?}");
    drop((going_on, others));
    assert_empty(&queue);
}

#[test]
fn calls_that_go_on_count_among_those_of_their_address() {
    let queue = queue();
    let _first = enter_as(&queue, "127.0.0.1", 4, true).unwrap();
    let _second = enter(&queue, "127.0.0.1", 4).unwrap();
    assert_eq!(enter_as(&queue, "127.0.0.1", 4, true).err(), Some(NoPlace::Address));
    assert_eq!(enter(&queue, "127.0.0.1", 4).err(), Some(NoPlace::Address));
}

#[test]
fn the_calls_that_a_worker_has_are_listed_until_they_are_answered() {
    let queue = queue();
    let paths = || queue.running().iter().map(|(_, call)| call.path.clone()).collect::<Vec<_>>();
    let _first = enter(&queue, "203.0.113.1", 100).unwrap();
    let _second = enter(&queue, "203.0.113.1", 100).unwrap();
    assert!(paths().is_empty(), "both wait");
    let taken = queue.take(Instant::now(), 0, 2).unwrap();
    assert_eq!(paths(), [taken.id.to_string()]);
    queue.answer(taken.id, CallResult::NotRun);
    assert!(paths().is_empty());
}

// Any thread takes a call as soon as it is there.
#[test]
fn whoever_may_take_a_call_sees_it_counted() {
    const CALLS: u64 = 20_000;
    let queue = queue();
    std::thread::scope(|scope| {
        let takes = scope.spawn(|| {
            let mut taken = 0;
            while taken < CALLS {
                let state = queue.state.lock();
                assert_eq!(waiting(&queue), state.waiting.len() as u64);
                drop(state);
                taken += u64::from(take(&queue).is_some());
            }
        });
        let calls: Vec<_> = (0..CALLS).map(|_| enter(&queue, "192.0.2.1", usize::MAX).unwrap()).collect();
        takes.join().unwrap();
        drop(calls);
    });
    assert_eq!(waiting(&queue), 0);
}
