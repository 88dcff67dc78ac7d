//! The memory of a ring: making one in it, finding one in it, and reading and writing inside its bounds.
//!
//! All `unsafe` of this crate is here. Bounds are checked here, whatever the callers computed; that two sides
//! do not touch the same bytes at once is the protocol of `layout`, which `tests/loom.rs` checks with this
//! file's model memory.
//!
//! Not for: the protocol itself (see `producer`, `consumer`).
#![allow(unsafe_code)]

use crate::consumer::{Consumer, Corrupt};
#[cfg(not(loom))]
use crate::layout::MAGIC;
use crate::layout::{ALIGN, Header, MIN_CAPACITY_BYTES, WORD_BYTES};
use crate::producer::Producer;
use crate::ring_error::RingError;
use crate::sync::{AtomicU32, AtomicU64};
use memory::Data;
use std::mem::size_of;

/// A handle on a ring in memory that lives for `'m`: two words, copied freely, used from any thread or
/// process.
#[derive(Clone, Copy)]
pub struct Ring<'m> {
    header: &'m Header,
    data: Data<'m>,
    capacity: usize,
}

impl<'m> Ring<'m> {
    /// Bytes of memory to ask for, for a ring of `capacity` bytes: 512 more, less what the capacity is
    /// rounded down.
    pub const fn bytes_needed(capacity: usize) -> usize {
        size_of::<Header>().saturating_add(round_down(capacity))
    }

    /// Makes an empty ring of `capacity` bytes (rounded down to a multiple of 8) and zeroes its data.
    ///
    /// # Errors
    /// [`RingError::Misaligned`], [`RingError::Capacity`].
    ///
    /// # Safety
    /// * `address` points to [`Ring::bytes_needed`]`(capacity)` bytes, readable and writable for `'m`.
    /// * Nobody uses them during this call, and afterwards only through this and [`Ring::attach`]ed handles.
    #[cfg(not(loom))]
    pub unsafe fn create(address: *mut u8, capacity: usize) -> Result<Self, RingError> {
        let capacity = check_capacity(capacity)?;
        let header = check_address(address)?;
        // SAFETY: aligned as just checked; the caller guarantees that the memory is there and nobody else's.
        unsafe { header.write(Header::new(capacity)) };
        let start = address.wrapping_add(size_of::<Header>());
        // SAFETY: the caller guarantees `bytes_needed` bytes, which is the header and `capacity`.
        unsafe { start.write_bytes(0, capacity) };
        // SAFETY: initialised just above; only atomics in it change from now on; valid for `'m` by the
        // caller.
        let header = unsafe { &*header };
        // SAFETY: `capacity` bytes from `start` on, valid for `'m`, by the caller.
        let data = unsafe { Data::new(start) };
        Ok(Self { header, data, capacity })
    }

    /// Finds the ring that [`Ring::create`] made at `address`, perhaps in another process, in `bytes` of
    /// memory.
    ///
    /// # Errors
    /// [`RingError::Misaligned`], [`RingError::Foreign`], [`RingError::Capacity`], [`RingError::Truncated`].
    ///
    /// # Safety
    /// * `address` points to `bytes` bytes, initialised, readable and writable for `'m`.
    /// * Nobody uses them except through handles of this type.
    #[cfg(not(loom))]
    pub unsafe fn attach(address: *mut u8, bytes: usize) -> Result<Self, RingError> {
        let header = check_address(address)?;
        if bytes < size_of::<Header>() {
            return Err(RingError::Truncated);
        }
        // SAFETY: aligned and long enough as just checked; any bytes are a valid Header (integers only);
        // valid for `'m` by the caller.
        let header: &'m Header = unsafe { &*header };
        if header.identity.0.magic != MAGIC {
            return Err(RingError::Foreign);
        }
        let claimed = usize::try_from(header.identity.0.capacity).map_err(|_| RingError::Capacity)?;
        let capacity = check_capacity(claimed)?;
        if capacity != claimed {
            return Err(RingError::Capacity);
        }
        if Self::bytes_needed(capacity) > bytes {
            return Err(RingError::Truncated);
        }
        // SAFETY: `capacity` bytes after the header lie within `bytes`, as just checked; valid for `'m` by
        // the caller.
        let data = unsafe { Data::new(address.wrapping_add(size_of::<Header>())) };
        Ok(Self { header, data, capacity })
    }

    /// The one consumer. It goes on where the last one stopped: what that one had taken but not released is
    /// handed out again, and what it was about to erase is erased.
    ///
    /// # Errors
    /// [`Corrupt`] when the positions in shared memory contradict each other.
    ///
    /// # Safety
    /// * There is no other consumer of this ring, in any thread or process, while this one lives.
    pub unsafe fn consumer(self) -> Result<Consumer<'m>, Corrupt> {
        Consumer::take_over(self)
    }

    /// A producer; as many as you like.
    pub fn producer(self) -> Producer<'m> {
        Producer::new(self)
    }

    /// The word that a consumer sleeps on, where there are futexes. After [`Consumer::prepare_to_sleep`] has
    /// said `true` it is [`crate::ASLEEP`] until somebody takes on the duty to wake, and [`crate::AWAKE`] at
    /// all other times. Not to be written.
    pub fn sleep_word(self) -> &'m AtomicU32 {
        &self.header.sleep.0.sleeping
    }

    pub(crate) fn header(&self) -> &'m Header {
        self.header
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Place of `position` in the data: a multiple of [`ALIGN`] below the capacity, even for a corrupt
    /// position.
    pub(crate) fn offset(&self, position: u64) -> usize {
        round_down((position % self.capacity as u64) as usize)
    }

    pub(crate) fn word(&self, position: u64) -> &'m AtomicU64 {
        self.data.word(self.offset(position))
    }

    /// Copies `payload` to after the word at `position`, which the caller has reserved. Does nothing if it
    /// would not fit before the end of the data, which no caller asks for.
    pub(crate) fn write(&self, position: u64, payload: &[u8]) {
        if let Some(offset) = self.payload_offset(position, payload.len()) {
            self.data.write(offset, payload);
        }
    }

    /// Shows the `bytes` after the committed word at `position` to `f`. Does nothing if they reach beyond the
    /// end of the data, which no caller asks for.
    pub(crate) fn read(&self, position: u64, bytes: usize, f: impl FnOnce(&[u8])) {
        if let Some(offset) = self.payload_offset(position, bytes) {
            self.data.read(offset, bytes, f);
        }
    }

    /// Fills everything between two positions with zeros; the caller is the consumer, and has not given it
    /// free yet.
    pub(crate) fn zero(&self, from: u64, to: u64) {
        let bytes = to.saturating_sub(from).min(self.capacity as u64) as usize;
        let offset = self.offset(from);
        let before_end = bytes.min(self.capacity - offset);
        self.data.zero(offset, before_end);
        self.data.zero(0, bytes - before_end);
    }

    fn payload_offset(&self, position: u64, bytes: usize) -> Option<usize> {
        let offset = self.offset(position) + WORD_BYTES;
        (offset <= self.capacity && bytes <= self.capacity - offset).then_some(offset)
    }
}

const fn round_down(bytes: usize) -> usize {
    bytes / ALIGN * ALIGN
}

fn check_capacity(capacity: usize) -> Result<usize, RingError> {
    let rounded = round_down(capacity);
    if rounded < MIN_CAPACITY_BYTES || Ring::bytes_needed(rounded) > isize::MAX as usize {
        return Err(RingError::Capacity);
    }
    Ok(rounded)
}

#[cfg(not(loom))]
fn check_address(address: *mut u8) -> Result<*mut Header, RingError> {
    let header = address.cast::<Header>();
    if header.is_null() || !header.is_aligned() {
        return Err(RingError::Misaligned);
    }
    Ok(header)
}

pub use memory::HeapRing;

/// Real memory: an address.
#[cfg(not(loom))]
mod memory {
    use super::{Consumer, Ring, RingError, check_capacity};
    use crate::consumer::Corrupt;
    use crate::layout::Line;
    use crate::sync::AtomicU64;
    use std::marker::PhantomData;
    use std::slice;

    #[derive(Clone, Copy)]
    pub(super) struct Data<'m> {
        start: *mut u8,
        memory: PhantomData<&'m AtomicU64>,
    }

    // SAFETY: only an address; what may be done with it at the same time as others is the protocol of
    // `layout`, kept by `producer` and `consumer`, and the same between threads as between processes.
    unsafe impl Send for Data<'_> {}
    // SAFETY: as above; no method changes `Data` itself.
    unsafe impl Sync for Data<'_> {}

    impl Data<'_> {
        /// # Safety
        /// * `start` is a multiple of 8, and the ring's capacity in bytes is there for the lifetime.
        pub(super) unsafe fn new(start: *mut u8) -> Self {
            Self { start, memory: PhantomData }
        }
    }

    impl<'m> Data<'m> {
        pub(super) fn word(self, offset: usize) -> &'m AtomicU64 {
            let word = self.start.wrapping_add(offset).cast::<AtomicU64>();
            // SAFETY: `Ring::offset` gives multiples of 8 below the capacity, itself a multiple of 8, so all
            // 8 bytes are inside (`Data::new`); while it is a word, everybody uses it as an atomic
            // (protocol).
            unsafe { &*word }
        }

        pub(super) fn write(self, offset: usize, payload: &[u8]) {
            let to = self.start.wrapping_add(offset);
            // SAFETY: `payload_offset` has checked that it ends inside; a reserved range has one writer and
            // no reader (protocol); `payload` is no part of it, as nobody has a reference into a reserved
            // range.
            unsafe { to.copy_from_nonoverlapping(payload.as_ptr(), payload.len()) };
        }

        pub(super) fn read(self, offset: usize, bytes: usize, f: impl FnOnce(&[u8])) {
            let from = self.start.wrapping_add(offset);
            // SAFETY: `payload_offset` has checked that it ends inside; initialised by `create`; a committed
            // range has no writer until the consumer, who is here, releases it (protocol).
            f(unsafe { slice::from_raw_parts(from, bytes) });
        }

        pub(super) fn zero(self, offset: usize, bytes: usize) {
            let to = self.start.wrapping_add(offset);
            // SAFETY: `Ring::zero` cuts at the end of the data; between `released` and `tail` the consumer,
            // who is here, is alone (protocol).
            unsafe { to.write_bytes(0, bytes) };
        }
    }

    /// A ring in ordinary memory: for tests, fuzzing and measurements.
    pub struct HeapRing {
        lines: Box<[Line<[u8; 128]>]>,
        capacity: usize,
    }

    impl HeapRing {
        /// # Errors
        /// [`RingError::Capacity`], as [`Ring::create`] has it.
        pub fn new(capacity: usize) -> Result<Self, RingError> {
            let capacity = check_capacity(capacity)?;
            let count = Ring::bytes_needed(capacity).div_ceil(128);
            let mut heap = Self { lines: (0..count).map(|_| Line([0; 128])).collect(), capacity };
            let address = heap.address();
            // SAFETY: `lines` is that long, aligned to 128, and ours alone.
            unsafe { Ring::create(address, capacity) }?;
            Ok(heap)
        }

        /// The ring and its consumer. The exclusive borrow makes it the only one; calling again is what a
        /// restarted worker does.
        ///
        /// # Errors
        /// [`Corrupt`], as [`Ring::consumer`] has it.
        pub fn split(&mut self) -> Result<(Ring<'_>, Consumer<'_>), Corrupt> {
            let bytes = Ring::bytes_needed(self.capacity);
            // SAFETY: `new` created the ring here; the memory lives as long as the borrow of `self`.
            let attached = unsafe { Ring::attach(self.address(), bytes) };
            let ring = attached.map_err(|_| Corrupt::Positions)?;
            // SAFETY: `self` is borrowed exclusively for as long as the consumer lives.
            let consumer = unsafe { ring.consumer() }?;
            Ok((ring, consumer))
        }

        pub(crate) fn address(&mut self) -> *mut u8 {
            self.lines.as_mut_ptr().cast()
        }

        #[cfg(test)]
        pub(crate) fn attach_error(&mut self, address: *mut u8, bytes: usize) -> Option<RingError> {
            // SAFETY: the tests ask for ranges inside of `lines`, and for nothing but the verdict.
            unsafe { Ring::attach(address, bytes) }.err()
        }

        #[cfg(test)]
        pub(crate) fn set_capacity(&mut self, capacity: u64) {
            self.lines[0].0[8..16].copy_from_slice(&capacity.to_ne_bytes());
        }
    }
}

/// Memory for loom: each 8 bytes are an atomic (when used as a word) and a cell (when used as payload) that
/// reports two sides touching it at once.
#[cfg(loom)]
mod memory {
    use super::{Consumer, Header, Ring, RingError, check_capacity};
    use crate::consumer::Corrupt;
    use crate::sync::{AtomicU64, Ordering};
    use loom::cell::UnsafeCell;

    struct Eight {
        word: AtomicU64,
        payload: UnsafeCell<[u8; 8]>,
    }

    // SAFETY: loom reports every use of `payload` that is not ordered; that is what it is here for.
    unsafe impl Sync for Eight {}

    #[derive(Clone, Copy)]
    pub(super) struct Data<'m>(&'m [Eight]);

    impl<'m> Data<'m> {
        pub(super) fn word(self, offset: usize) -> &'m AtomicU64 {
            &self.0[offset / 8].word
        }

        pub(super) fn write(self, offset: usize, payload: &[u8]) {
            for (eight, bytes) in self.0[offset / 8..].iter().zip(payload.chunks(8)) {
                // SAFETY: loom has checked that nobody else uses the cell at this moment.
                eight
                    .payload
                    .with_mut(|cell| unsafe { &mut (&mut *cell)[..bytes.len()] }.copy_from_slice(bytes));
            }
        }

        pub(super) fn read(self, offset: usize, bytes: usize, f: impl FnOnce(&[u8])) {
            let mut copy = Vec::new();
            for eight in &self.0[offset / 8..(offset + bytes).div_ceil(8)] {
                // SAFETY: loom has checked that nobody writes to the cell at this moment.
                eight.payload.with(|cell| copy.extend_from_slice(unsafe { &*cell }));
            }
            f(&copy[..bytes]);
        }

        pub(super) fn zero(self, offset: usize, bytes: usize) {
            for eight in &self.0[offset / 8..(offset + bytes) / 8] {
                eight.word.store(0, Ordering::Relaxed);
                // SAFETY: loom has checked that nobody else uses the cell at this moment.
                eight.payload.with_mut(|cell| unsafe { *cell = [0; 8] });
            }
        }
    }

    /// A ring in model memory.
    pub struct HeapRing {
        header: Header,
        data: Vec<Eight>,
    }

    impl HeapRing {
        /// # Errors
        /// [`RingError::Capacity`].
        pub fn new(capacity: usize) -> Result<Self, RingError> {
            let capacity = check_capacity(capacity)?;
            let eight = |_| Eight { word: AtomicU64::new(0), payload: UnsafeCell::new([0; 8]) };
            Ok(Self { header: Header::new(capacity), data: (0..capacity / 8).map(eight).collect() })
        }

        /// The ring and its consumer.
        ///
        /// # Errors
        /// [`Corrupt`].
        pub fn split(&mut self) -> Result<(Ring<'_>, Consumer<'_>), Corrupt> {
            let ring = Ring { header: &self.header, data: Data(&self.data), capacity: self.data.len() * 8 };
            // SAFETY: `self` is borrowed exclusively for as long as the consumer lives.
            let consumer = unsafe { ring.consumer() }?;
            Ok((ring, consumer))
        }
    }
}
