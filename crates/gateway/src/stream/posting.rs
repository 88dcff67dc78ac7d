//! Which streams an event may be for, and which events may be for a stream: under each name a list of streams
//! and a list of events.
//!
//! A name is something by which an audience can be found: a user id, a user name, a role, a topic, an
//! execution id, "everyone signed in". Names become numbers where streams and events come in; from there on
//! only numbers are compared. A stream is entered under all of its names. An event is filed under as few
//! names as reach all of its audience: of its topic, its scope and its execution id the choice with the
//! fewest streams. Streams with topics and streams without get different events (C4.5), so each name has one
//! pair of lists for either kind.
//!
//! What is found here is a candidate. Who gets the event is decided by [`Audience::admits`].
//!
//! Not for events of the public lane: these concern every stream without topics.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use sse_proto::caller::Caller;
use sse_proto::scope::{Scope, ScopeValue};

use crate::stream::audience::{Audience, Recipient};

/// Lists that one event is filed under. An event with more names is filed under "everyone signed in" instead:
/// asking a thousand streams costs less than a thousand lists.
const MAX_LISTS: usize = 64;

/// Every stream that takes the public lane.
pub(crate) const PUBLIC: u32 = 0;

/// Every stream with topics. All that these get from the public lane is what is for everybody whatever they
/// asked for: gaps.
pub(crate) const TOPICAL: u32 = 1;

/// Memory of a list, besides its name and its numbers.
const LIST_BYTES: usize = size_of::<List>() + 2 * size_of::<(Rc<str>, u32)>();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Everybody,
    SignedIn,
    UserId,
    UserName,
    Role,
    Topic,
    ExecutionId,
    /// Streams without an execution id: these get events of every execution.
    NoExecutionId,
    /// The stream that is the answer of a call, by the call's number.
    Call,
}

const KINDS: usize = 9;

/// A name. Equal names are equal bytes: names and roles are in lower case (C4.2).
#[derive(Debug, Clone)]
struct Name<'a> {
    kind: Kind,
    topical: bool,
    text: Cow<'a, str>,
}

impl<'a> Name<'a> {
    fn new(kind: Kind, topical: bool, text: &'a str) -> Self {
        let folds =
            matches!(kind, Kind::UserName | Kind::Role) && text.bytes().any(|b| b.is_ascii_uppercase());
        let text = if folds { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
        Self { kind, topical, text }
    }

    /// Call streams are no streams of the public lane, and so are among those with topics.
    fn of_call(call: u64) -> Self {
        Self { kind: Kind::Call, topical: true, text: Cow::Owned(call.to_string()) }
    }

    fn table(&self) -> usize {
        table(self.kind, self.topical)
    }
}

fn table(kind: Kind, topical: bool) -> usize {
    kind as usize * 2 + usize::from(topical)
}

struct List {
    text: Rc<str>,
    table: u8,
    slots: Vec<u32>,
    /// Sequences, ascending.
    events: VecDeque<u64>,
}

/// A stream's place in a list.
#[derive(Debug, Clone, Copy)]
struct Held {
    list: u32,
    position: u32,
}

/// A recipient, and the lists that it is in.
pub(crate) struct Member {
    /// The stream's own.
    pub(crate) recipient: Rc<Recipient>,
    /// Ascending by list.
    held: Box<[Held]>,
}

impl Member {
    /// Number of lists that may hold an event for it.
    pub(crate) fn lists(&self) -> usize {
        self.held.len()
    }
}

/// All lists. Streams are known by their slot.
pub(crate) struct Postings {
    tables: [HashMap<Rc<str>, u32>; 2 * KINDS],
    lists: Vec<List>,
    free: Vec<u32>,
    members: Vec<Option<Member>>,
}

impl Postings {
    pub(crate) fn new() -> Self {
        let mut postings =
            Self { tables: Default::default(), lists: Vec::new(), free: Vec::new(), members: Vec::new() };
        for (topical, number) in [(false, PUBLIC), (true, TOPICAL)] {
            let interned = postings.intern(&Name::new(Kind::Everybody, topical, ""));
            debug_assert_eq!(interned, number);
        }
        postings
    }

    /// Enters a stream into its lists.
    pub(crate) fn join(&mut self, slot: u32, recipient: impl Into<Rc<Recipient>>) {
        let recipient = recipient.into();
        self.leave(slot);
        let names = names_of(&recipient);
        let mut lists: Vec<u32> = names.iter().map(|name| self.intern(name)).collect();
        lists.sort_unstable();
        lists.dedup();
        let enter = |list: u32| {
            let slots = &mut self.lists[list as usize].slots;
            slots.push(slot);
            Held { list, position: slots.len() as u32 - 1 }
        };
        let held = lists.into_iter().map(enter).collect();
        if self.members.len() <= slot as usize {
            self.members.resize_with(slot as usize + 1, || None);
        }
        self.members[slot as usize] = Some(Member { recipient, held });
    }

    pub(crate) fn leave(&mut self, slot: u32) {
        let Some(member) = self.members.get_mut(slot as usize).and_then(Option::take) else { return };
        for held in &member.held {
            let slots = &mut self.lists[held.list as usize].slots;
            slots.swap_remove(held.position as usize);
            if let Some(&moved) = slots.get(held.position as usize)
                && let Some(Some(other)) = self.members.get_mut(moved as usize)
                && let Ok(at) = other.held.binary_search_by_key(&held.list, |held| held.list)
            {
                other.held[at].position = held.position;
            }
            self.forget_if_empty(held.list);
        }
    }

    pub(crate) fn member(&self, slot: u32) -> Option<&Member> {
        self.members.get(slot as usize)?.as_ref()
    }

    /// Files an event, and returns the lists it is filed under: none when it is for nobody, whoever listens.
    /// `of_stream`: the call that has raised it has a stream, to which it goes in any case.
    pub(crate) fn file(&mut self, audience: &Audience, of_stream: Option<u64>, sequence: u64) -> Box<[u32]> {
        let mut names = self.narrowest(audience);
        names.extend(of_stream.map(Name::of_call));
        let mut lists: Vec<u32> = names.iter().map(|name| self.intern(name)).collect();
        lists.sort_unstable();
        lists.dedup();
        for list in &lists {
            self.lists[*list as usize].events.push_back(sequence);
        }
        lists.into_boxed_slice()
    }

    /// Files a gap that is for everybody, for those who do not take the public lane.
    pub(crate) fn file_for_topical(&mut self, sequence: u64) {
        self.lists[TOPICAL as usize].events.push_back(sequence);
    }

    /// Files an event of the public lane for the stream of its call alone, and returns the list.
    pub(crate) fn file_for_call(&mut self, call: u64, sequence: u64) -> u32 {
        let list = self.intern(&Name::of_call(call));
        self.lists[list as usize].events.push_back(sequence);
        list
    }

    /// Takes an event out of its lists, in each of which it must be the oldest.
    pub(crate) fn unfile(&mut self, lists: &[u32], sequence: u64) {
        for list in lists {
            let events = &mut self.lists[*list as usize].events;
            debug_assert_eq!(events.front(), Some(&sequence));
            if events.front() == Some(&sequence) {
                events.pop_front();
            }
            // A list that was long once gives its memory back.
            if events.capacity() > 64 && events.len() < events.capacity() / 4 {
                events.shrink_to(events.len() * 2);
            }
            self.forget_if_empty(*list);
        }
    }

    /// What an event's entries in these lists are counted with, as if each list were there for it alone.
    pub(crate) fn filed_bytes(&self, lists: &[u32]) -> usize {
        let bytes = |list: &u32| {
            LIST_BYTES + self.lists[*list as usize].text.len() + size_of::<u64>() + size_of::<u32>()
        };
        lists.iter().map(bytes).sum()
    }

    /// The streams in a list.
    pub(crate) fn slots(&self, list: u32) -> &[u32] {
        self.lists.get(list as usize).map_or(&[], |list| &list.slots)
    }

    /// The first event at or after `from` that is in one of a stream's lists.
    pub(crate) fn first_event(&self, member: &Member, from: u64) -> Option<u64> {
        member.held.iter().filter_map(|held| first_at(&self.lists[held.list as usize].events, from)).min()
    }

    /// Lists that exist, for tests.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.lists.len() - self.free.len()
    }

    /// The names with the fewest streams under which all of the event's audience is found.
    fn narrowest<'a>(&self, audience: &'a Audience) -> Vec<Name<'a>> {
        let topical = audience.topic.is_some();
        let by_scope = match &audience.scope {
            // Its streams are asked neither for topics nor for anything else (C7.9).
            Scope::Caller => {
                return audience.caller().map_or_else(Vec::new, |caller| names_of_caller(&caller));
            }
            Scope::All => None,
            Scope::Authorize(values) => Some(listed(values, topical)),
            Scope::Nobody | Scope::Matching => Some(Vec::new()),
        };
        let by_topic = audience.topic.as_deref().map(|topic| vec![Name::new(Kind::Topic, true, topic)]);
        let by_execution_id = audience.execution_id.as_deref().map(|id| {
            vec![Name::new(Kind::ExecutionId, topical, id), Name::new(Kind::NoExecutionId, topical, "")]
        });
        let count = |names: &Vec<Name<'_>>| -> usize {
            names.iter().filter_map(|name| self.find(name)).map(|list| self.slots(list).len()).sum()
        };
        let choices = [by_scope, by_topic, by_execution_id];
        choices.into_iter().flatten().min_by_key(count).unwrap_or_default()
    }

    fn find(&self, name: &Name<'_>) -> Option<u32> {
        self.tables[name.table()].get(&*name.text).copied()
    }

    fn intern(&mut self, name: &Name<'_>) -> u32 {
        if let Some(list) = self.find(name) {
            return list;
        }
        let text: Rc<str> = Rc::from(&*name.text);
        let table = name.table();
        let list =
            List { text: Rc::clone(&text), table: table as u8, slots: Vec::new(), events: VecDeque::new() };
        let number = match self.free.pop() {
            Some(number) => {
                self.lists[number as usize] = list;
                number
            }
            None => {
                self.lists.push(list);
                self.lists.len() as u32 - 1
            }
        };
        self.tables[table].insert(text, number);
        number
    }

    fn forget_if_empty(&mut self, number: u32) {
        let list = &mut self.lists[number as usize];
        if number == PUBLIC || number == TOPICAL || !list.slots.is_empty() || !list.events.is_empty() {
            return;
        }
        self.tables[list.table as usize].remove(&list.text);
        // Their memory, too, is given back.
        list.slots = Vec::new();
        list.events = VecDeque::new();
        self.free.push(number);
    }
}

/// Every name under which an event for this stream may be filed.
fn names_of(recipient: &Recipient) -> Vec<Name<'_>> {
    let topical = !recipient.takes_public();
    let mut names = vec![Name::new(Kind::Everybody, topical, "")];
    if let Some(call) = recipient.call {
        // It gets what this call has raised, and what everybody gets.
        names.push(Name::of_call(call));
        return names;
    }
    names.extend(recipient.topics.iter().map(|topic| Name::new(Kind::Topic, true, topic.as_str())));
    names.push(match &recipient.execution_id {
        Some(id) => Name::new(Kind::ExecutionId, topical, id.as_str()),
        None => Name::new(Kind::NoExecutionId, topical, ""),
    });
    if let Some(identity) = &recipient.identity {
        names.push(Name::new(Kind::SignedIn, topical, ""));
        names.extend(identity.user_id().map(|id| Name::new(Kind::UserId, topical, id)));
        names.extend(identity.user_name().map(|name| Name::new(Kind::UserName, topical, name)));
        names.extend(identity.roles().iter().map(|role| Name::new(Kind::Role, topical, role)));
    }
    names
}

/// The names of the streams that may get an event of scope `caller`: the call's own, and those that present
/// its execution id, with topics and without.
fn names_of_caller<'a>(caller: &Caller<'a>) -> Vec<Name<'a>> {
    let mut names = vec![Name::of_call(caller.call)];
    if let Some(id) = caller.execution_id.filter(|_| caller.can_be_followed()) {
        names.extend([false, true].map(|topical| Name::new(Kind::ExecutionId, topical, id)));
    }
    names
}

/// The names of a list of a scope; an empty list is everyone signed in.
fn listed(values: &[ScopeValue], topical: bool) -> Vec<Name<'_>> {
    let everyone = || vec![Name::new(Kind::SignedIn, topical, "")];
    if values.is_empty() || values.len() > MAX_LISTS {
        return everyone();
    }
    let mut names = Vec::new();
    for value in values.iter().filter(|value| !value.text().is_empty()) {
        let kinds: &[Kind] = match value {
            ScopeValue::Any(_) => &[Kind::UserId, Kind::UserName, Kind::Role],
            ScopeValue::Id(_) => &[Kind::UserId],
            ScopeValue::Name(_) => &[Kind::UserName],
            ScopeValue::Role(_) => &[Kind::Role],
        };
        names.extend(kinds.iter().map(|kind| Name::new(*kind, topical, value.text())));
    }
    if names.len() > MAX_LISTS { everyone() } else { names }
}

fn first_at(events: &VecDeque<u64>, from: u64) -> Option<u64> {
    // Most lists have nothing new, or nothing old.
    if *events.back()? < from {
        return None;
    }
    let first = *events.front()?;
    if first >= from {
        return Some(first);
    }
    events.get(events.partition_point(|sequence| *sequence < from)).copied()
}
