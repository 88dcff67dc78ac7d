//! Sockets that the system does not watch for us.

use tokio::io::AsyncReadExt;

use super::*;
use crate::between::outbox::Errand;

#[tokio::test]
async fn a_stream_whose_socket_cannot_be_watched_is_closed_and_that_is_said() {
    let mut rig = Rig::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let peer = rig.arrive(heard(Vec::new()), None, "").await;
        // Watched already, it cannot be watched once more.
        let address = SlotAddress { index: 77, generation: 7 };
        let mut queue = rig.slab.incoming.queue.borrow_mut();
        let Some(Wire::Own(socket)) = queue.last_mut().map(|newcomer| &mut newcomer.wire) else { panic!() };
        rig.slab.sockets.watch(socket.source(), address).unwrap();
        drop(queue);
        peers.push(peer);
    }
    rig.round().await;
    for mut peer in peers {
        assert_eq!(peer.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
    let stats = &rig.slab.shared.stats;
    assert_eq!(stats.subscribers.load(Ordering::Relaxed) + stats.connections.load(Ordering::Relaxed), 0);
    let said = || rig.inbox.poll(&rig.slab.shared.outbox);
    let Some(Errand::Log { message, .. }) = said() else { panic!("nothing is said") };
    assert!(message.starts_with("a stream cannot be served"), "{message}");
    assert_eq!(said(), None, "once in ten seconds");
    // The place is the next one's.
    let client = rig.client().await;
    assert_eq!((client.address.index, rig.slab.slots.len()), (0, 1));
}
