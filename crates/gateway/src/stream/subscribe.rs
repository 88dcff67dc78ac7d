//! A request for a stream: who asks, for what, and where the stream begins.
//!
//! Not for whether it may: that is `router`. Not for reading query strings: that is `sse_proto::query`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sse_proto::identity::Identity;
use sse_proto::place::Place;
use sse_proto::query::Query;
use sse_proto::route::Route;
use sse_proto::sse::{EventId, GapReason};

use crate::auth::{Revocations, TokenDigest, Verified};
use crate::between::snapshots::Asker;
use crate::entry::admission::{OpenSocket, StreamPermit};
use crate::stream::audience::Recipient;
use crate::stream::of_call::CallTie;
use crate::stream::stream_log::{Cursor, Found, Framing, StreamLog};
use crate::stream::terms::Terms;
use crate::stream::wire::Wire;

/// A stream that is to begin: handed from its connection's task to the slab.
pub(crate) struct Newcomer {
    pub(crate) wire: Wire,
    pub(crate) framing: Framing,
    /// Head of the answer, if the stream itself begins with it.
    pub(crate) head: Vec<u8>,
    pub(crate) subscription: Subscription,
    pub(crate) last_event_id: Vec<u8>,
    pub(crate) stream_permit: StreamPermit,
    /// `None`: the connection is not its own.
    pub(crate) open_socket: Option<OpenSocket>,
    /// The stream is the answer of a call.
    pub(crate) call: Option<Box<CallTie>>,
}

/// Who subscribes to what: everything that decides what a stream is sent, and when it ends. What streams have
/// in common they share.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// What is compared with events. The lists of audiences have it, too.
    pub(crate) recipient: Rc<Recipient>,
    pub(crate) ground: Rc<Ground>,
    /// `None` for the anonymous.
    pub(crate) login: Option<Box<Login>>,
    /// Whether the stream has a snapshot (C7.6).
    pub(crate) follows: bool,
    /// What a snapshot of its own needs.
    pub(crate) asker: Option<Arc<Asker>>,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ground {
    /// The route's path, without the query string (which may carry a token).
    pub(crate) path: Box<str>,
    /// What the route said. The answer of a call has none: it gets what is of its call, whatever routes say.
    pub(crate) terms: Option<Terms>,
}

/// The token that opened a stream.
#[derive(Debug)]
pub(crate) struct Login {
    /// The stream ends when this passes (C4.7).
    pub(crate) expires_at: SystemTime,
    /// When the token was issued, if it says so; for `sse.disconnect` (C4.8), to which a token that does not
    /// say so is old. Of whole seconds it is the beginning.
    issued_at: Option<SystemTime>,
    /// The stream ends when somebody logs out with that token.
    token: TokenDigest,
}

impl Subscription {
    /// `topics` and the execution id are those of the request: the routine's own topic comes first, and each
    /// once (C4.5).
    pub(crate) fn new(route: &Route, query: Query, login: Option<&Verified>, terms: Terms) -> Self {
        let others = query.topics.into_iter().filter(|topic| route.topic.as_ref() != Some(topic));
        let topics = route.topic.iter().cloned().chain(others).collect();
        let recipient = Recipient {
            identity: login.map(|login| Arc::clone(&login.identity)),
            topics,
            execution_id: query.execution_id,
            call: None,
        };
        Self::of(recipient, &route.path, Some(terms), login)
    }

    /// For the answer of a call: of all events those of the call, whatever their topic and execution id.
    pub(crate) fn of_call(call: u64, login: Option<&Verified>, path: &str) -> Self {
        let identity = login.map(|login| Arc::clone(&login.identity));
        let recipient = Recipient { identity, topics: Box::default(), execution_id: None, call: Some(call) };
        Self::of(recipient, path, None, login)
    }

    pub(crate) fn of(
        recipient: Recipient,
        path: &str,
        terms: Option<Terms>,
        login: Option<&Verified>,
    ) -> Self {
        let login = login.map(|login| Login {
            expires_at: login.expires_at,
            issued_at: login.issued_at,
            token: login.digest,
        });
        Self {
            recipient: Rc::new(recipient),
            ground: Rc::new(Ground { path: Box::from(path), terms }),
            login: login.map(Box::new),
            follows: false,
            asker: None,
        }
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.recipient.identity.as_deref()
    }

    /// Whether its stream is to end, because of somebody who was disconnected or has logged out.
    pub(crate) fn is_revoked(&self, revocations: &Revocations) -> bool {
        let user_id = self.identity().and_then(|identity| identity.user_id());
        revocations.is_refused(user_id, self.login.as_ref().and_then(|login| login.issued_at))
            || self.login.as_ref().is_some_and(|login| revocations.is_refused_token(&login.token))
    }
}

/// This many streams may come back in the same moment when all connections break at once. Also the step in
/// which the spread grows.
const NO_FLOOD: u64 = 100;

/// The longest time that the return of many streams is spread over. With 10,000 streams two come back per
/// millisecond, which one runtime thread answers while it goes on delivering; a longer spread would make a
/// connection that broke alone wait for nothing.
const MAX_SPREAD: Duration = Duration::from_secs(5);

/// The `retry:` of a stream that begins while `open` streams are open: the setting, plus its place in a time
/// of one millisecond per open stream, so that streams that are cut together come back one by one (C6.7).
///
/// Said when a stream begins, because a server that crashes and a proxy that is restarted say nothing at the
/// end. `number` counts the streams: successive multiples of the golden ratio lie further apart than random
/// numbers would.
pub(crate) fn retry(setting: Duration, open: u64, number: u64) -> Duration {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let spread = Duration::from_millis(open - open % NO_FLOOD).min(MAX_SPREAD).as_millis() as u64;
    let place = ((number.wrapping_mul(GOLDEN_RATIO) >> 32) * spread) >> 32;
    setting + Duration::from_millis(place)
}

/// Where a stream begins (C6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// Everything up to here has been seen, or is covered by the gap, which carries it.
    pub(crate) position: u64,
    /// What `sse.ready` carries: the position. Before a gap it is the id that was asked for, or else an id
    /// that is never given: a subscriber whose connection breaks between `sse.ready` and the gap is told of
    /// the gap when it comes back.
    pub(crate) ready: EventId,
    pub(crate) gap: Option<Gap>,
    /// A snapshot comes before anything else.
    pub(crate) needs_snapshot: bool,
    /// Everything up to this place of the write-ahead log has been seen, and it is not here yet: the stream
    /// waits for it. So the position says nothing.
    pub(crate) ahead: Option<Place>,
}

/// Why a stream does not begin right after its `Last-Event-ID` (C6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) reason: GapReason,
    pub(crate) missed: Option<u64>,
}

impl Start {
    /// `furthest` is the newest item that any runtime thread may have sent. This thread's log may lag behind
    /// it; the stream then waits for that id instead of being refused.
    pub(crate) fn find(last_event_id: &[u8], log: &StreamLog, furthest: u64, recipient: &Recipient) -> Self {
        if last_event_id.is_empty() {
            return Self::at(log.head(), log.id(log.head()));
        }
        let asked = std::str::from_utf8(last_event_id).ok().and_then(EventId::parse);
        let ready = asked.unwrap_or(log.id_of_nothing());
        let behind_gap =
            |reason, missed| Self { gap: Some(Gap { reason, missed }), ..Self::at(log.head(), ready) };
        match asked.map_or(Found::Lost(GapReason::Unknown), |id| log.find(id, furthest)) {
            Found::Lost(reason) => behind_gap(reason, None),
            Found::At(position) if position + 1 < log.base() => {
                behind_gap(GapReason::Expired, log.missed_since(position, recipient))
            }
            Found::At(position) => Self::at(position, ready),
            Found::Ahead(place) => Self { ahead: Some(place), ..Self::at(log.head(), ready) },
        }
    }

    /// Right after this item.
    fn at(position: u64, ready: EventId) -> Self {
        Self { position, ready, gap: None, needs_snapshot: false, ahead: None }
    }

    /// The same for a stream with a snapshot: it needs one unless it goes on, without a gap, from an id that
    /// says nothing else (C6.4).
    pub(crate) fn of_follower(self, is_resumed: bool) -> Self {
        let needs_snapshot = !is_resumed || self.gap.is_some() || self.ready.is_marked;
        let ready = if needs_snapshot { self.ready.marked() } else { self.ready };
        Self { ready, needs_snapshot, ..self }
    }

    /// An id that comes before the snapshot, if there is one.
    pub(crate) fn mark(self, id: EventId) -> EventId {
        if self.needs_snapshot { id.marked() } else { id }
    }

    /// Where the stream of a call begins: before the call's first event.
    pub(crate) fn of_call(since: u64, log: &StreamLog) -> Self {
        Self::at(since, log.id(since))
    }

    pub(crate) fn cursor(self) -> Cursor {
        Cursor::before(self.position + 1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use crate::between::batch::Batch;

    const SETTING: Duration = Duration::from_secs(2);

    fn start(last_event_id: &str, head: u64, published: u64) -> Start {
        let mut log = StreamLog::new(0xe);
        let mut batch = Batch::new(1);
        (0..head).for_each(|_| batch.push_overflow(None));
        log.append(&batch, 0);
        let recipient = Recipient { identity: None, topics: Box::default(), execution_id: None, call: None };
        Start::find(last_event_id.as_bytes(), &log, published, &recipient)
    }

    // Each thread takes in the events in its own time, and who comes back may come to another one.
    #[test]
    fn an_id_that_another_thread_has_sent_is_known_before_this_one_has_the_event() {
        for (id, head, published, position) in
            [("e-5", 3, 5, 5), ("e-4", 3, 5, 4), ("e-3", 3, 5, 3), ("e-3", 3, 0, 3), ("e-0", 0, 0, 0)]
        {
            let ready = EventId::new(0xe, position);
            assert_eq!(start(id, head, published), Start::at(position, ready), "{id}");
        }
        for (id, head, published) in
            [("e-6", 3, 5), ("e-4", 3, 3), ("e-4", 3, 0), ("e-ffffffffffffffff", 3, 5)]
        {
            let gap = Some(Gap { reason: GapReason::Unknown, missed: None });
            let ready = EventId::parse(id).unwrap();
            assert_eq!(start(id, head, published), Start { gap, ..Start::at(head, ready) }, "{id}");
        }
    }

    #[test]
    fn an_id_of_another_life_of_the_gateway_is_told_as_a_restart_whatever_it_counts() {
        for id in ["f-0", "f-2", "d-3", "f-ffffffffffffffff"] {
            let gap = Some(Gap { reason: GapReason::Restarted, missed: None });
            let ready = EventId::parse(id).unwrap();
            assert_eq!(start(id, 3, 3), Start { gap, ..Start::at(3, ready) }, "{id}");
        }
    }

    /// For each of this many streams that began one after another: how many milliseconds after the setting it
    /// comes back.
    fn returns(streams: u64) -> Vec<u64> {
        let after = |number| retry(SETTING, number, number) - SETTING;
        (1..=streams).map(|number| after(number).as_millis() as u64).collect()
    }

    #[test]
    fn fewer_than_a_hundred_streams_get_the_setting_itself() {
        assert_eq!(returns(99), vec![0; 99]);
        assert!(returns(200).iter().any(|after| *after > 0));
    }

    #[test]
    fn thousands_of_streams_come_back_spread_over_seconds() {
        for (streams, seconds) in [(2_000, 2), (5_000, 5), (100_000, 5)] {
            let returns = returns(streams);
            assert!(returns.iter().all(|after| *after <= seconds * 1000));
            let mut tenths = vec![0; seconds as usize * 10 + 1];
            returns.iter().for_each(|after| tenths[*after as usize / 100] += 1);
            // Those that came early are spread over less, so more come back in the first tenths, but no
            // flood.
            let most = 600 + streams / (seconds * 10);
            assert!(tenths.iter().all(|count| *count <= most), "{streams}: {tenths:?}");
            let late = returns.iter().filter(|after| **after > seconds * 100).count() as u64;
            assert!(late > streams / 2, "{streams}: {late} later than a tenth of the time");
        }
    }

    #[test]
    fn streams_that_begin_at_the_same_load_are_spread_evenly() {
        let mut tenths = [0; 51];
        for number in 7_000..12_000 {
            let after = (retry(SETTING, 10_000, number) - SETTING).as_millis();
            tenths[after as usize / 100] += 1;
        }
        assert!(tenths[..50].iter().all(|count| (95..=105).contains(count)), "{tenths:?}");
        assert_eq!(tenths[50], 0);
    }
}
