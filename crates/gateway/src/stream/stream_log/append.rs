//! Appending one item to the log: into which lane it comes, and what is noted of it.
//!
//! Not for taking in a batch: that is [`StreamLog::append`].

use super::*;

impl StreamLog {
    pub(super) fn append_record(&mut self, record: &Record<'_>, now: u32, appended: &mut Appended) {
        let audience = |envelope: &Envelope<'_>| For::Audience(Audience::of(envelope));
        if let Record::Event { envelope, .. } | Record::TooLarge { envelope } = record
            && let Some(caller) = &envelope.caller
        {
            let sequence = self.next_sequence();
            self.call_ends.note(caller.call, (sequence, self.id(sequence)), &Event::from(envelope));
        }
        let kept = match record {
            // Its bytes on the wire may be seven times as many, and large ones have a segment of their own.
            Record::Event { envelope, data } if !self.has_memory(envelope.event, data) => {
                self.append_gap(GapReason::Overflow, Some(1), audience(envelope), now)
            }
            Record::Event { envelope, data } => {
                self.append_encoded(envelope.event, data, audience(envelope), now)
            }
            Record::TooLarge { envelope } => {
                self.append_gap(GapReason::TooLarge, Some(1), audience(envelope), now)
            }
            // Part of the catalog, not of the stream.
            _ => return self.append_nothing(now),
        };
        if let (Record::Event { envelope, .. } | Record::TooLarge { envelope }, Some(entry)) =
            (record, self.index.back_mut())
        {
            entry.xid = envelope.xid.map_or(0, NonZeroU64::get);
        }
        appended.undeliverable += u64::from(!kept);
    }

    fn has_memory(&self, event: Option<&str>, data: &str) -> bool {
        let len = chunked_event_len(self.id(self.next_sequence()), event, data);
        len <= SEGMENT_BYTES || may_grow(len)
    }

    pub(super) fn append_gap(&mut self, reason: GapReason, missed: Option<u64>, whom: For, now: u32) -> bool {
        self.last_uncounted = self.next_sequence();
        self.gaps.push_back((self.next_sequence(), reason));
        if matches!(whom, For::Everybody) {
            self.call_ends.note_gap(self.next_sequence());
        }
        self.append_encoded(Some("sse.gap"), &gap_data(reason, missed), whom, now)
    }

    /// Says whether any stream could get it.
    fn append_encoded(&mut self, event: Option<&str>, data: &str, whom: For, now: u32) -> bool {
        match whom {
            For::Everybody => {
                self.postings.file_for_topical(self.next_sequence());
                self.append_public(event, data, What::Everybody, now);
            }
            For::Audience(audience) if audience.is_public() => {
                let sequence = self.next_sequence();
                let list = self.of_stream(&audience).map(|call| self.postings.file_for_call(call, sequence));
                self.append_public(event, data, list.map_or(What::Public, What::OfCall), now);
            }
            For::Audience(audience) => return self.append_private(event, data, audience, now),
        }
        true
    }

    fn append_public(&mut self, event: Option<&str>, data: &str, what: What, now: u32) {
        let sequence = self.next_sequence();
        let id = self.id(sequence);
        let (segment, buffer) = self.public.make_room(chunked_event_len(id, event, data), sequence);
        let offset = buffer.len() as u32;
        append_chunked_event(buffer, id, event, data);
        let len = buffer.len() as u32 - offset;
        self.push(Entry { segment, offset, len, ordinal: self.ordinal, at: now, what, xid: 0 });
        self.ordinal = self.ordinal.wrapping_add(1);
    }

    fn append_private(&mut self, event: Option<&str>, data: &str, audience: Audience, now: u32) -> bool {
        let sequence = self.next_sequence();
        let lists = self.postings.file(&audience, self.of_stream(&audience), sequence);
        if lists.is_empty() {
            self.append_nothing(now);
            return false;
        }
        let id = self.id(sequence);
        let (segment, buffer) = self.private.make_room(chunked_event_len(id, event, data), sequence);
        let offset = buffer.len() as u32;
        append_chunked_event(buffer, id, event, data);
        let len = buffer.len() as u32 - offset;
        let extra = PRIVATE_BYTES + audience.heap_bytes() + self.postings.filed_bytes(&lists);
        let number = self.first_private.wrapping_add(self.privates.len() as u32);
        let extra = extra.min(u32::MAX as usize) as u32;
        self.privates.push_back(Private { segment, offset, len, extra, audience, lists });
        self.append_empty(What::Private(number), now);
        true
    }

    /// The call that has raised an event, if it is answered with a stream.
    fn of_stream(&self, audience: &Audience) -> Option<u64> {
        let call = audience.caller()?.call;
        self.call_ends.has_stream(call).then_some(call)
    }

    pub(super) fn append_nothing(&mut self, now: u32) {
        self.append_empty(What::Nothing, now);
    }

    /// Appends what takes no bytes in the public lane.
    fn append_empty(&mut self, what: What, now: u32) {
        self.last_uncounted = self.next_sequence();
        let (segment, buffer) = self.public.make_room(0, self.next_sequence());
        let offset = buffer.len() as u32;
        self.push(Entry { segment, offset, len: 0, ordinal: self.ordinal, at: now, what, xid: 0 });
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += self.cost(&entry);
        self.index.push_back(entry);
    }
}
