//! Which calls wait, which run, and whose turn it is.
//!
//! Not for who waits for them: that is `queue`.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{CallResult, NoPlace};
use crate::between::about::About;
use crate::between::turns::Turns;

#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: HashMap<u64, Waiting>,
    pub(super) running: HashMap<u64, Running>,
    /// Of networks, and of runs that take their turn by themselves.
    pub(super) turns: Turns<IpAddr>,
    /// Of calls that go on without their callers.
    pub(super) turns_without: Turns<IpAddr>,
    /// How many of those run.
    pub(super) running_without: usize,
    /// One of those had the last turn.
    pub(super) was_without: bool,
    pub(super) cancelled: VecDeque<u64>,
}

pub(super) struct Waiting {
    pub(super) frame: Vec<u8>,
    pub(super) deadline: Instant,
    pub(super) thread: Option<usize>,
    pub(super) network: IpAddr,
    pub(super) party: IpAddr,
    pub(super) about: Arc<About>,
    pub(super) goes_on: bool,
    pub(super) answer: oneshot::Sender<CallResult>,
    pub(super) begin: Option<oneshot::Sender<u64>>,
}

pub(super) struct Running {
    pub(super) since: Instant,
    /// See [`News::Begun`].
    pub(super) published: u64,
    pub(super) party: IpAddr,
    pub(super) about: Arc<About>,
    pub(super) goes_on: bool,
    pub(super) answer: oneshot::Sender<CallResult>,
    pub(super) begin: Option<oneshot::Sender<u64>>,
}

impl State {
    pub(super) fn check(&self, party: IpAddr, size: usize) -> Result<(), NoPlace> {
        if self.waiting.len() >= size {
            return Err(NoPlace::Full);
        }
        if self.turns.waiting(party) + self.turns_without.waiting(party) >= size.div_ceil(2) {
            Err(NoPlace::Address)
        } else {
            Ok(())
        }
    }

    /// A call runs no longer, for whoever waits for it.
    pub(super) fn end(&mut self, id: u64) -> Option<Running> {
        let running = self.running.remove(&id)?;
        self.turns(running.goes_on).end(running.party);
        self.running_without -= usize::from(running.goes_on);
        Some(running)
    }

    pub(super) fn turns(&mut self, goes_on: bool) -> &mut Turns<IpAddr> {
        if goes_on { &mut self.turns_without } else { &mut self.turns }
    }

    /// Whose turn it is, and whether that call goes on without its caller.
    pub(super) fn next(&self, workers: usize) -> Option<((IpAddr, u64), bool)> {
        let has_place = self.running_without < workers.saturating_sub(1).max(1);
        let without = if has_place { self.turns_without.next() } else { None };
        match (self.turns.next(), without) {
            (Some(next), None) => Some((next, false)),
            (Some(next), Some(_)) if self.was_without => Some((next, false)),
            (_, without) => without.map(|next| (next, true)),
        }
    }
}
