//! Reads one stream, moves between the servers at random with its last id, and writes down what it sees.
//!
//! Not for what is right: `verdict.rs`.

use std::time::{Duration, Instant};

use anyhow::Result;
use cluster::http::{Event, EventStream};

use crate::common::dice::Dice;
use crate::common::gap_reason;
use crate::tree::Tree;

/// What a reader has seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Event(Event),
    Gap { reason: String, asked: String, told: String },
}

/// With the server that has sent it.
pub(crate) type Sight = (usize, Seen);

pub(crate) struct Read {
    pub(crate) sights: Vec<Sight>,
    pub(crate) moves: usize,
}

/// The text of the last event of a stream.
pub(crate) fn end_of(tone: &str) -> String {
    format!("end {tone}")
}

/// The path of a stream.
pub(crate) fn path(tone: &str) -> String {
    format!("/api/{tone}/info")
}

/// Reads from behind this id to the last event; gives up, with what it has, when that does not come in time.
pub(crate) fn read(tree: &Tree, tone: &str, first: &str, mut dice: Dice, within: Duration) -> Result<Read> {
    let (begun, end) = (Instant::now(), end_of(tone));
    let mut read = Read { sights: Vec::new(), moves: 0 };
    let mut id = first.to_owned();
    while begun.elapsed() < within {
        let node = dice.roll(tree.nodes.len());
        let Ok(mut stream) = tree.nodes[node].http().events_after(&path(tone), &id) else { continue };
        read.moves += 1;
        let leaves = Instant::now() + Duration::from_millis(5 << dice.roll(9));
        let is_at_end = follow(&mut stream, leaves, |event| {
            let is_end = event.data == end;
            let seen = match event.event.as_str() {
                "sse.gap" => Seen::Gap { reason: gap_reason(&event)?, asked: id.clone(), told: event.id },
                _ => Seen::Event(event),
            };
            read.sights.push((node, seen));
            Ok(is_end)
        })?;
        if !stream.last_event_id().is_empty() {
            id = stream.last_event_id().to_owned();
        }
        if is_at_end {
            break;
        }
    }
    Ok(read)
}

/// Until the time to leave, the end of the stream, or what `take` says is the end.
fn follow(
    stream: &mut EventStream,
    leaves: Instant,
    mut take: impl FnMut(Event) -> Result<bool>,
) -> Result<bool> {
    loop {
        match stream.next(leaves.saturating_duration_since(Instant::now())) {
            Ok(event) if event.event == "sse.ready" => {}
            Ok(event) => {
                if take(event)? {
                    return Ok(true);
                }
            }
            Err(_) => return Ok(false),
        }
    }
}
