//! When the files that settings name are read: keys and certificate at the start and at each reload, the
//! certificate every ten seconds besides (C1.6); keys are looked at as requests come, too
//! (`Shared::look_at_keys`).
//!
//! Not for what is made of them: that is `auth` and `tls`.

use std::sync::Arc;
use std::time::Duration;

use crate::shared::Shared;

/// Pause between two looks: a certificate is renewed weeks before its end, and a mistake should be seen while
/// whoever made it is still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Looks until the gateway stops, on threads that may wait for a disk.
pub(crate) async fn look(shared: Arc<Shared>) {
    let mut stop = shared.stop_changes();
    let mut changes = shared.settings_changes();
    // Those of the start.
    changes.mark_changed();
    loop {
        let is_anew = tokio::select! {
            changed = changes.changed() => changed.is_ok(),
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
            _ = stop.wait_for(Option::is_some) => return,
        };
        if is_anew || shared.settings().tls.is_wanted() {
            let shared = Arc::clone(&shared);
            let read = move || {
                if is_anew {
                    shared.read_files();
                } else {
                    shared.tls.look(&shared.outbox);
                }
            };
            // Waited for: while a disk hangs no further look begins.
            let _ = tokio::task::spawn_blocking(read).await;
        }
    }
}
