//! Calls that the threads which have them give to workers themselves.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sse_gateway::{CallDesk, CallWorkers, QueuedCall, Workers};
use sse_proto::call::Shape;
use support::calls::{callable, calling_with, done, request, serve, shape};
use support::peer::Peer;
use support::{TestGateway, config, eventually, settings};

/// Workers that take as many calls as there is room for, and answer when they are told to.
#[derive(Default)]
struct Crew {
    room: AtomicUsize,
    has: Mutex<Vec<QueuedCall>>,
}

impl Crew {
    fn of(room: usize) -> Arc<Self> {
        Arc::new(Self { room: AtomicUsize::new(room), has: Mutex::default() })
    }

    fn calls(&self) -> usize {
        self.has.lock().unwrap().len()
    }

    /// Answers the oldest call, and takes the next.
    fn answer(&self, gateway: &TestGateway) -> u64 {
        let id = self.has.lock().unwrap().remove(0).id;
        let desk = gateway.gateway.call_desk();
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
}

fn gateway(threads: usize) -> TestGateway {
    let callables = [callable("f", "HTTP GET", &[], shape(Shape::Scalar))];
    calling_with(sse_gateway::Config { threads, ..config() }, settings(), &callables)
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
