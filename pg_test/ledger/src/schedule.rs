//! What breaks, and in which order: all of it is drawn from the seed. Only how long things take is not.
//!
//! Not for how it is broken: `driver`.

use std::time::Duration;

use fastrand::Rng;

use crate::history::Reason;

/// Something that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Connections of many readers are cut at once.
    Cut,
    /// Readers come back with an id that nobody ever sent.
    InventedId,
    /// Readers are away while the window fills with other events.
    LongAbsence,
    /// Readers stop reading while more comes than the window holds.
    StoppedReading,
    /// One transaction raises more than the ring holds while the gateway does not run.
    FullRing,
    /// One transaction raises more than the ring holds.
    HugeTransaction,
    /// Settings change and are reloaded.
    Reload,
    /// A runtime thread of the gateway panics.
    Panic,
    /// `pg_terminate_backend` of the gateway.
    Terminate,
    /// `kill -9` of a backend: the server starts all processes anew.
    KilledBackend,
    /// `kill -9` of the gateway, with the same effect.
    KilledGateway,
    /// `pg_ctl restart -m fast`.
    FastRestart,
    /// `pg_ctl restart -m immediate`.
    ImmediateRestart,
    /// Backends are stopped (SIGSTOP) and go on, one after the other.
    FrozenBackends,
    /// The function of a snapshot fails, until a run has failed.
    FailingSnapshot,
}

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::Cut,
        Self::InventedId,
        Self::LongAbsence,
        Self::StoppedReading,
        Self::FullRing,
        Self::HugeTransaction,
        Self::Reload,
        Self::Panic,
        Self::Terminate,
        Self::KilledBackend,
        Self::KilledGateway,
        Self::FastRestart,
        Self::ImmediateRestart,
        Self::FrozenBackends,
        Self::FailingSnapshot,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cut => "connections cut",
            Self::InventedId => "invented id",
            Self::LongAbsence => "long absence",
            Self::StoppedReading => "stopped reading",
            Self::FullRing => "ring filled",
            Self::HugeTransaction => "huge transaction",
            Self::Reload => "settings reloaded",
            Self::Panic => "panic of a thread",
            Self::Terminate => "gateway terminated",
            Self::KilledBackend => "kill -9 of a backend",
            Self::KilledGateway => "kill -9 of the gateway",
            Self::FastRestart => "fast restart",
            Self::ImmediateRestart => "immediate restart",
            Self::FrozenBackends => "backends frozen",
            Self::FailingSnapshot => "snapshots failing",
        }
    }

    /// The gap that some reader must have got if it happened.
    pub(crate) const fn gap(self) -> Option<Reason> {
        match self {
            Self::InventedId => Some(Reason::Unknown),
            Self::LongAbsence => Some(Reason::Expired),
            Self::StoppedReading => Some(Reason::Slow),
            Self::FullRing => Some(Reason::Overflow),
            Self::Panic
            | Self::Terminate
            | Self::KilledBackend
            | Self::KilledGateway
            | Self::FastRestart
            | Self::ImmediateRestart => Some(Reason::Restarted),
            Self::Cut
            | Self::HugeTransaction
            | Self::Reload
            | Self::FrozenBackends
            | Self::FailingSnapshot => None,
        }
    }

    /// Whether it fills ring or window.
    const fn fills_something(self) -> bool {
        matches!(self, Self::LongAbsence | Self::StoppedReading | Self::FullRing | Self::HugeTransaction)
    }
}

/// When a fault was carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) fault: Fault,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Span {
    /// How long after its end a fault may still show, in microseconds: what it has caused is read later than
    /// it is sent, on a busy machine by more than a second.
    const AFTERMATH: u64 = 2_000_000;

    /// How long after the end of the gateway there may be no worker, in microseconds. A snapshot is given up
    /// after 5 s of that.
    const WITHOUT_WORKERS: u64 = 10_000_000;

    /// The least that a follower has waited then, as it sees it.
    const PATIENCE: u64 = 4_500_000;

    /// Whether a follower may get such a gap at this time because of it, which had everything at the time
    /// `since`, or was waiting for a snapshot since then.
    pub(crate) fn explains(&self, reason: Reason, since: u64, at: u64) -> bool {
        let is_between = |aftermath| self.from <= at && since <= self.until + aftermath;
        let (fills, ends) = (self.fault.fills_something(), self.fault.gap() == Some(Reason::Restarted));
        let is_near = is_between(Self::AFTERMATH);
        let has_waited = at.saturating_sub(since) >= Self::PATIENCE;
        match reason {
            Reason::Expired | Reason::Slow => is_near && (fills || self.fault == Fault::Reload),
            Reason::Overflow => is_near && (fills || ends),
            Reason::Snapshot if ends => is_near || (has_waited && is_between(Self::WITHOUT_WORKERS)),
            Reason::Snapshot => is_near && (fills || self.fault == Fault::FailingSnapshot),
            Reason::Restarted | Reason::TooLarge | Reason::Unknown | Reason::Rewound | Reason::Unreadable => {
                false
            }
        }
    }
}

/// The faults of a run, without end: shuffled rounds, each with all faults, and twice with those that lose no
/// more than they must. Faults that end the gateway cover seconds with a gap; more of them would leave little
/// to be proven.
pub(crate) struct Schedule {
    rng: Rng,
    round: Vec<Fault>,
}

/// One fault: the pause before it, and the seed of what is random in it.
pub(crate) struct Step {
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    pub(crate) seed: u64,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), round: Vec::new() }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.round.is_empty() {
            self.round.extend(Fault::ALL);
            self.round.extend(Fault::ALL.iter().filter(|fault| fault.gap() != Some(Reason::Restarted)));
            self.rng.shuffle(&mut self.round);
        }
        let pause = Duration::from_millis(self.rng.u64(200..1_200));
        Some(Step { pause, fault: self.round.pop()?, seed: self.rng.u64(..) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_explains_the_gaps_that_it_can_cause_meanwhile_and_shortly_after() {
        const NEAR: u64 = Span::AFTERMATH;
        let explains = |fault, reason, since, at| {
            let span = Span { fault, from: 1000, until: 2000 };
            span.explains(reason, since, at)
        };
        for (since, at, wanted) in [
            (0, 999, false),
            (0, 1000, true),
            (1500, 1600, true),
            (2000 + NEAR, 2001 + NEAR, true),
            (2001 + NEAR, 2001 + NEAR, false),
        ] {
            assert_eq!(explains(Fault::FailingSnapshot, Reason::Snapshot, since, at), wanted, "{since} {at}");
            assert_eq!(explains(Fault::StoppedReading, Reason::Slow, since, at), wanted, "{since} {at}");
            assert_eq!(explains(Fault::Terminate, Reason::Snapshot, since, at), wanted, "{since} {at}");
        }
        // Later only to who has waited as long as a run waits for a worker.
        let since = 2001 + NEAR;
        for (waited, wanted) in [(Span::PATIENCE - 1, false), (Span::PATIENCE, true)] {
            assert_eq!(explains(Fault::Terminate, Reason::Snapshot, since, since + waited), wanted);
            assert!(!explains(Fault::FailingSnapshot, Reason::Snapshot, since, since + waited));
        }
        for (fault, reason) in [
            (Fault::Cut, Reason::Snapshot),
            (Fault::Reload, Reason::Snapshot),
            (Fault::FrozenBackends, Reason::Snapshot),
            (Fault::FailingSnapshot, Reason::Slow),
            (Fault::Terminate, Reason::Expired),
            (Fault::FailingSnapshot, Reason::Overflow),
            (Fault::FullRing, Reason::TooLarge),
        ] {
            assert!(!explains(fault, reason, 1500, 1600), "{fault:?} {reason:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_each_round_has_all_of_them() {
        const ROUND: usize = 24;
        let faults = |seed| Schedule::new(seed).take(2 * ROUND).map(|step| step.fault).collect::<Vec<_>>();
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
        for round in faults(7).chunks(ROUND) {
            assert!(Fault::ALL.iter().all(|fault| round.contains(fault)), "{round:?}");
        }
    }
}
