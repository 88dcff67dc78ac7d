//! From the reader into the ring, waiting for room: nothing of the log is dropped.
//!
//! Not for: what is pushed, and when (`reading.rs`).

use std::time::Duration;

use sse_proto::place::Place;
use sse_proto::record::{self, LogLoss, Record};
use sse_ring::{PushError, Wake};

use crate::pg::shmem::Shared;
use crate::pg::wal::log_end;
use crate::pg::{bgworker, futex};

/// Pause while there is no room. The courier is awake then.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(1);

/// Why something was not pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotPushed {
    /// The process is to leave.
    Leaving,
    /// The gateway wants everything anew.
    AskedAnew,
}

/// See the head of this file.
pub(super) struct Pushing {
    shared: Shared,
    /// The reading that is being told.
    pub(super) reading: u32,
    /// The process was told to leave, which is said only once.
    pub(super) is_leaving: bool,
    wake: Wake,
    bytes: Vec<u8>,
}

impl Pushing {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, reading: 0, is_leaving: false, wake: Wake::NotNeeded, bytes: Vec::new() }
    }

    /// An event of the log. What measures how long it was on its way is taken out if it is not of this moment
    /// and machine.
    ///
    /// # Errors
    /// [`NotPushed`].
    pub(super) fn event(&mut self, place: Place, event: &[u8], is_now: bool) -> Result<(), NotPushed> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut copied = Ok(());
        if !is_now {
            // Copied, because the place would shift what is to be changed.
            let mut event = event.to_vec();
            record::set_raised_at(&mut event, 0);
            copied = record::append_placed(place, &event, &mut bytes);
        } else {
            copied = copied.and_then(|()| record::append_placed(place, event, &mut bytes));
        }
        let pushed = match copied {
            Ok(()) => self.push(&bytes),
            Err(_) => self.gap(LogLoss::Unreadable, place),
        };
        if bytes.capacity() <= KEPT_BYTES {
            self.bytes = bytes;
        }
        pushed
    }

    /// Something is missing at this place.
    ///
    /// # Errors
    /// [`NotPushed`].
    pub(super) fn gap(&mut self, loss: LogLoss, place: Place) -> Result<(), NotPushed> {
        self.record(&Record::LogGap { loss, place })
    }

    /// Any other record.
    ///
    /// # Errors
    /// [`NotPushed`].
    pub(super) fn record(&mut self, record: &Record<'_>) -> Result<(), NotPushed> {
        let Ok(bytes) = record.encode() else { return Ok(()) };
        self.push(&bytes)
    }

    /// Wakes the courier if it sleeps over what was pushed.
    pub(super) fn flush(&mut self) {
        futex::wake_if(std::mem::replace(&mut self.wake, Wake::NotNeeded), &self.shared);
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), NotPushed> {
        let producer = self.shared.ring.producer();
        loop {
            match producer.try_push(bytes) {
                Ok(Wake::NotNeeded) => return Ok(()),
                Ok(wake) => {
                    self.wake = wake;
                    return Ok(());
                }
                // What fits into no ring was refused by its publisher, unless that one had a larger ring.
                Err(PushError::TooLarge) => {
                    let Some((place, _)) = record::place(bytes) else { return Ok(()) };
                    return self.gap(LogLoss::Unreadable, place);
                }
                Err(PushError::Full) => {
                    self.flush();
                    futex::wake(&self.shared);
                    bgworker::wait(NO_ROOM_PAUSE);
                    // The standbys have room, and wait for it.
                    self.is_leaving |= log_end::flush_wanted(self.shared.wal).is_err();
                    self.may_go_on()?;
                }
            }
        }
    }

    /// # Errors
    /// [`NotPushed`].
    pub(super) fn may_go_on(&mut self) -> Result<(), NotPushed> {
        self.is_leaving |= bgworker::told_to_leave();
        if self.is_leaving {
            return Err(NotPushed::Leaving);
        }
        if self.shared.wal.reading_wanted() != self.reading {
            return Err(NotPushed::AskedAnew);
        }
        Ok(())
    }
}

/// Memory that is kept for the next event; more is given back.
const KEPT_BYTES: usize = 64 << 10;
