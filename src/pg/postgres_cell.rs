//! A value of this process that only its Postgres thread uses.
//!
//! `thread_local!` says the same, but in a library every access to one is a call that looks up the thread's
//! memory, and each call of an annotated routine has several. Here an access compares two numbers: which
//! thread this is, and which one has loaded the library. A process that the postmaster forks inherits value
//! and number: the thread that forks is the child's only one, and keeps its number (fork(2)).
//!
//! Not for flags and counters of that thread: those are plain atomics.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The thread that has loaded the library, 0: it is not loaded yet. Written by [`this_thread_is_postgres`],
/// read by every thread, relaxed: any thread but that one finds a number that is not its own.
static POSTGRES_THREAD: AtomicUsize = AtomicUsize::new(0);

/// To be called from `_PG_init`, before anything else.
pub(crate) fn this_thread_is_postgres() {
    POSTGRES_THREAD.store(this_thread(), Relaxed);
}

/// Whether this thread is the one that calls Postgres.
#[inline]
pub(crate) fn is_postgres_thread() -> bool {
    this_thread() == POSTGRES_THREAD.load(Relaxed)
}

fn this_thread() -> usize {
    // SAFETY: answers the number of this thread, which is never 0; cannot fail (pthread_self(3)).
    unsafe { libc::pthread_self() as usize }
}

/// See the head of this file.
pub(crate) struct PostgresCell<T>(RefCell<T>);

// SAFETY: `mine` makes the only reference to what is within, on one thread of the process alone. What is
// within at first comes from no other thread: every cell is a `static`, which the compiler fills.
unsafe impl<T> Sync for PostgresCell<T> {}

impl<T> PostgresCell<T> {
    /// For a `static`.
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Runs `read` with the value. `None`: this is another thread, or the value is being changed. Cannot fail
    /// otherwise.
    #[inline]
    pub(crate) fn try_with<R>(&self, read: impl FnOnce(&T) -> R) -> Option<R> {
        let value = self.mine()?.try_borrow().ok()?;
        Some(read(&value))
    }

    /// Runs `change` with the value. `None`: this is another thread, or the value is in use. Cannot fail
    /// otherwise.
    #[inline]
    pub(crate) fn try_with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut value = self.mine()?.try_borrow_mut().ok()?;
        Some(change(&mut value))
    }

    /// [`PostgresCell::try_with`].
    ///
    /// # Panics
    /// Where that answers `None`.
    #[inline]
    pub(crate) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        self.try_with(read).unwrap_or_else(|| not_there())
    }

    /// [`PostgresCell::try_with_mut`].
    ///
    /// # Panics
    /// Where that answers `None`.
    #[inline]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.try_with_mut(change).unwrap_or_else(|| not_there())
    }

    #[inline]
    fn mine(&self) -> Option<&RefCell<T>> {
        is_postgres_thread().then_some(&self.0)
    }
}

#[cold]
fn not_there() -> ! {
    panic!("used on another thread than that of Postgres, or within itself")
}
