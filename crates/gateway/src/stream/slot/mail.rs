//! What a stream gets besides the log: parcels, each as soon as the stream is not in the middle of something;
//! and holding a stream, which then gets nothing from the log until it is told to go on.
//!
//! Not for how parcels come here: that is `slab/post`.

use std::collections::VecDeque;
use std::io::Result;
use std::time::Duration;

use bytes::Bytes;
use sse_proto::sse::append_chunk;

use super::{End, Slot};
use crate::room::slowest;
use crate::stream::parcel::{Parcel, Then};
use crate::stream::stream_log::Framing;

/// Most streams have none.
#[derive(Default)]
pub(super) struct Mail {
    waiting: VecDeque<Parcel>,
    /// The bytes that are being written, and how many of them are. Empty: none are.
    open: Bytes,
    written: usize,
    is_held: bool,
    /// Since when it has bytes for the peer (the slab's milliseconds), and what the peer had taken by then.
    since: u32,
    taken: u64,
}

impl Mail {
    fn has_bytes(&self) -> bool {
        !self.open.is_empty() || self.waiting.iter().any(|parcel| !parcel.bytes.is_empty())
    }
}

impl Slot {
    /// Takes a parcel. It is written by a later visit.
    pub(crate) fn give(&mut self, parcel: Parcel, now: u32) {
        if !matches!(self.end, End::No | End::WhenCaughtUp) {
            return;
        }
        self.take_in(parcel, now);
    }

    /// Takes the last block that it gets.
    pub(super) fn give_last(&mut self, block: &[u8], now: u32) {
        let mut bytes = Vec::new();
        match self.framing {
            Framing::Chunked => append_chunk(&mut bytes, block),
            Framing::Bare => bytes.extend_from_slice(block),
        }
        self.take_in(Parcel { bytes: Bytes::from(bytes), then: Then::GoOn }, now);
    }

    fn take_in(&mut self, parcel: Parcel, now: u32) {
        let taken = self.bytes;
        let mail = self.mail.get_or_insert_default();
        if !mail.has_bytes() {
            (mail.since, mail.taken) = (now, taken);
        }
        mail.waiting.push_back(parcel);
    }

    /// Whether the peer takes its parcels, which are counted memory, too slowly (C7.2).
    pub(super) fn takes_mail_too_slowly(&self, now: u32) -> bool {
        self.mail.as_ref().filter(|mail| mail.has_bytes()).is_some_and(|mail| {
            let since = Duration::from_millis(u64::from(now.wrapping_sub(mail.since)));
            since >= slowest(self.bytes - mail.taken)
        })
    }

    /// From now on it gets nothing from the log but the rest of the event that it is in the middle of.
    pub(crate) fn hold(&mut self) {
        self.mail.get_or_insert_default().is_held = true;
    }

    pub(crate) fn is_held(&self) -> bool {
        self.mail.as_ref().is_some_and(|mail| mail.is_held)
    }

    /// Whether it is in the middle of a parcel.
    pub(super) fn has_open_parcel(&self) -> bool {
        self.mail.as_ref().is_some_and(|mail| !mail.open.is_empty())
    }

    /// Drops the parcels that it is not in the middle of.
    pub(super) fn forget_mail(&mut self) {
        if let Some(mail) = &mut self.mail {
            mail.waiting.clear();
            mail.is_held = false;
        }
    }

    /// Makes the next parcel the one that is written, if it is its turn.
    pub(super) fn open_parcel(&mut self) -> bool {
        if self.cursor.written > 0 {
            return false;
        }
        let Some(mail) = &mut self.mail else { return false };
        let Some(parcel) = mail.waiting.pop_front() else {
            if !mail.is_held {
                self.mail = None;
            }
            return false;
        };
        mail.open = parcel.bytes;
        mail.written = 0;
        mail.is_held = false;
        match parcel.then {
            Then::GoOn => self.needs_no_state(),
            Then::Follow { from, overlap } => self.go_on_behind(from, overlap),
            Then::Lack { from } => self.go_on_without(from),
        }
        true
    }

    pub(super) fn write_parcel(&mut self) -> Result<usize> {
        let Some(mail) = &mut self.mail else { return Ok(0) };
        let n = self.wire.try_write(&mail.open[mail.written..])?;
        mail.written += n;
        if mail.written >= mail.open.len() {
            // What it holds is given back now.
            mail.open = Bytes::new();
            mail.written = 0;
        }
        Ok(n)
    }
}
