//! The ring buffer in shared memory that carries records from many backends to one gateway.
//!
//! Many producers, one consumer, bytes in, the same bytes out, in one order. A push never waits, never
//! allocates and never fails half way; what finds no room is refused, and the caller counts it as dropped.
//! `layout` has the protocol: who writes and reads each shared field, with which ordering, and why. `region`
//! has all the `unsafe`. `shared_set` is the other thing in shared memory that many processes write and read
//! without a lock; it is here because loom proves it like the ring.
//!
//! Not for: what the bytes mean (`sse_proto::record`), how the memory is mapped, how a sleeping consumer is
//! woken (the caller's latch, or a futex on [`Ring::sleep_word`]), waiting for room.

// `cfg(loom)` is set by hand, for the model check alone: RUSTFLAGS="--cfg loom" cargo test --release --test
// loom
#![allow(unexpected_cfgs)]

mod consumer;
mod layout;
mod need;
mod producer;
mod region;
mod ring_error;
mod shared_set;
mod stats;
mod sync;

pub use consumer::{Batch, Consumer, Corrupt};
pub use layout::{ASLEEP, AWAKE};
pub use need::Need;
pub use producer::{Producer, PushError, Wake};
pub use region::{HeapRing, Ring};
pub use ring_error::RingError;
pub use shared_set::{Look, Marks, Replaced, SharedSet};
pub use stats::Stats;

#[cfg(all(test, not(loom)))]
mod tests;
