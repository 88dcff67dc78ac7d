#![allow(clippy::unwrap_used)]
use std::time::Duration;

use sse_proto::annotation::{Access, Method, RoutineKind};
use sse_proto::call::{Mode, Parameter, ResultType, Shape, Signature, TypeKind};
use sse_proto::route::Call;
use sse_proto::scope::Scope;

use super::*;

/// That of the function of this oid; a personal one has a user parameter.
pub(crate) fn snapshot(oid: u32, is_personal: bool) -> Arc<Snapshot> {
    let result = ResultType { shape: Shape::Scalar, is_set: false, columns: Vec::new(), kinds: Vec::new() };
    let parameter = Parameter {
        name: "_user_id".to_owned(),
        mode: Mode::In,
        type_oid: 25,
        type_name: "pg_catalog.text".to_owned(),
        kind: TypeKind::Scalar,
        has_default: false,
    };
    let call = Call {
        oid,
        schema: "app".to_owned(),
        name: "f".to_owned(),
        kind: RoutineKind::Function,
        method: Method::Get,
        access: Access::Unspecified,
        login: false,
        logout: false,
        user_parameters: true,
        user_context: false,
        read_only: true,
        signature: Signature {
            parameters: if is_personal { vec![parameter] } else { Vec::new() },
            result,
            rows: Vec::new(),
            strict: false,
            may_execute: true,
            owner_may_issue_tokens: false,
        },
    };
    Arc::new(Snapshot { call: Arc::new(call), event: None, scope: Scope::All })
}

struct Rig {
    desk: SnapshotDesk,
    start: Instant,
}

impl Rig {
    fn new() -> Self {
        Self { desk: SnapshotDesk::new(&[Arc::new(Bell::default())]), start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// A stream waits, until so many seconds from the beginning; everything up to `behind` it has.
    fn wish(&self, stream: u64, snapshot: Arc<Snapshot>, address: &str, behind: u64, seconds: u64) {
        self.desk.ask(Wish {
            snapshot,
            path: "/api/x".into(),
            asker: None,
            address: address.parse().unwrap(),
            waiter: (0, stream),
            behind,
            deadline: self.at(seconds),
        });
    }

    fn of_all(&self, stream: u64, function: u32) {
        self.wish(stream, snapshot(function, false), "192.0.2.1", 0, 30);
    }

    fn next(&self) -> Option<u64> {
        self.desk.next().map(|(order, unwanted)| {
            // As long as the run does.
            std::mem::forget(unwanted);
            order.id
        })
    }

    /// The next deadline, and how many runs ended.
    fn expire(&self, now: Instant) -> (Option<Instant>, u64) {
        let Expired { runs, next } = self.desk.expire(now);
        (next, runs)
    }

    /// The streams that were told something since, and whether it was a result.
    fn told(&self) -> Vec<(u64, bool)> {
        let told = self.desk.take(0).into_iter();
        let mut told: Vec<_> = told
            .flat_map(|finished| {
                let has_state = finished.state.is_some();
                finished.waiters.into_iter().map(move |waiter| (waiter, has_state))
            })
            .collect();
        told.sort_unstable();
        told
    }

    fn finish(&self, id: u64) -> Vec<(u64, bool)> {
        let address = "192.0.2.1".parse().unwrap();
        let cut = Cut::new(1, 1, Vec::new());
        self.desk.finish(
            id,
            Some(RunResult {
                call: id,
                ended_before: id,
                position: 0,
                cut,
                text: String::new(),
                address,
                _room: None,
            }),
        );
        self.told()
    }

    fn assert_empty(&self) {
        let table = self.desk.table.lock();
        assert!(table.runs.is_empty() && table.of_all.is_empty() && table.waiting.is_empty());
        assert!(table.deadlines.is_empty() && table.turns.is_empty());
    }
}

// Attack: somebody who comes again and again keeps those waiting who were there before.
#[test]
fn each_waits_until_its_own_deadline_whoever_joins_its_run() {
    let rig = Rig::new();
    for stream in 0..3 {
        rig.wish(stream, snapshot(1, false), "192.0.2.1", 0, 30 + stream);
    }
    let just_before = rig.at(30) - Duration::from_nanos(1);
    assert_eq!((rig.expire(just_before), rig.told()), ((Some(rig.at(30)), 0), vec![]));
    assert_eq!((rig.expire(rig.at(30)), rig.told()), ((Some(rig.at(31)), 0), vec![(0, false)]));
    // Its turn has come, and no worker has begun with it: that changes nothing.
    let (order, mut unwanted) = rig.desk.next().unwrap();
    rig.desk.queued(order.id, 0);
    rig.wish(3, snapshot(1, false), "192.0.2.1", 0, 60);
    let just_after = rig.at(31) + Duration::from_nanos(1);
    assert_eq!((rig.expire(just_after), rig.told()), ((Some(rig.at(32)), 0), vec![(1, false)]));
    // From when a worker has begun they wait for its end; if it has to be begun again, as before.
    rig.desk.begun(order.id);
    rig.wish(4, snapshot(1, false), "192.0.2.1", 0, 33);
    assert_eq!((rig.expire(rig.at(100)), rig.told()), ((None, 0), vec![]));
    rig.desk.queued(order.id, 0);
    assert_eq!((rig.expire(rig.at(33)), rig.told()), ((Some(rig.at(60)), 0), vec![(2, false), (4, false)]));
    assert!(unwanted.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    // The last of them ends it.
    assert_eq!((rig.expire(rig.at(60)), rig.told()), ((None, 1), vec![(3, false)]));
    assert!(unwanted.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
    rig.assert_empty();
}

#[test]
fn who_comes_while_a_function_runs_for_all_shares_that_run_or_the_next_one() {
    let rig = Rig::new();
    rig.of_all(0, 1);
    let first = rig.next().unwrap();
    // Not queued yet: it will see whatever these have missed.
    rig.wish(1, snapshot(1, false), "192.0.2.1", 7, 30);
    rig.desk.queued(first, 7);
    rig.wish(2, snapshot(1, false), "192.0.2.1", 7, 30);
    for stream in [3, 4] {
        rig.wish(stream, snapshot(1, false), "192.0.2.1", 8, 30);
    }
    assert_eq!(rig.next(), None, "of one function one at a time");
    rig.of_all(5, 2);
    let other = rig.next().unwrap();
    assert_eq!(rig.finish(first), [(0, true), (1, true), (2, true)]);
    let second = rig.next().unwrap();
    assert_eq!(rig.finish(second), [(3, true), (4, true)]);
    assert_eq!(rig.finish(other), [(5, true)]);
    rig.assert_empty();
}

#[test]
fn a_run_that_nobody_wants_any_more_lets_the_next_one_begin() {
    let rig = Rig::new();
    rig.of_all(0, 1);
    let (order, mut unwanted) = rig.desk.next().unwrap();
    rig.desk.queued(order.id, 3);
    rig.wish(1, snapshot(1, false), "192.0.2.1", 4, 30);
    // One stream waits for one run: an earlier wish of it is taken back.
    rig.wish(0, snapshot(1, false), "192.0.2.1", 4, 30);
    assert!(unwanted.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
    assert!(rig.finish(order.id).is_empty());
    let next = rig.next().unwrap();
    assert_eq!(rig.finish(next), [(0, true), (1, true)]);
    // One that waits behind it and is not wanted any more leaves nothing behind.
    rig.of_all(2, 1);
    let running = rig.next().unwrap();
    rig.desk.queued(running, 5);
    rig.wish(3, snapshot(1, false), "192.0.2.1", 6, 30);
    rig.desk.withdraw((0, 3));
    assert_eq!(rig.finish(running), [(2, true)]);
    assert_eq!(rig.next(), None);
    rig.assert_empty();
}
