//! Counts up by way of the proxy, as the button of the page does, so that there is something to see.
//!
//! Not for what becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cluster::http::{Client, Request};
use serde_json::json;

/// So that each number can be seen, and a pause, too.
const PAUSE: Duration = Duration::from_millis(250);

/// A call that is not answered in this time is given up. It may have been made: then the next one counts on.
const WITHIN: Duration = Duration::from_secs(5);

/// Ends when it is dropped.
pub(super) struct Counting {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    pub(super) fn begin(proxy: Client) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let request = Request::new("POST", "/api/counter/increment").json(&json!({}));
            while !is_over.load(Relaxed) {
                // While there is no primary it is refused, and the next one may not be.
                let _ = proxy.within(WITHIN).request(&request);
                thread::sleep(PAUSE);
            }
        });
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
