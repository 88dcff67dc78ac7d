//! What the admin port is told of streams, and the end of one of them.

use super::*;
use crate::between::survey::{MAX_STREAMS, StreamName, Survey};

impl Rig {
    /// What the admin port gets, and how many rounds that took.
    async fn survey(&mut self, limit: usize) -> (Survey, usize) {
        let answers = self.slab.shared.inspection.questions.survey(limit);
        let mut rounds = 1;
        while self.slab.answer_admin() {
            rounds += 1;
        }
        (answers.all().await, rounds)
    }

    /// Lets a stream lag by what comes from now on.
    fn lose(&mut self, client: &Client) {
        let first = self.slab.log.head() + 1;
        self.slot(client).refresh(first);
    }

    fn append(&mut self) {
        self.publish("x");
        self.slab.take_batches();
    }
}

// Fifteen thousand streams, of which one inspector wants to know: events must not wait for that.
#[tokio::test]
async fn a_survey_looks_at_256_streams_a_round_and_tells_of_those_that_lag_most() {
    let mut rig = Rig::new();
    let mut clients = Vec::new();
    for streams in [255, 256, 257, 520] {
        while clients.len() < streams {
            clients.push(rig.client().await);
        }
        let (found, rounds) = rig.survey(0).await;
        assert_eq!((found.total, found.of_path("/api/x/live")), (streams as u64, Some(streams as u64)));
        assert_eq!((rounds, found.streams.len()), (streams.div_ceil(256), 0), "{streams}");
    }
    // The first lags most.
    for client in &clients {
        rig.lose(client);
        rig.append();
    }
    for limit in [MAX_STREAMS - 1, MAX_STREAMS, MAX_STREAMS + 1] {
        let (found, rounds) = rig.survey(limit).await;
        let lags: Vec<u64> = found.streams.iter().map(|stream| stream.lag_events).collect();
        let told = limit.min(MAX_STREAMS) as u64;
        assert_eq!(lags, (1..=520).rev().take(told as usize).collect::<Vec<u64>>());
        assert_eq!((found.total, rounds), (520, 3 + told.div_ceil(16) as usize - 1 + 1));
        let whole = rig.slab.log.bytes_of_newest(520);
        assert_eq!((found.streams[0].lag_bytes, whole), (whole, rig.slab.log.bytes() as u64));
    }
}

#[tokio::test]
async fn of_streams_that_lag_alike_the_newest_come_first() {
    let mut rig = Rig::new();
    let clients = [rig.client().await, rig.client().await, rig.client().await];
    let (found, _) = rig.survey(2).await;
    let told: Vec<u64> = found.streams.iter().map(|stream| stream.name.address).collect();
    assert_eq!(told, [clients[2].address.to_bits(), clients[1].address.to_bits()]);
}

// Attack: the name of a stream that has gone ends the stream that has its slot now.
#[tokio::test]
async fn only_the_stream_that_was_named_is_ended() {
    let mut rig = Rig::new();
    let (first, mut other) = (rig.client().await, rig.client().await);
    let address = first.address;
    drop(first);
    rig.round().await;
    let mut second = rig.client().await;
    assert_eq!(second.address.index, address.index);
    let ends = |rig: &mut Rig, address: SlotAddress| {
        let name = StreamName { thread: 0, address: address.to_bits() };
        let answer = rig.slab.shared.inspection.questions.end(name).unwrap();
        rig.slab.answer_admin();
        answer.was_there()
    };
    assert_eq!(ends(&mut rig, address).await, Some(false));
    assert_eq!(ends(&mut rig, SlotAddress { index: 99, generation: 1 }).await, Some(false));
    let nowhere = StreamName { thread: 1, address: second.address.to_bits() };
    let nobody = rig.slab.shared.inspection.questions.end(nowhere).unwrap();
    assert_eq!(nobody.was_there().await, Some(false));
    assert!(second.reads_nothing() && other.reads_nothing());
    assert_eq!(ends(&mut rig, second.address).await, Some(true));
    assert_eq!(second.read_to("0\r\n\r\n").await, "0\r\n\r\n");
    rig.publish("on");
    rig.round().await;
    other.read_to("data: on").await;
}

#[tokio::test]
async fn a_thread_that_does_not_answer_is_asked_four_times_at_most() {
    let rig = Rig::new();
    let questions = &rig.slab.shared.inspection.questions;
    let name = StreamName { thread: 0, address: 0 };
    let asked = (0..6).filter(|_| questions.end(name).is_some()).count();
    assert_eq!(asked, 4);
}
