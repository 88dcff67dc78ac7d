//! Shared memory of the call workers: a place for each, with two rings between it and the gateway.
//!
//! A worker's life: the gateway registers it with the number of its slot. The worker takes the slot (`pid`),
//! connects, says [`State::Attaching`] and touches no ring. The gateway, which alone ever makes rings, makes
//! both anew and says [`State::Ready`]. The worker attaches to them and serves. It gives the slot back when
//! it ends, however it ends. So nobody uses a ring while it is made, and what a dead worker left in a ring is
//! gone before the next worker looks.
//!
//! Not for: when workers are started and what they are sent (`worker/calls.rs`), their loop
//! (`worker/call.rs`).

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use pgrx::pg_sys;
use sse_ring::{Consumer, Producer, Ring};

use super::shmem::Shared;
use super::state::states;
use super::{call_bell, latch};

/// Capacity of each of a worker's two rings, in bytes: an ordinary request or answer fits whole; a larger one
/// is handed over in parts.
const RING_BYTES: usize = 128 * 1024;

/// The place in the process array that stands for "nobody".
const NOBODY: u32 = u32::MAX;

const HEADER_BYTES: usize = (size_of::<CallHeader>() + 127) & !127;

states! {
    /// The state of a worker. Stored in [`Slot`].
    pub(crate) enum State {
        /// No worker, or one that has not connected yet.
        Absent,
        /// Connected; waits for its rings.
        Attaching,
        /// Serves calls.
        Ready,
    }
}

/// What all call workers share.
#[repr(C)]
#[derive(Default)]
pub(crate) struct CallHeader {
    /// Number of gateways so far. Raised by each gateway when it begins (release); read by workers (acquire),
    /// which leave when their gateway has gone.
    epoch: AtomicU64,
    /// [`super::call_state::CallState`]. Written by the gateway, read by any backend, relaxed: a figure of
    /// its own.
    pub state: AtomicU32,
    /// Workers that are ready. As `state`.
    pub ready: AtomicU32,
    /// Calls that workers have. Changed by the threads of the gateway, for the worker whose lock they hold
    /// (`worker/calls/crew.rs`); otherwise as `state`.
    pub running: AtomicU32,
    /// Calls whose worker ended before it answered: they may have committed. As `state`.
    pub lost_total: AtomicU64,
    /// Workers that were started. As `state`.
    pub workers_total: AtomicU64,
}

/// One worker's place, on cache lines of its own.
#[repr(C, align(128))]
pub(crate) struct Slot {
    /// Process id of the worker, 0 = free. Taken by the worker with compare-and-swap, given back when it ends
    /// (release); read by the gateway (acquire), which registers another worker only when it is 0.
    pid: AtomicU32,
    /// [`State`]. Written by the worker (`Attaching`), by the gateway (`Ready`) and by the worker that ends
    /// (`Absent`), each with release, and read with acquire: whoever sees a state sees what was done before
    /// it.
    state: AtomicU32,
    /// The worker's place in the process array, or [`NOBODY`]: the gateway sets the latch of that place.
    /// Written by the worker before `state`.
    place: AtomicU32,
    /// The runtime thread of the gateway that waits for the answer, or [`NOBODY`]: the main thread does.
    /// Written by the gateway before it gives the worker a call, read by the worker when it has the call: the
    /// ring orders the two.
    home: AtomicU32,
    /// 1: the worker left because its role has changed. Written by the worker before it ends, read by the
    /// gateway after.
    role_changed: AtomicU32,
    /// The last call that was about to begin. Written by the worker (release) when nothing of it has run;
    /// read by the gateway (acquire) when the worker has ended: a call with another number never ran.
    begun: AtomicU64,
    /// The last call that told that its statement begins. As `begun`, but read at any time.
    statement: AtomicU64,
    /// The call that may be cancelled, 0 = none. Written by the worker, read by its signal handlers: one
    /// thread.
    running: AtomicU64,
    /// The call that is to be cancelled. Written by the gateway (release) before it sends the signal; read by
    /// the signal handler and by the worker (acquire).
    cancel: AtomicU64,
}

/// The two rings as the gateway has them.
pub(crate) struct GatewaySide {
    /// Requests to the worker.
    pub requests: Producer<'static>,
    /// Its answers.
    pub answers: Consumer<'static>,
}

/// The two rings as the worker has them.
pub(crate) struct WorkerSide {
    /// Requests to the worker.
    pub requests: Consumer<'static>,
    /// Its answers.
    pub answers: Producer<'static>,
}

/// The shared memory of the call workers as one process sees it. Cheap to copy.
#[derive(Clone, Copy)]
pub(crate) struct CallMemory {
    /// What all call workers share.
    pub header: &'static CallHeader,
    slots: &'static [Slot],
    rings: NonNull<u8>,
}

thread_local! {
    /// Set in the postmaster, inherited by every process it forks.
    static MEMORY: Cell<Option<CallMemory>> = const { Cell::new(None) };
}

/// The shared memory of the call workers, or `None` in a server that did not preload the library.
pub(crate) fn memory() -> Option<CallMemory> {
    MEMORY.get()
}

/// Bytes of one worker's two rings.
const fn rings_bytes() -> usize {
    2 * (Ring::bytes_needed(RING_BYTES).next_multiple_of(128))
}

/// How much shared memory this file asks for, with this many workers.
pub(super) fn bytes_needed(slots: usize) -> usize {
    HEADER_BYTES + slots * (size_of::<Slot>() + rings_bytes())
}

/// Finds or makes the memory. Called from the startup hook of shared memory, in the postmaster.
pub(super) fn start_up(count: usize) {
    let mut found = false;
    // No lock: only the postmaster runs this, before it starts any other process.
    // SAFETY: the size was requested (`bytes_needed`); name and flag outlive the call.
    let base = unsafe { pg_sys::ShmemInitStruct(c"pg_sse calls".as_ptr(), bytes_needed(count), &mut found) };
    let Some(base) = NonNull::new(base.cast::<u8>()) else { return };
    let header = base.cast::<CallHeader>();
    // SAFETY: fresh memory of at least that size, which nobody else knows yet.
    unsafe { header.write(CallHeader::default()) };
    // SAFETY: the slots follow the header, in memory that was asked for, at a multiple of 128 as they need
    // it: shared memory is given out in such multiples (shmem.c, ShmemAllocRaw), and the header has that
    // length.
    let slots = unsafe { base.add(HEADER_BYTES) }.cast::<Slot>();
    for number in 0..count {
        // SAFETY: below the number of slots.
        let slot = unsafe { slots.add(number) };
        // SAFETY: as above, fresh memory.
        unsafe { slot.write(Slot::new()) };
    }
    // SAFETY: just written; shared memory stays mapped until the process ends, and all fields are atomic.
    let header = unsafe { header.as_ref() };
    // SAFETY: as above.
    let slots = unsafe { std::slice::from_raw_parts(slots.as_ptr(), count) };
    // SAFETY: the rings follow the slots, in memory that was asked for.
    let rings = unsafe { base.add(HEADER_BYTES + count * size_of::<Slot>()) };
    MEMORY.set(Some(CallMemory { header, slots, rings }));
}

impl CallMemory {
    /// The slots, by number.
    pub(crate) fn slots(&self) -> &'static [Slot] {
        self.slots
    }

    /// Number of gateways so far ([`CallHeader`]).
    pub(crate) fn epoch(&self) -> u64 {
        self.header.epoch.load(Acquire)
    }

    /// A gateway begins or ends: the workers of the gateway before it leave.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.header.epoch.fetch_add(1, AcqRel) + 1
    }

    /// Makes the rings of a worker that waits for them; `None`: it does not, or they cannot be made. Only the
    /// gateway may call this.
    pub(crate) fn make_rings(&self, number: usize) -> Option<GatewaySide> {
        let slot = self.slots.get(number)?;
        if slot.state() != State::Attaching {
            return None;
        }
        let (requests, answers) = self.addresses(number);
        // SAFETY: `bytes_needed` bytes of shared memory. Nobody uses them: the worker of this slot waits for
        // `Ready`, the one before has given the slot back, and the gateway's own handles of that time are
        // dropped by the caller.
        let requests = unsafe { Ring::create(requests, RING_BYTES) }.ok()?;
        // SAFETY: as above.
        let answers = unsafe { Ring::create(answers, RING_BYTES) }.ok()?;
        // SAFETY: the ring is new, and the gateway is its one consumer.
        let answers = unsafe { answers.consumer() }.ok()?;
        slot.cancel.store(0, Relaxed);
        slot.state.store(State::Ready as u32, Release);
        Some(GatewaySide { requests: requests.producer(), answers })
    }

    /// The rings, for the worker of a slot that is ready.
    pub(crate) fn attach_rings(&self, number: usize) -> Option<WorkerSide> {
        let slot = self.slots.get(number)?;
        if slot.state() != State::Ready || slot.pid.load(Relaxed) != std::process::id() {
            return None;
        }
        let (requests, answers) = self.addresses(number);
        let bytes = Ring::bytes_needed(RING_BYTES);
        // SAFETY: made by the gateway before it said `Ready`; it is made anew only after this process has
        // ended.
        let requests = unsafe { Ring::attach(requests, bytes) }.ok()?;
        // SAFETY: as above.
        let answers = unsafe { Ring::attach(answers, bytes) }.ok()?;
        // SAFETY: the worker of the slot is its one consumer, and there is one (`take`).
        let requests = unsafe { requests.consumer() }.ok()?;
        Some(WorkerSide { requests, answers: answers.producer() })
    }

    fn addresses(&self, number: usize) -> (*mut u8, *mut u8) {
        let requests = self.rings.as_ptr().wrapping_add(number * rings_bytes());
        (requests, requests.wrapping_add(rings_bytes() / 2))
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            pid: AtomicU32::new(0),
            state: AtomicU32::new(State::Absent as u32),
            place: AtomicU32::new(NOBODY),
            home: AtomicU32::new(NOBODY),
            role_changed: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            statement: AtomicU64::new(0),
            running: AtomicU64::new(0),
            cancel: AtomicU64::new(0),
        }
    }

    /// Takes the slot. `false`: another process has it.
    pub(crate) fn take(&self) -> bool {
        let taken = self.pid.compare_exchange(0, std::process::id(), AcqRel, Relaxed).is_ok();
        if taken {
            self.role_changed.store(0, Relaxed);
            self.begun.store(0, Relaxed);
            self.statement.store(0, Relaxed);
            self.running.store(0, Relaxed);
        }
        taken
    }

    /// This process is connected and waits for its rings.
    pub(crate) fn attach(&self) {
        self.place.store(latch::my_place().unwrap_or(NOBODY), Relaxed);
        self.state.store(State::Attaching as u32, Release);
    }

    /// This process takes no further call, and may take a while to end: no call may be given to it.
    pub(crate) fn retire(&self) {
        self.state.store(State::Absent as u32, Release);
    }

    /// This process ends. Takes no lock, cannot fail.
    pub(crate) fn give_back(&self) {
        self.state.store(State::Absent as u32, Release);
        self.place.store(NOBODY, Relaxed);
        self.running.store(0, Relaxed);
        self.pid.store(0, Release);
    }

    /// Whether no process has the slot.
    pub(crate) fn is_free(&self) -> bool {
        self.pid.load(Acquire) == 0
    }

    /// How far the worker is.
    pub(crate) fn state(&self) -> State {
        State::of(self.state.load(Acquire))
    }

    /// Sets the latch of the slot's worker. Any thread may (`latch.rs`).
    pub(crate) fn wake(&self) {
        let place = self.place.load(Acquire);
        if place != NOBODY {
            latch::wake(place);
        }
    }

    /// The next call that the worker gets is waited for by this runtime thread; `None`: by the main thread.
    pub(crate) fn set_home(&self, thread: Option<usize>) {
        let thread = thread.and_then(|thread| u32::try_from(thread).ok());
        self.home.store(thread.unwrap_or(NOBODY), Relaxed);
    }

    /// For the worker: wakes the thread that waits for the answer. Takes no lock, does not allocate, cannot
    /// fail.
    pub(crate) fn wake_home(&self, shared: &Shared) {
        let home = self.home.load(Relaxed);
        if home == NOBODY || !call_bell::ring(home as usize) {
            shared.wake_gateway();
        }
    }

    /// Asks the worker to cancel a call, if it is still running when the signal arrives.
    pub(crate) fn cancel(&self, id: u64) {
        self.cancel.store(id, Release);
        self.signal(libc::SIGUSR2);
    }

    /// Tells the worker to leave, even in the middle of a call.
    pub(crate) fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    fn signal(&self, signal: i32) {
        let pid = self.pid.load(Acquire);
        if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 0) {
            // SAFETY: sends a signal. A worker gives its slot back before it ends, and its number is not
            // given to another process before the postmaster has taken note of that.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// The call may be cancelled from here on.
    pub(crate) fn set_running(&self, id: u64) {
        self.running.store(id, Relaxed);
    }

    /// The call that may be cancelled.
    pub(crate) fn running(&self) -> u64 {
        self.running.load(Relaxed)
    }

    /// The call that is to be cancelled.
    pub(crate) fn to_be_cancelled(&self) -> u64 {
        self.cancel.load(Acquire)
    }

    /// From here on the call may have had effects.
    pub(crate) fn set_begun(&self, id: u64) {
        self.begun.store(id, Release);
    }

    /// For the worker: the call's statement begins.
    pub(crate) fn set_running_statement(&self, id: u64) {
        self.statement.store(id, Release);
    }

    /// Whether this call has told that.
    pub(crate) fn runs_statement(&self, id: u64) -> bool {
        self.statement.load(Acquire) == id
    }

    /// Whether anything of the call may have run.
    pub(crate) fn has_begun(&self, id: u64) -> bool {
        self.begun.load(Acquire) == id
    }

    /// The worker leaves because of its role.
    pub(crate) fn set_role_changed(&self) {
        self.role_changed.store(1, Release);
    }

    /// Whether the last worker left because of its role.
    pub(crate) fn take_role_changed(&self) -> bool {
        self.role_changed.swap(0, AcqRel) == 1
    }
}
