//! A throwaway server with files out of a package: an event arrives.
//!
//! Not for how the files got there.

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, PATIENCE, wait_for};

/// Makes a routine, listens, raises.
pub(super) fn hears(cluster: &Cluster) -> Result<()> {
    cluster.sql(
        "create function hello() returns void language plpgsql as $$ begin raise info 'hello'; end $$;
         comment on function hello() is '@sse'",
    )?;
    let http = cluster.http()?;
    let mut stream =
        wait_for(PATIENCE, "there is a stream", || Ok(http.events("/api/hello/info").ok()))?.begun()?;
    cluster.sql("select hello()")?;
    let event = stream.next_payload(PATIENCE).context("no event")?;
    ensure!(event.data == "hello", "another event: {event:?}");
    Ok(())
}
