//! What `cargo xtask instructions` counts of a runtime thread's part of an event's way. Each test does its
//! subject a thousand times within [`counted`], which is where callgrind counts.
//!
//! Not for what the kernel does in a write: callgrind does not see that.

use std::hint::black_box;
use std::io::Read;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sse_proto::identity::Identity;
use sse_proto::record::set_raised_at;

use super::*;

const TIMES: usize = 1_000;

/// Streams of a crowd: enough that what grows with their number would show.
const STREAMS: usize = 100;

/// `cargo xtask instructions` knows it by its name.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// Runs what has nothing to wait for.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

/// Streams, each of a user with the number of the stream.
struct Crowd {
    rig: Rig,
    sockets: Vec<std::net::TcpStream>,
}

impl Crowd {
    async fn of(streams: usize) -> Self {
        let (mut rig, mut sockets) = (Rig::new(), Vec::new());
        for number in 0..streams {
            let identity = Identity::try_new::<&str>(Some(&number.to_string()), None, &[]).unwrap();
            let identity = Some(Arc::new(identity));
            let recipient = Recipient { identity, topics: Box::default(), execution_id: None, call: None };
            let (client, _) = rig.join_as(recipient, None, "").await;
            sockets.push(client.socket.into_std().unwrap());
        }
        let mut crowd = Self { rig, sockets };
        // What is done only the first time is not counted.
        crowd.publish(&Scope::All);
        crowd.rig.round().await;
        crowd.drain();
        crowd
    }

    /// An event of 200 bytes is about to be taken in.
    fn publish(&mut self, scope: &Scope) {
        let envelope = Envelope { scope: Cow::Borrowed(scope), ..Envelope::for_all() };
        let mut record = Record::Event { envelope, data: &"x".repeat(200) }.encode().unwrap();
        set_raised_at(&mut record, 1);
        let mut batch = Batch::new(self.rig.next_sequence);
        batch.push_record(&record);
        self.rig.next_sequence = batch.next_sequence();
        self.rig.batches.send(Arc::new(batch)).unwrap();
    }

    /// So that no socket is ever full. Returns how many of them had something to read.
    fn drain(&mut self) -> usize {
        let mut space = [0; 4096];
        let mut had_something = 0;
        for socket in &mut self.sockets {
            let mut reads = 0;
            while matches!(socket.read(&mut space), Ok(1..)) {
                reads += 1;
            }
            had_something += usize::from(reads > 0);
        }
        had_something
    }
}

#[tokio::test]
#[ignore = "counted by cargo xtask instructions"]
async fn by_hand_append() {
    let mut crowd = Crowd::of(1).await;
    for _ in 0..TIMES {
        crowd.publish(&Scope::All);
        let batch = crowd.rig.slab.batches.try_recv().unwrap();
        counted(|| crowd.rig.slab.log.append(&batch, 0));
    }
}

#[tokio::test]
#[ignore = "counted by cargo xtask instructions"]
async fn by_hand_visit_that_gets_an_event() {
    let mut crowd = Crowd::of(STREAMS).await;
    for _ in 0..TIMES / STREAMS {
        crowd.publish(&Scope::All);
        crowd.rig.slab.take_batches();
        counted(|| at_once(crowd.rig.slab.walk()));
        assert_eq!(crowd.drain(), STREAMS);
    }
}

#[tokio::test]
#[ignore = "counted by cargo xtask instructions"]
async fn by_hand_visit_that_gets_nothing() {
    let mut crowd = Crowd::of(1).await;
    crowd.rig.slab.take_batches();
    counted(|| (0..TIMES).for_each(|_| crowd.rig.slab.serve(black_box(0))));
    assert_eq!(crowd.drain(), 0);
}

#[tokio::test]
#[ignore = "counted by cargo xtask instructions"]
async fn by_hand_event_for_one_of_a_hundred() {
    let mut crowd = Crowd::of(STREAMS).await;
    let scope = Scope::parse("authorize id:50").unwrap();
    for _ in 0..TIMES {
        crowd.publish(&scope);
        counted(|| {
            crowd.rig.slab.take_batches();
            at_once(crowd.rig.slab.tell_all(crowd.rig.slab.first));
            at_once(crowd.rig.slab.serve_takers());
        });
        assert_eq!(crowd.drain(), 1);
    }
}

#[tokio::test]
#[ignore = "counted by cargo xtask instructions"]
async fn by_hand_round_of_one_stream() {
    let mut crowd = Crowd::of(1).await;
    for _ in 0..TIMES {
        crowd.publish(&Scope::All);
        counted(|| whole_round(&mut crowd.rig.slab));
        assert_eq!(crowd.drain(), 1);
    }
}

/// As [`Slab::run`] has it, up to the wait.
fn whole_round(slab: &mut Slab) {
    slab.incoming.has_turn();
    slab.take_settings();
    slab.now = slab.started.elapsed().as_millis() as u32;
    slab.note_routes();
    let has_public = slab.take_batches();
    at_once(slab.tell_all(slab.first));
    slab.revoke();
    slab.let_on();
    slab.admit();
    slab.take_snapshots();
    slab.serve_ready();
    if has_public {
        slab.note_walk(slab.first);
        at_once(slab.walk());
    }
    at_once(slab.serve_takers());
    slab.show();
    slab.measure();
    slab.keep_accord();
    slab.evict();
    slab.count();
    slab.lister.work(&slab.slots, |slot| slot.info(&slab.log));
    slab.answer_admin();
}
