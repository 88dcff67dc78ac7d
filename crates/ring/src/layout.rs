//! What lies where in the shared memory of the ring, and the protocol on it.
//!
//! ```text
//! | identity | producers' line | consumer's line | sleep line | data: `capacity` bytes ...            |
//! |  128 B   |      128 B      |      128 B      |   128 B    | word payload | word payload | pad ... |
//! ```
//!
//! A *position* counts bytes since the ring was made and never goes back (64 bits do not wrap within the life
//! of a server); its place in the data is `position % capacity`. Everything is a multiple of 8 bytes. A
//! record is one 8-byte *word* (state, length, check) and its payload, filled up to 8. A record is
//! contiguous: one that does not fit between its position and the end of the data is preceded by a *pad*, a
//! word without payload that tells the consumer to go on at the start of the data.
//!
//! The capacity is what the administrator asked for, rounded down to a multiple of 8 and not to a power of
//! two: a division per push costs a few nanoseconds of the hundred that a push takes, while `24MB` that
//! silently became `16MB` would surprise.
//!
//! # Pushing (any number of producers)
//!
//! 1. *Reserve*: read `tail`, read `head`, and if there is room move `head` by compare-and-swap. The bytes
//!    between the old and the new `head` now belong to this producer alone.
//! 2. *Copy*: pad word if there is one, then the payload.
//! 3. *Commit*: store the record's word with the commit bit.
//! 4. Look at `sleeping`, and say whether the consumer must be woken.
//!
//! # Taking (one consumer)
//!
//! 1. *Begin*: read `head`, then `dropped_total`.
//! 2. Hand out records from `tail` up to that `head`, or up to the first word that has no commit bit.
//! 3. *Release*: store `released`, fill what was taken with zeros, store `tail`.
//!
//! # Shared fields
//!
//! * `head`: written by producers, compare-and-swap with Release; read by producers, Relaxed, because the
//!   swap checks what they read; read by the consumer with Acquire. That pair is what makes drops visible: a
//!   producer that counted a drop and then pushed has done both before its swap, so a consumer that reads
//!   this `head`, or any later one (a swap continues the release sequence of the one before), reads that drop
//!   afterwards. It hands out nothing beyond the `head` it has read; so no record overtakes a drop of its own
//!   backend.
//! * `tail`: written by the consumer with Release, after the zeros; read by producers with Acquire, before
//!   they read `head` and write. So the consumer's reads and zeros come before the next lap's writes, and
//!   `head` is never seen smaller than `tail`. A producer that reads an old `tail` sees less room than there
//!   is, never more.
//! * `released`: written and read by the consumer. What lies before it has been handed out. It differs from
//!   `tail` only while the consumer fills the room between them with zeros; a consumer that ended there has
//!   left `released` at the old place, and its successor finishes the zeros before anything else. Without it
//!   the successor would find half-erased records, and wait for ever for the commit of a word that has
//!   already been erased.
//! * a record's word: 0 from creation or from the consumer's zeros; written once a lap by the producer that
//!   reserved it, Release, after the payload; read by the consumer with Acquire, before the payload. Nobody
//!   else reads it.
//! * a record's payload: plain memory. Written by the producer between reserve and commit, read by the
//!   consumer between commit and release. The whole of it is zeroed, not only the words, because on the next
//!   lap a word may lie where payload was: a message could otherwise forge a committed word.
//! * `sleeping`: set to 1 by the consumer before it sleeps, to 0 by the one producer that takes on the duty
//!   to wake it, and by the consumer when it wakes up. All Relaxed between two SeqCst fences: the producer
//!   has commit, fence, read `sleeping`; the consumer has write `sleeping`, fence, read the next word. In
//!   every order of the two fences at least one side sees the other's write (Dekker), so no record is slept
//!   over. All writes are swaps: one chain of changes, each of which knows the one before, which loom can
//!   follow too (it orders plain stores and swaps of one field too loosely). Drops are woken for in the same
//!   way: they are counted, then fence, then `sleeping`; and so is what lies elsewhere for the consumer
//!   ([`crate::Producer::take_wake_duty`]). The word can be what the consumer sleeps on (a futex): the kernel
//!   puts it to sleep only while the word is still 1, in one step, and the producer with the duty has written
//!   0 before it wakes. So a wake that comes before the sleep is not lost. A wake is lost when its producer
//!   is stopped between the two, and no other producer takes over its duty: so a consumer sleeps with a time
//!   limit. A 1 that a consumer has left behind costs the next producer one wake of nobody.
//! * `dropped_total`: added to by producers (Relaxed, see `head` and `sleeping` for what orders it), read by
//!   the consumer.
//! * `pushed_total`, `pushed_bytes_total`, `full_total`: added to by producers, read for statistics; nothing
//!   depends on their order.
//! * `magic`, `capacity`: written by `create` before anybody else has the address, read by `attach`. The
//!   handles keep their own copy of the capacity, so that nothing written later can lead them outside.
//!
//! # A producer that stops between reserve and commit
//!
//! leaves a word without commit bit, a *hole*, that the consumer does not pass: the ring fills up and then
//! drops everything. Between the two a producer does not allocate, log, unwind, call Postgres or look at
//! interrupts. So only two things can stop it there:
//!
//! * It dies: by a signal like SIGKILL, or a crash. Then the postmaster ends all other processes too and
//!   makes shared memory anew, so there is nothing to repair.
//! * It is stopped: by SIGSTOP, a debugger, a frozen container. It goes on some day, and then everything
//!   after the hole comes out, in order. Only that producer knows what belongs into its place, so the
//!   consumer waits for it; [`crate::Batch::hole`] gives the place, so that it can be reported.
//!
//! A consumer that dies changes nothing for producers: the ring keeps what has not been released, and the
//! next consumer hands it out (again).
//!
//! Not for: doing any of it (see `producer`, `consumer`), or touching memory (see `region`).

use crate::sync::{AtomicU32, AtomicU64};
use std::sync::atomic::AtomicU64 as Counter;

/// Everything in the data begins at a multiple of this, so that words can be atomics and a pad always has
/// room.
pub(crate) const ALIGN: usize = 8;

/// Bytes of a record's word.
pub(crate) const WORD_BYTES: usize = 8;

/// Smallest capacity in bytes: room for one record of 8 bytes at any position. Smaller ones are refused.
pub(crate) const MIN_CAPACITY_BYTES: usize = 32;

/// Largest record in bytes, however large the ring: the length has 32 bits, and Postgres' own messages end at
/// 1 GB.
pub(crate) const MAX_RECORD_BYTES: usize = 1 << 30;

/// "sse ring", and the number of this layout.
pub(crate) const MAGIC: u64 = u64::from_be_bytes(*b"sseRing\x01");

/// One cache line and its neighbour, which the processor prefetches with it: two writers here do not slow
/// each other.
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// The shared fields, in front of the data. Module documentation: who writes and reads each of them.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) identity: Line<Identity>,
    pub(crate) producers: Line<ProducersLine>,
    pub(crate) consumer: Line<ConsumerLine>,
    pub(crate) sleep: Line<SleepLine>,
}

#[repr(C)]
pub(crate) struct Identity {
    pub(crate) magic: u64,
    pub(crate) capacity: u64,
}

#[repr(C)]
pub(crate) struct ProducersLine {
    pub(crate) head: AtomicU64,
    pub(crate) dropped_total: AtomicU64,
    pub(crate) pushed_total: Counter,
    pub(crate) pushed_bytes_total: Counter,
    pub(crate) full_total: Counter,
}

#[repr(C)]
pub(crate) struct ConsumerLine {
    pub(crate) tail: AtomicU64,
    pub(crate) released: AtomicU64,
}

#[repr(C)]
pub(crate) struct SleepLine {
    pub(crate) sleeping: AtomicU32,
}

/// [`crate::Ring::sleep_word`] of a consumer that looks at the ring by itself before it sleeps.
pub const AWAKE: u32 = 0;

/// [`crate::Ring::sleep_word`] of a consumer that has to be woken.
pub const ASLEEP: u32 = 1;

impl Header {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            identity: Line(Identity { magic: MAGIC, capacity: capacity as u64 }),
            producers: Line(ProducersLine {
                head: AtomicU64::new(0),
                dropped_total: AtomicU64::new(0),
                pushed_total: Counter::new(0),
                pushed_bytes_total: Counter::new(0),
                full_total: Counter::new(0),
            }),
            consumer: Line(ConsumerLine { tail: AtomicU64::new(0), released: AtomicU64::new(0) }),
            sleep: Line(SleepLine { sleeping: AtomicU32::new(AWAKE) }),
        }
    }
}

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Reserved at most: there is nothing to read yet.
    Uncommitted,
    /// `bytes` of payload follow.
    Record { bytes: usize },
    /// Nothing up to the end of the data.
    Pad,
    /// No producer writes this: the memory was overwritten by something else.
    Invalid,
}

const COMMIT_BIT: u64 = 1 << 63;
const PAD_BIT: u64 = 1 << 62;
const CHECK_SHIFT: u32 = 32;
const CHECK_MASK: u64 = (1 << 30) - 1;

impl Word {
    /// Bits of a committed word at `position`. 30 bits of the position are in it, so that a word that was not
    /// written for this place and lap is recognised.
    pub(crate) fn bits(self, position: u64) -> u64 {
        let check = check(position) << CHECK_SHIFT;
        match self {
            Self::Record { bytes } => COMMIT_BIT | check | bytes as u64,
            Self::Pad => COMMIT_BIT | PAD_BIT | check,
            Self::Uncommitted | Self::Invalid => 0,
        }
    }

    pub(crate) fn from_bits(bits: u64, position: u64) -> Self {
        if bits == 0 {
            return Self::Uncommitted;
        }
        let bytes = (bits & 0xffff_ffff) as usize;
        let is_of_this_place = (bits >> CHECK_SHIFT) & CHECK_MASK == check(position);
        match (bits & COMMIT_BIT != 0 && is_of_this_place, bits & PAD_BIT != 0) {
            (true, true) if bytes == 0 => Self::Pad,
            (true, false) => Self::Record { bytes },
            _ => Self::Invalid,
        }
    }
}

fn check(position: u64) -> u64 {
    (position / ALIGN as u64) & CHECK_MASK
}

/// Bytes of a record in the ring: its word and its payload, filled up to [`ALIGN`]. `payload_bytes` is at
/// most [`MAX_RECORD_BYTES`].
pub(crate) const fn footprint(payload_bytes: usize) -> usize {
    WORD_BYTES + payload_bytes.next_multiple_of(ALIGN)
}

/// Longest payload that fits into an empty ring at every position: a record may need a pad of up to 8 bytes
/// less than its own footprint before it, so two footprints less 8 must fit.
pub(crate) const fn max_record_bytes(capacity: usize) -> usize {
    let largest_footprint = (capacity / 2 + ALIGN / 2) / ALIGN * ALIGN;
    let payload = largest_footprint - WORD_BYTES;
    if payload < MAX_RECORD_BYTES { payload } else { MAX_RECORD_BYTES }
}
