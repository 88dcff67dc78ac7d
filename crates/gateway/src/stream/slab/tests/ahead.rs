//! Streams that wait until this server has what they have seen.

use std::sync::atomic::AtomicU64;

use sse_proto::place::{History, Place};

use super::*;
use crate::between::batch::LogState;

impl Rig {
    /// One that has read back its log, in which nothing is; and the log is known to be written up to 1000.
    fn placed() -> Self {
        let rig = Self::over(Published::new(Some(Box::leak(Box::new(AtomicU64::new(1000))))));
        let mut batch = Batch::new(1);
        let (history, begin) = (History::of(1), Place::behind(1, 100));
        batch.log_state = Some(Arc::new(LogState { history, begin, caught_up: true }));
        rig.batches.send(Arc::new(batch)).unwrap();
        rig
    }

    fn is_gone(&self, client: &Client) -> bool {
        self.slab.slot_at(client.address).is_none()
    }
}

// Attack: streams come with ids that are ahead, and go, while the log of a standby stands still.
#[tokio::test]
async fn nothing_is_kept_of_a_stream_that_goes_while_it_waits() {
    let mut rig = Rig::placed();
    rig.round().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let (client, beginning) = rig.join(Vec::new(), None, "w1-3e8-1").await;
        assert!(beginning.contains("id: w1-3e8-1\n"), "{beginning}");
        assert!(rig.slab.log.postings.member(client.address.index).is_none(), "it is in no list");
        clients.push(client);
    }
    assert_eq!(rig.slab.ahead.len(), 5);
    // One is ended by us, the others leave.
    rig.slab.finish(clients[0].address.index as usize);
    assert_eq!(rig.slab.ahead.len(), 4);
    for client in &clients[1..] {
        socket2::SockRef::from(&client.socket).shutdown(std::net::Shutdown::Both).unwrap();
    }
    let until = Instant::now() + Duration::from_secs(20);
    while !clients.iter().all(|client| rig.is_gone(client)) {
        assert!(Instant::now() < until);
        rig.round().await;
    }
    assert!(rig.slab.ahead.is_empty());
}

// Attack: they have gone before they begin, and each asks for a topic that nobody else has.
#[tokio::test]
async fn nothing_is_kept_of_a_stream_that_goes_before_it_waits() {
    let mut rig = Rig::placed();
    rig.round().await;
    for number in 0..3 {
        let topic = Topic::parse(&format!("t{number}")).unwrap();
        let socket = rig.arrive(heard(vec![topic]), None, "w1-3e8-1").await;
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        rig.round().await;
    }
    assert_eq!((rig.slab.opened, rig.slab.free.len()), (3, 1));
    assert!(rig.slab.ahead.is_empty() && rig.slab.same.is_empty());
}
