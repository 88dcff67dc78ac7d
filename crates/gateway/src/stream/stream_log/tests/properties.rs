//! The two lanes, the lists and the merge against a plain list of events that is filtered by `admits`.

use std::cell::Cell;

use proptest::prelude::*;
use sse_proto::admission::{Event, Subscriber, admits};
use sse_proto::annotation::Access;
use sse_proto::caller::Caller;
use sse_proto::record::Emitter;

use super::*;

/// What is published; `None` is an overflow.
#[derive(Debug, Clone)]
struct Item {
    data: String,
    scope: Scope,
    access: Access,
    topic: Option<&'static str>,
    execution_id: Option<&'static str>,
    emitter: Option<Emitter<'static>>,
    caller: Option<Caller<'static>>,
    kind: u8,
}

const NAMES: [&str; 6] = ["alice", "Bob", "bob", "staff", "ADMIN", ""];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn value() -> impl Strategy<Value = ScopeValue> {
    (0..4, name()).prop_map(|(kind, name)| {
        let name = name.to_owned();
        match kind {
            0 => ScopeValue::Any(name),
            1 => ScopeValue::Id(name),
            2 => ScopeValue::Name(name),
            _ => ScopeValue::Role(name),
        }
    })
}

fn values() -> impl Strategy<Value = Vec<ScopeValue>> {
    // Now and then more than an event is filed under.
    prop_oneof![
        8 => prop::collection::vec(value(), 0..4),
        1 => prop::collection::vec(value(), 30..80),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let data = prop_oneof![8 => "[a-c\n]{0,40}", 1 => "x{300}".prop_map(|x| x.repeat(400))];
    let scope = prop_oneof![
        4 => Just(Scope::All),
        4 => values().prop_map(Scope::Authorize),
        2 => Just(Scope::Matching),
        3 => Just(Scope::Caller),
        1 => Just(Scope::Nobody),
    ];
    let access = prop_oneof![
        2 => Just(Access::Unspecified),
        1 => Just(Access::Anonymous),
        2 => values().prop_map(Access::Authorize),
    ];
    let emitter = (prop::option::of(name()), prop::option::of(name()), prop::collection::vec(name(), 0..3))
        .prop_map(|(user_id, user_name, roles)| Emitter { user_id, user_name, roles });
    let topic = prop::sample::select(vec![None, None, Some("t"), Some("u")]);
    let execution_id = prop::sample::select(vec![None, None, Some("x"), Some("y")]);
    let who = (prop::option::of(emitter), prop::option::weighted(0.7, caller()));
    (data, scope, access, topic, execution_id, who, 0u8..20).prop_map(
        |(data, scope, access, topic, execution_id, (emitter, caller), kind)| Item {
            data,
            scope,
            access,
            topic,
            execution_id,
            emitter,
            caller,
            kind,
        },
    )
}

fn caller() -> impl Strategy<Value = Caller<'static>> {
    let user_id = prop::option::of(name());
    let execution_id = prop::sample::select(vec![None, Some("x"), Some("x"), Some("none")]);
    (user_id, execution_id, any::<bool>()).prop_map(|(user_id, execution_id, has_made_id)| Caller {
        call: 5,
        is_authenticated: user_id.is_some(),
        user_id,
        execution_id,
        has_made_id,
    })
}

fn recipients() -> impl Strategy<Value = Recipient> {
    let identity = (prop::option::of(name()), prop::option::of(name()), prop::collection::vec(name(), 0..3))
        .prop_map(|(id, user_name, roles)| Arc::new(Identity::try_new(id, user_name, &roles).unwrap()));
    let topics = prop::sample::select(vec![vec![], vec![], vec!["t"], vec!["t", "u"], vec!["none"]]);
    let execution_id = prop::sample::select(vec![None, None, Some("x"), Some("none")]);
    (prop::option::weighted(0.8, identity), topics, execution_id).prop_map(
        |(identity, topics, execution_id)| Recipient { identity, ..recipient(None, &topics, execution_id) },
    )
}

impl Item {
    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            scope: Cow::Borrowed(&self.scope),
            access: Cow::Borrowed(&self.access),
            topic: self.topic,
            execution_id: self.execution_id,
            emitter: self.emitter.clone(),
            caller: self.caller,
            ..Envelope::for_all()
        }
    }

    fn push(&self, batch: &mut Batch) {
        let envelope = self.envelope();
        let record = match self.kind {
            0 => return batch.push_overflow(Some(3)),
            1 => Record::TooLarge { envelope },
            _ => Record::Event { envelope, data: &self.data },
        };
        batch.push_record(&record.encode().unwrap());
    }

    fn is_for(&self, recipient: &Recipient) -> bool {
        let subscriber = Subscriber {
            identity: recipient.identity.as_deref(),
            topics: &recipient.topics,
            execution_id: recipient.execution_id.as_ref(),
            call: recipient.call,
        };
        self.kind == 0 || admits(&Event::from(&self.envelope()), &subscriber)
    }

    fn encoded(&self, sequence: u64, framing: Framing) -> Vec<u8> {
        let (event, data) = match self.kind {
            0 => (Some("sse.gap"), gap_data(GapReason::Overflow, Some(3))),
            1 => (Some("sse.gap"), gap_data(GapReason::TooLarge, Some(1))),
            _ => (None, self.data.clone()),
        };
        let (mut bare, mut out) = (Vec::new(), Vec::new());
        append_event(&mut bare, sse_proto::sse::EventId::new(EPOCH, sequence), event, &data);
        match framing {
            Framing::Bare => out = bare,
            Framing::Chunked => sse_proto::sse::append_chunk(&mut out, &bare),
        }
        out
    }
}

/// A stream as slab and slot drive it.
struct Driven {
    recipient: Recipient,
    /// What it had seen when it came.
    position: u64,
    framing: Framing,
    cursor: Cursor,
    live: bool,
    got: Vec<u8>,
    expected: Vec<u8>,
    fell_out: bool,
}

fn framing(bare: bool) -> Framing {
    if bare { Framing::Bare } else { Framing::Chunked }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(Vec<Item>),
    /// From so far back; or ahead of the head, as one that another thread has sent more to than this one has
    /// taken in.
    Connect(Recipient, bool, i64),
    Disconnect(usize),
    /// Lets a stream write this many bytes.
    Read(usize, usize),
    Evict(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(item(), 1..6).prop_map(Step::Publish),
        2 => (recipients(), any::<bool>(), -5i64..20).prop_map(|(l, bare, back)| Step::Connect(l, bare, back)),
        1 => (0usize..8).prop_map(Step::Disconnect),
        6 => (0usize..8, 1usize..3000).prop_map(|(who, n)| Step::Read(who, n)),
        1 => (0u64..30).prop_map(Step::Evict),
    ];
    prop::collection::vec(step, 1..60)
}

/// Writes up to `n` bytes; what comes next when they are written.
fn drive(log: &StreamLog, slot: u32, stream: &mut Driven, mut n: usize) {
    let member = log.postings.member(slot).unwrap();
    while n > 0 && !stream.live {
        match log.run(stream.cursor, member, stream.framing) {
            Run::CaughtUp(cursor) => {
                stream.cursor = cursor;
                stream.live = true;
            }
            Run::Paused(cursor) => stream.cursor = cursor,
            Run::FellOut => {
                stream.fell_out = true;
                return;
            }
            Run::Bytes { bytes, from, end } => {
                assert!(!bytes.is_empty());
                let taken = bytes.len().min(n);
                stream.got.extend_from_slice(&bytes[..taken]);
                n -= taken;
                stream.cursor =
                    if taken == bytes.len() { end } else { log.advance(from, taken, stream.framing) };
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Who is connected at any time, reads at any pace and in any framing, resumes from anywhere in the
    /// window, with events for anybody under eviction: gets exactly the events that `admits` lets pass, in
    /// order, whole, once; and is told that it fell out of the window only if it has missed something.
    #[test]
    // The slots are the streams' names.
    // Long because it has one arm for each step that can be drawn.
    #[allow(clippy::needless_range_loop)]
    fn every_stream_gets_what_a_filter_of_the_whole_sequence_gives(steps in steps()) {
        let mut log = StreamLog::new(EPOCH);
        let mut all: Vec<Item> = Vec::new();
        let mut streams: Vec<Option<Driven>> = Vec::new();
        let asked = Cell::new(0);
        for step in steps {
            match step {
                Step::Publish(items) => {
                    let first = log.head() + 1;
                    let mut batch = Batch::new(first);
                    items.iter().for_each(|item| item.push(&mut batch));
                    let appended = log.append(&batch, 0);
                    prop_assert_eq!(appended.undecodable, 0);
                    for (n, item) in items.iter().enumerate() {
                        let sequence = first + n as u64;
                        for stream in streams.iter_mut().flatten() {
                            if sequence > stream.position && item.is_for(&stream.recipient) {
                                stream.expected.extend(item.encoded(sequence, stream.framing));
                            }
                        }
                    }
                    all.extend(items);
                    // As the slab tells them.
                    if appended.has_public {
                        for slot in log.postings.slots(crate::stream::posting::PUBLIC) {
                            let stream = streams[*slot as usize].as_mut().unwrap();
                            if std::mem::take(&mut stream.live) {
                                stream.cursor = stream.cursor.refreshed(first);
                            }
                        }
                    }
                    for sequence in first..=log.head() {
                        for list in log.lists(sequence) {
                            for slot in log.postings.slots(*list) {
                                asked.set(asked.get() + 1);
                                let stream = streams[*slot as usize].as_mut().unwrap();
                                if log.admits(sequence, log.postings.member(*slot).unwrap()) {
                                    if std::mem::take(&mut stream.live) {
                                        stream.cursor = stream.cursor.refreshed(first);
                                    }
                                    stream.cursor.expect(sequence);
                                }
                            }
                        }
                    }
                }
                Step::Connect(recipient, bare, back) => {
                    let position = log.head().saturating_add_signed(-back).max(log.base() - 1);
                    let framing = framing(bare);
                    let mut expected = Vec::new();
                    for (n, item) in all.iter().enumerate().skip(position as usize) {
                        if item.is_for(&recipient) {
                            expected.extend(item.encoded(n as u64 + 1, framing));
                        }
                    }
                    let slot = streams.iter().position(Option::is_none).unwrap_or(streams.len());
                    log.postings.join(slot as u32, recipient.clone());
                    let driven = Driven {
                        recipient, framing, expected, position,
                        cursor: Cursor::before(position + 1),
                        live: false, got: Vec::new(), fell_out: false,
                    };
                    if slot == streams.len() { streams.push(None); }
                    streams[slot] = Some(driven);
                }
                Step::Disconnect(slot) => {
                    if let Some(stream) = streams.get_mut(slot).and_then(Option::take) {
                        prop_assert!(stream.expected.starts_with(&stream.got));
                        log.postings.leave(slot as u32);
                    }
                }
                Step::Read(slot, n) => {
                    if let Some(Some(stream)) = streams.get_mut(slot) {
                        drive(&log, slot as u32, stream, n);
                        prop_assert!(!stream.fell_out);
                        prop_assert!(stream.expected.starts_with(&stream.got));
                    }
                }
                Step::Evict(keep) => {
                    let sequence = log.head().saturating_sub(keep) + 1;
                    if sequence <= log.base() { continue }
                    for slot in 0..streams.len() {
                        let Some(stream) = &mut streams[slot] else { continue };
                        if stream.live { continue }
                        // Half of an event is not evicted under a stream.
                        if stream.cursor.written > 0 && stream.cursor.next < sequence {
                            let rest = log.rest(stream.cursor, stream.framing).to_vec();
                            prop_assert!(!rest.is_empty());
                            stream.got.extend_from_slice(&rest);
                            stream.cursor = Cursor::before(stream.cursor.next + 1);
                        }
                        let member = log.postings.member(slot as u32).unwrap();
                        let next = match log.run(stream.cursor, member, stream.framing) {
                            Run::Bytes { from, .. } => { stream.cursor = from; from.next }
                            Run::CaughtUp(cursor) | Run::Paused(cursor) => { stream.cursor = cursor; cursor.next }
                            Run::FellOut => { prop_assert!(false, "in the window"); 0 }
                        };
                        if next < sequence {
                            // It misses something for certain.
                            prop_assert!(stream.got.len() < stream.expected.len());
                            streams[slot] = None;
                            log.postings.leave(slot as u32);
                        }
                    }
                    log.evict_to(sequence);
                }
            }
        }
        for slot in 0..streams.len() {
            let Some(stream) = &mut streams[slot] else { continue };
            drive(&log, slot as u32, stream, usize::MAX);
            prop_assert!(stream.live && !stream.fell_out);
            prop_assert!(stream.got == stream.expected, "{:?}", stream.recipient);
            log.postings.leave(slot as u32);
        }
        log.evict_to(u64::MAX);
        prop_assert_eq!((log.bytes(), log.postings.len()), (0, 2));
    }
}
