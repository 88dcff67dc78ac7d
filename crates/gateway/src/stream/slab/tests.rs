#![allow(clippy::unwrap_used)]
//! A slab that is driven round by round, with streams over real sockets.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::bounded;
use sse_proto::record::{Envelope, Record};
use sse_proto::scope::Scope;
use sse_proto::sse::append_chunk;
use sse_proto::word::Topic;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::between::outbox::{Inbox, errand_channel};
use crate::between::publisher::Published;
use crate::entry::admission::{SocketPermit, StreamPermit};
use crate::entry::peer::Peer;
use crate::room::{Rooms, held};
use crate::stream::audience::Recipient;
use crate::stream::parcel::{Parcel, SlotAddress, Then};
use crate::stream::socket::Socket;
use crate::stream::stream_log::{Cursor, Framing};
use crate::stream::subscribe::{Newcomer, Subscription};
use crate::stream::terms::Terms;
use crate::stream::wire::Wire;

mod ahead;
mod counts;
mod followers;
mod survey;
mod terms;
mod unwatched;

/// Bytes read at a time.
const SPACE: usize = 64 << 10;

struct Rig {
    slab: Slab,
    batches: Sender<Arc<Batch>>,
    next_sequence: u64,
    inbox: Inbox,
}

struct Client {
    socket: TcpStream,
    address: SlotAddress,
}

impl Rig {
    fn new() -> Self {
        Self::over(Published::default())
    }

    fn over(published: Published) -> Self {
        let (outbox, inbox) = errand_channel(Arc::default()).unwrap();
        let settings = Arc::new(Settings::default());
        let shared = Shared::new(0xe, None, 1, settings, Arc::default(), outbox);
        let shared = Arc::new(shared.publishing(published));
        let (batches, receiver) = bounded(64);
        let incoming = Incoming::new(Arc::clone(&shared.bells[0]), receiver.clone());
        Self { slab: Slab::new(0, shared, receiver, incoming).unwrap(), batches, next_sequence: 1, inbox }
    }

    async fn client(&mut self) -> Client {
        self.join(Vec::new(), None, "").await.0
    }

    /// A stream, and what it was sent at its beginning.
    async fn join(&mut self, topics: Vec<Topic>, terms: Option<Terms>, last: &str) -> (Client, String) {
        self.join_as(heard(topics), terms, last).await
    }

    /// The same, of this recipient.
    async fn join_as(&mut self, recipient: Recipient, terms: Option<Terms>, last: &str) -> (Client, String) {
        let index = self.slab.free.last().map_or(self.slab.slots.len(), |index| *index as usize);
        let socket = self.arrive(recipient, terms, last).await;
        self.round().await;
        let mut client = Client { socket, address: self.slab.address_of(index) };
        let beginning = client.read_to("sse.ready").await;
        assert!(beginning.contains(": connected"));
        (client, beginning)
    }

    /// The peer of a stream that the next round takes in.
    async fn arrive(&mut self, recipient: Recipient, terms: Option<Terms>, last: &str) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        let counts = &self.slab.shared.counts;
        let limits = self.slab.shared.stream_limits();
        self.slab.incoming.push(Newcomer {
            wire: Wire::Own(Socket::Plain(accepted).into_stream().unwrap()),
            framing: Framing::Chunked,
            head: Vec::new(),
            subscription: Subscription::of(recipient, "/api/x/live", terms, None),
            last_event_id: last.as_bytes().to_vec(),
            call: None,
            stream_permit: StreamPermit::try_new(counts, limits, peer.ip(), true).ok().unwrap(),
            open_socket: SocketPermit::try_new(counts, 1000, Peer::plain(peer.ip()))
                .map(SocketPermit::become_stream),
        });
        socket
    }

    fn publish(&mut self, data: &str) -> u64 {
        self.publish_of(data, None)
    }

    /// The event of a transaction.
    fn publish_of(&mut self, data: &str, xid: Option<u64>) -> u64 {
        self.publish_all(&[data], Envelope { xid: xid.and_then(NonZeroU64::new), ..Envelope::for_all() })
    }

    /// Events, in one batch.
    fn publish_all(&mut self, data: &[&str], envelope: Envelope<'_>) -> u64 {
        let mut batch = Batch::new(self.next_sequence);
        for data in data {
            batch.push_record(&Record::Event { envelope: envelope.clone(), data }.encode().unwrap());
        }
        self.next_sequence = batch.next_sequence();
        self.batches.send(Arc::new(batch)).unwrap();
        self.next_sequence - 1
    }

    /// What [`Slab::run`] does in a round.
    async fn round(&mut self) {
        // The sockets' readiness comes from the runtime.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.slab.note_routes();
        let has_public = self.slab.take_batches();
        self.slab.tell_all(self.slab.first).await;
        self.slab.let_on();
        self.slab.admit();
        self.slab.serve_ready();
        if has_public {
            self.slab.walk().await;
        }
        self.slab.serve_takers().await;
        self.slab.keep_accord();
        self.slab.evict();
    }

    /// Rounds, until this stream has read so far; all that it has read.
    async fn rounds_to(&mut self, mut client: Client, text: &str) -> String {
        let text = text.to_owned();
        let reading = tokio::spawn(async move { client.read_to(&text).await });
        while !reading.is_finished() {
            self.round().await;
        }
        reading.await.unwrap()
    }

    fn send(&mut self, client: &Client, parcel: Parcel) {
        self.slab.give(client.address, parcel);
    }

    fn slot(&mut self, client: &Client) -> &mut Slot {
        self.slab.slots[client.address.index as usize].as_mut().unwrap()
    }
}

/// Who has no name and hears these.
fn heard(topics: Vec<Topic>) -> Recipient {
    Recipient { identity: None, topics: topics.into(), execution_id: None, call: None }
}

impl Client {
    /// Reads until what was read contains this, and returns all of it.
    async fn read_to(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        loop {
            let recent = String::from_utf8_lossy(&read[read.len().saturating_sub(2 * SPACE)..]);
            if recent.contains(text) {
                return String::from_utf8_lossy(&read).into_owned();
            }
            let more = async {
                self.socket.readable().await.unwrap();
                let mut space = [0; SPACE];
                match self.socket.try_read(&mut space) {
                    Ok(0) => panic!("the end, after {recent}"),
                    Ok(n) => space[..n].to_vec(),
                    Err(_) => Vec::new(),
                }
            };
            let more = tokio::time::timeout(Duration::from_secs(10), more).await;
            read.extend(more.unwrap_or_else(|_| panic!("no {text} after {recent}")));
        }
    }

    fn reads_nothing(&self) -> bool {
        self.socket.try_read(&mut [0; 1]).is_err()
    }
}

fn parcel(block: &str) -> Parcel {
    let mut bytes = Vec::new();
    append_chunk(&mut bytes, block.as_bytes());
    Parcel { bytes: bytes.into(), then: Then::GoOn }
}

#[tokio::test]
async fn a_parcel_for_a_stream_that_has_gone_is_dropped_with_its_memory() {
    let mut rig = Rig::new();
    let first = rig.client().await;
    let rooms = Rooms::default();
    let counted = || {
        let mut room = rooms.room("203.0.113.9".parse().unwrap());
        assert!(room.try_grow(7, 1000));
        Parcel { bytes: held(b"3\r\n:\n\n\r\n".to_vec(), Some(room)), then: Then::GoOn }
    };
    let late = rig.client().await;
    // It hangs up; another stream gets its slot.
    let address = first.address;
    drop(first);
    rig.round().await;
    let mut second = rig.client().await;
    assert_eq!(second.address.index, address.index);
    assert_ne!(second.address, address);
    rig.slab.give(address, counted());
    assert!(rooms.is_empty() && second.reads_nothing() && late.reads_nothing());
    // What is written is free, too.
    rig.send(&second, counted());
    rig.round().await;
    second.read_to(":").await;
    assert!(rooms.is_empty());
}

#[tokio::test]
async fn a_stream_that_is_held_gets_heartbeats_until_a_parcel_lets_it_go_on() {
    let mut rig = Rig::new();
    let mut client = rig.client().await;
    rig.slot(&client).hold();
    rig.publish("one");
    rig.round().await;
    assert!(client.reads_nothing());
    rig.slab.now = 60_000;
    rig.slab.sweep();
    assert_eq!(client.read_to(":").await, "3\r\n:\n\n\r\n");
    rig.send(&client, parcel("data: state\n\n"));
    rig.round().await;
    let read = client.read_to("one").await;
    assert!(read.find("state") < read.find("one"), "{read}");
    rig.publish("two");
    rig.round().await;
    client.read_to("two").await;
}

#[tokio::test]
async fn a_parcel_does_not_break_into_an_event_that_is_half_written() {
    let mut rig = Rig::new();
    let mut client = rig.client().await;
    let large = "x".repeat(8 << 20);
    rig.publish(&large);
    rig.publish("after");
    rig.round().await;
    assert!(rig.slot(&client).is_blocked());
    rig.send(&client, parcel("data: parcel\n\n"));
    let socket = std::mem::replace(&mut client.socket, dummy().await);
    let reading = tokio::spawn(async move {
        let mut client = Client { socket, ..client };
        client.read_to("after").await
    });
    while !reading.is_finished() {
        rig.round().await;
    }
    let read = reading.await.unwrap();
    let expected = format!("data: {large}\n\n\r\ne\r\ndata: parcel\n\n\r\n");
    assert!(read.contains(&expected[expected.len() - 100..]), "{}", &read[read.len() - 200..]);
    assert!(read.contains(&large));
}

#[tokio::test]
async fn a_stream_that_is_held_ends_when_the_gateway_stops() {
    let mut rig = Rig::new();
    let mut client = rig.client().await;
    rig.slot(&client).hold();
    rig.publish("one");
    rig.round().await;
    rig.slot(&client).end();
    rig.slab.visit(client.address.index as usize);
    assert_eq!(client.read_to("0\r\n\r\n").await, "0\r\n\r\n");
}

// Otherwise a burst costs two writes for each stream: one for its first event, one for all others.
#[tokio::test]
async fn what_comes_while_streams_are_served_goes_to_all_of_them_within_the_same_round() {
    let mut rig = Rig::new();
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(rig.client().await);
    }
    let for_user = Scope::parse("authorize id:nobody").unwrap();
    rig.publish("one");
    assert!(rig.slab.take_batches());
    rig.publish("two");
    rig.publish_all(&["three"], Envelope { scope: Cow::Borrowed(&for_user), ..Envelope::for_all() });
    rig.publish("four");
    rig.slab.walk().await;
    assert!(rig.slab.batches.is_empty());
    for client in &mut clients {
        let read = client.read_to("four").await;
        let places = ["one", "two", "four"].map(|data| read.find(&format!("data: {data}\n")));
        assert!(places.is_sorted() && !places.contains(&None) && !read.contains("three"), "{read}");
        assert_eq!(read.matches("data: ").count(), 3, "{read}");
    }
    assert_eq!(rig.slab.tally.deliveries, 300);
}

// Else events without a pause would keep everything else of the thread waiting.
#[tokio::test]
async fn a_round_that_has_taken_in_a_megabyte_takes_nothing_more() {
    let mut rig = Rig::new();
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(rig.client().await);
    }
    rig.publish(&"x".repeat(600 << 10));
    assert!(rig.slab.take_batches());
    rig.publish(&"x".repeat(600 << 10));
    rig.publish("later");
    rig.slab.walk().await;
    assert_eq!((rig.slab.batches.len(), rig.slab.log.head()), (1, 2));
}

async fn dummy() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()
}

#[test]
fn an_address_is_small_enough_to_be_kept_for_each_waker() {
    assert_eq!(size_of::<SlotAddress>(), 8);
    drop(Bytes::new());
}

#[tokio::test]
async fn of_an_event_that_leaves_the_window_16_kb_are_kept_for_a_stream_that_is_in_the_middle_of_it() {
    for (rest, is_kept) in [(16_383, true), (16_384, true), (16_385, false)] {
        let mut rig = Rig::new();
        let client = rig.client().await;
        let sequence = rig.publish(&"x".repeat(30_000));
        rig.slab.take_batches();
        let len = rig.slab.log.rest(Cursor::before(sequence), Framing::Chunked).len();
        let log = std::mem::replace(&mut rig.slab.log, StreamLog::new(0xe));
        assert_eq!(rig.slot(&client).keeps_rest(&log, sequence, len - rest), is_kept, "{rest}");
    }
}
