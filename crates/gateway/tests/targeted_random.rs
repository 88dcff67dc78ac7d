//! Streams of all kinds against a filter of the whole sequence of events (C4).
//!
//! Not for single promises (`targeted.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use sse_gateway::{Batch, Config, Settings};
use sse_proto::admission::{Event as Facts, Subscriber, admits};
use sse_proto::annotation::Access;
use sse_proto::caller::Caller;
use sse_proto::record::{Emitter, Envelope, Record};
use sse_proto::scope::{Scope, ScopeValue};
use sse_proto::word::{ExecutionId, Topic};
use support::people::{Person, with_secret};
use support::{TestGateway, config};

/// Data of the last gap of the random test.
const END: &str = "{\"reason\": \"overflow\", \"missed\": null}";

/// What is published in the random test; `None` of `scope` is an overflow for everybody.
#[derive(Debug, Clone)]
struct Item {
    scope: Option<Scope>,
    access: Access,
    topic: Option<&'static str>,
    execution_id: Option<&'static str>,
    emitter: Option<Person>,
    caller: Option<Caller<'static>>,
    data: String,
    too_large: bool,
    is_end: bool,
}

impl Item {
    fn with_envelope<R>(&self, f: impl FnOnce(Envelope<'_>) -> R) -> Option<R> {
        let emitter = self.emitter.as_ref().map(|person| Emitter {
            user_id: Some(person.id).filter(|text| !text.is_empty()),
            user_name: Some(person.name).filter(|text| !text.is_empty()),
            roles: person.roles.to_vec(),
        });
        Some(f(Envelope {
            scope: Cow::Borrowed(self.scope.as_ref()?),
            access: Cow::Borrowed(&self.access),
            topic: self.topic,
            execution_id: self.execution_id,
            emitter,
            caller: self.caller,
            ..Envelope::for_all()
        }))
    }

    fn push(&self, batch: &mut Batch) {
        let record = self.with_envelope(|envelope| {
            let record = if self.too_large {
                Record::TooLarge { envelope }
            } else {
                Record::Event { envelope, data: &self.data }
            };
            record.encode().unwrap()
        });
        match record {
            Some(record) => batch.push_record(&record),
            None => batch.push_overflow(Some(9)),
        }
    }

    fn is_for(&self, subscriber: &Subscriber<'_>) -> bool {
        self.with_envelope(|envelope| admits(&Facts::from(&envelope), subscriber)).unwrap_or(true)
    }

    fn expected(&self) -> (&str, &str) {
        match (&self.scope, self.too_large) {
            _ if self.is_end => ("sse.gap", END),
            (None, _) => ("sse.gap", "{\"reason\": \"overflow\", \"missed\": 9}"),
            (_, true) => ("sse.gap", "{\"reason\": \"too_large\", \"missed\": 1}"),
            _ => ("", &self.data),
        }
    }
}

struct Random(fastrand::Rng);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0.usize(..n)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn value(&mut self) -> ScopeValue {
        let name = self.pick(&["1", "2", "alice", "BOB", "staff", "Admin", "none"]).to_owned();
        match self.below(4) {
            0 => ScopeValue::Any(name),
            1 => ScopeValue::Id(name),
            2 => ScopeValue::Name(name),
            _ => ScopeValue::Role(name),
        }
    }

    fn values(&mut self) -> Vec<ScopeValue> {
        let n = if self.below(20) == 0 { 100 } else { self.below(3) };
        (0..n).map(|_| self.value()).collect()
    }

    fn person(&mut self) -> Person {
        const ROLES: [&[&str]; 4] = [&[], &["staff"], &["ADMIN", "staff"], &["ops"]];
        let anonymous = self.below(4) == 0;
        Person {
            anonymous,
            id: self.pick(&["1", "2", "3"]),
            name: self.pick(&["alice", "bob", "Carol"]),
            roles: self.pick(&ROLES),
        }
    }

    fn caller(&mut self) -> Caller<'static> {
        let user_id = self.pick(&[None, None, Some(""), Some("1"), Some("2"), Some("3")]);
        Caller {
            call: 1 + self.below(3) as u64,
            is_authenticated: user_id.is_some(),
            user_id,
            execution_id: self.pick(&[None, Some("x"), Some("x"), Some("other")]),
            has_made_id: self.below(2) == 0,
        }
    }

    fn item(&mut self) -> Item {
        let scope = match self.below(40) {
            0 => None,
            1..=12 => Some(Scope::All),
            13..=25 => Some(Scope::Authorize(self.values())),
            26..=30 => Some(Scope::Caller),
            31..=38 => Some(Scope::Matching),
            _ => Some(Scope::Nobody),
        };
        let access = match self.below(3) {
            0 => Access::Unspecified,
            1 => Access::Anonymous,
            _ => Access::Authorize(self.values()),
        };
        let len = if self.below(50) == 0 { 20_000 } else { self.below(2000) };
        Item {
            scope,
            access,
            topic: self.pick(&[None, None, Some("t"), Some("u v")]),
            execution_id: self.pick(&[None, None, Some("x"), Some("y")]),
            emitter: (self.below(2) == 0).then(|| self.person()),
            caller: (self.below(3) > 0).then(|| self.caller()),
            data: format!("{:x}{}", self.below(1 << 20), "-".repeat(len)),
            too_large: self.below(30) == 0,
            is_end: false,
        }
    }
}

/// One connection, as its peer saw it.
struct Seen {
    person: Person,
    topics: Vec<&'static str>,
    execution_id: Option<&'static str>,
    from: u64,
    events: Vec<support::peer::Event>,
}

fn sequence(id: &str) -> u64 {
    u64::from_str_radix(id.split_once('-').unwrap().1, 16).unwrap()
}

/// Connects, reads, sleeps, disconnects and resumes until everything was published and one connection has
/// seen the end.
fn subscribe(port: u16, mut random: Random, over: &AtomicBool, seen: &Mutex<Vec<Seen>>) {
    loop {
        let mut person = random.person();
        let topics = random.pick(&[vec![], vec![], vec!["t"], vec!["u v", "t"], vec!["none"]]);
        let execution_id = random.pick(&[None, None, Some("x"), Some("other")]);
        let mut query: Vec<String> =
            topics.iter().map(|topic| format!("topic={}", topic.replace(' ', "+"))).collect();
        query.extend(execution_id.map(|id| format!("id={id}")));
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let mut last = String::new();
        for _ in 0..1 + random.below(4) {
            // Now and then somebody else comes back with the id, or the same one with other roles.
            if random.below(3) == 0 {
                person = random.person();
            }
            let mut stream = person.open(port, random.pick(&["1.0", "1.1", "1.1"]), &query, &last);
            let ready = stream.next();
            assert_eq!(ready.name, "sse.ready");
            let mut one = Seen {
                person: person.clone(),
                topics: topics.clone(),
                execution_id,
                from: sequence(&ready.id),
                events: Vec::new(),
            };
            last = ready.id;
            let mut is_over = false;
            let patience = if over.load(Ordering::Relaxed) { usize::MAX } else { 1 + random.below(400) };
            let slowness = random.pick(&[0, 0, 0, 2, 30]);
            while one.events.len() < patience {
                // Now and then a slow one is cut, and comes back.
                let Ok(event) = stream.try_next() else { break };
                last.clone_from(&event.id);
                is_over = event.data == END;
                one.events.push(event);
                if is_over {
                    break;
                }
                std::thread::sleep(Duration::from_millis(slowness));
            }
            seen.lock().unwrap().push(one);
            if is_over {
                return;
            }
        }
    }
}

impl Seen {
    /// Compares with what the naive model says.
    fn check(&self, all: &[Item], seed: u64) {
        let identity = self.person.identity();
        let topics: Vec<Topic> = self.topics.iter().map(|topic| Topic::parse(topic).unwrap()).collect();
        let execution_id = self.execution_id.map(|id| ExecutionId::parse(id).unwrap());
        let subscriber = Subscriber {
            identity: identity.as_ref(),
            topics: &topics,
            execution_id: execution_id.as_ref(),
            call: None,
        };
        let who = || format!("seed {seed}: {:?} {:?} {:?}", self.person, self.topics, self.execution_id);
        let mut position = self.from;
        for event in &self.events {
            let at = sequence(&event.id);
            let is_gap = |reason: &str| {
                event.name == "sse.gap" && event.data.contains(&format!("\"reason\": \"{reason}\""))
            };
            let mut between = (position + 1..=at).filter(|n| all[*n as usize - 1].is_for(&subscriber));
            if is_gap("slow") || is_gap("expired") {
                let missed = between.count();
                assert!(missed > 0 || is_gap("expired"), "{}: slow, but missed nothing at {at}", who());
                let exact = format!("\"missed\": {missed}}}");
                let says = event.data.ends_with(&exact) || event.data.ends_with("\"missed\": null}");
                assert!(says, "{}: {event:?}, but {exact}", who());
            } else {
                assert_eq!(between.next(), Some(at), "{}: hole, double or leak behind {position}", who());
                assert_eq!((&*event.name, &*event.data), all[at as usize - 1].expected(), "{}", who());
            }
            position = at;
        }
    }
}

#[test]
fn every_stream_gets_what_a_filter_of_the_whole_sequence_gives_whoever_comes_goes_lags_and_returns() {
    random_streams(1);
}

// Who returns comes to any of them, and some of them lag behind.
#[test]
fn every_stream_gets_the_same_from_several_threads() {
    random_streams(3);
}

fn random_streams(threads: usize) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    let seconds = std::env::var("SECONDS_OF_RANDOM").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    println!("SEED={seed}");
    let settings = Settings { window_size: 400_000, ..with_secret() };
    let gateway = Arc::new(TestGateway::configured(Config { threads, ..config() }, settings));
    let mut random = Random(fastrand::Rng::with_seed(seed));
    let over = Arc::new(AtomicBool::new(false));
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let subscribers: Vec<_> = (0..16)
        .map(|_| {
            let (over, seen) = (Arc::clone(&over), Arc::clone(&seen));
            let (port, random) = (gateway.port(), Random(random.0.fork()));
            std::thread::spawn(move || subscribe(port, random, &over, &seen))
        })
        .collect();
    let mut all: Vec<Item> = Vec::new();
    let until = std::time::Instant::now() + Duration::from_secs(seconds);
    while std::time::Instant::now() < until {
        let items: Vec<Item> = (0..1 + random.below(8)).map(|_| random.item()).collect();
        gateway.publish_batch(|batch| items.iter().for_each(|item| item.push(batch)));
        all.extend(items);
        std::thread::sleep(Duration::from_millis(random.pick(&[0, 0, 1, 3])));
    }
    over.store(true, Ordering::Relaxed);
    // Again and again, for those that come only now.
    while !subscribers.iter().all(JoinHandle::is_finished) {
        gateway.publish_batch(|batch| batch.push_overflow(None));
        all.push(Item { scope: None, is_end: true, ..random.item() });
        std::thread::sleep(Duration::from_millis(20));
    }
    for subscriber in subscribers {
        subscriber.join().unwrap();
    }
    let seen = seen.lock().unwrap();
    let events: usize = seen.iter().map(|seen| seen.events.len()).sum();
    let gaps = |reason: &str| {
        let is_gap = |event: &&support::peer::Event| event.name == "sse.gap" && event.data.contains(reason);
        seen.iter().flat_map(|seen| &seen.events).filter(is_gap).count()
    };
    println!(
        "{} items, {} streams, {events} events, {} slow, {} expired",
        all.len(),
        seen.len(),
        gaps("slow"),
        gaps("expired")
    );
    seen.iter().for_each(|seen| seen.check(&all, seed));
    assert!(seen.len() > 30 && events > 1000);
}
