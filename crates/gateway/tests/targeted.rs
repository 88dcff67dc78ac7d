//! Who gets an event that is not for all: identities, topics and execution ids on real streams (C4).
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
use sse_proto::identity::Identity;
use sse_proto::record::{Emitter, Envelope, Record};
use sse_proto::scope::{Scope, ScopeValue};
use sse_proto::word::{ExecutionId, Topic};
use support::peer::Stream;
use support::tokens::{self, bearer};
use support::{EPOCH, Raise, TestGateway, auth, config, eventually, raise, settings};

/// Somebody, or nobody.
#[derive(Debug, Clone, Default)]
struct Person {
    anonymous: bool,
    id: &'static str,
    name: &'static str,
    roles: &'static [&'static str],
}

impl Person {
    fn token(&self) -> String {
        token(self.id, self.name, self.roles, Duration::from_secs(3600))
    }

    fn identity(&self) -> Option<Identity> {
        (!self.anonymous).then(|| Identity::try_new(Some(self.id), Some(self.name), self.roles).unwrap())
    }

    fn open(&self, port: u16, query: &str, last: &str) -> Stream {
        let mut headers = String::new();
        if !self.anonymous {
            headers = bearer(&self.token());
        }
        if !last.is_empty() {
            headers.push_str(&format!("Last-Event-ID: {last}\r\n"));
        }
        Stream::get(port, &format!("/api/events/info{query}"), &headers)
    }

    fn ready(&self, port: u16, query: &str) -> Stream {
        let mut stream = self.open(port, query, "");
        assert_eq!(stream.next().name, "sse.ready");
        stream
    }
}

fn token(id: &str, name: &str, roles: &[&str], lifetime: Duration) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let claims = serde_json::json!({
        "user_id": id, "user_name": name, "user_roles": roles,
        "iat": now.as_secs_f64(), "exp": (now + lifetime).as_secs(),
    });
    tokens::token(&claims)
}

fn with_secret() -> Settings {
    Settings { auth: auth(), ..settings() }
}

fn person(id: &'static str, name: &'static str, roles: &'static [&'static str]) -> Person {
    Person { anonymous: false, id, name, roles }
}

fn to(scope: &str, data: &str) -> Raise {
    Raise { scope: Scope::parse(scope).unwrap(), ..raise(data) }
}

#[test]
fn an_event_for_one_user_wakes_that_users_streams_and_no_others() {
    const SUBSCRIBERS: usize = 2000;
    let gateway = TestGateway::with(Settings { max_connections: 10_000, ..with_secret() });
    let mut streams: Vec<Stream> = (0..SUBSCRIBERS)
        .map(|n| {
            let token = token(&n.to_string(), "", &["staff"], Duration::from_secs(3600));
            let headers = bearer(&token);
            Stream::get(gateway.port(), "/api/events/info", &headers)
        })
        .collect();
    for stream in &mut streams {
        assert_eq!(stream.next().name, "sse.ready");
    }
    let counts = || (gateway.count(|stats| &stats.asked_total), gateway.count(|stats| &stats.woken_total));
    for n in [0, 7, SUBSCRIBERS - 1] {
        let before = counts();
        gateway.publish(&[to(&format!("authorize id:{n}"), "yours")]);
        assert_eq!(streams[n].next().data, "yours");
        eventually("counted", || counts() == (before.0 + 1, before.1 + 1));
    }
    // One for somebody who is not there, and one for nobody at all, ask nobody.
    let before = counts();
    gateway.publish(&[to("authorize id:none, name:none", "x"), to("authorize \"\"", "x"), raise("for all")]);
    for stream in &mut streams {
        assert_eq!(stream.next().data, "for all");
    }
    assert_eq!(counts(), before);
    assert_eq!(gateway.count(|stats| &stats.deliveries_total), 3 + SUBSCRIBERS as u64);
}

// An event for one caller among thousands of streams.
#[test]
fn an_event_for_a_caller_asks_the_streams_with_its_execution_id_and_no_others() {
    const SUBSCRIBERS: usize = 300;
    let gateway = TestGateway::with(with_secret());
    let mut streams: Vec<Stream> = (0..SUBSCRIBERS)
        .map(|n| person("1", "alice", &["staff"]).ready(gateway.port(), &format!("?id=x{n}")))
        .collect();
    let mut of_others = [
        person("2", "bob", &[]).ready(gateway.port(), "?id=x7"),
        person("1", "alice", &[]).ready(gateway.port(), ""),
    ];
    let mut in_topic = person("1", "alice", &[]).ready(gateway.port(), "?id=x7&topic=t");
    let counts = || (gateway.count(|stats| &stats.asked_total), gateway.count(|stats| &stats.woken_total));
    let of_alice = Caller {
        call: 5,
        is_authenticated: true,
        user_id: Some("1"),
        execution_id: Some("x7"),
        has_made_id: false,
    };
    let to_caller = |caller, topic: Option<&str>| {
        let topic = topic.map(str::to_owned);
        Raise { scope: Scope::Caller, caller, topic, execution_id: Some("x7".to_owned()), ..raise("yours") }
    };
    for topic in [None, Some("t"), Some("u")] {
        let before = counts();
        gateway.publish(&[to_caller(Some(of_alice), topic)]);
        assert_eq!(streams[7].next().data, "yours");
        assert_eq!(in_topic.next().data, "yours");
        eventually("counted", || counts() == (before.0 + 3, before.1 + 2));
    }
    // Of nobody who could prove it, and of no call.
    let before = counts();
    let undelivered = gateway.count(|stats| &stats.undeliverable_total);
    let anonymous = Caller { is_authenticated: false, user_id: None, ..of_alice };
    gateway.publish(&[
        to_caller(Some(anonymous), None),
        to_caller(Some(Caller { user_id: None, ..of_alice }), None),
        to_caller(Some(Caller { execution_id: None, ..of_alice }), None),
        to_caller(None, None),
        raise("for all"),
    ]);
    for stream in streams.iter_mut().chain(&mut of_others) {
        assert_eq!(stream.next().data, "for all");
    }
    assert_eq!(counts(), before);
    assert_eq!(gateway.count(|stats| &stats.undeliverable_total), undelivered + 1);
    // To whoever has an id that the gateway has made.
    gateway.publish(&[to_caller(Some(Caller { has_made_id: true, ..anonymous }), None)]);
    for stream in [&mut streams[7], &mut of_others[0], &mut in_topic] {
        assert_eq!(stream.next().data, "yours");
    }
}

#[test]
fn each_scope_reaches_whom_it_names() {
    let gateway = TestGateway::with(with_secret());
    let people = [
        Person { anonymous: true, ..Person::default() },
        person("1", "alice", &["admin"]),
        person("2", "Bob", &["Staff", "ops"]),
    ];
    let mut streams: Vec<Stream> = people.iter().map(|person| person.ready(gateway.port(), "")).collect();
    let scopes = [
        ("all", "012"),
        ("authorize", "12"),
        ("authorize 1", "1"),
        ("authorize BOB", "2"),
        ("authorize name:1", ""),
        ("authorize role:staff, id:1", "12"),
        ("authorize nobody", ""),
        ("matching", ""),
    ];
    let raises: Vec<Raise> = scopes.iter().map(|(scope, _)| to(scope, scope)).collect();
    gateway.publish(&raises);
    gateway.say("end");
    for (who, stream) in ["0", "1", "2"].iter().zip(&mut streams) {
        let mut got = Vec::new();
        loop {
            let data = stream.next().data;
            if data == "end" {
                break;
            }
            got.push(data);
        }
        let expected: Vec<&str> =
            scopes.iter().filter(|(_, whom)| whom.contains(who)).map(|(scope, _)| *scope).collect();
        assert_eq!(got, expected, "{who}");
    }
}

#[test]
fn what_is_replayed_is_what_the_returning_one_may_have_now() {
    let gateway = TestGateway::with(with_secret());
    gateway.publish(&[
        raise("all"),
        to("authorize id:1", "for 1"),
        to("authorize role:admin", "for admins"),
        to("authorize", "for all signed in"),
        Raise { topic: Some("t".to_owned()), ..raise("in t") },
    ]);
    let first = format!("{EPOCH:x}-0");
    let replayed = |person: &Person, query: &str, n: usize| {
        let mut stream = person.open(gateway.port(), query, &first);
        assert_eq!(stream.next().id, first);
        let got = stream.take(n);
        gateway.publish(&[raise("end"), Raise { topic: Some("t".to_owned()), ..raise("end") }]);
        // Streams that come later get the "end" of those before.
        while stream.next().data != "end" {}
        got
    };
    let anonymous = Person { anonymous: true, ..Person::default() };
    assert_eq!(replayed(&anonymous, "", 1), ["all"]);
    assert_eq!(replayed(&person("1", "x", &[]), "", 3), ["all", "for 1", "for all signed in"]);
    assert_eq!(replayed(&person("2", "x", &["Admin"]), "", 3), ["all", "for admins", "for all signed in"]);
    assert_eq!(replayed(&anonymous, "?topic=t", 1), ["in t"]);
}

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
            let mut stream = person.open(port, &query, &last);
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
