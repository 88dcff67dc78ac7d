//! When the files of the certificate are looked at, besides at each reload (C1.6).
//!
//! Not for what is made of them: that is `tls`.

use std::sync::Arc;
use std::time::Duration;

use crate::shared::Shared;

/// Pause between two looks: a certificate is renewed weeks before its end, and a mistake should be seen while
/// whoever made it is still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Looks until the gateway stops, on threads that may wait for a disk.
pub(crate) async fn look(shared: Arc<Shared>) {
    let mut stop = shared.stop_changes();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = stop.wait_for(Option::is_some) => return,
        }
        if shared.settings().tls.is_wanted() {
            let shared = Arc::clone(&shared);
            // Waited for: while a disk hangs no further look begins.
            let _ = tokio::task::spawn_blocking(move || shared.tls.look(&shared.outbox)).await;
        }
    }
}
