//! The model with which `stream_log` is compared: a list of everything that was published, and `admits`.

use std::borrow::Cow;

use arbitrary::Arbitrary;
use sse_gateway::Batch;
use sse_gateway::fuzzing::{Begun, Listening, Window};
use sse_proto::admission::{self, admits};
use sse_proto::annotation::Access;
use sse_proto::identity::Identity;
use sse_proto::record::{Emitter, Envelope, Record, decode};
use sse_proto::scope::{Scope, ScopeValue};
use sse_proto::sse::{EventId, GapReason};
use sse_proto::word::{ExecutionId, Topic};

use crate::whatwg::Event;

/// What is published: mostly events that concern many, so that few bytes of input make much happen.
#[derive(Arbitrary, Debug)]
pub enum Draft {
    Plain(String),
    ToOne(Value, String),
    OnTopic(Label),
    Any(Item),
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Item {
    what: What,
    scope: Whom,
    access: Rule,
    topic: Option<Label>,
    execution_id: Option<Label>,
    emitter: Option<(Name, Name, Vec<Name>)>,
}

#[derive(Arbitrary, Clone, Debug)]
enum What {
    Event(String),
    /// With the name `large` and this many kilobytes of data.
    Large(u8),
    TooLarge,
    Overflow(Option<u8>),
    /// Bytes that are no record.
    Broken(u8),
    /// A record that is no part of the stream.
    Catalog,
}

#[derive(Arbitrary, Clone, Debug)]
enum Whom {
    All,
    Authorize(Vec<Value>),
    /// More values than an event is filed under.
    Many(Value),
    Matching,
    Nobody,
}

#[derive(Arbitrary, Clone, Debug)]
enum Rule {
    Unspecified,
    Anonymous,
    Authorize(Vec<Value>),
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Value {
    Any(Name),
    Id(Name),
    Name(Name),
    Role(Name),
}

/// Few, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Alice,
    Bob,
    SmallBob,
    Staff,
    Empty,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    A,
    B,
    C,
}

#[derive(Arbitrary, Clone, Debug, Default)]
pub struct Who {
    identity: Option<(Name, Name, Vec<Name>)>,
    topics: Vec<Label>,
    execution_id: Option<Label>,
    pub is_http_10: bool,
}

/// The id with which a subscriber comes.
#[derive(Arbitrary, Debug)]
pub enum Resume {
    Live,
    Back(u8),
    /// This far ahead of the window, where others have been sent events up to a point this far ahead.
    Ahead(u8, u8),
    Epoch(u64, u64),
    Bytes(Vec<u8>),
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "Bob",
            Self::SmallBob => "bob",
            Self::Staff => "staff",
            Self::Empty => "",
        }
    }
}

impl Label {
    fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "C",
        }
    }
}

impl Value {
    fn value(&self) -> ScopeValue {
        match self {
            Self::Any(name) => ScopeValue::Any(name.text().to_owned()),
            Self::Id(name) => ScopeValue::Id(name.text().to_owned()),
            Self::Name(name) => ScopeValue::Name(name.text().to_owned()),
            Self::Role(name) => ScopeValue::Role(name.text().to_owned()),
        }
    }
}

fn texts(names: &[Name]) -> Vec<&'static str> {
    names.iter().map(|name| name.text()).collect()
}

impl From<Draft> for Item {
    fn from(draft: Draft) -> Self {
        let (what, scope, topic) = match draft {
            Draft::Plain(text) => (What::Event(text), Whom::All, None),
            Draft::ToOne(value, text) => (What::Event(text), Whom::Authorize(vec![value]), None),
            Draft::OnTopic(label) => (What::Event(String::new()), Whom::All, Some(label)),
            Draft::Any(item) => return item,
        };
        Self { what, scope, access: Rule::Unspecified, topic, execution_id: None, emitter: None }
    }
}

impl Item {
    fn envelope(&self) -> Envelope<'_> {
        let values = |values: &[Value]| values.iter().map(Value::value).collect();
        let scope = match &self.scope {
            Whom::All => Scope::All,
            Whom::Authorize(list) => Scope::Authorize(values(list)),
            Whom::Many(value) => {
                let others = (0..80).map(|n| ScopeValue::Id(format!("nobody {n}")));
                Scope::Authorize(others.chain([value.value()]).collect())
            }
            Whom::Matching => Scope::Matching,
            Whom::Nobody => Scope::Nobody,
        };
        let access = match &self.access {
            Rule::Unspecified => Access::Unspecified,
            Rule::Anonymous => Access::Anonymous,
            Rule::Authorize(list) => Access::Authorize(values(list)),
        };
        let emitter = self.emitter.as_ref().map(|(id, name, roles)| Emitter {
            user_id: Some(id.text()),
            user_name: Some(name.text()),
            roles: texts(roles),
        });
        Envelope {
            scope: Cow::Owned(scope),
            access: Cow::Owned(access),
            topic: self.topic.map(Label::text),
            event: matches!(self.what, What::Large(_)).then_some("large"),
            execution_id: self.execution_id.map(Label::text),
            emitter,
            ..Envelope::for_all()
        }
    }

    pub fn push(&self, batch: &mut Batch) {
        let envelope = self.envelope();
        let data;
        let record = match &self.what {
            What::Event(text) => Record::Event { envelope, data: text },
            What::Large(kilobytes) => {
                data = large(*kilobytes);
                Record::Event { envelope, data: &data }
            }
            What::TooLarge => Record::TooLarge { envelope },
            What::Overflow(missed) => return batch.push_overflow(missed.map(u64::from)),
            What::Broken(byte) => {
                let bytes = vec![0xff; usize::from(*byte)];
                assert!(decode(&bytes).is_err());
                return batch.push_record(&bytes);
            }
            What::Catalog => Record::CatalogEnd { reading: 1, count: 0 },
        };
        batch.push_record(&record.encode().expect("a small record"));
    }

    /// What a subscriber sees of it.
    pub fn seen_by(&self, who: &Who, id: EventId) -> Option<Event> {
        let gap = |reason, missed: Option<u64>| {
            let missed = missed.map_or("null".to_owned(), |missed| missed.to_string());
            ("sse.gap", format!("{{\"reason\": \"{reason}\", \"missed\": {missed}}}"))
        };
        let (name, data) = match &self.what {
            What::Event(text) => ("message", text.replace("\r\n", "\n").replace('\r', "\n")),
            What::Large(kilobytes) => ("large", large(*kilobytes)),
            What::TooLarge => gap("too_large", Some(1)),
            What::Overflow(missed) => gap("overflow", missed.map(u64::from)),
            What::Broken(_) => gap("overflow", Some(1)),
            What::Catalog => return None,
        };
        let is_for_all = matches!(self.what, What::Overflow(_) | What::Broken(_));
        let is_seen = is_for_all || who.gets(&self.envelope());
        is_seen.then(|| Event { name: name.to_owned(), data, last_event_id: id.to_string() })
    }

    /// One event, and nothing else.
    fn is_event(&self) -> bool {
        matches!(self.what, What::Event(_) | What::Large(_))
    }

    /// One event for everybody who asks for no topics.
    fn is_plain(&self) -> bool {
        let is_open = matches!(self.scope, Whom::All) && self.topic.is_none() && self.execution_id.is_none();
        self.is_event() && is_open
    }
}

/// Large ones are larger than a segment.
fn large(kilobytes: u8) -> String {
    "x".repeat(usize::from(kilobytes) * 1200)
}

impl Who {
    fn identity(&self) -> Option<Identity> {
        let identity = |(id, name, roles): &(Name, Name, Vec<Name>)| {
            Identity::try_new(Some(id.text()), Some(name.text()), &texts(roles)).unwrap_or_default()
        };
        self.identity.as_ref().map(identity)
    }

    fn topics(&self) -> Vec<Topic> {
        let mut topics: Vec<Topic> = Vec::new();
        for topic in self.topics.iter().filter_map(|label| Topic::parse(label.text()).ok()) {
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        topics
    }

    fn execution_id(&self) -> Option<ExecutionId> {
        self.execution_id.and_then(|label| ExecutionId::parse(label.text()).ok())
    }

    pub fn listening(&self) -> Listening {
        Listening {
            identity: self.identity(),
            topics: self.topics(),
            execution_id: self.execution_id(),
            is_http_10: self.is_http_10,
        }
    }

    fn gets(&self, envelope: &Envelope<'_>) -> bool {
        let (identity, topics, execution_id) = (self.identity(), self.topics(), self.execution_id());
        let subscriber = admission::Subscriber {
            identity: identity.as_ref(),
            topics: &topics,
            execution_id: execution_id.as_ref(),
            call: None,
        };
        admits(&admission::Event::from(envelope), &subscriber)
    }
}

impl Resume {
    /// The bytes of the id, and the newest sequence that anybody may have been sent.
    pub fn id(&self, epoch: u64, head: u64) -> (Vec<u8>, u64) {
        let id = |epoch, sequence| EventId::new(epoch, sequence).to_string().into_bytes();
        match self {
            Self::Live => (Vec::new(), head),
            Self::Back(by) => (id(epoch, head.saturating_sub((*by).into())), head),
            Self::Ahead(by, published) => (id(epoch, head + u64::from(*by)), head + u64::from(*published)),
            Self::Epoch(other, sequence) => (id(*other, *sequence), head),
            Self::Bytes(bytes) => (bytes.clone(), head),
        }
    }

    /// C6.4 and C6.5, written down a second time. `Epoch` and `Bytes` may name a valid id by chance, so only
    /// what holds of every beginning is checked for them.
    pub fn check(&self, begun: &Begun, window: &Window, all: &[Item], who: &Who) {
        let head = window.head();
        let (position, reason) = match self {
            Self::Live => (head, None),
            Self::Back(by) if head.saturating_sub((*by).into()) + 1 < window.base() => {
                (head, Some(GapReason::Expired))
            }
            Self::Back(by) => (head.saturating_sub((*by).into()), None),
            Self::Ahead(by, published) if by > published => (head, Some(GapReason::Unknown)),
            Self::Ahead(by, _) => (head + u64::from(*by), None),
            Self::Epoch(..) | Self::Bytes(_) => {
                assert!(begun.gap.is_none() || begun.position == head, "behind a gap it goes on live");
                assert!(begun.gap.is_some() || begun.position + 1 >= window.base());
                return;
            }
        };
        assert_eq!((begun.position, begun.gap.map(|(reason, _)| reason)), (position, reason));
        if let (Self::Back(by), Some((_, missed))) = (self, begun.gap) {
            let since = &all[head.saturating_sub((*by).into()) as usize..];
            assert_eq!(missed, countable(since, who));
        }
    }
}

/// How many of these items a subscriber misses, where that can be known without knowing whom each item was
/// for (C6.5).
pub fn countable(items: &[Item], who: &Who) -> Option<u64> {
    let can_be_known = who.topics.is_empty() && items.iter().all(Item::is_plain);
    can_be_known.then_some(items.len() as u64)
}
