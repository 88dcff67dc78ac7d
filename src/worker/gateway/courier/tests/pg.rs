//! Stand-ins for what the courier, and the reader's sleep, name of Postgres' side.

use std::time::Duration;

pub(crate) const RING_BYTES: usize = 8 << 20;

/// The courier's longest sleep, which has no end here: a wake that is lost is lost for good.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

pub(crate) mod shmem {
    use std::sync::{Condvar, Mutex};

    use sse_ring::Ring;

    use super::ticket::{Announcements, Tickets};

    #[derive(Clone, Copy)]
    pub(crate) struct Shared {
        pub(crate) ring: Ring<'static>,
        pub(crate) header: &'static Header,
        pub(crate) announced: Announcements,
        pub(crate) wal: &'static super::wal::Words,
        pub(crate) bed: &'static (Mutex<()>, Condvar),
    }

    #[derive(Default)]
    pub(crate) struct Header {
        pub(crate) tickets: Tickets,
    }
}

pub(crate) mod ticket {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU64;

    #[derive(Default)]
    pub(crate) struct Tickets {
        pub(crate) given_up_total: AtomicU64,
        pub(crate) stalls_total: AtomicU64,
    }

    /// Tickets of transactions that others can see.
    pub(crate) type Announcements = &'static Mutex<Vec<u64>>;

    pub(crate) fn blockers(announced: &Announcements, highest: u64) -> Vec<u64> {
        announced.lock().unwrap().iter().copied().filter(|ticket| *ticket < highest).collect()
    }

    pub(crate) fn announcer(_announced: &Announcements, _ticket: u64) -> Option<i32> {
        None
    }
}

pub(crate) mod wal {
    use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

    #[derive(Default)]
    pub(crate) struct Words {
        pub(crate) is_on: AtomicBool,
        pub(crate) read_to: AtomicU64,
        pub(crate) readings: AtomicU32,
    }

    impl Words {
        pub(crate) fn is_on(&self) -> bool {
            self.is_on.load(SeqCst)
        }

        pub(crate) fn read_to(&self) -> u64 {
            self.read_to.load(SeqCst)
        }

        pub(crate) fn want_reading(&self) {
            self.readings.fetch_add(1, SeqCst);
        }
    }

    pub(crate) mod log_end {
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Role {
            Primary,
            Standby,
        }

        pub(crate) struct LogEnd {
            pub(crate) role: Role,
            pub(crate) position: u64,
        }
    }
}

pub(crate) mod futex {
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use sse_ring::Wake;

    use super::LONGEST_SLEEP;
    use super::shmem::Shared;

    pub(crate) fn wake_if(wake: Wake, shared: &Shared) {
        if wake == Wake::Needed {
            drop(shared.bed.0.lock().unwrap());
            shared.bed.1.notify_all();
        }
    }

    pub(crate) fn wait(shared: &Shared, expected: u32, timeout: Duration) {
        let bed = shared.bed.0.lock().unwrap();
        if shared.ring.sleep_word().load(SeqCst) != expected {
            return;
        }
        if timeout < LONGEST_SLEEP {
            drop(shared.bed.1.wait_timeout(bed, timeout).unwrap());
        } else {
            drop(shared.bed.1.wait(bed).unwrap());
        }
    }
}
