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
}

/// When a fault was carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) fault: Fault,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Span {
    /// How long after its end a fault may keep a snapshot from being made, in microseconds: a run waits for a
    /// worker for up to 5 s, and readers catch up meanwhile.
    const AFTERMATH: u64 = 10_000_000;

    /// Whether a snapshot may fail at this time because of it: the fault takes the workers away, or stops the
    /// gateway, or fills ring or window while a snapshot is made.
    pub(crate) fn explains(&self, at: u64) -> bool {
        let is_harmless =
            matches!(self.fault, Fault::Cut | Fault::InventedId | Fault::Reload | Fault::FrozenBackends);
        !is_harmless && (self.from..=self.until + Self::AFTERMATH).contains(&at)
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
    fn a_fault_explains_a_missing_snapshot_meanwhile_and_shortly_after() {
        let span = |fault| Span { fault, from: 100, until: 200 };
        for (at, explains) in
            [(99, false), (100, true), (200 + Span::AFTERMATH, true), (201 + Span::AFTERMATH, false)]
        {
            assert_eq!(span(Fault::Terminate).explains(at), explains, "{at}");
            assert!(!span(Fault::Cut).explains(at), "{at}");
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
