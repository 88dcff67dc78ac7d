//! Calls that the threads which have them give to workers themselves.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sse_gateway::{CallDesk, CallWorkers, Config, QueuedCall, Taken, Workers};
use sse_proto::call::Shape;
use support::calls::{callable, calling_with, done, request, serve, shape};
use support::peer::Peer;
use support::{TestGateway, config, eventually, settings};

/// Workers that take as many calls as there is room for, and answer when they are told to.
#[derive(Default)]
struct Crew {
    room: AtomicUsize,
    has: Mutex<Vec<QueuedCall>>,
    /// Answered, and not taken yet.
    answered: Mutex<Vec<QueuedCall>>,
}

impl Crew {
    fn of(room: usize) -> Arc<Self> {
        Arc::new(Self { room: AtomicUsize::new(room), ..Self::default() })
    }

    fn calls(&self) -> usize {
        self.has.lock().unwrap().len()
    }

    /// Answers the oldest call, so that the thread which waits for it has to take the answer. Says which.
    fn leave_answer(&self) -> Option<usize> {
        let call = self.has.lock().unwrap().remove(0);
        let thread = call.thread;
        self.answered.lock().unwrap().push(call);
        thread
    }

    /// Answers the oldest call, and takes the next.
    fn answer(&self, gateway: &TestGateway) -> u64 {
        let id = self.has.lock().unwrap().remove(0).id;
        let desk = gateway.desk();
        desk.answer(id, done(id, &id.to_string()));
        self.hand_out(&desk);
        id
    }
}

impl CallWorkers for Crew {
    fn hand_out(&self, calls: &CallDesk<'_>) -> Workers {
        let room = self.room.load(Ordering::Relaxed);
        let mut has = self.has.lock().unwrap();
        while has.len() < room {
            let Some(call) = calls.take() else { break };
            has.push(call);
        }
        if room == 0 { Workers::None } else { Workers::Ready }
    }

    /// One at a time.
    fn take_answers(&self, thread: usize, calls: &CallDesk<'_>) -> Taken {
        let mut answered = self.answered.lock().unwrap();
        let Some(place) = answered.iter().position(|call| call.thread == Some(thread)) else {
            return Taken::All;
        };
        let id = answered.remove(place).id;
        drop(answered);
        calls.answer(id, done(id, &id.to_string()));
        self.hand_out(calls);
        Taken::MoreComes
    }
}

fn gateway(threads: usize) -> TestGateway {
    let callables = [callable("f", "HTTP GET", &[], shape(Shape::Scalar))];
    calling_with(Config { threads, ..config() }, settings(), &callables)
}

/// The same, with bells that can be rung by these streams.
fn with_bells(threads: usize) -> (TestGateway, Vec<UnixStream>) {
    let (rung, ringing): (Vec<_>, Vec<_>) = (0..threads).map(|_| UnixStream::pair().unwrap()).unzip();
    let bell = |stream: UnixStream| {
        stream.set_nonblocking(true).unwrap();
        Arc::new(OwnedFd::from(stream))
    };
    let callables = [callable("f", "HTTP GET", &[], shape(Shape::Scalar))];
    let config = Config { threads, call_bells: rung.into_iter().map(bell).collect(), ..config() };
    (calling_with(config, settings(), &callables), ringing)
}

fn ask(gateway: &TestGateway) -> Peer {
    Peer::ask(gateway.port(), &request("GET", "/api/f", "", ""))
}

fn waiting(gateway: &TestGateway) -> u64 {
    gateway.count(|stats| &stats.calls_waiting)
}

#[test]
fn a_call_comes_to_a_worker_although_the_main_thread_does_nothing() {
    let (gateway, crew) = (gateway(1), Crew::of(1));
    gateway.gateway.set_call_workers(Some(Arc::clone(&crew) as Arc<dyn CallWorkers>));
    for _ in 0..3 {
        let mut peer = ask(&gateway);
        eventually("a worker has it", || crew.calls() == 1);
        assert_eq!(waiting(&gateway), 0);
        let id = crew.answer(&gateway);
        assert_eq!(peer.answer(true).text(), id.to_string());
    }
}

// Calls of several threads for one worker: each is run once, whoever brings it and whoever makes room.
#[test]
fn no_call_is_forgotten_and_none_is_run_twice() {
    let (gateway, crew) = (gateway(2), Crew::of(2));
    gateway.gateway.set_call_workers(Some(Arc::clone(&crew) as Arc<dyn CallWorkers>));
    let mut peers: Vec<_> = (0..20).map(|_| ask(&gateway)).collect();
    eventually("all are there", || crew.calls() == 2 && waiting(&gateway) == 18);
    let mut answered: Vec<_> = peers.iter().map(|_| crew.answer(&gateway)).collect();
    assert_eq!((crew.calls(), waiting(&gateway)), (0, 0));
    let mut told: Vec<u64> = peers.iter_mut().map(|peer| peer.answer(true).text().parse().unwrap()).collect();
    answered.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, answered);
    answered.dedup();
    assert_eq!(answered.len(), 20);
}

#[test]
fn without_a_worker_that_is_ready_the_main_thread_gets_the_calls() {
    let (gateway, crew) = (gateway(1), Crew::of(0));
    gateway.gateway.set_call_workers(Some(Arc::clone(&crew) as Arc<dyn CallWorkers>));
    let mut peer = ask(&gateway);
    eventually("it waits", || waiting(&gateway) == 1);
    serve(&gateway, "x");
    assert_eq!(peer.answer(true).text(), "x");
    // Nor once the workers have been taken away.
    crew.room.store(1, Ordering::Relaxed);
    gateway.gateway.set_call_workers(None);
    let mut peer = ask(&gateway);
    serve(&gateway, "y");
    assert_eq!((peer.answer(true).text(), crew.calls()), ("y", 0));
}

#[test]
fn the_thread_that_a_call_waits_on_takes_its_answer_when_it_is_rung_for() {
    let (gateway, mut bells) = with_bells(2);
    let crew = Crew::of(1);
    gateway.gateway.set_call_workers(Some(Arc::clone(&crew) as Arc<dyn CallWorkers>));
    for _ in 0..20 {
        let mut peer = ask(&gateway);
        eventually("a worker has it", || crew.calls() == 1);
        let id = crew.has.lock().unwrap()[0].id;
        let thread = crew.leave_answer().unwrap();
        bells[thread].write_all(&[1]).unwrap();
        assert_eq!(peer.answer(true).text(), id.to_string());
    }
}

// One ring for several answers, and the calls that waited behind them.
#[test]
fn a_ring_is_enough_for_all_answers_that_are_there() {
    let (gateway, mut bells) = with_bells(1);
    let crew = Crew::of(3);
    gateway.gateway.set_call_workers(Some(Arc::clone(&crew) as Arc<dyn CallWorkers>));
    let mut peers: Vec<_> = (0..6).map(|_| ask(&gateway)).collect();
    eventually("all are there", || crew.calls() == 3 && waiting(&gateway) == 3);
    for next in [3, 0] {
        (0..3).for_each(|_| assert_eq!(crew.leave_answer(), Some(0)));
        bells[0].write_all(&[1]).unwrap();
        eventually("all are taken", || crew.answered.lock().unwrap().is_empty() && crew.calls() == next);
    }
    assert!(peers.iter_mut().all(|peer| peer.answer(true).head.status == 200));
    assert_eq!((crew.calls(), waiting(&gateway)), (0, 0));
}

#[test]
fn without_bells_the_main_thread_is_to_be_woken() {
    let (gateway, crew) = (gateway(1), Crew::of(1));
    gateway.gateway.set_call_workers(Some(Arc::clone(&crew) as Arc<dyn CallWorkers>));
    let mut peer = ask(&gateway);
    eventually("a worker has it", || crew.calls() == 1);
    assert_eq!(crew.has.lock().unwrap()[0].thread, None);
    crew.answer(&gateway);
    assert_eq!(peer.answer(true).head.status, 200);
}
