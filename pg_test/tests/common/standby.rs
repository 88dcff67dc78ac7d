//! A hot standby of a cluster of the test's own, where the test has to know its gateway's port.

use anyhow::Result;
use cluster::{Cluster, lasting_port};

/// A standby of this primary that is not started yet, and the port on which its gateway would listen.
pub(crate) fn of(primary: &Cluster) -> Result<(Cluster, u16)> {
    let port = lasting_port()?;
    let standby = primary.standby()?;
    standby.configure("sse.port", &port.to_string())?;
    Ok((standby, port))
}
