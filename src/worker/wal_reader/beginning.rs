//! Where a reading begins in the log that is there, and from where on it has everything: by a known start, or
//! by a mark that it comes to.
//!
//! Who begins without a known start, where the log that is left begins, is in *doubt*: transactions that are
//! in flight may have written their events before. Until a start, a mark, or the end of all these says
//! otherwise, a commit without events of one of them may lack them.
//!
//! Not for: what a start is (`starts.rs`), and how starts are found (`marks.rs`).

use sse_proto::place::Place;

use super::marks::now_seconds;
use super::starts::{Start, Starts, Window};
use crate::guc;
use crate::pg::wal::in_flight::InFlight;
use crate::pg::wal::layout::Layout;
use crate::pg::wal::log_reader::LogReader;
use crate::pg::wal::position;

/// What is to be read.
pub(super) enum Beginning<'s> {
    /// The window, for a gateway that has nothing.
    OfWindow(&'s Starts),
    /// What a reader before this one has not told.
    Behind {
        /// The gateway has everything up to this place.
        told: (u64, u32),
        /// All that it has not told begins after this position; 0: that is not known.
        rest_at: u64,
        /// Whether it has read the window back.
        is_read_back: bool,
        /// A start for that, if one is known.
        start: Option<Start>,
    },
}

/// See the head of this file.
pub(super) struct Begin {
    layout: Layout,
    /// Where the first record is that is read.
    pub start: u64,
    /// Events after this place, position and index, are complete. `None`: it is not known yet.
    pub place: Option<(u64, u32)>,
    /// A start that lies further on.
    known: Option<Start>,
    doubt: Option<Doubt>,
}

/// See the head of this file.
struct Doubt {
    /// Those that may have written events before the start.
    in_flight: InFlight,
    /// All of them have ended before this position, if that is known.
    over_at: Option<u64>,
}

impl Begin {
    /// In a log that ends here. `None`: it cannot be read yet.
    pub(super) fn find(beginning: &Beginning<'_>, log: &mut LogReader, end: u64) -> Option<Self> {
        let oldest = log.oldest(0)?;
        let layout = Layout::of_server();
        let mut begin = Self { layout, start: 0, place: None, known: None, doubt: None };
        match *beginning {
            Beginning::OfWindow(starts) => {
                match starts.for_window(now_seconds(), guc::WINDOW_AGE.duration(), oldest..end) {
                    Window::From(start) | Window::Older(Some(start))
                        if !is_of_log(start, layout, log, end) =>
                    {
                        begin.begin_in_doubt(log.find_from(oldest)?)?;
                    }
                    Window::From(start) => {
                        begin.start = start.start;
                        begin.place = Some(start.nothing_since);
                    }
                    Window::Older(known) => {
                        begin.known = known;
                        begin.begin_in_doubt(log.find_from(oldest)?)?;
                    }
                }
            }
            Beginning::Behind { told, rest_at, start, .. } => {
                // Some events of that position may not be told.
                begin.place = Some((told.0.saturating_sub(1), Place::BEHIND_ALL));
                match start.filter(|start| start.start < oldest || is_of_log(*start, layout, log, end)) {
                    _ if rest_at >= oldest => begin.start = rest_at,
                    Some(start) if start.start >= oldest => {
                        begin.start = start.start;
                        begin.place = Some(start.nothing_since);
                    }
                    _ if told.0 >= oldest => begin.begin_in_doubt(log.find_from(oldest)?)?,
                    // It has gone, which is told when it is to be read.
                    gone => begin.start = gone.map_or(told.0, |start| start.start),
                }
            }
        }
        Some(begin)
    }

    /// Nothing is read before this position, where a record begins, and no start says that nothing is lacking
    /// then. `None`: nobody knows which transactions there are.
    pub(super) fn begin_in_doubt(&mut self, start: u64) -> Option<()> {
        let in_flight = InFlight::look()?;
        self.start = start;
        self.doubt = Some(Doubt { in_flight, over_at: None });
        Some(())
    }

    /// What is told next is at this position. True: now it is known from where on everything is.
    pub(super) fn come_to(&mut self, position: u64) -> bool {
        let Some(known) = self.known.take_if(|known| known.complete < position) else { return false };
        self.settle_doubt(known.start);
        let is_new = self.place.is_none();
        self.place.get_or_insert(known.nothing_since);
        is_new
    }

    /// A mark with this start was read, which ends here, and nothing is held that lies before it. True as
    /// above.
    pub(super) fn take_mark(&mut self, start: u64, end: u64) -> bool {
        self.settle_doubt(start);
        if self.come_to(end) {
            return true;
        }
        if self.place.is_some() || self.layout.behind_header(start) < self.start {
            return false;
        }
        // A known start may say that there was nothing for long.
        let known =
            self.known.map(|known| known.nothing_since).filter(|nothing_since| nothing_since.0 <= end);
        self.place = Some(known.unwrap_or((end, Place::BEHIND_ALL)));
        true
    }

    /// Everything was read, up to this position, and nobody knows more: what is complete begins here.
    pub(super) fn settle(&mut self, position: u64) {
        self.place.get_or_insert((position, Place::BEHIND_ALL));
    }

    /// Whether a transaction that has committed here, without events, may have had some before the start.
    pub(super) fn may_lack(&self, xid: u32, position: u64) -> bool {
        let is_wanted = self.place.is_some_and(|place| (position, Place::BEHIND_ALL) > place);
        is_wanted && self.doubt.as_ref().is_some_and(|doubt| doubt.in_flight.may_have_begun(xid))
    }

    /// Whether [`Begin::may_lack`] may be true of a commit that is still to be read.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Everything was read, up to this position. Looks whether all those have ended that may lack events.
    pub(super) fn look_whether_all_have_ended(&mut self, position: u64) {
        let Some(doubt) = &mut self.doubt else { return };
        if doubt.over_at.is_some_and(|over_at| over_at <= position) {
            self.doubt = None;
        } else if doubt.over_at.is_none()
            && InFlight::look().is_some_and(|now| doubt.in_flight.has_ended_by(now))
        {
            // Their commit records are before the end of the log as of now.
            doubt.over_at = Some(position::end_of_log());
        }
    }

    /// No transaction that has begun before what is read next goes on after it.
    pub(super) fn all_have_ended(&mut self) {
        self.doubt = None;
    }

    /// What was begun before this start has ended before what is read next.
    fn settle_doubt(&mut self, start: u64) {
        if self.layout.behind_header(start) >= self.start {
            self.doubt = None;
        }
    }
}

/// Whether a record begins at a start, or will: one of another log may lie anywhere.
fn is_of_log(Start { start, .. }: Start, layout: Layout, log: &mut LogReader, end: u64) -> bool {
    let position = layout.behind_header(start);
    position >= layout.behind_header(end) || log.find_from(start) == Some(position)
}
