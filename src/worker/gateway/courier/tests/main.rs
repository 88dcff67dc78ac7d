//! The courier without Postgres, over two sources: the ring, and a queue that is no ring. So what its loop
//! asks of the place that records come from is what `source.rs` has, and nothing else.
//!
//! A test binary that uses a symbol of the server does not link. So this is a crate of its own, which
//! compiles the courier's files and has stand-ins for what they name of `pg/` and of the thread that makes
//! routes. And with them what says how long the reader of the log sleeps.
//!
//! Not for: the ring (`crates/ring`), the order (`crates/proto/src/order.rs`), and the kernel's wakes
//! (`pg_test/tests/event_path.rs`).

// Not all that the files have is used here.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]
// Once for each source.
#![allow(clippy::duplicate_mod)]

mod pg;

// The folders of the real modules: `courier/`, and the one above it.
#[path = ".."]
mod worker {
    #[path = "../../pace.rs"]
    mod pace;

    // The reader of the log wakes and sleeps by the same rule.
    #[path = "../../wal_reader"]
    mod wal_reader {
        pub(crate) mod sleep;
    }

    #[path = ".."]
    pub(crate) mod gateway {
        pub(crate) mod between;
        mod served_client;

        pub(crate) mod routing {
            use super::between::CatalogRecords;

            pub(in crate::worker::gateway) enum Task {
                Records(CatalogRecords),
                Mark(u64),
            }

            pub(in crate::worker::gateway) type Tasks = crossbeam_channel::Sender<Task>;
        }

        mod courier {
            use std::time::{Duration, Instant};

            mod carrying;
            #[path = "tests/counts.rs"]
            mod counts;
            mod drain;
            mod local;
            mod order;
            mod source;
            mod stall;

            /// What it does after a round that ends then and has taken out so many bytes.
            pub(super) fn pauses(ring_bytes: usize) -> impl FnMut(Instant, usize) -> Option<Duration> {
                let mut pace = crate::worker::pace::Pace::new(ring_bytes);
                move |now, bytes| {
                    pace.took(bytes);
                    pace.pause(now)
                }
            }

            pub(super) fn run(
                (shared, consumer): (crate::pg::shmem::Shared, sse_ring::Consumer<'static>),
                (told, says, tasks): super::promises::Ends,
            ) -> Result<(), sse_ring::Corrupt> {
                let source = source::Source::Ring(shared, consumer);
                carrying::Carrier::new(shared, source, crate::pg::RING_BYTES, &told, &says, &tasks).run()
            }
        }

        /// The same files, with another source.
        #[path = "courier"]
        mod elsewhere {
            mod carrying;
            mod drain;
            mod local;
            mod order;
            #[path = "tests/queue.rs"]
            mod source;
            mod stall;

            pub(super) use source::Queue;

            pub(super) fn run(
                (shared, queue): (crate::pg::shmem::Shared, std::sync::Arc<Queue>),
                (told, says, tasks): super::promises::Ends,
            ) -> Result<(), sse_ring::Corrupt> {
                let source = source::Source(queue);
                carrying::Carrier::new(shared, source, crate::pg::RING_BYTES, &told, &says, &tasks).run()
            }
        }

        #[path = "courier/tests/from_log.rs"]
        mod from_log;
        #[path = "courier/tests/pace.rs"]
        mod pace;
        #[path = "courier/tests/parts.rs"]
        mod parts;
        #[path = "courier/tests/promises.rs"]
        mod promises;
    }
}
