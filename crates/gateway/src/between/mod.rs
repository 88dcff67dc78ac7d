//! What passes between threads: the courier, the main thread and the runtime threads. Each is bounded, and
//! says what happens when it is full.
//!
//! Not for state that all of them only look at: that is `shared`.

pub(crate) mod about;
pub(crate) mod batch;
pub(crate) mod canary;
pub(crate) mod client_board;
pub(crate) mod endings;
pub(crate) mod home;
pub(crate) mod inspection;
pub(crate) mod listing;
pub(crate) mod live;
pub(crate) mod outbox;
pub(crate) mod publisher;
pub(crate) mod queue;
pub(crate) mod recent_calls;
pub(crate) mod reply;
pub(crate) mod route_board;
pub(crate) mod shown;
pub(crate) mod snapshots;
pub(crate) mod survey;
pub(crate) mod turns;
pub(crate) mod workers;
