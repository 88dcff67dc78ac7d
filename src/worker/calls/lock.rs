//! The lock of one call worker.
//!
//! Whoever holds it asks Postgres nothing: that may wait for a lock of Postgres, or for a log that nobody
//! takes, and every thread that has a call would wait for it. In a build for tests a thread that does all the
//! same panics ([`none_is_held`]).
//!
//! Not for: in which order locks are taken (`crew.rs`).

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard};

thread_local! {
    /// How many this thread holds. Counted in builds for tests alone.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// See the head of this file.
pub(super) struct Lock<T>(Mutex<T>);

/// What it protects, until it is dropped.
pub(super) struct Held<'a, T>(MutexGuard<'a, T>);

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(super) fn lock(&self) -> Held<'_, T> {
        let held = Held(self.0.lock());
        if cfg!(debug_assertions) {
            HELD.set(HELD.get() + 1);
        }
        held
    }
}

/// To be called before Postgres is asked.
///
/// # Panics
/// In a build for tests, where this thread holds such a lock.
pub(super) fn none_is_held() {
    debug_assert_eq!(HELD.get(), 0, "Postgres is asked while a worker's lock is held");
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.set(HELD.get() - 1);
        }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
