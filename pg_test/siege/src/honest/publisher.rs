//! Publishes an event and, at the same instant in another session, notifies the control.
//!
//! Two sessions, because a publisher that pg_sse keeps waiting must not keep the control waiting. Neither
//! waits for answers: statements follow each other at a steady pace, whatever becomes of the earlier ones.
//!
//! Not for reading either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use cluster::{Clock, PATIENCE};

use super::Ends;
use crate::ground::Ground;
use crate::wire::{Reply, Wire};

/// Between two events: a hundred a second, so that a second has a 99th percentile.
const PACE: Duration = Duration::from_millis(10);

/// The last event and notification of a run.
pub(super) const LAST: &str = "last";

/// What was published.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// When each number was sent.
    pub(crate) sent: BTreeMap<u64, u64>,
    /// The same for those whose statement succeeded.
    pub(crate) done: BTreeMap<u64, u64>,
    /// Why other statements failed: the first reasons.
    pub(crate) errors: Vec<String>,
    /// Why the publisher could not go on.
    pub(crate) broken: Option<String>,
}

pub(super) fn start(ground: &Arc<Ground>, clock: Clock, ends: Arc<Ends>) -> Result<JoinHandle<Published>> {
    let (events, controls) = (ground.session("honest")?, ground.session("honest")?);
    super::spawn("publisher", move || {
        let mut published = Published::default();
        if let Err(error) = publish(&mut published, events, controls, clock, &ends) {
            published.broken = Some(format!("the publisher: {error:#}"));
        }
        published
    })
}

fn publish(
    published: &mut Published,
    mut events: Wire,
    mut controls: Wire,
    clock: Clock,
    ends: &Ends,
) -> Result<()> {
    let (mut number, mut answered) = (0, 0);
    let mut next = Instant::now();
    while !ends.work.load(Relaxed) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        // Events that were missed because the machine was busy are not made up for: they would come in a
        // crowd.
        next = (next + PACE).max(Instant::now());
        published.sent.insert(number, clock.now());
        let (event, control) =
            (format!("select say('{number}')"), format!("select pg_notify('siege', '{number}')"));
        // Event and notification take turns in going first.
        if number % 2 == 0 {
            events.send(&event)?;
            controls.send(&control)?;
        } else {
            controls.send(&control)?;
            events.send(&event)?;
        }
        number += 1;
        while let Some(reply) = events.poll()? {
            published.answer(answered, reply);
            answered += 1;
        }
        while controls.poll()?.is_some() {}
    }
    while answered < number {
        published.answer(answered, events.reply(PATIENCE)?);
        answered += 1;
    }
    events.query(&format!("select say('{LAST}')"), PATIENCE)?;
    while controls.poll()?.is_some() {}
    controls.send(&format!("select pg_notify('siege', '{LAST}')"))?;
    controls.reply(PATIENCE)?;
    Ok(())
}

impl Published {
    fn answer(&mut self, number: u64, reply: Reply) {
        match reply.error {
            None => _ = self.done.insert(number, self.sent.get(&number).copied().unwrap_or(0)),
            Some(error) if self.errors.len() < 20 => self.errors.push(format!("event {number}: {error}")),
            Some(_) => {}
        }
    }
}
