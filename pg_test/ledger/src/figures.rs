//! What happened in a run, in numbers, and whether that was enough: a run in which nothing broke, or in which
//! gaps cover most of it, proves nothing.
//!
//! Not for what is wrong: `check`.

use std::collections::BTreeMap;

use crate::check::Coverage;
use crate::history::{Delivery, Reason, Recording, What};
use crate::plan::CALLED;
use crate::schedule::Fault;

/// The least part of what was for the readers that they must have got. Usually it is 70 percent and more;
/// less on a machine so busy that readers lag by seconds.
const MIN_SEEN_PERCENT: u64 = 40;

/// The least number of events in a second, and of each kind of end in a run.
const MIN_EVENTS_PER_SECOND: u64 = 20;
const MIN_OF_EACH: u64 = 10;

/// The numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) attempted: u64,
    pub(crate) committed: u64,
    pub(crate) rolled_back: u64,
    pub(crate) immediate: u64,
    pub(crate) unanswered: u64,
    pub(crate) seen: u64,
    /// By which gap, where that is known.
    pub(crate) covered: BTreeMap<Option<Reason>, u64>,
    pub(crate) opened: u64,
    pub(crate) resumed: u64,
    pub(crate) refused: u64,
    pub(crate) gaps: BTreeMap<Reason, u64>,
    pub(crate) counted: u64,
    pub(crate) called: u64,
}

impl Figures {
    pub(crate) fn of(recording: &Recording, coverage: Coverage) -> Self {
        let mut figures = Self { seen: coverage.seen, covered: coverage.covered, ..Self::default() };
        for attempt in &recording.attempts {
            figures.attempted += 1;
            let committed = recording.committed.contains(&(attempt.key.writer, attempt.key.number));
            match attempt.key.delivery {
                Delivery::Commit if committed => figures.committed += 1,
                Delivery::Commit => figures.rolled_back += 1,
                Delivery::Immediate => figures.immediate += 1,
            }
            figures.unanswered += u64::from(!attempt.answered);
        }
        for item in recording.readers.iter().flat_map(|reader| &reader.items) {
            match &item.what {
                What::Opened(asked) => {
                    figures.opened += 1;
                    figures.resumed += u64::from(*asked != crate::history::Asked::Nothing);
                }
                What::Refused(_) => figures.refused += 1,
                What::Gap { reason, .. } => *figures.gaps.entry(*reason).or_default() += 1,
                What::Event { counter, audience, .. } => {
                    figures.counted += u64::from(counter.is_some());
                    figures.called += u64::from(*audience == CALLED);
                }
                _ => {}
            }
        }
        figures
    }

    pub(crate) fn seen_percent(&self) -> u64 {
        self.seen * 100 / (self.seen + self.covered.values().sum::<u64>()).max(1)
    }

    /// Why the run proves too little, if it does.
    pub(crate) fn too_little(&self, seconds: u64, done: &BTreeMap<Fault, u64>) -> Vec<String> {
        let mut found = Vec::new();
        let mut least = |what: &str, count: u64, least: u64| {
            if count < least {
                found.push(format!("only {count} {what}, at least {least} are needed"));
            }
        };
        least("events were committed", self.committed, seconds * MIN_EVENTS_PER_SECOND);
        least("events were rolled back", self.rolled_back, MIN_OF_EACH);
        least("events were raised immediately", self.immediate, MIN_OF_EACH);
        least("values of the counter were seen", self.counted, MIN_OF_EACH);
        least("events of calls were seen", self.called, MIN_OF_EACH);
        least("streams were resumed", self.resumed, seconds);
        least("percent of what readers were to get were seen", self.seen_percent(), MIN_SEEN_PERCENT);
        least("faults happened", done.values().sum(), seconds / 10);
        for (fault, times) in done {
            let Some(reason) = fault.gap() else { continue };
            if *times > 0 && !self.gaps.contains_key(&reason) {
                found.push(format!("{}: {times} times, and no gap ({})", fault.name(), reason.as_str()));
            }
        }
        found
    }
}
