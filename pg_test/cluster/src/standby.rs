//! Servers that follow another one: made of a running cluster, kept up to date by physical replication, and
//! promoted.
//!
//! All of it goes through the primary's socket, so no port is taken but that of the gateway.
//!
//! Not for what a standby serves.

use std::fs;
use std::sync::Arc;

use anyhow::{Result, ensure};
use test_http::PATIENCE;

use crate::cluster::{Cluster, PORT};
use crate::wait::wait_until;

impl Cluster {
    /// A standby of this server, which must be running, or be a standby itself. It is not started yet; its
    /// settings are those of this server, with what [`Cluster::configure`] adds. Removed when it is dropped,
    /// as any cluster is.
    ///
    /// # Errors
    /// `pg_basebackup` fails.
    pub fn standby(&self) -> Result<Self> {
        let standby = Self::builder().install(Arc::clone(self.install())).prepare()?;
        fs::remove_dir_all(standby.data_dir())?;
        let mut backup = self.install().account().command(&self.install().program("pg_basebackup"));
        backup
            .args(["-U", "postgres", "-c", "fast", "-X", "stream", "-R", "-p"])
            .arg(PORT.to_string())
            .arg("-h")
            .arg(self.home())
            .arg("-D")
            .arg(standby.data_dir());
        let output = backup.current_dir("/").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        standby.configure("unix_socket_directories", &standby.home().display().to_string())?;
        standby.configure_transport()?;
        Ok(standby)
    }

    /// Waits until this standby has replayed everything that its primary has written by now.
    ///
    /// # Errors
    /// One of them does not run, or it takes longer than [`PATIENCE`].
    pub fn wait_for_replay(&self, primary: &Self) -> Result<()> {
        let written = primary.sql("select pg_current_wal_insert_lsn()")?;
        let replayed = format!("select pg_last_wal_replay_lsn() >= '{written}'");
        wait_until(PATIENCE, "the standby has replayed it", || self.sql(&replayed).is_ok_and(|is| is == "t"))
    }

    /// Makes this standby a primary.
    ///
    /// # Errors
    /// It is none, or does not become one.
    pub fn promote(&self) -> Result<()> {
        let promoted = self.sql("select pg_promote()")?;
        ensure!(promoted == "t", "{}", self.log_tail());
        Ok(())
    }
}
