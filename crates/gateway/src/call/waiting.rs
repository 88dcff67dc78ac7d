//! The wait for a call that is in the queue: until its statement begins, until it has ended, and until all
//! events that it has raised are here.
//!
//! Not for how it came into the queue (`run`), nor for what the peer is told (`answer`).

use std::time::{Duration, Instant};

use sse_proto::call::{ArgumentError, EventsEnd, Outcome};
use sse_proto::sse::EventId;

use crate::between::endings::Telling;
use crate::between::queue::{CANCEL_GRACE, CallResult, News, NoPlace, PendingCall, Standing};
use crate::between::reply::Answered;
use crate::room::Room;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::stream::call_ends::CallWatch;

/// How long an answer waits until its thread has all events of its call. They take a millisecond; longer
/// while the ring is full, and while a transaction that they must come after is stopped after its commit,
/// which the courier waits for at most half as long. Beyond it a publisher was stopped in the middle of a
/// record, which holds up everybody's events, and the answer goes without `SSE-Position`.
const POSITION_PATIENCE: Duration = Duration::from_secs(10);

/// A wait without a limit, for arithmetic.
pub(super) const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments fit no overload.
    Arguments(ArgumentError),
    NoMemory,
    NoPlace(NoPlace),
    /// The call was not begun and will not be.
    NotRun,
    /// The call waited until its time was over.
    NotInTime,
    /// The worker does not give the call up.
    TooLong,
    /// The call ran, and there is no room for its answer.
    NoRoom,
    /// The worker died while it ran the call.
    Lost,
    /// The gateway is being stopped.
    Stopping,
}

/// The wait for a call's answer. Dropping it cancels the call.
pub(super) struct Waiting {
    /// The call's number.
    pub(super) number: u64,
    pub(super) pending: PendingCall,
    /// Until when a worker must have begun with it.
    pub(super) deadline: Instant,
    /// How long the worker lets it run; zero: without a limit.
    pub(super) limit: Duration,
    pub(super) watch: Option<CallWatch>,
    /// What it came to, if that is known before it was asked for.
    pub(super) early: Option<CallResult>,
    /// Counts what was sent along with the call.
    pub(super) _room: Room,
}

/// How a call ended.
pub(super) struct Ended {
    pub(super) outcome: Result<Answered, Failure>,
    /// Its events. `None`: it has published nothing, or nobody asks.
    pub(super) events: Option<Events>,
}

/// The events of a call that has ended. Some may still be on their way.
pub(super) struct Events {
    watch: CallWatch,
    /// Their end, if the worker has not told it.
    _telling: Option<Telling>,
}

impl Events {
    /// Waits until this thread has all of them, or the gateway stops. Returns the last one that the caller
    /// may receive by its scope.
    pub(super) async fn all_here(&self, shared: &Shared) -> Option<EventId> {
        let mut stop = shared.stop_changes();
        tokio::select! {
            biased;
            position = self.watch.ended() => position,
            // What the courier still has comes before the streams end.
            _ = stop.wait_for(Option::is_some) => None,
        }
    }
}

/// Waits until this thread has all events of the call, which usually came before the answer.
pub(super) async fn position(events: &Events, shared: &Shared) -> Option<EventId> {
    tokio::time::timeout(POSITION_PATIENCE, events.all_here(shared)).await.ok().flatten()
}

impl Waiting {
    /// Waits until the call's statement begins; says after which item its stream does. `None`: it has ended
    /// before that, and how is an ordinary answer.
    ///
    /// # Errors
    /// [`Failure`] when it does not begin.
    pub(super) async fn begins(&mut self, shared: &Shared) -> Result<Option<u64>, Failure> {
        match self.next(shared).await {
            Ok(News::Begun(published)) => {
                Ok(Some(self.watch.as_ref().map_or(published, |watch| watch.begins_behind(published))))
            }
            Ok(News::Result(result)) => {
                self.early = Some(result);
                Ok(None)
            }
            Ok(News::Expired) => Err(Failure::NotInTime),
            Err(failure) => Err(failure),
        }
        .inspect_err(|_| count_failure(shared))
    }

    /// Waits for the end of the call.
    pub(super) async fn ended(mut self, shared: &Shared) -> Ended {
        let outcome = self.outcome(shared).await;
        let is_done = |answered: &Answered| matches!(answered.answer.outcome, Outcome::Done { .. });
        if !outcome.as_ref().is_ok_and(is_done) {
            count_failure(shared);
        }
        let end = match &outcome {
            Ok(answered) => answered.answer.end,
            // What its worker has told of it, if anything, went with the worker, or with the answer.
            Err(Failure::Lost | Failure::NoRoom) => EventsEnd::Untold,
            Err(_) => EventsEnd::NoEvents,
        };
        let watch = self.watch.filter(|_| end != EventsEnd::NoEvents);
        let events = watch.map(|watch| {
            let telling = (end == EventsEnd::Untold).then(|| shared.endings.tell_end(self.number));
            Events { watch, _telling: telling }
        });
        if end == EventsEnd::Untold {
            shared.outbox.wake_main();
        }
        Ended { outcome, events }
    }

    async fn outcome(&mut self, shared: &Shared) -> Result<Answered, Failure> {
        loop {
            let news = match self.early.take() {
                Some(result) => News::Result(result),
                None => self.next(shared).await?,
            };
            return match news {
                News::Begun(_) => continue,
                News::Expired => Err(Failure::NotInTime),
                News::Result(CallResult::Answer(answer)) => Ok(answer),
                News::Result(CallResult::NoRoom) => Err(Failure::NoRoom),
                News::Result(CallResult::Lost) => Err(Failure::Lost),
                News::Result(CallResult::NotRun) => Err(Failure::NotRun),
            };
        }
    }

    /// Waits for news of the call: until `deadline` for a worker, and then as long as the worker lets it run.
    async fn next(&mut self, shared: &Shared) -> Result<News, Failure> {
        let mut stop = shared.stop_changes();
        let mut until = self.deadline;
        loop {
            tokio::select! {
                biased;
                news = self.pending.news() => return Ok(news),
                _ = stop.wait_for(Option::is_some) => return Err(Failure::Stopping),
                () = tokio::time::sleep_until(until.into()) => {}
            }
            let end = match self.pending.standing() {
                Standing::Waiting => return Err(Failure::NotInTime),
                Standing::RunningSince(_) if self.limit.is_zero() => Instant::now() + FOREVER,
                Standing::RunningSince(since) => since + self.limit + CANCEL_GRACE,
                // Its answer is on the way.
                Standing::Over => Instant::now() + CANCEL_GRACE,
            };
            if end <= Instant::now() {
                return Err(Failure::TooLong);
            }
            until = end;
        }
    }
}

fn count_failure(shared: &Shared) {
    Stats::add(&shared.stats.calls_failed_total, 1);
}
