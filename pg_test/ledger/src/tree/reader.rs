//! A reader: reads one channel, moves between the servers and the proxy at random with its last id, and
//! writes down what it sees.
//!
//! Not for what is right: `verdict`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::channel::Channel;
use super::line::{Came, Place};

/// The pause when nobody answers.
const PAUSE: Duration = Duration::from_millis(20);

/// What came, and where.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// In which of the places that it goes to.
    pub(super) door: usize,
    /// After which id it had asked there.
    pub(super) asked: Option<Place>,
    pub(super) came: Came,
}

/// Whether a reader is kept away from all servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Absence {
    #[default]
    None,
    /// It is to leave.
    Wanted,
    /// It has left, and waits.
    Begun,
    /// It is to come back through this door.
    Over(usize),
}

/// What a reader and those who judge it share.
#[derive(Default)]
pub(super) struct Notes {
    sights: Mutex<Vec<Sight>>,
    absence: Mutex<Absence>,
    pub(super) moves: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) ends: AtomicBool,
}

impl Notes {
    /// What it has seen since it was asked last.
    pub(super) fn take(&self) -> Vec<Sight> {
        std::mem::take(&mut self.sights.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn absence(&self) -> Absence {
        *self.absence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_absence(&self, absence: Absence) {
        *self.absence.lock().unwrap_or_else(PoisonError::into_inner) = absence;
    }

    pub(super) fn has_some(&self) -> bool {
        !self.sights.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn note(&self, sight: Sight) {
        self.sights.lock().unwrap_or_else(PoisonError::into_inner).push(sight);
    }
}

/// Reads until it is told to end.
pub(super) fn read(channel: &Channel, doors: &[SocketAddr], first: String, mut rng: Rng, notes: &Arc<Notes>) {
    let mut id = first;
    while !notes.ends.load(Relaxed) {
        let door = match notes.absence() {
            Absence::None => rng.usize(..doors.len()),
            Absence::Over(door) => door,
            absence => {
                if absence == Absence::Wanted {
                    notes.set_absence(Absence::Begun);
                }
                thread::sleep(PAUSE);
                continue;
            }
        };
        let Ok(mut stream) = channel.open(doors[door], Some(&id)) else {
            notes.refused.fetch_add(1, Relaxed);
            thread::sleep(PAUSE);
            continue;
        };
        notes.moves.fetch_add(1, Relaxed);
        if notes.absence() == Absence::Over(door) {
            notes.set_absence(Absence::None);
        }
        let asked = Place::parse(&id);
        let leaves = Instant::now() + Duration::from_millis(5 << rng.u32(..9));
        while let Ok(event) = stream.next(leaves.saturating_duration_since(Instant::now())) {
            if let Some(came) = Came::of(&event) {
                notes.note(Sight { door, asked, came });
            }
            id = event.id;
            stream.forget_bytes();
            if notes.absence() == Absence::Wanted {
                break;
            }
        }
    }
}
