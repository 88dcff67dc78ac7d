//! How late an event is when little happens: with `memory`, and with `wal` on the primary and on a standby,
//! there also over replay.
//!
//! Not beside a load: `load.rs`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::delays::{AFTER, OVER_REPLAY};
use super::line::{Line, Turn};
use super::looker::Visible;
use crate::report::Chapter;

/// Between two events.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// Longer than a standby goes on to look once a millisecond for events.
const SILENCE: Duration = Duration::from_millis(3500);

/// Nobody looks for rows: a session that does takes most of a processor while an event is on its way.
///
/// # Errors
/// An event is lost, doubled or out of order.
pub(super) fn calm(line: &mut Line, turn: Duration, chapter: &mut Chapter) -> Result<()> {
    let start = Instant::now();
    let turn = line.publish(PAUSE, None, |_| start.elapsed() < turn)?;
    add(&turn, None, "100 events a second", chapter)
}

/// The same, while a session looks for rows on the standby.
pub(super) fn looked_for(line: &mut Line, turn: Duration, chapter: &mut Chapter) -> Result<()> {
    let looker = line.looker(Duration::ZERO)?;
    let start = Instant::now();
    let turn = line.publish(PAUSE, Some(&looker), |_| start.elapsed() < turn)?;
    add(&turn, Some(&looker.finish()?), "100 events a second, rows looked for", chapter)
}

/// Some events, each after a silence.
pub(super) fn rare(line: &mut Line, events: usize, chapter: &mut Chapter) -> Result<()> {
    thread::sleep(SILENCE);
    let looker = line.looker(Duration::ZERO)?;
    let turn = line.publish(SILENCE, Some(&looker), |sent| sent < events)?;
    let row = format!("an event every {} s, rows looked for", SILENCE.as_secs_f32());
    add(&turn, Some(&looker.finish()?), &row, chapter)
}

fn add(turn: &Turn, visible: Option<&[Visible]>, row: &str, chapter: &mut Chapter) -> Result<()> {
    for (server, delays) in turn.delays() {
        delays.add_to(chapter, row, server, &AFTER);
        if let Some(visible) = visible.filter(|_| server.starts_with("standby")) {
            turn.over_replay(visible)?.add_to(chapter, row, server, &OVER_REPLAY);
        }
    }
    Ok(())
}
