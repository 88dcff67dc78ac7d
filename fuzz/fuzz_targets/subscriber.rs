//! A reader of the window of `stream_log`, and what it should have got by now.

use sse_gateway::fuzzing::{Begun, Progress, Window};
use sse_proto::sse::{EventId, Position};

use crate::chunked;
use crate::model::{Item, Who, countable};
use crate::whatwg::{self, Event};

/// Somebody who reads.
pub struct Subscriber {
    pub slot: usize,
    who: Who,
    /// Everything up to here it has got, or knows that it has missed.
    position: u64,
    /// What was written to it since.
    got: Vec<u8>,
}

impl Subscriber {
    pub fn new(who: Who, begun: &Begun) -> Self {
        Self { slot: begun.slot, who, position: begun.position, got: Vec::new() }
    }

    /// Reads this many bytes, and goes on after the gap if it falls out of the window.
    pub fn read(&mut self, window: &mut Window, bytes: usize, all: &[Item], epoch: u64) -> Progress {
        let progress = window.read(self.slot, bytes, &mut self.got);
        if let Progress::FellOut { missed } = progress {
            let (events, is_whole) = self.events();
            assert!(is_whole, "no event is broken off");
            let expected = self.expected(all, epoch);
            assert_eq!(events[..], expected[..events.len().min(expected.len())]);
            let next = expected.get(events.len()).expect("who has everything does not fall out");
            let next = sequence(next).expect("an id");
            assert!(next < window.base(), "what comes next is still there");
            let stood = events.last().and_then(sequence).unwrap_or(self.position);
            // The reader may be past items that are not for it, and so know more than the model.
            let known = countable(&all[stood as usize..], &self.who);
            assert!(missed.is_some() || known.is_none(), "what can be known is said");
            assert!(missed.is_none_or(|missed| missed == (expected.len() - events.len()) as u64));
            (self.position, self.got) = (window.head(), Vec::new());
        }
        progress
    }

    /// What it has got is the beginning of what it should get.
    pub fn check(&self, all: &[Item], epoch: u64) {
        let (events, _) = self.events();
        let expected = self.expected(all, epoch);
        assert_eq!(events[..], expected[..events.len().min(expected.len())]);
        assert!(events.len() <= expected.len());
    }

    /// What it has got is all that it should get.
    pub fn check_all(&self, all: &[Item], epoch: u64) {
        assert_eq!(self.events(), (self.expected(all, epoch), true));
    }

    fn expected(&self, all: &[Item], epoch: u64) -> Vec<Event> {
        let items = (1..).zip(all).skip(self.position as usize);
        items.filter_map(|(sequence, item)| item.seen_by(&self.who, EventId::new(epoch, sequence))).collect()
    }

    /// What a browser makes of it, and whether nothing of it is broken off.
    fn events(&self) -> (Vec<Event>, bool) {
        if self.who.is_http_10 {
            let is_whole = self.got.is_empty() || self.got.ends_with(b"\n\n");
            return (whatwg::parse(&self.got).events, is_whole);
        }
        let body = chunked::decode(&self.got);
        assert!(!body.has_ended);
        (whatwg::parse(&body.bytes).events, body.is_whole)
    }
}

fn sequence(event: &Event) -> Option<u64> {
    match EventId::parse(&event.last_event_id)?.position {
        Position::Memory { sequence, .. } => Some(sequence),
        Position::Log(_) => None,
    }
}
