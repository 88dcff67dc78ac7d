//! A hot standby of a cluster of the test's own.

use std::fs;
use std::net::TcpListener;

use anyhow::{Result, ensure};
use cluster::{Account, Cluster};

/// A standby of this primary that is not started yet, and the port on which its gateway would listen.
pub(crate) fn of(primary: &Cluster) -> Result<(Cluster, u16)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let standby = Cluster::builder().prepare()?;
    fs::remove_dir_all(standby.data_dir())?;
    let mut backup = Account::for_servers()?.command(&primary.install().program("pg_basebackup"));
    backup
        .args(["-U", "postgres", "-p", "5432", "-c", "fast", "-X", "stream", "-R", "-h"])
        .arg(primary.home())
        .arg("-D")
        .arg(standby.data_dir());
    let output = backup.current_dir("/").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    standby.configure("unix_socket_directories", &standby.home().display().to_string())?;
    standby.configure("sse.port", &port.to_string())?;
    standby.configure_transport()?;
    Ok((standby, port))
}
