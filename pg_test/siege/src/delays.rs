//! Whether events were later than the control, second by second.
//!
//! Not for events that did not come: `sequence`.

use std::collections::BTreeMap;
use std::fmt;

use crate::processor::Machine;

/// By how much the 99th percentile of a second may exceed the control's, in microseconds: two turns of a busy
/// processor. Beyond it the run fails.
const MAX_P99_EXCESS: u64 = 30_000;

/// By how much the latest event of a second may exceed the control's latest, in microseconds, in runs that
/// are long enough to be judged by it. Beyond it the run fails.
const MAX_EXCESS: u64 = 250_000;

/// With fewer events in a second than this, a 99th percentile means nothing.
const MIN_SAMPLES: usize = 20;

/// One event and its control, both sent at one instant; microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) number: u64,
    pub(crate) sent: u64,
    /// `None`: it did not come.
    pub(crate) event: Option<u64>,
    pub(crate) control: Option<u64>,
}

/// Percentiles of some delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Spread {
    pub(crate) fn of(mut delays: Vec<u64>) -> Self {
        delays.sort_unstable();
        let at = |percent: usize| {
            let rank = (delays.len() * percent).div_ceil(100).max(1);
            delays.get(rank - 1).copied().unwrap_or(0)
        };
        Self { count: delays.len(), p50: at(50), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: u64| micros as f64 / 1e3;
        write!(f, "p50 {:.1}, p99 {:.1}, max {:.1} ms", ms(self.p50), ms(self.p99), ms(self.max))
    }
}

/// Whether the maximum counts, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The 99th percentile of each second.
    P99,
    /// And the latest event of each second.
    P99AndMax,
}

/// Both sides of all that is to be judged.
pub(crate) fn spreads(pairs: &[Pair]) -> (Spread, Spread) {
    let both = || pairs.iter().filter_map(|pair| Some((pair.event?, pair.control?)));
    (Spread::of(both().map(|both| both.0).collect()), Spread::of(both().map(|both| both.1).collect()))
}

/// A second in which events were too late.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) told: String,
    /// Why, as far as processors explain it.
    pub(crate) cause: Cause,
}

/// Why events were late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Whatever it was, the gateway's threads had a processor.
    Gateway,
    /// They waited for a processor for as long as events were too late, and the siege itself used the
    /// processors.
    Siege,
    /// The same, and others used a good part of the processors.
    Others,
}

/// From this share of the processors on, in percent, others are the cause: half a processor of two.
const MIN_OTHERS: u64 = 25;

/// How many seconds have enough events to be judged.
pub(crate) fn judged_seconds(pairs: &[Pair]) -> usize {
    by_second(pairs).values().filter(|(event, _)| event.count >= MIN_SAMPLES).count()
}

/// Events and controls of each second.
fn by_second(pairs: &[Pair]) -> BTreeMap<u64, (Spread, Spread)> {
    let mut seconds: BTreeMap<u64, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
    for pair in pairs {
        let (Some(event), Some(control)) = (pair.event, pair.control) else { continue };
        let second = seconds.entry(pair.sent / 1_000_000).or_default();
        second.0.push(event);
        second.1.push(control);
    }
    let spreads = |(events, controls)| (Spread::of(events), Spread::of(controls));
    seconds.into_iter().map(|(second, delays)| (second, spreads(delays))).collect()
}

/// The seconds in which events were too late, and why.
pub(crate) fn late(pairs: &[Pair], machine: &Machine, judgement: Judgement) -> Vec<Late> {
    let spreads = by_second(pairs);
    let mut found = Vec::new();
    for (second, (event, _)) in &spreads {
        if event.count < MIN_SAMPLES {
            continue;
        }
        let around = || spreads.range(second.saturating_sub(1)..=second + 1).map(|(_, (_, control))| control);
        let p99 = around().map(|control| control.p99).max().unwrap_or(0);
        let max = around().map(|control| control.max).max().unwrap_or(0);
        let (from, until) = (second * 1_000_000, (second + 1) * 1_000_000 + event.max);
        let (starved, others) = (machine.longest_wait(from, until), machine.others_percent(from, until));
        let is_late = |allowed: u64| {
            event.p99 > p99 + allowed + MAX_P99_EXCESS
                || judgement == Judgement::P99AndMax && event.max > max + allowed + MAX_EXCESS
        };
        if is_late(0) {
            let ms = |micros: u64| micros as f64 / 1e3;
            let told = format!(
                "second {second}: events {event}; the control p99 {:.1}, max {:.1} ms; {:.1} ms without a processor, others used {others} %",
                ms(p99),
                ms(max),
                ms(starved)
            );
            let cause = match (is_late(starved), others) {
                (true, _) => Cause::Gateway,
                (false, 0..MIN_OTHERS) => Cause::Siege,
                (false, _) => Cause::Others,
            };
            found.push(Late { told, cause });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::processor::{Look, Usage};

    /// 100 a second; `delay` makes event and control of each.
    fn pairs(delay: impl Fn(u64) -> (u64, u64)) -> Vec<Pair> {
        (0..300)
            .map(|number| {
                let (event, control) = delay(number);
                Pair { number, sent: number * 10_000, event: Some(event), control: Some(control) }
            })
            .collect()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let spread = Spread::of((1..=100).collect());
        assert_eq!((spread.p50, spread.p99, spread.max), (50, 99, 100));
        assert_eq!(Spread::of(vec![7]).p99, 7);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn a_second_fails_just_above_the_bound_and_not_at_it() {
        for (excess, is_late) in
            [(MAX_P99_EXCESS - 1, false), (MAX_P99_EXCESS, false), (MAX_P99_EXCESS + 1, true)]
        {
            let found = late(&pairs(|_| (1_000 + excess, 1_000)), &Machine::default(), Judgement::P99);
            assert_eq!(!found.is_empty(), is_late, "{excess}: {found:?}");
        }
    }

    #[test]
    fn what_delays_the_control_too_is_the_machine() {
        assert!(late(&pairs(|_| (900_000, 890_000)), &Machine::default(), Judgement::P99AndMax).is_empty());
    }

    #[test]
    fn who_used_the_processors_that_the_gateway_waited_for_is_the_cause_in_that_second_alone() {
        let look = |at, waited| Look { at, waited };
        let looks =
            vec![look(1_400_000, 0), look(1_500_000, 0), look(1_600_000, 50_000), look(1_700_000, 50_000)];
        let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
        let pairs = pairs(|_| (1_000 + MAX_P99_EXCESS + 50_000, 1_000));
        for (percent, cause) in
            [(MIN_OTHERS - 1, Cause::Siege), (MIN_OTHERS, Cause::Others), (MIN_OTHERS + 1, Cause::Others)]
        {
            let usage = |at: u64| Usage { at, all: at / 100 * percent * processors, own: 0 };
            let usages = vec![usage(0), usage(4_000_000)];
            let machine = Machine { looks: looks.clone(), usages };
            let causes: Vec<Cause> =
                late(&pairs, &machine, Judgement::P99).iter().map(|late| late.cause).collect();
            assert_eq!(causes, [Cause::Gateway, cause, Cause::Gateway], "{percent}");
        }
    }

    #[test]
    fn one_late_event_in_a_hundred_counts_only_by_the_maximum() {
        let one =
            |excess: u64| pairs(move |number| (if number == 150 { 1_000 + excess } else { 1_000 }, 1_000));
        assert!(late(&one(MAX_EXCESS + 1), &Machine::default(), Judgement::P99).is_empty());
        for (excess, is_late) in [(MAX_EXCESS - 1, false), (MAX_EXCESS, false), (MAX_EXCESS + 1, true)] {
            assert_eq!(
                !late(&one(excess), &Machine::default(), Judgement::P99AndMax).is_empty(),
                is_late,
                "{excess}"
            );
        }
    }

    #[test]
    fn a_second_with_few_events_is_not_judged() {
        let few: Vec<Pair> = pairs(|_| (900_000, 0)).into_iter().step_by(6).collect();
        assert!(late(&few, &Machine::default(), Judgement::P99AndMax).is_empty());
    }
}
