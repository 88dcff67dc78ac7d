//! What the gateway may hold at most: the formula of docs/limits.md, row by row, with the settings of a run.
//!
//! One row is not taken as it stands: routes may have 512 MB for each role that owns some, of which the roles
//! of a siege could use hardly any, and beside which nothing would show that is in no formula. So that row is
//! what those routines weigh.
//!
//! Not for how much it holds: `watch`.

/// Kilobyte and megabyte.
pub(crate) const KB: u64 = 1 << 10;
pub(crate) const MB: u64 = 1 << 20;

/// `sse.threads`.
pub(crate) const THREADS: u64 = 1;

/// `sse.ring_size`: small, so that transactions of its size are made within a moment.
pub(crate) const RING_SIZE: u64 = 2 * MB;

/// `sse.window_size`, `sse.max_connections`, `sse.max_event_size`, `sse.max_body_size`: the factors of the
/// formula are small, so that memory outside of the formula shows.
pub(crate) const WINDOW_SIZE: u64 = 16 * MB;
pub(crate) const MAX_CONNECTIONS: u64 = 400;
pub(crate) const MAX_EVENT_SIZE: u64 = 128 * KB;
pub(crate) const MAX_BODY_SIZE: u64 = MB;

/// `sse.call_workers`
pub(crate) const CALL_WORKERS: u64 = 3;

/// What the routines of a run weigh at most (docs/limits.md): a hundred small ones that come and go are 0.3
/// MB, one row type of 1,200 columns and its routine 0.4 MB, a comment of 64 kB of `@authorize role:a` 0.7
/// MB. One that is longer weighs more and is not kept.
const ROUTES: u64 = 2 * MB;

/// `RssAnon` of the gateway, in bytes, with TLS or without. Beyond it the run fails.
pub(crate) fn limit(is_secure: bool) -> u64 {
    let event = MAX_EVENT_SIZE.min(RING_SIZE / 2);
    let process = 24 * MB + 4 * MB * THREADS;
    let of_tls = |bytes| if is_secure { bytes } else { 0 };
    let beside_streams = (MAX_CONNECTIONS / 4).max(64);
    let sockets = beside_streams * (80 * KB + of_tls(70 * KB));
    let streams = MAX_CONNECTIONS * (80 * KB + of_tls(24 * KB + 48 * KB));
    // HTTP/2 is spoken over TLS alone: on every socket, and as many requests at a time.
    let http2 = of_tls((MAX_CONNECTIONS + beside_streams) * (300 * KB + 60 * KB));
    let window = THREADS * (WINDOW_SIZE + 4 * MB + 8 * event);
    let batches = 64 * 2 * (256 * KB + event);
    let held_back = 32 * MB;
    let requests = (128 * MB).max(4 * MAX_BODY_SIZE) + 4 * MAX_BODY_SIZE * THREADS;
    let with_workers = CALL_WORKERS * (MAX_BODY_SIZE + 128 * KB);
    let answers = 128 * MB + CALL_WORKERS * 32 * KB;
    // What is kept is four times their weight, and twice that while it is made anew.
    let routes = 2 * 4 * ROUTES;
    let refusals = 88 * MB;
    process
        + sockets
        + streams
        + http2
        + window
        + batches
        + held_back
        + requests
        + with_workers
        + answers
        + routes
        + refusals
}
