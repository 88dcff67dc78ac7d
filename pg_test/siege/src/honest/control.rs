//! The control: a listener of `pg_notify`, which goes through no pg_sse.
//!
//! It ends at the first payload that is not a number.
//!
//! Not for notifying: `publisher`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use cluster::{Clock, PATIENCE};

use super::Ends;
use crate::ground::Ground;

/// How often it looks whether the run is over.
const LOOK: Duration = Duration::from_millis(250);

pub(super) fn start(
    ground: &Arc<Ground>,
    clock: Clock,
    ends: Arc<Ends>,
) -> Result<JoinHandle<BTreeMap<u64, u64>>> {
    let mut session = ground.session("honest")?;
    session.query("listen siege", PATIENCE)?.ok()?;
    super::spawn("control", move || {
        let mut notified = BTreeMap::new();
        while !ends.waiting.load(Relaxed) {
            // If this session is lost, the publisher's is, too, and it is reported there.
            let Ok(payload) = session.notification(LOOK) else { break };
            let at = clock.now();
            let Some(payload) = payload else { continue };
            let Ok(number) = payload.parse() else { break };
            notified.insert(number, at);
        }
        notified
    })
}
