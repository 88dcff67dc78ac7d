//! How long events and calls take, and how many streams an event is for: histograms, read by a scrape of the
//! admin port.
//!
//! Written on the path of every event: plain atomics, no lock and no allocation; each runtime thread has its
//! own histograms of events, and they are summed when somebody looks. How much there is does not depend on
//! how many streams, users or routines there are.
//!
//! Not for counters: these are `stats`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

/// Upper bounds of the buckets of delays, in nanoseconds: 100 µs to 5 s, three to a decade. An event on an
/// idle machine takes some 100 µs; one that takes a second is late for anybody.
const DELAYS: [u64; 15] = [
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
];

/// The same for calls, which may run for `sse.call_timeout`.
const DURATIONS: [u64; 15] = [
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Upper bounds of the buckets of streams that an event is for.
const STREAMS: [u64; 12] = [0, 1, 2, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000];

/// Most buckets of a histogram, with that of what is beyond all bounds.
const MAX_BUCKETS: usize = 16;

/// Numbers by their size.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// How many are at or below each bound and above the one before; the last is beyond all. Relaxed, as the
    /// sum: a reader may see one of the two a moment before the other.
    counts: [AtomicU64; MAX_BUCKETS],
    sum: AtomicU64,
}

/// A histogram, or several together, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distribution {
    pub(crate) bounds: &'static [u64],
    /// One more than there are bounds.
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: u64,
}

impl Histogram {
    const fn new(bounds: &'static [u64]) -> Self {
        assert!(bounds.len() < MAX_BUCKETS);
        Self { bounds, counts: [const { AtomicU64::new(0) }; MAX_BUCKETS], sum: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, number: u64) {
        let place = self.bounds.partition_point(|bound| *bound < number);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(number, Ordering::Relaxed);
    }

    fn read(&self) -> Distribution {
        let counts = self.counts[..=self.bounds.len()].iter();
        Distribution {
            bounds: self.bounds,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl Distribution {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn plus(mut self, other: &Self) -> Self {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, more)| *own += more);
        self.sum += other.sum;
        self
    }
}

/// A histogram as it is shown: in the unit that its name ends in.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramReading {
    /// Its name on the admin port, without `pg_sse_`.
    pub name: &'static str,
    /// Method and status of the calls that it is of.
    pub calls: Option<(&'static str, String)>,
    /// The upper bounds of its buckets. Beyond them is one more.
    pub bounds: Vec<f64>,
    /// How many are at or below each bound; the last one is how many there are.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum: f64,
}

impl HistogramReading {
    /// `unit`: how many of what was measured make one of what is shown.
    fn new(
        name: &'static str,
        calls: Option<(&'static str, String)>,
        found: &Distribution,
        unit: f64,
    ) -> Self {
        let mut below = 0;
        let at_or_below = |count: &u64| {
            below += count;
            below
        };
        Self {
            name,
            calls,
            bounds: found.bounds.iter().map(|bound| *bound as f64 / unit).collect(),
            counts: found.counts.iter().map(at_or_below).collect(),
            sum: found.sum as f64 / unit,
        }
    }
}

/// What one runtime thread measures of events.
#[derive(Debug)]
pub(crate) struct EventMeasures {
    /// From the RAISE, or the commit, until the event has been handed to the sockets of this thread's streams
    /// that take it, in nanoseconds.
    pub(crate) delay: Histogram,
    /// For how many streams of this thread an event is.
    pub(crate) streams: Histogram,
}

impl EventMeasures {
    const fn new() -> Self {
        Self { delay: Histogram::new(&DELAYS), streams: Histogram::new(&STREAMS) }
    }
}

/// All histograms of a gateway.
#[derive(Debug)]
pub(crate) struct Measures {
    threads: Vec<EventMeasures>,
    /// By method and status.
    calls: Box<[[Histogram; STATUSES.len() + 1]; METHODS.len() + 1]>,
}

/// The methods of calls (C7.1); any other one is `other`.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The statuses that are told apart; a routine may answer with any (C7.4), and each would be twenty more
/// lines of a scrape. All others are `other`.
const STATUSES: [u16; 19] =
    [200, 202, 204, 400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429, 499, 500, 502, 503, 504];

/// What is said of a method or status that is not told apart.
const OTHER: &str = "other";

impl Measures {
    pub(crate) fn new(threads: usize) -> Self {
        let calls = || std::array::from_fn(|_| std::array::from_fn(|_| Histogram::new(&DURATIONS)));
        Self { threads: (0..threads).map(|_| EventMeasures::new()).collect(), calls: Box::new(calls()) }
    }

    /// Those of one runtime thread.
    pub(crate) fn of_thread(&self, number: usize) -> Option<&EventMeasures> {
        self.threads.get(number)
    }

    /// A call was answered.
    pub(crate) fn call(&self, method: &Method, status: StatusCode, took: Duration) {
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len());
        let status = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len());
        self.calls[method][status].observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// From RAISE or commit to socket, in nanoseconds, of all threads.
    pub(crate) fn delays(&self) -> Distribution {
        self.summed(&DELAYS, |thread| &thread.delay)
    }

    /// Streams of a thread that an event is for, of all threads.
    pub(crate) fn streams(&self) -> Distribution {
        self.summed(&STREAMS, |thread| &thread.streams)
    }

    /// How long calls took, in nanoseconds, by method and status; only those that there were.
    pub(crate) fn calls(&self) -> Vec<(&'static str, String, Distribution)> {
        let methods = METHODS.iter().copied().chain([OTHER]);
        let of_method = |(method, row): (&'static str, &[Histogram; STATUSES.len() + 1])| {
            let statuses = STATUSES.iter().map(u16::to_string).chain([OTHER.to_owned()]);
            let read = statuses.zip(row).map(move |(status, histogram)| (method, status, histogram.read()));
            read.filter(|(_, _, found)| found.count() > 0).collect::<Vec<_>>()
        };
        methods.zip(self.calls.iter()).flat_map(of_method).collect()
    }

    /// The same of all methods and statuses together.
    pub(crate) fn all_calls(&self) -> Distribution {
        let none = Histogram::new(&DURATIONS).read();
        self.calls.iter().flatten().fold(none, |sum, histogram| sum.plus(&histogram.read()))
    }

    /// All of them, by the names and in the units that a scrape has.
    pub(crate) fn readings(&self) -> Vec<HistogramReading> {
        let delays = HistogramReading::new("event_delay_seconds", None, &self.delays(), 1e9);
        let streams = HistogramReading::new("event_streams", None, &self.streams(), 1.0);
        let calls = self.calls().into_iter().map(|(method, status, durations)| {
            HistogramReading::new("call_duration_seconds", Some((method, status)), &durations, 1e9)
        });
        [delays, streams].into_iter().chain(calls).collect()
    }

    fn summed(&self, bounds: &'static [u64], of: impl Fn(&EventMeasures) -> &Histogram) -> Distribution {
        let none = Histogram::new(bounds).read();
        self.threads.iter().fold(none, |sum, thread| sum.plus(&of(thread).read()))
    }
}

/// Now, on the clock of [`sse_proto::record::raised_at`].
pub(crate) fn monotonic_nanoseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, rest) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0).wrapping_mul(1_000_000_000).wrapping_add(rest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_at_its_bound_and_one_more_in_the_next_bucket() {
        let histogram = Histogram::new(&DELAYS);
        for (number, bucket) in [(0, 0), (99_999, 0), (100_000, 0), (100_001, 1), (1_000_000_000, 12)] {
            let before = histogram.read();
            histogram.observe(number);
            let after = histogram.read();
            let grown: Vec<_> =
                (0..16).filter(|place| after.counts[*place] > before.counts[*place]).collect();
            assert_eq!(grown, [bucket], "{number}");
            assert_eq!(after.sum - before.sum, number);
        }
        histogram.observe(5_000_000_001);
        assert_eq!(histogram.read().counts[15], 1, "beyond all bounds");
    }

    #[test]
    fn the_threads_are_summed_and_only_calls_that_there_were_are_listed() {
        let measures = Measures::new(3);
        for thread in 0..3 {
            measures.of_thread(thread).into_iter().for_each(|thread| thread.streams.observe(7));
        }
        assert_eq!((measures.streams().count(), measures.streams().sum), (3, 21));
        assert!(measures.calls().is_empty());
        measures.call(&Method::GET, StatusCode::OK, Duration::from_millis(1));
        measures.call(&Method::GET, StatusCode::OK, Duration::from_millis(3));
        measures.call(&Method::HEAD, StatusCode::IM_A_TEAPOT, Duration::from_millis(1));
        let calls = measures.calls();
        let listed: Vec<_> =
            calls.iter().map(|(method, status, d)| (*method, &**status, d.count())).collect();
        assert_eq!(listed, [("GET", "200", 2), ("other", "other", 1)]);
    }
}
