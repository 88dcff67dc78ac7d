//! Compares what committed, what every server tells, and what every reader has seen.
//!
//! Not for making any of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use cluster::PATIENCE;
use cluster::http::Event;

use crate::reader::{Read, Seen, end_of, path};
use crate::tree::{Replication, Tree};
use crate::writer::{Returned, TONES};

/// All events of a stream, in their order: the same on all servers.
pub(crate) struct Log {
    events: Vec<Event>,
    places: HashMap<String, usize>,
}

/// What every server tells of a stream behind this id; it is one and the same.
pub(crate) fn log(tree: &Tree, tone: &str, first: &str) -> Result<Log> {
    let mut logs = Vec::new();
    for (number, node) in tree.nodes.iter().enumerate() {
        let mut stream = node.http().events_after(&path(tone), first)?;
        let mut events: Vec<Event> = Vec::new();
        while events.last().is_none_or(|event| event.data != end_of(tone)) {
            let event = stream.next_payload(PATIENCE).with_context(|| {
                format!("{tone} of server {number}, behind {:?}", events.last().map(brief))
            })?;
            let state = || {
                node.cluster.sql("select to_jsonb(w) || jsonb_build_object('starts', pg_read_file('pg_sse.starts')) from sse.stat_wal w")
            };
            ensure!(
                event.event != "sse.gap",
                "{tone} of server {number} behind {first}: {event:?}\n{:?}",
                state()
            );
            events.push(event);
        }
        logs.push(events);
    }
    for (number, events) in logs.iter().enumerate() {
        let differs = events.iter().zip(&logs[0]).find(|(one, other)| one != other);
        ensure!(
            differs.is_none(),
            "{tone} of server {number}: {:?}",
            differs.map(|(a, b)| (brief(a), brief(b)))
        );
        ensure!(events.len() == logs[0].len(), "{tone} of server {number}");
    }
    let events = logs.swap_remove(0);
    let places: HashMap<_, _> = (0..).zip(&events).map(|(place, event)| (event.id.clone(), place)).collect();
    ensure!(places.len() == events.len(), "{tone}: an id came twice");
    ensure!(events.iter().map(place).collect::<Result<Vec<_>>>()?.is_sorted(), "{tone}: not in their order");
    Ok(Log { events, places })
}

/// Position and index of an id.
fn place(event: &Event) -> Result<(u64, u32)> {
    let mut parts = event.id.strip_prefix('w').context("no place")?.split('-').skip(1);
    let mut next = || parts.next().with_context(|| format!("{event:?}"));
    Ok((u64::from_str_radix(next()?, 16)?, u32::from_str_radix(next()?, 16)?))
}

/// A stream has exactly what is committed, and nothing of what was rolled back.
pub(crate) fn of_log(tree: &Tree, tone: &str, log: &Log, returned: &[Returned]) -> Result<()> {
    let rows = tree
        .head()
        .cluster
        .sql(&format!("select format('rows %s.%s', n, part) from note where tone = '{tone}'"))?;
    let committed: HashSet<&str> = rows.lines().collect();
    let told: Vec<&str> = log.events.iter().map(text).collect();
    let of_rows: HashSet<&str> = told.iter().copied().filter(|text| text.starts_with("rows ")).collect();
    let all: HashSet<&str> = told.iter().copied().collect();
    ensure!(all.len() == told.len(), "{tone}: something was told twice");
    let lacks: Vec<_> = committed.difference(&of_rows).take(5).collect();
    ensure!(lacks.is_empty(), "{tone}: committed, and not told: {lacks:?}");
    let invented: Vec<_> = of_rows.difference(&committed).take(5).collect();
    ensure!(invented.is_empty(), "{tone}: told, and not committed: {invented:?}");
    ensure!(!told.iter().any(|text| text.starts_with("no ")), "{tone}: rolled back, and told");
    let life = tree.lives.load(std::sync::atomic::Ordering::Relaxed);
    for Returned { text, .. } in
        returned.iter().filter(|returned| returned.tone == tone && returned.life == life)
    {
        ensure!(
            all.contains(text.as_str()),
            "{tone}: COMMIT has returned, no server has died since, and not told: {text}"
        );
    }
    Ok(())
}

/// The first two words.
fn text(event: &Event) -> &str {
    event.data.match_indices(' ').nth(1).map_or(event.data.as_str(), |(end, _)| &event.data[..end])
}

/// How often what happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: usize,
    pub(crate) moves: usize,
    pub(crate) gaps: BTreeMap<String, usize>,
    pub(crate) rewound_events: usize,
    pub(crate) covered: usize,
}

/// Each event once, and in its order, or covered by a gap with the right reason.
///
/// Long because it is one table of what may follow what.
pub(crate) fn of_reader(replication: Replication, log: &Log, read: &Read, tally: &mut Tally) -> Result<()> {
    let mut next = 0;
    // What the last gap was, if there was no event behind it.
    let mut gap: Option<&str> = None;
    let mut never_was = 0;
    for (at, (node, seen)) in read.sights.iter().enumerate() {
        let around = || {
            let from = at.saturating_sub(6);
            let lines =
                read.sights[from..(at + 3).min(read.sights.len())].iter().map(|(node, seen)| match seen {
                    Seen::Event(event) => format!("  server {node}: {:?}", brief(event)),
                    Seen::Gap { reason, asked, told } => {
                        format!("  server {node}: gap, {reason}, behind {asked}, at {told}")
                    }
                });
            lines.collect::<Vec<_>>().join("\n")
        };
        match seen {
            Seen::Gap { reason, .. } => {
                let is_right = reason == "rewound" && replication == Replication::Asynchronous;
                ensure!(is_right, "server {node}: a gap, {reason}:\n{}", around());
                *tally.gaps.entry(reason.clone()).or_default() += 1;
                gap = Some(reason);
                never_was = 0;
            }
            Seen::Event(event) => match log.places.get(&event.id) {
                None => {
                    ensure!(
                        replication == Replication::Asynchronous,
                        "server {node}: it never was:\n{}",
                        around()
                    );
                    never_was += 1;
                    tally.rewound_events += 1;
                }
                Some(place) => {
                    ensure!(never_was == 0, "server {node}: it goes on behind what never was:\n{}", around());
                    ensure!(
                        log.events[*place] == *event,
                        "server {node}: another event of this id:\n{}",
                        around()
                    );
                    ensure!(*place >= next, "server {node}: twice, or too late:\n{}", around());
                    let is_covered = gap.take().is_some();
                    ensure!(
                        *place == next || is_covered,
                        "server {node}: {} missing:\n{}",
                        *place - next,
                        around()
                    );
                    tally.covered += *place - next;
                    tally.events += 1;
                    next = *place + 1;
                }
            },
        }
    }
    tally.moves += read.moves;
    ensure!(
        next == log.events.len(),
        "it has not come to the end: {next} of {}: {:?}",
        log.events.len(),
        read.sights.last()
    );
    Ok(())
}

fn brief(event: &Event) -> (&str, &str) {
    (&event.id, text(event))
}

/// The stream that has the tone of this number.
pub(crate) fn tone(number: usize) -> &'static str {
    TONES[number % TONES.len()]
}
