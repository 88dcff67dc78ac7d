//! The second source: a queue under a lock. Its positions are numbers of records.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use sse_ring::Corrupt;

use crate::pg::LONGEST_SLEEP;

#[derive(Default)]
pub(crate) struct Queue {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Inside {
    pub(crate) records: VecDeque<Vec<u8>>,
    pub(crate) pushed: u64,
    pub(crate) dropped: u64,
    dropped_seen: u64,
    pub(crate) has_log: bool,
    pub(crate) readings: u32,
    pub(crate) read_to: u64,
    pub(crate) is_asleep: bool,
}

impl Queue {
    pub(crate) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// Changes something, and wakes whoever sleeps.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Inside)) {
        let mut inside = self.inside();
        change(&mut inside);
        inside.is_asleep = false;
        self.changed.notify_all();
    }
}

impl Inside {
    fn taken(&self) -> u64 {
        self.pushed - self.records.len() as u64
    }
}

pub(crate) struct Source(pub(crate) Arc<Queue>);

pub(crate) struct Taking<'s> {
    queue: &'s Queue,
    end: u64,
    dropped: u64,
}

impl Source {
    pub(crate) fn take(&mut self) -> Result<Taking<'_>, Corrupt> {
        let mut inside = self.0.inside();
        inside.dropped_seen = inside.dropped;
        Ok(Taking { queue: &self.0, end: inside.pushed, dropped: inside.dropped })
    }

    pub(crate) fn end(&mut self) -> Result<u64, Corrupt> {
        Ok(self.0.inside().pushed)
    }

    pub(crate) fn has_reached(&self, position: u64) -> bool {
        self.0.inside().taken() >= position
    }

    pub(crate) fn has_log(&self) -> bool {
        self.0.inside().has_log
    }

    pub(crate) fn begin_anew(&self) {
        self.0.inside().readings += 1;
    }

    pub(crate) fn read_to(&self) -> u64 {
        self.0.inside().read_to
    }

    pub(crate) fn dropped_total(&self) -> u64 {
        self.0.inside().dropped
    }

    pub(crate) fn prepare_to_sleep(&mut self) -> bool {
        let mut inside = self.0.inside();
        inside.is_asleep = inside.records.is_empty() && inside.dropped == inside.dropped_seen;
        inside.is_asleep
    }

    pub(crate) fn sleep(&self, longest: Duration) {
        if longest < LONGEST_SLEEP {
            return self.nap(longest);
        }
        drop(self.0.changed.wait_while(self.0.inside(), |inside| inside.is_asleep).unwrap());
    }

    pub(crate) fn nap(&self, pause: Duration) {
        drop(self.0.changed.wait_timeout(self.0.inside(), pause).unwrap());
    }

    pub(crate) fn awake(&mut self) {
        self.0.inside().is_asleep = false;
    }
}

impl Taking<'_> {
    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn drain(&mut self, max_bytes: usize, mut f: impl FnMut(&[u8])) -> Result<usize, Corrupt> {
        let (mut records, mut bytes) = (0, 0);
        let mut inside = self.queue.inside();
        while inside.taken() < self.end
            && let Some(record) = inside.records.front()
            && (records == 0 || bytes + record.len() <= max_bytes)
        {
            f(record);
            (records, bytes) = (records + 1, bytes + record.len());
            inside.records.pop_front();
        }
        Ok(records)
    }

    /// A queue has none.
    pub(crate) fn hole(&self) -> Option<u64> {
        None
    }
}
